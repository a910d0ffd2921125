/* Texts that begin like earlier ones. Pages are found exactly where the text is the same from its
 * first token on; computing with them gives the same bits as without; and the pool neither loses a
 * page nor gives away one that is in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "run/prefix.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"

enum { N = 200 };

/* --- the index --- */

static void fill(int32_t *tokens, int32_t with)
{
    for (int32_t i = 0; i < KV_PAGE; i++) {
        tokens[i] = with * 1000 + i;
    }
}

static void test_index(void **state)
{
    (void)state;
    weft_error err;
    struct prefix_cache c;
    int32_t a[KV_PAGE], b[KV_PAGE];
    uint32_t page;
    assert_int_equal(prefix_open(&c, 5, &err), WEFT_OK);
    fill(a, 1);
    fill(b, 2);
    assert_false(prefix_find(&c, prefix_start(0), a, &page));
    prefix_learn(&c, 3, prefix_start(0), a);
    assert_true(prefix_find(&c, prefix_start(0), a, &page) && page == 3);
    assert_false(prefix_find(&c, prefix_start(0), b, &page));
    assert_false(prefix_find(&c, prefix_serial(&c, 3), a, &page));
    prefix_learn(&c, 1, prefix_serial(&c, 3), b);
    assert_true(prefix_find(&c, prefix_serial(&c, 3), b, &page) && page == 1);
    assert_false(prefix_find(&c, prefix_start(0), b, &page));
    /* No page is found for other RoPE factors either: no page has the serial with which their texts
     * start. */
    assert_false(prefix_find(&c, prefix_start(1), a, &page));
    assert_true(prefix_serial(&c, 1) > prefix_start(1));
    assert_true(prefix_serial(&c, 3) > prefix_start(1));
    /* The same content is known only once. A page whose parent is unknown does not become known. */
    prefix_learn(&c, 4, prefix_start(0), a);
    assert_true(prefix_serial(&c, 4) == 0);
    prefix_learn(&c, 4, 0, b);
    assert_true(prefix_serial(&c, 4) == 0);
    /* When the first page gets another text, the page that stood behind it is not found behind the
     * new text. */
    uint64_t before = prefix_serial(&c, 3);
    prefix_forget(&c, 3);
    assert_false(prefix_find(&c, prefix_start(0), a, &page));
    prefix_learn(&c, 3, prefix_start(0), b);
    assert_true(prefix_serial(&c, 3) != before);
    assert_false(prefix_find(&c, prefix_serial(&c, 3), b, &page));
    prefix_forget(&c, 1);
    prefix_forget(&c, 1);
    prefix_close(&c);
}

/* --- sequences --- */

static struct rig open_rig(size_t n_kv)
{
    const weft_engine_params p = {
        .size = sizeof p, .device = "cpu", .n_threads = 1, .n_kv = n_kv, .n_batch = 48
    };
    return rig_open_as(model_file("tiny-qwen2"), &p);
}

/* Returns the number of rows that were computed for the sequence's waiting tokens. */
static size_t rows_for(const struct rig *r, weft_seq *seq)
{
    uint64_t before = rig_info(r).n_rows;
    rig_compute(r, seq);
    return (size_t)(rig_info(r).n_rows - before);
}

static void check_bits(const struct rig *r, weft_seq *seq, const int32_t *tokens, size_t n)
{
    struct rig plain = rig_open(model_file("tiny-qwen2"), NULL);
    float *want = rig_expected(&plain, tokens, n), *got = rig_logits(r, seq);
    rig_same(r, got, want, "with pages found");
    free(want);
    free(got);
    rig_close(&plain);
}

/* A text comes again, while the first sequence runs and after it is gone; then a longer text, a
 * shorter one, another one. */
static void test_found(void **state)
{
    (void)state;
    for (int released = 0; released < 2; released++) {
        struct rig r = open_rig(1024);
        int32_t tokens[N + 1];
        rig_tokens(&r, 7, tokens, N + 1);
        weft_seq *first = rig_seq(&r, NULL);
        OK(weft_seq_append(first, tokens, N, E));
        assert_int_equal(rows_for(&r, first), N);
        assert_int_equal(weft_seq_cached(first), 0);
        if (released) {
            weft_seq_release(&first);
        }
        const struct {
            size_t n, other, cached; /* tokens, the first that differs, positions found */
        } cases[] = { { N, N, 192 },   { N + 1, N + 1, 192 }, { 193, N, 192 }, { 192, N, 128 },
                      { 129, N, 128 }, { 128, N, 64 },        { 65, N, 64 },   { 64, N, 0 },
                      { 1, N, 0 },     { N, 191, 128 },       { N, 64, 64 },   { N, 63, 0 },
                      { N, 0, 0 } };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            int32_t text[N + 1];
            memcpy(text, tokens, sizeof text);
            if (cases[i].other < cases[i].n) {
                text[cases[i].other] ^= 1;
            }
            weft_seq *seq = rig_seq(&r, NULL);
            OK(weft_seq_append(seq, text, cases[i].n, E));
            assert_int_equal(weft_seq_cached(seq), cases[i].cached);
            assert_int_equal(rows_for(&r, seq), cases[i].n - cases[i].cached);
            check_bits(&r, seq, text, cases[i].n);
            weft_seq_release(&seq);
        }
        weft_seq_release(&first);
        rig_close(&r);
    }
}

/* Generated text is known, too: a conversation is appended as a whole, with its answer. */
static void test_generated_text(void **state)
{
    (void)state;
    struct rig r = open_rig(1024);
    const weft_sampling greedy = {
        .size = sizeof greedy, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .ignore_end = true
    };
    int32_t tokens[N + 1], token;
    size_t n;
    rig_tokens(&r, 7, tokens, N);
    weft_seq *seq = rig_seq(&r, &greedy);
    OK(weft_seq_append(seq, tokens, 50, E));
    for (int i = 0; i < 90; i++) {
        rig_compute(&r, seq);
        OK(weft_seq_next(seq, &token, E));
    }
    OK(weft_seq_tokens(seq, tokens, N, &n, E));
    assert_int_equal(n, 140);
    weft_seq_release(&seq);
    seq = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, tokens, n, E));
    assert_int_equal(weft_seq_cached(seq), 128);
    rig_compute(&r, seq);
    check_bits(&r, seq, tokens, n);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Returns the state of tokens[N] with K and V that nobody computed: all of them 1, or all NaN. */
static unsigned char *forged(const struct rig *r, const int32_t *tokens, uint16_t half, size_t *n)
{
    weft_seq *seq = rig_seq(r, NULL);
    OK(weft_seq_append(seq, tokens, N, E));
    rig_compute(r, seq);
    assert_int_equal(weft_seq_save(seq, NULL, 0, n, E), WEFT_E_BUFFER);
    unsigned char *state = malloc(*n);
    assert_non_null(state);
    OK(weft_seq_save(seq, state, *n, n, E));
    weft_seq_release(&seq);
    /* This place lies well behind the tokens. */
    size_t kv = (*n - 8) / N * N / 2;
    for (size_t i = kv; i + 10 <= *n; i += sizeof half) {
        memcpy(state + i, &half, sizeof half);
    }
    uint64_t sum = hash64(HASH64_START, state, *n - 8);
    memcpy(state + *n - 8, &sum, sizeof sum);
    return state;
}

enum ways { LOADED, RELEASED, FORKED, REWOUND, CONTINUED, N_WAYS };

/* Uses the forged state in one of these ways. *left and *fork stay open; they may be NULL. */
static void use_forged(struct rig *r, enum ways way, const int32_t *tokens, weft_seq **left,
                       weft_seq **fork)
{
    int32_t token = 5;
    if (way == FORKED) {
        OK(weft_seq_fork(*left, fork, E));
        weft_seq_release(left);
    } else if (way == REWOUND) {
        OK(weft_seq_rewind(*left, 70, E));
        OK(weft_seq_append(*left, tokens + 70, N - 70, E));
    } else if (way == CONTINUED) {
        for (int i = 0; i < 50; i++) {
            OK(weft_seq_append(*left, &token, 1, E));
        }
    }
    rig_compute(r, way == FORKED ? *fork : *left);
    if (way == RELEASED) {
        weft_seq_release(left);
    }
}

/* A sequence that loads a forged state reads nonsense, but no other sequence does. */
static void test_given(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * N_WAYS; i++) {
        int32_t tokens[N];
        size_t n;
        struct rig honest = open_rig(1024), r = open_rig(1024);
        rig_tokens(&r, 7, tokens, N);
        unsigned char *data = forged(&honest, tokens, i % 2 == 0 ? 0x3c00 : 0x7e00, &n);
        rig_close(&honest);
        weft_seq *loaded = rig_seq(&r, NULL), *fork = NULL;
        OK(weft_seq_load(loaded, data, n, E));
        use_forged(&r, (enum ways)(i / 2), tokens, &loaded, &fork);
        weft_seq *victim = rig_seq(&r, NULL);
        OK(weft_seq_append(victim, tokens, N, E));
        assert_int_equal(weft_seq_cached(victim), 0);
        rig_compute(&r, victim);
        check_bits(&r, victim, tokens, N);
        /* From position 0 on everything is computed here, and other sequences find it. */
        weft_seq_release(&victim);
        weft_seq_release(&fork);
        weft_seq_release(&loaded);
        loaded = rig_seq(&r, NULL);
        OK(weft_seq_load(loaded, data, n, E));
        OK(weft_seq_rewind(loaded, 0, E));
        OK(weft_seq_append(loaded, tokens, N, E));
        rig_compute(&r, loaded);
        check_bits(&r, loaded, tokens, N);
        weft_seq_release(&loaded);
        free(data);
        rig_close(&r);
    }
}

/* A rewind into a page that was found leaves the page to the other text, and the page is not found
 * for a text that it no longer holds. */
static void test_rewind(void **state)
{
    (void)state;
    struct rig r = open_rig(1024);
    int32_t tokens[N], other[N];
    rig_tokens(&r, 7, tokens, N);
    weft_seq *a = rig_seq(&r, NULL), *b = rig_seq(&r, NULL), *c = rig_seq(&r, NULL);
    OK(weft_seq_append(a, tokens, N, E));
    rig_compute(&r, a);
    OK(weft_seq_append(b, tokens, N, E));
    assert_int_equal(weft_seq_cached(b), 192);
    rig_compute(&r, b);
    memcpy(other, tokens, sizeof other);
    for (size_t i = 30; i < N; i++) {
        other[i] ^= 1;
    }
    OK(weft_seq_rewind(b, 30, E));
    OK(weft_seq_append(b, other + 30, N - 30, E));
    rig_compute(&r, b);
    check_bits(&r, b, other, N);
    OK(weft_seq_rewind(a, N, E));
    rig_compute(&r, a);
    check_bits(&r, a, tokens, N);
    /* The sequence is now alone on its pages, so they are written in place. */
    OK(weft_seq_rewind(a, 30, E));
    OK(weft_seq_append(a, other + 30, 60, E));
    rig_compute(&r, a);
    check_bits(&r, a, other, 90);
    OK(weft_seq_append(c, tokens, N, E));
    assert_int_equal(weft_seq_cached(c), 0);
    rig_compute(&r, c);
    check_bits(&r, c, tokens, N);
    weft_seq_release(&a);
    weft_seq_release(&b);
    weft_seq_release(&c);
    rig_close(&r);
}

/* Pages that are kept only because their text may come again count as free. When no others are
 * left, they are used again, and those that were given up first are used first. */
static void test_small_pool(void **state)
{
    (void)state;
    struct rig r = open_rig(256); /* 4 pages */
    int32_t a[N], b[N];
    rig_tokens(&r, 1, a, N);
    rig_tokens(&r, 2, b, N);
    weft_seq *seq = rig_fed(&r, a, 65); /* 2 pages, 1 of them known */
    weft_seq_release(&seq);
    assert_int_equal(rig_free(&r), 256);
    seq = rig_fed(&r, b, 193); /* takes all 4 */
    weft_seq_release(&seq);
    seq = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, a, 65, E));
    assert_int_equal(weft_seq_cached(seq), 0);
    rig_compute(&r, seq);
    check_bits(&r, seq, a, 65);
    weft_seq_release(&seq);
    /* The text a took one page that held a part of b. Whichever it was, every page that is still
     * found for b must hold what b needs. */
    seq = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, b, 193, E));
    rig_compute(&r, seq);
    check_bits(&r, seq, b, 193);
    /* There is no room. Nothing changes, and the pages that had been found are given back. */
    weft_seq *more = rig_seq(&r, NULL);
    FAILS(WEFT_E_KV_FULL, weft_seq_append(more, b, 193, E));
    assert_int_equal(weft_seq_cached(more), 0);
    assert_int_equal(weft_seq_len(more), 0);
    weft_seq_release(&seq);
    OK(weft_seq_append(more, b, 193, E));
    assert_int_equal(weft_seq_cached(more), 192);
    rig_compute(&r, more);
    check_bits(&r, more, b, 193);
    weft_seq_release(&more);
    rig_close(&r);
}

static void test_switched_off(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    int32_t tokens[N];
    rig_tokens(&r, 7, tokens, N);
    for (int i = 0; i < 2; i++) {
        weft_seq *seq = rig_seq(&r, NULL);
        OK(weft_seq_append(seq, tokens, N, E));
        assert_int_equal(rows_for(&r, seq), N);
        assert_int_equal(weft_seq_cached(seq), 0);
        weft_seq_release(&seq);
    }
    assert_int_equal(rig_info(&r).n_cached, 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index),          cmocka_unit_test(test_found),
        cmocka_unit_test(test_generated_text), cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_small_pool),     cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_given),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
