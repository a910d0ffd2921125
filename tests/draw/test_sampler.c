/* The sampler: each step and their combinations against a slow computation with sorted arrays in
 * long double, single draws predicted from the published random generator, distributions by
 * chi-square. Values at and beyond the limits: test_sampler_limits.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/sampler_rig.h"

static uint64_t random_state;

/* Returns a number in [0, 1). */
static double random_unit(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static size_t random_below(size_t n) { return (size_t)(random_unit() * (double)n); }

/* Writes numbers of a nearly normal distribution with deviation 3, like logits. */
static void random_logits(float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++) {
            sum += random_unit();
        }
        logits[i] = (float)(3 * (sum - 6));
    }
}

struct slow {
    int id;
    long double logit, p, score;
};

static int by_logit(const void *a, const void *b)
{
    const struct slow *x = a;
    const struct slow *y = b;
    return x->logit != y->logit ? (x->logit < y->logit ? 1 : -1) : x->id - y->id;
}

static int by_score(const void *a, const void *b)
{
    const struct slow *x = a;
    const struct slow *y = b;
    return x->score != y->score ? (x->score > y->score ? 1 : -1) : x->id - y->id;
}

static void softmax(struct slow *c, size_t n, long double temperature)
{
    long double highest = -INFINITY;
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        highest = c[i].logit > highest ? c[i].logit : highest;
    }
    for (size_t i = 0; i < n; i++) {
        c[i].p = expl((c[i].logit - highest) / temperature);
        sum += c[i].p;
    }
    for (size_t i = 0; i < n; i++) {
        c[i].p /= sum;
    }
}

/* Does all steps that come after the penalties, on all of logits[n]. Returns how many candidates
 * stay; *c gets their probabilities. */
static size_t slow_steps(const weft_sampling *p, const float *logits, size_t n, struct slow *c)
{
    for (size_t i = 0; i < n; i++) {
        c[i] = (struct slow){ .id = (int)i, .logit = logits[i] };
    }
    if (p->top_k > 0 && (size_t)p->top_k < n) {
        qsort(c, n, sizeof *c, by_logit);
        n = (size_t)p->top_k;
    }
    if (p->typical_p < 1) {
        softmax(c, n, 1);
        long double entropy = 0;
        for (size_t i = 0; i < n; i++) {
            entropy -= c[i].p * logl(c[i].p);
        }
        for (size_t i = 0; i < n; i++) {
            c[i].score = fabsl(-logl(c[i].p) - entropy);
        }
        qsort(c, n, sizeof *c, by_score);
        long double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += c[i].p;
            if (sum > p->typical_p) {
                n = i + 1;
            }
        }
    }
    if (p->top_p < 1) {
        qsort(c, n, sizeof *c, by_logit);
        softmax(c, n, 1);
        long double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += c[i].p;
            if (sum >= p->top_p) {
                n = i + 1;
            }
        }
    }
    if (p->min_p > 0) {
        qsort(c, n, sizeof *c, by_logit);
        softmax(c, n, 1);
        size_t kept = 0;
        while (kept < n && c[kept].p >= p->min_p * c[0].p) {
            kept++;
        }
        n = kept;
    }
    softmax(c, n, p->temperature);
    return n;
}

/* Returns a bound that a chi-square variable of f degrees of freedom exceeds with probability 1e-6
 * (Wilson and Hilferty's normal approximation, z = 4.75). The seeds are fixed, so a test that
 * passes once passes always. */
static double chi_square_bound(size_t f)
{
    double k = (double)f;
    double root = 1 - 2 / (9 * k) + 4.75 * sqrt(2 / (9 * k));
    return k * root * root * root;
}

enum { N_DRAWS = 20000 };

/* Draws often. Tokens outside the slow set must never come, and tokens inside must come with their
 * probability. */
static void check_distribution(const weft_sampling *p, const float *logits, size_t n_vocab)
{
    struct slow c[64];
    size_t n = slow_steps(p, logits, n_vocab, c);
    size_t count[64] = { 0 };
    struct sampler *s = open_sampler(p, n_vocab);
    for (int i = 0; i < N_DRAWS; i++) {
        count[pick(s, logits)]++;
    }
    sampler_close(s);
    double chi = 0;
    size_t cells = 0;
    size_t total = 0;
    double rare_want = 0;
    double rare_got = 0;
    for (size_t i = 0; i < n; i++) {
        double want = (double)c[i].p * (double)N_DRAWS;
        double got = (double)count[c[i].id];
        total += count[c[i].id];
        /* Tokens that are expected less than 5 times are counted together, as usual with
         * chi-square. */
        if (want < 5) {
            rare_want += want;
            rare_got += got;
        } else {
            chi += (got - want) * (got - want) / want;
            cells++;
        }
    }
    assert_int_equal(total, N_DRAWS);
    if (rare_want >= 5) {
        chi += (rare_got - rare_want) * (rare_got - rare_want) / rare_want;
        cells++;
    }
    if (cells > 1) {
        assert_true(chi < chi_square_bound(cells - 1));
    }
}

static void test_each_step_against_slow(void **state)
{
    (void)state;
    weft_sampling p[12];
    size_t n = sizeof p / sizeof p[0];
    for (size_t i = 0; i < n; i++) {
        p[i] = plain;
    }
    p[1].temperature = 0.3f;
    p[2].temperature = 5;
    p[3].top_k = 7;
    p[4].top_k = 1;
    p[5].top_p = 0.8f;
    p[6].top_p = 0.02f;
    p[7].min_p = 0.1f;
    p[8].typical_p = 0.6f;
    p[9].typical_p = 0.05f;
    p[10].top_k = 50;
    p[11] = (weft_sampling)WEFT_SAMPLING_INIT;
    random_state = 3;
    for (size_t i = 0; i < n; i++) {
        float logits[20];
        random_logits(logits, 20);
        p[i].seed = i;
        check_distribution(&p[i], logits, 20);
    }
}

static void test_combinations_against_slow(void **state)
{
    (void)state;
    random_state = 4;
    for (int round = 0; round < 60; round++) {
        float logits[64];
        size_t n = 1 + random_below(64);
        random_logits(logits, n);
        weft_sampling p = plain;
        p.temperature = (float)(0.2 + 2 * random_unit());
        p.top_k = random_unit() < 0.5 ? 0 : (int32_t)(1 + random_below(n));
        p.top_p = random_unit() < 0.5 ? 1 : (float)(0.1 + 0.89 * random_unit());
        p.typical_p = random_unit() < 0.5 ? 1 : (float)(0.1 + 0.89 * random_unit());
        p.min_p = random_unit() < 0.5 ? 0 : (float)(0.2 * random_unit());
        p.seed = (uint64_t)round;
        check_distribution(&p, logits, n);
    }
}

/* splitmix64 as published; it predicts each draw. */
static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The first outputs for seed 1234567 are in the generator's public test vectors. Uniform logits
 * over 2^16 tokens show the upper 16 bits of each. */
static void test_random_numbers_are_the_published_ones(void **state)
{
    (void)state;
    static const uint64_t vector[] = { 6457827717110365317u, 3203168211198807973u,
                                       9817491932198370423u, 4593380528125082431u,
                                       16408922859458223821u };
    enum { N = 1 << 16 };
    float *logits = calloc(N, sizeof *logits);
    assert_non_null(logits);
    weft_sampling p = plain;
    p.seed = 1234567;
    struct sampler *s = open_sampler(&p, N);
    for (size_t i = 0; i < sizeof vector / sizeof vector[0]; i++) {
        assert_int_equal(pick(s, logits), vector[i] >> 48);
    }
    sampler_close(s);
    free(logits);
}

/* Every single draw is predicted, not only the distribution. Candidates stand in the order of ids,
 * and after top-p in the order of probability. A draw that is nearer than 1e-12 to a border may go
 * either way: double sums of 500 terms are off by less than 500 * 2^-53. */
static void test_single_draws_are_predicted(void **state)
{
    (void)state;
    enum { N = 500 };
    random_state = 5;
    size_t near = 0;
    for (int round = 0; round < 400; round++) {
        float logits[N];
        struct slow c[N];
        random_logits(logits, N);
        weft_sampling p = plain;
        p.seed = (uint64_t)round;
        p.temperature = (float)(0.1 + random_unit());
        p.top_p = round % 2 == 0 ? 1 : 0.9f;
        size_t n = slow_steps(&p, logits, N, c);
        struct sampler *s = open_sampler(&p, N);
        uint64_t x = p.seed;
        for (int i = 0; i < 10; i++) {
            long double u = (long double)(splitmix(&x) >> 11) * 0x1p-53L;
            long double sum = 0;
            size_t want = 0;
            while (want + 1 < n && sum + c[want].p <= u) {
                sum += c[want++].p;
            }
            bool sure = u - sum > 1e-12L && sum + c[want].p - u > 1e-12L;
            int32_t got = pick(s, logits);
            near += !sure;
            if (sure) {
                assert_int_equal(got, c[want].id);
            }
        }
        sampler_close(s);
    }
    assert_true(near < 5);
}

static void test_top_k_of_a_large_vocabulary(void **state)
{
    (void)state;
    enum { N = 30000, K = 10 };
    float *logits = malloc(N * sizeof *logits);
    struct slow *c = malloc(N * sizeof *c);
    assert_non_null(logits);
    assert_non_null(c);
    random_state = 6;
    random_logits(logits, N);
    weft_sampling p = plain;
    p.top_k = K;
    p.temperature = 100;
    slow_steps(&p, logits, N, c);
    struct sampler *s = open_sampler(&p, N);
    bool seen[K] = { false };
    for (int i = 0; i < 2000; i++) {
        int32_t token = pick(s, logits);
        size_t at = 0;
        while (at < K && c[at].id != token) {
            at++;
        }
        assert_true(at < K);
        seen[at] = true;
    }
    for (size_t i = 0; i < K; i++) {
        assert_true(seen[i]);
    }
    sampler_close(s);
    free(c);
    free(logits);
}

static void test_ties_go_to_the_lowest_id(void **state)
{
    (void)state;
    static const float logits[] = { 1, 5, 5, 0, 5, 5 };
    weft_sampling p = plain;
    p.temperature = 0;
    struct sampler *s = open_sampler(&p, 6);
    assert_int_equal(pick(s, logits), 1);
    sampler_close(s);
    /* Of four equal tokens, top-k 2 and a small top-p keep the first. */
    p.temperature = 1;
    p.top_k = 2;
    s = open_sampler(&p, 6);
    for (int i = 0; i < 200; i++) {
        int32_t token = pick(s, logits);
        assert_true(token == 1 || token == 2);
    }
    sampler_close(s);
    p.top_k = 0;
    p.top_p = 0.2f;
    s = open_sampler(&p, 6);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(pick(s, logits), 1);
    }
    sampler_close(s);
}

/* A sum of probabilities meets the limit exactly. top-p stops there; typical takes one token
 * more. */
static void test_exact_limits(void **state)
{
    (void)state;
    static const float equal[] = { 2, 2 };
    for (int typical = 0; typical < 2; typical++) {
        weft_sampling p = plain;
        p.top_p = typical ? 1 : 0.5f;
        p.typical_p = typical ? 0.5f : 1;
        struct sampler *s = open_sampler(&p, 2);
        size_t count[2] = { 0 };
        for (int i = 0; i < 200; i++) {
            count[pick(s, equal)]++;
        }
        assert_int_equal(count[1] > 0, typical);
        sampler_close(s);
    }
    /* min-p: the nearest floats around exp(-x) show that our exponential is right to that
     * precision. */
    for (int i = 0; i < 150; i++) {
        float x = (float)i * 0.1f + 0.01f;
        const float logits[] = { x, 0 };
        float limit = (float)expl(-(long double)x);
        for (int above = 0; above < 2; above++) {
            weft_sampling p = plain;
            p.min_p = nextafterf(limit, above ? 1 : 0);
            /* The temperature is high, so that both come equally often if both are kept. */
            p.temperature = 100;
            struct sampler *s = open_sampler(&p, 2);
            size_t second = 0;
            for (int k = 0; k < 60; k++) {
                second += pick(s, logits) == 1;
            }
            assert_int_equal(second > 0, !above);
            sampler_close(s);
        }
    }
}

/* Applies bias and penalties token by token, in float, as the formulas are written. */
static int slow_greedy(const weft_sampling *p, const float *logits, size_t n, const int32_t *past,
                       size_t n_past)
{
    int best = -1;
    float highest = 0;
    for (size_t i = 0; i < n; i++) {
        float logit = logits[i];
        for (size_t k = 0; k < p->n_bias; k++) {
            logit += p->bias[k].token == (int32_t)i ? p->bias[k].bias : 0;
        }
        int count = 0;
        for (size_t k = 0; k < n_past; k++) {
            bool inside = p->repeat_last_n == -1 || n_past - k <= (size_t)p->repeat_last_n;
            count += inside && past[k] == (int32_t)i;
        }
        if (count > 0) {
            logit = logit > 0 ? logit / p->repeat_penalty : logit * p->repeat_penalty;
            logit -= (float)count * p->frequency_penalty + p->presence_penalty;
        }
        if (best < 0 || logit > highest) {
            best = (int)i;
            highest = logit;
        }
    }
    return best;
}

static void test_bias_and_penalties_against_slow(void **state)
{
    (void)state;
    random_state = 7;
    size_t changed = 0;
    for (int round = 0; round < 3000; round++) {
        float logits[24];
        int32_t past[40];
        weft_logit_bias bias[6];
        random_logits(logits, 24);
        for (size_t i = 0; i < 40; i++) {
            past[i] = (int32_t)random_below(24);
        }
        weft_sampling p = plain;
        p.temperature = 0;
        p.repeat_penalty = (float)(0.5 + 1.5 * random_unit());
        p.frequency_penalty = (float)(4 * random_unit() - 2);
        p.presence_penalty = (float)(4 * random_unit() - 2);
        p.repeat_last_n = (int32_t)random_below(50);
        p.repeat_last_n = p.repeat_last_n == 0 ? -1 : p.repeat_last_n;
        p.bias = bias;
        p.n_bias = random_below(7);
        for (size_t i = 0; i < p.n_bias; i++) {
            bias[i] = (weft_logit_bias){ .token = (int32_t)(i * 4),
                                         .bias = (float)(10 * random_unit() - 5) };
        }
        struct sampler *s = open_sampler(&p, 24);
        size_t n_past = random_below(41);
        weft_error err;
        int32_t token = -1;
        /* The token is picked twice: the counts of the first call must be gone. */
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pick_in(s, logits,
                                     &(struct draw_context){ .past = past, .n_past = n_past },
                                     &token, &err),
                             WEFT_OK);
            assert_int_equal(token, slow_greedy(&p, logits, 24, past, n_past));
        }
        changed += token != slow_greedy(&plain, logits, 24, past, 0);
        sampler_close(s);
    }
    /* Most rounds must depend on the thing that is tested. */
    assert_true(changed > 1000);
}

static void test_same_seed_same_tokens(void **state)
{
    (void)state;
    random_state = 8;
    float logits[50];
    random_logits(logits, 50);
    weft_sampling p = WEFT_SAMPLING_INIT;
    p.seed = 42;
    struct sampler *a = open_sampler(&p, 50);
    struct sampler *b = open_sampler(&p, 50);
    p.seed = 43;
    struct sampler *c = open_sampler(&p, 50);
    size_t different = 0;
    for (int i = 0; i < 200; i++) {
        int32_t token = pick(a, logits);
        assert_int_equal(token, pick(b, logits));
        different += token != pick(c, logits);
    }
    assert_true(different > 20);
    sampler_close(a);
    sampler_close(b);
    sampler_close(c);
}

static void test_copy_keeps_the_random_state(void **state)
{
    (void)state;
    static const weft_logit_bias bias[] = { { 0, 2 }, { 9, -INFINITY } };
    random_state = 9;
    float logits[50];
    random_logits(logits, 50);
    weft_sampling p = WEFT_SAMPLING_INIT;
    p.bias = bias;
    p.n_bias = 2;
    struct sampler *a = open_sampler(&p, 50);
    for (int i = 0; i < 10; i++) {
        pick(a, logits);
    }
    struct sampler *b = NULL;
    weft_error err;
    assert_int_equal(sampler_copy(a, &b, &err), WEFT_OK);
    int32_t first[100];
    for (int i = 0; i < 100; i++) {
        first[i] = pick(a, logits);
    }
    sampler_close(a);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pick(b, logits), first[i]);
    }
    sampler_close(b);
    sampler_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step_against_slow),
        cmocka_unit_test(test_combinations_against_slow),
        cmocka_unit_test(test_random_numbers_are_the_published_ones),
        cmocka_unit_test(test_single_draws_are_predicted),
        cmocka_unit_test(test_top_k_of_a_large_vocabulary),
        cmocka_unit_test(test_ties_go_to_the_lowest_id),
        cmocka_unit_test(test_exact_limits),
        cmocka_unit_test(test_bias_and_penalties_against_slow),
        cmocka_unit_test(test_same_seed_same_tokens),
        cmocka_unit_test(test_copy_keeps_the_random_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
