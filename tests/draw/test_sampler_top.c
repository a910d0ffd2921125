/* Drawing from the best few logits gives the same as drawing from all of them: the same token, the
 * same status and the same random numbers afterwards, for samplings that look at no more than those
 * few. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "support/sampler_rig.h"

enum { MAX_VOCAB = 300 };

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}
static float unit(void) { return (float)below(1 << 24) * 0x1p-24f; }

/* Makes a row of one of four kinds: smooth; with many ties, also of both zeros; with infinities (a
 * quarter of the row, three quarters, or all of it); with a NaN. */
static void random_row(float *logits, size_t n)
{
    uint32_t kind = below(8);
    for (size_t i = 0; i < n; i++) {
        float x = 16 * unit() - 8;
        if (kind == 1) {
            x = (float)((int)below(5) - 2);
            x = x == 0 && below(2) ? -0.0f : x;
        } else if (kind == 2) {
            x = below(4) ? -INFINITY : x;
        } else if (kind == 3) {
            x = below(4) ? x : below(2) ? INFINITY : -INFINITY;
        } else if (kind == 4) {
            x = -INFINITY;
        }
        logits[i] = x;
    }
    if (kind == 5) {
        logits[below((uint32_t)n)] = below(2) ? NAN : -NAN;
    }
}

static weft_sampling random_sampling(void)
{
    weft_sampling p = plain;
    p.seed = below(1000);
    p.temperature = below(4) == 0 ? 0 : 0.1f + 3 * unit();
    p.top_k = (int32_t)(p.temperature == 0 ? below(100) : 1 + below(64));
    p.top_p = below(2) ? 1 : 0.05f + 0.9f * unit();
    p.min_p = below(2) ? 0 : 0.3f * unit();
    p.typical_p = below(2) ? 1 : 0.05f + 0.9f * unit();
    p.ignore_end = below(2);
    return p;
}

struct best {
    float value;
    int32_t id;
};

static int by_value(const void *a, const void *b)
{
    const struct best *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value ? 1 : -1) : x->id - y->id;
}

/* Finds the n best logits, as a backend gives them. */
static void best_of(const float *logits, size_t n_vocab, size_t n, int32_t *ids, float *values)
{
    struct best all[MAX_VOCAB];
    bool nan = false;
    for (size_t i = 0; i < n_vocab; i++) {
        all[i] = (struct best){ logits[i], (int32_t)i };
        nan |= isnan(logits[i]) != 0;
    }
    if (!nan) {
        qsort(all, n_vocab, sizeof *all, by_value);
    }
    for (size_t i = 0; i < n; i++) {
        ids[i] = nan ? -1 : all[i].id;
        values[i] = nan ? NAN : all[i].value;
    }
}

static void test_same_draws(void **state)
{
    (void)state;
    size_t n_drawn = 0, n_refused = 0, n_whole = 0;
    random_state = 1;
    for (size_t round = 0; round < 6000; round++) {
        size_t n_vocab = 1 + below(MAX_VOCAB), k = 0;
        weft_sampling p = random_sampling();
        struct sampler *whole = open_sampler(&p, n_vocab), *few = open_sampler(&p, n_vocab);
        /* An end token may stand twice, or not be in the vocabulary. */
        int32_t end[3] = { (int32_t)below(MAX_VOCAB), (int32_t)below((uint32_t)n_vocab), -1 };
        size_t n_end = below(4);
        if (!sampler_top(few, n_end, &k)) {
            assert_true(k > SAMPLER_TOP && p.ignore_end);
            n_whole++;
            /* This sampling needs all logits, so it gets all of them. */
            k = n_vocab;
        }
        assert_in_range(k, 1, n_vocab);
        for (size_t i = 0; i < 6; i++) {
            float logits[MAX_VOCAB], values[MAX_VOCAB];
            int32_t ids[MAX_VOCAB], want = -2, got = -2;
            /* Other sequences may have asked for more candidates. */
            size_t n = k + below((uint32_t)(n_vocab - k + 1));
            weft_error e1 = { 0 }, e2 = { 0 };
            random_row(logits, n_vocab);
            best_of(logits, n_vocab, n, ids, values);
            weft_status status = pick_in(
                whole, logits, &(struct draw_context){ .end = end, .n_end = n_end }, &want, &e1);
            assert_int_equal(sampler_pick_top(few, ids, values, n, end, n_end, &got, &e2), status);
            assert_int_equal(e2.code, e1.code);
            assert_int_equal(got, want);
            n_drawn += status == WEFT_OK;
            n_refused += status != WEFT_OK;
        }
        sampler_close(whole);
        sampler_close(few);
    }
    assert_true(n_drawn > 20000 && n_refused > 5000 && n_whole > 20);
}

/* How many candidates each sampling needs, and which samplings need the whole vocabulary. */
static void test_who_needs_how_many(void **state)
{
    (void)state;
    static const weft_logit_bias bias[] = { { 0, 0 } };
    struct {
        size_t want; /* 0 = all logits */
        weft_sampling p;
    } cases[15];
    for (size_t i = 0; i < 15; i++) {
        cases[i].p = plain;
        cases[i].p.top_k = 40;
        cases[i].want = 0;
    }
    cases[0].want = 40;
    cases[1].want = 1, cases[1].p.temperature = 0;
    cases[2].want = 1, cases[2].p.temperature = 0, cases[2].p.top_k = 0;
    cases[3].want = 64, cases[3].p.top_k = 64;
    cases[4].p.top_k = 65;
    cases[5].p.top_k = 0;
    cases[6].want = 43, cases[6].p.ignore_end = true;
    cases[7].p.bias = bias, cases[7].p.n_bias = 1;
    cases[8].p.repeat_penalty = 1.01f;
    cases[9].p.frequency_penalty = -0.1f;
    cases[10].p.presence_penalty = 0.1f, cases[10].p.temperature = 0;
    cases[11].want = 1, cases[11].p.top_k = 1;
    cases[12].want = 4, cases[12].p.temperature = 0, cases[12].p.ignore_end = true;
    cases[13].want = 64, cases[13].p.top_k = 61, cases[13].p.ignore_end = true;
    cases[14].p.top_k = 62, cases[14].p.ignore_end = true;
    for (size_t i = 0; i < 15; i++) {
        struct sampler *s = open_sampler(&cases[i].p, 1000);
        size_t k = 0;
        assert_int_equal(sampler_top(s, 3, &k), cases[i].want > 0);
        if (cases[i].want > 0) {
            assert_int_equal(k, cases[i].want);
        }
        sampler_close(s);
    }
    /* The vocabulary is smaller than top_k. */
    struct sampler *s = open_sampler(&cases[0].p, 7);
    size_t k = 0;
    assert_true(sampler_top(s, 3, &k));
    assert_int_equal(k, 7);
    sampler_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_draws),
        cmocka_unit_test(test_who_needs_how_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
