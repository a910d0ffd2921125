/* LongRoPE: the length of a text alone decides which RoPE factors all its positions have. Whichever
 * way a sequence crosses that length, it ends with the bits of a text that is appended as a whole,
 * in an engine of any context. Random schedules cross it too (test_schedule.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/state.h"

enum { PAGE = 64, N_CTX = 256, SHORT = 130 };

/* An engine with these sizes; the expected logits come from one in which nothing else happens. */
struct bench {
    struct rig r, alone;
    int32_t tokens[N_CTX];
};

static struct bench bench_open(size_t n_pages, bool prefix_cache)
{
    const weft_engine_params p = { .size = sizeof p,
                                   .n_ctx = N_CTX,
                                   .n_kv = n_pages * PAGE,
                                   .n_batch = 50,
                                   .n_threads = 1,
                                   .device = "cpu",
                                   .no_prefix_cache = !prefix_cache };
    const char *file = model_file_long(SHORT);
    struct bench b = { .r = rig_open_as(file, &p), .alone = rig_open(file, NULL) };
    rig_tokens(&b.r, 5, b.tokens, N_CTX);
    return b;
}

static void bench_close(struct bench *b)
{
    rig_close(&b->r);
    rig_close(&b->alone);
}

static uint64_t n_again(const struct bench *b)
{
    weft_engine_stats s = { .size = sizeof s };
    OK(weft_engine_get_stats(b->r.engine, &s, E));
    return s.n_again;
}

/* The sequence holds the first n tokens, of which n_waiting wait, and gives the bits of a text of
 * its own. */
static void expect(const struct bench *b, weft_seq *seq, size_t n, size_t n_waiting)
{
    int32_t tokens[N_CTX];
    size_t n_got;
    assert_int_equal(weft_seq_pending(seq), n_waiting);
    rig_compute(&b->r, seq);
    OK(weft_seq_tokens(seq, tokens, N_CTX, &n_got, E));
    assert_int_equal(n_got, n);
    float *got = rig_logits(&b->r, seq), *want = rig_expected(&b->alone, tokens, n);
    rig_same(&b->r, got, want, "logits");
    free(got);
    free(want);
}

/* The border matters only if the two sets of factors differ, and only for longer texts than it
 * says. */
static void test_context(void **state)
{
    (void)state;
    const char *file = model_file_long(SHORT);
    const weft_engine_params brief = { .size = sizeof brief, .n_ctx = SHORT, .n_threads = 1 };
    struct rig a = rig_open(file, &brief), b = rig_open(file, NULL);
    const char *other = model_file_long(SHORT - 1);
    struct rig c = rig_open(other, NULL);
    weft_model_info info = { .size = sizeof info };
    int32_t tokens[SHORT];
    OK(weft_model_get_info(a.model, &info, E));
    assert_int_equal(info.n_rope_short, SHORT);
    rig_tokens(&a, 5, tokens, SHORT);
    float *want = rig_expected(&a, tokens, SHORT), *got = rig_expected(&b, tokens, SHORT);
    rig_same(&a, got, want, "a short text in a long context");
    /* With the same weights and a lower border, this text is one token too long for the short
     * factors. */
    float *longer = rig_expected(&c, tokens, SHORT);
    assert_true(memcmp(longer, want, a.n_vocab * sizeof *want) != 0);
    free(want);
    free(got);
    free(longer);
    rig_close(&a);
    rig_close(&b);
    rig_close(&c);
    struct rig none = rig_open(model_file("tiny-phi3"), NULL);
    OK(weft_model_get_info(none.model, &info, E));
    assert_int_equal(info.n_rope_short, 0);
    rig_close(&none);
}

static void test_append(void **state)
{
    (void)state;
    struct bench b = bench_open(8, false);
    weft_seq *seq = rig_fed(&b.r, b.tokens, 100);
    OK(weft_seq_append(seq, b.tokens + 100, SHORT - 100, E));
    expect(&b, seq, SHORT, 0 + SHORT - 100);
    OK(weft_seq_append(seq, b.tokens + SHORT, 1, E));
    assert_int_equal(n_again(&b), SHORT);
    /* The text has crossed the border, so all its positions wait. */
    expect(&b, seq, SHORT + 1, SHORT + 1);
    OK(weft_seq_append(seq, b.tokens + SHORT + 1, 20, E));
    expect(&b, seq, SHORT + 21, 20);
    assert_int_equal(n_again(&b), SHORT);
    weft_seq_release(&seq);
    bench_close(&b);
}

static void test_draw(void **state)
{
    (void)state;
    struct bench b = bench_open(8, true);
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    greedy.temperature = 0;
    greedy.ignore_end = true;
    weft_seq *seq = rig_seq(&b.r, &greedy);
    int32_t token;
    OK(weft_seq_append(seq, b.tokens, SHORT - 2, E));
    for (size_t n = SHORT - 2; n < SHORT + 3; n++) {
        rig_compute(&b.r, seq);
        OK(weft_seq_next(seq, &token, E));
        expect(&b, seq, n + 1, n == SHORT ? n + 1 : 1);
    }
    assert_int_equal(n_again(&b), SHORT);
    weft_seq_release(&seq);
    bench_close(&b);
}

static void test_rewind(void **state)
{
    (void)state;
    struct bench b = bench_open(8, false);
    weft_seq *seq = rig_fed(&b.r, b.tokens, 200);
    OK(weft_seq_rewind(seq, SHORT + 1, E));
    expect(&b, seq, SHORT + 1, 1);
    OK(weft_seq_rewind(seq, SHORT, E));
    expect(&b, seq, SHORT, SHORT);
    OK(weft_seq_rewind(seq, 3, E));
    expect(&b, seq, 3, 1);
    OK(weft_seq_rewind(seq, 0, E));
    OK(weft_seq_append(seq, b.tokens, 200, E));
    expect(&b, seq, 200, 200);
    weft_seq_release(&seq);
    bench_close(&b);
}

/* Both sequences go their own ways over the border; neither disturbs the other. */
static void test_fork(void **state)
{
    (void)state;
    struct bench b = bench_open(12, true);
    weft_seq *seq = rig_fed(&b.r, b.tokens, SHORT - 1), *copy, *third;
    OK(weft_seq_fork(seq, &copy, E));
    OK(weft_seq_append(copy, b.tokens + SHORT - 1, 30, E));
    expect(&b, copy, SHORT + 29, SHORT + 29);
    OK(weft_seq_append(seq, b.tokens + SHORT - 1, 1, E));
    expect(&b, seq, SHORT, 1);
    OK(weft_seq_fork(copy, &third, E));
    OK(weft_seq_rewind(third, 90, E));
    expect(&b, third, 90, 90 - PAGE); /* a page of the first sequence is known */
    OK(weft_seq_append(copy, b.tokens, 1, E));
    expect(&b, copy, SHORT + 30, 1);
    weft_seq_release(&seq);
    weft_seq_release(&copy);
    weft_seq_release(&third);
    bench_close(&b);
}

/* A state goes on where it was. A state whose K was computed with other factors than its length
 * asks for is computed again; version 0.1.0 wrote such states. */
static void test_load(void **state)
{
    (void)state;
    struct bench b = bench_open(8, true);
    static const size_t lengths[] = { SHORT, SHORT + 1 };
    for (uint32_t i = 0; i < 2; i++) {
        weft_seq *seq = rig_fed(&b.r, b.tokens, lengths[i]);
        struct state s = state_save(seq);
        weft_seq_release(&seq);
        assert_int_equal(s.data[STATE_FACTORS], 1 + i);
        weft_seq *next = state_load(&b.r, &s);
        expect(&b, next, lengths[i], 1);
        OK(weft_seq_append(next, b.tokens + lengths[i], 1, E));
        expect(&b, next, lengths[i] + 1, i == 0 ? lengths[i] + 1 : 1);
        weft_seq_release(&next);
        const size_t kv = STATE_HEADER + lengths[i] * sizeof(int32_t);
        memset(s.data + kv, 0x7b, s.n - kv);
        state_put(&s, STATE_FACTORS, 2 - i, 4);
        next = state_load(&b.r, &s);
        expect(&b, next, lengths[i], lengths[i]);
        weft_seq_release(&next);
        free(s.data);
    }
    bench_close(&b);
}

/* Pages are known by their RoPE factors too: a text finds only pages with its own factors, also
 * while it crosses the border. */
static void test_known(void **state)
{
    (void)state;
    struct bench b = bench_open(12, true);
    weft_seq *seq = rig_fed(&b.r, b.tokens, 200);
    weft_seq_release(&seq);
    seq = rig_seq(&b.r, NULL);
    OK(weft_seq_append(seq, b.tokens, SHORT, E));
    expect(&b, seq, SHORT, SHORT);
    assert_int_equal(weft_seq_cached(seq), 0);
    OK(weft_seq_append(seq, b.tokens + SHORT, 63, E));
    assert_int_equal(weft_seq_cached(seq), 3 * PAGE);
    expect(&b, seq, SHORT + 63, 1);
    weft_seq_release(&seq);
    bench_close(&b);
}

static void count_shown(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    size_t *shown = user;
    (void)logits;
    (void)n_vocab;
    shown[pos]++;
}

/* An observer gets the positions again that are computed again. */
static void test_observed(void **state)
{
    (void)state;
    struct bench b = bench_open(8, true);
    size_t shown[N_CTX] = { 0 };
    weft_seq *seq = rig_seq(&b.r, NULL);
    OK(weft_seq_observe(seq, count_shown, shown, E));
    OK(weft_seq_append(seq, b.tokens, SHORT, E));
    rig_compute(&b.r, seq);
    OK(weft_seq_append(seq, b.tokens + SHORT, 2, E));
    expect(&b, seq, SHORT + 2, SHORT + 2);
    for (size_t i = 0; i < SHORT + 2; i++) {
        assert_int_equal(shown[i], i < SHORT ? 2 : 1);
    }
    weft_seq_release(&seq);
    bench_close(&b);
}

/* Memory that was set aside lasts over the border, whatever others take meanwhile; a fork gets no
 * part of it. */
static void test_reserve(void **state)
{
    (void)state;
    struct bench b = bench_open(7, true);
    weft_seq *seq = rig_fed(&b.r, b.tokens, 2 * PAGE), *copy, *other, *greedy;
    OK(weft_seq_fork(seq, &copy, E));
    OK(weft_seq_reserve(seq, PAGE, E)); /* 3 pages of its own */
    other = rig_seq(&b.r, NULL);
    OK(weft_seq_append(other, b.tokens + 7, rig_free(&b.r), E));
    assert_int_equal(rig_free(&b.r), 0);
    greedy = rig_seq(&b.r, NULL);
    FAILS(WEFT_E_KV_FULL, weft_seq_append(greedy, b.tokens, 1, E));
    OK(weft_seq_append(seq, b.tokens + 2 * PAGE, PAGE, E));
    expect(&b, seq, 3 * PAGE, 3 * PAGE);
    expect(&b, copy, 2 * PAGE, 0);
    weft_seq_release(&greedy);
    weft_seq_release(&other);
    weft_seq_release(&copy);
    /* A fork of a sequence that has memory set aside beyond the border needs pages of its own for
     * all positions. */
    OK(weft_seq_rewind(seq, 2 * PAGE, E));
    OK(weft_seq_reserve(seq, PAGE, E));
    rig_compute(&b.r, seq);
    other = rig_seq(&b.r, NULL);
    OK(weft_seq_append(other, b.tokens + 7, 3 * PAGE, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_fork(seq, &copy, E));
    OK(weft_seq_rewind(other, 2 * PAGE, E));
    OK(weft_seq_fork(seq, &copy, E));
    OK(weft_seq_append(seq, b.tokens + 2 * PAGE, PAGE, E));
    expect(&b, seq, 3 * PAGE, 3 * PAGE);
    expect(&b, copy, 2 * PAGE, 0);
    weft_seq_release(&seq);
    weft_seq_release(&copy);
    weft_seq_release(&other);
    bench_close(&b);
}

/* Memory that was set aside lasts over the border too if the sequence was empty when it set the
 * memory aside, and then finds known pages. */
static void test_reserve_empty(void **state)
{
    (void)state;
    struct bench b = bench_open(6, true);
    weft_seq *first = rig_fed(&b.r, b.tokens, PAGE + 1), *seq = rig_seq(&b.r, NULL), *other;
    OK(weft_seq_reserve(seq, 3 * PAGE, E));
    OK(weft_seq_append(seq, b.tokens, PAGE + 1, E));
    rig_compute(&b.r, seq);
    other = rig_seq(&b.r, NULL);
    OK(weft_seq_append(other, b.tokens + 7, rig_free(&b.r), E));
    assert_int_equal(rig_free(&b.r), 0);
    OK(weft_seq_append(seq, b.tokens + PAGE + 1, 2 * PAGE - 1, E));
    expect(&b, seq, 3 * PAGE, 3 * PAGE);
    weft_seq_release(&first);
    weft_seq_release(&other);
    weft_seq_release(&seq);
    bench_close(&b);
}

/* Without pages for a private copy of what is shared, the call changes nothing. */
static void test_full(void **state)
{
    (void)state;
    struct bench b = bench_open(4, false);
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.ignore_end = true;
    weft_seq *seq = rig_seq(&b.r, &s), *copy;
    int32_t token;
    OK(weft_seq_append(seq, b.tokens, SHORT, E));
    rig_compute(&b.r, seq);
    OK(weft_seq_fork(seq, &copy, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_append(copy, b.tokens + SHORT, 1, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_next(copy, &token, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_reserve(copy, 1, E));
    expect(&b, copy, SHORT, 0);
    weft_seq_release(&copy);
    OK(weft_seq_append(seq, b.tokens + SHORT, 1, E));
    rig_compute(&b.r, seq);
    OK(weft_seq_fork(seq, &copy, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_rewind(copy, SHORT, E));
    expect(&b, copy, SHORT + 1, 0);
    weft_seq_release(&copy);
    weft_seq_release(&seq);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context), cmocka_unit_test(test_append),
        cmocka_unit_test(test_draw),    cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_fork),    cmocka_unit_test(test_load),
        cmocka_unit_test(test_known),   cmocka_unit_test(test_observed),
        cmocka_unit_test(test_reserve), cmocka_unit_test(test_reserve_empty),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
