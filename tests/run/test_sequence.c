/* A sequence through its life: fork and rewind against sequences made anew, bit by bit; full pools
 * and full contexts; the three ways to finish; text, stop strings and seeds; cancelling. Every test
 * ends with all pages free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

enum { PAGE = 64 };

static struct rig open_tiny(size_t n_ctx, size_t n_kv)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.n_threads = 1;
    p.n_ctx = n_ctx;
    p.n_kv = n_kv;
    return rig_open(model_file("tiny-qwen2"), &p);
}

/* Returns a sampling that is sure to draw the token of this bias. */
static weft_sampling always(const weft_logit_bias *bias)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 0.0f;
    s.bias = bias;
    s.n_bias = 1;
    return s;
}

static int32_t end_token(const struct rig *r)
{
    weft_model_info info = { .size = sizeof info };
    OK(weft_model_get_info(r->model, &info, E));
    assert_true(weft_token_is_end(r->model, info.eos));
    return info.eos;
}

/* Returns the single token of a text. */
static int32_t token_of(const struct rig *r, const char *text)
{
    int32_t token[8];
    size_t n = 0;
    OK(weft_tokenize(r->model, text, strlen(text), 0, token, 8, &n, E));
    assert_int_equal(n, 1);
    return token[0];
}

static void draw(const struct rig *r, weft_seq *seq, int32_t want)
{
    weft_logit_bias bias = { want, 1e4f };
    weft_sampling s = always(&bias);
    int32_t token = -1;
    OK(weft_seq_set_sampling(seq, &s, E));
    rig_compute(r, seq);
    OK(weft_seq_next(seq, &token, E));
    assert_int_equal(token, want);
}

/* Takes all text that is ready and compares it. */
static void expect_text(weft_seq *seq, const char *want)
{
    char text[256];
    size_t n;
    OK(weft_seq_text(seq, text, sizeof text - 1, &n, E));
    text[n] = '\0';
    assert_string_equal(text, want);
}

/* ---------------------------------------------------------------- fork */

/* Forks after n computed tokens, and lets the two sequences go different ways. Each is compared
 * with a sequence of its own. */
static void check_fork(const struct rig *r, size_t n, size_t n_pending)
{
    int32_t a[160], b[160];
    rig_tokens(r, n, a, 160);
    rig_tokens(r, n + 1, b, 160);
    memcpy(b, a, (n + n_pending) * sizeof *a);
    weft_seq *first = n > 0 ? rig_fed(r, a, n) : rig_seq(r, NULL), *second = NULL;
    OK(weft_seq_append(first, a + n, n_pending, E));
    n += n_pending;
    OK(weft_seq_fork(first, &second, E));
    assert_int_equal(weft_seq_len(second), n);
    assert_int_equal(weft_seq_pending(second), n_pending);
    OK(weft_seq_append(second, b + n, 7, E));
    rig_compute(r, second);
    OK(weft_seq_append(first, a + n, 3, E));
    rig_compute(r, first);
    rig_check(r, first, a, n + 3, "the forked sequence");
    rig_check(r, second, b, n + 7, "the fork");
    /* The fork must not see what the first sequence writes into its page, also not later, after the
     * first was released. */
    weft_seq_release(&first);
    OK(weft_seq_append(second, b + n + 7, 2, E));
    rig_compute(r, second);
    rig_check(r, second, b, n + 9, "the fork, alone");
    weft_seq_release(&second);
}

static void test_fork(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 30, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE };
    struct rig r = open_tiny(0, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_fork(&r, sizes[i], 0);
        check_fork(&r, sizes[i], 5);
    }
    rig_close(&r);
}

/* Logits, random state and text state are part of a fork: both sequences go on with the same
 * text. */
static void test_fork_after_next(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t tokens[20], a, b;
    rig_tokens(&r, 9, tokens, 20);
    weft_seq *first = rig_fed(&r, tokens, 20), *second = NULL;
    for (size_t i = 0; i < 5; i++) {
        OK(weft_seq_next(first, &a, E));
        rig_compute(&r, first);
    }
    OK(weft_seq_fork(first, &second, E));
    char text_a[512], text_b[512];
    rig_generate(&r, first, 60, text_a, sizeof text_a);
    rig_generate(&r, second, 60, text_b, sizeof text_b);
    assert_string_equal(text_a, text_b);
    assert_true(weft_seq_len(first) > 26);
    assert_int_equal(weft_seq_len(first), weft_seq_len(second));
    /* The fork follows right after next(): the new token waits in both sequences. */
    weft_seq_release(&second);
    OK(weft_seq_rewind(first, 20, E));
    rig_compute(&r, first);
    OK(weft_seq_next(first, &a, E));
    OK(weft_seq_fork(first, &second, E));
    FAILS(WEFT_E_STATE, weft_seq_next(second, &b, E));
    tokens[0] = a;
    rig_compute(&r, first);
    rig_compute(&r, second);
    float *la = rig_logits(&r, first), *lb = rig_logits(&r, second);
    rig_same(&r, la, lb, "fork with a waiting token");
    free(la);
    free(lb);
    weft_seq_release(&first);
    weft_seq_release(&second);
    rig_close(&r);
}

/* A prefix in full pages costs nothing. If it ends in the middle of a page, this page is copied
 * when it is written. */
static void test_fork_pages(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 1024);
    int32_t tokens[150];
    rig_tokens(&r, 5, tokens, 150);
    weft_seq *seqs[6] = { rig_fed(&r, tokens, 2 * PAGE + 10) };
    size_t before = rig_free(&r);
    assert_int_equal(before, 1024 - 3 * PAGE);
    for (size_t i = 1; i < 6; i++) {
        OK(weft_seq_fork(seqs[0], &seqs[i], E));
    }
    assert_int_equal(rig_free(&r), before);
    for (size_t i = 1; i < 6; i++) {
        OK(weft_seq_append(seqs[i], tokens, 1, E));
        assert_int_equal(rig_free(&r), before - i * PAGE);
    }
    /* Only one sequence still uses the first of the two pages, so it writes in place. */
    OK(weft_seq_append(seqs[0], tokens, 1, E));
    assert_int_equal(rig_free(&r), before - 5 * PAGE);
    for (size_t i = 0; i < 6; i++) {
        weft_seq_release(&seqs[i]);
    }
    rig_close(&r);
}

/* ---------------------------------------------------------------- rewind */

static void test_rewind(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t a[140], b[140];
    rig_tokens(&r, 1, a, 140);
    weft_seq *seq = rig_fed(&r, a, 130);
    for (size_t n = 130; n-- > 1;) {
        rig_tokens(&r, n, b, 140);
        OK(weft_seq_rewind(seq, n, E));
        assert_int_equal(weft_seq_len(seq), n);
        assert_int_equal(weft_seq_pending(seq), 1);
        assert_int_equal(rig_free(&r), 4096 - (n + PAGE - 1) / PAGE * PAGE);
        if (n % 13 == 0 || n % PAGE < 2) {
            rig_compute(&r, seq);
            rig_check(&r, seq, a, n, "rewound");
        }
        memcpy(b, a, n * sizeof *a);
        OK(weft_seq_append(seq, b + n, 3, E));
        rig_compute(&r, seq);
        rig_check(&r, seq, b, n + 3, "rewound and continued");
        OK(weft_seq_rewind(seq, n, E));
    }
    rig_compute(&r, seq);
    OK(weft_seq_rewind(seq, 0, E));
    assert_int_equal(weft_seq_len(seq), 0);
    assert_int_equal(weft_seq_pending(seq), 0);
    /* Nothing waits, and yet there are no logits: the logits from before belong to a text that is
     * gone. */
    int32_t token;
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_STATE, weft_seq_logits(seq, NULL, 0, NULL, E));
    assert_int_equal(rig_free(&r), 4096);
    OK(weft_seq_append(seq, b, 5, E));
    rig_compute(&r, seq);
    rig_check(&r, seq, b, 5, "rewound to nothing");
    FAILS(WEFT_E_ARG, weft_seq_rewind(seq, 6, E));
    rig_message((const char *const[]){ "6", "5", NULL });
    weft_seq_release(&seq);
    rig_close(&r);
}

/* A sequence with waiting tokens is rewound into a page that it shares; the other sequence stays as
 * it is. */
static void test_rewind_fork(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t a[140], b[140];
    rig_tokens(&r, 1, a, 140);
    rig_tokens(&r, 2, b, 140);
    for (size_t n = 1; n < 130; n += 11) {
        weft_seq *first = rig_fed(&r, a, 130), *second = NULL;
        OK(weft_seq_fork(first, &second, E));
        size_t before = rig_free(&r);
        OK(weft_seq_rewind(second, n, E));
        /* The token that is computed again goes into a page of the sequence's own. */
        assert_int_equal(rig_free(&r), before - PAGE);
        memcpy(b, a, n * sizeof *a);
        OK(weft_seq_append(second, b + n, 5, E));
        OK(weft_seq_rewind(second, n + 2, E));
        rig_compute(&r, second);
        rig_check(&r, second, b, n + 2, "the rewound fork");
        OK(weft_seq_append(first, a + 130, 2, E));
        rig_compute(&r, first);
        rig_check(&r, first, a, 132, "the other one");
        weft_seq_release(&first);
        weft_seq_release(&second);
    }
    rig_close(&r);
}

/* ---------------------------------------------------------------- limits */

static void test_kv_full(void **state)
{
    (void)state;
    struct rig r = open_tiny(256, 4 * PAGE);
    int32_t tokens[256], token;
    rig_tokens(&r, 1, tokens, 256);
    weft_seq *a = rig_fed(&r, tokens, 2 * PAGE), *b = rig_fed(&r, tokens, PAGE), *c = NULL;
    assert_int_equal(rig_free(&r), PAGE);
    FAILS(WEFT_E_KV_FULL, weft_seq_append(b, tokens, PAGE + 1, E));
    rig_message((const char *const[]){ "4 pages", "1 of them free", "needs 2", NULL });
    assert_int_equal(rig_free(&r), PAGE);
    assert_int_equal(weft_seq_len(b), PAGE);
    assert_int_equal(weft_seq_pending(b), 0);
    rig_compute(&r, b);
    /* The logits survive the refusal. The pool is filled to the last page, so next() has no
     * room. */
    OK(weft_seq_append(b, tokens, PAGE, E));
    assert_int_equal(rig_free(&r), 0);
    rig_compute(&r, b);
    FAILS(WEFT_E_KV_FULL, weft_seq_next(b, &token, E));
    OK(weft_seq_fork(b, &c, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_next(c, &token, E));
    weft_seq_release(&a);
    assert_int_equal(rig_free(&r), 2 * PAGE);
    OK(weft_seq_next(b, &token, E));
    OK(weft_seq_next(c, &token, E));
    rig_compute(&r, b);
    weft_seq_release(&b);
    weft_seq_release(&c);
    rig_close(&r);
}

/* The pool is full, but the rewind itself frees the page that it needs. */
static void test_kv_full_rewind(void **state)
{
    (void)state;
    struct rig r = open_tiny(256, 4 * PAGE);
    int32_t tokens[256];
    rig_tokens(&r, 1, tokens, 256);
    weft_seq *a = rig_fed(&r, tokens, 2 * PAGE + 9), *b = NULL, *c = NULL;
    OK(weft_seq_fork(a, &b, E));
    OK(weft_seq_append(b, tokens, 1, E));
    assert_int_equal(rig_free(&r), 0);
    OK(weft_seq_rewind(b, PAGE + 3, E));
    assert_int_equal(rig_free(&r), 0);
    rig_compute(&r, b);
    /* All pages of this sequence are shared, so a rewind frees none. It is refused, and everything
     * is as before. */
    OK(weft_seq_fork(a, &c, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_rewind(c, PAGE + 3, E));
    assert_int_equal(weft_seq_len(c), 2 * PAGE + 9);
    assert_int_equal(weft_seq_pending(c), 0);
    weft_seq_release(&a);
    weft_seq_release(&c);
    rig_check(&r, b, tokens, PAGE + 3, "the rewound fork");
    weft_seq_release(&b);
    rig_close(&r);
}

/* The waiting tokens of a fork need pages of their own, and there are none. */
static void test_kv_full_fork(void **state)
{
    (void)state;
    struct rig r = open_tiny(256, 2 * PAGE);
    int32_t tokens[100];
    rig_tokens(&r, 1, tokens, 100);
    weft_seq *a = rig_fed(&r, tokens, 60), *b = NULL;
    OK(weft_seq_append(a, tokens + 60, 40, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_fork(a, &b, E));
    assert_null(b);
    assert_int_equal(rig_info(&r).n_seqs, 1);
    rig_compute(&r, a);
    OK(weft_seq_fork(a, &b, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_append(b, tokens, 1, E));
    OK(weft_seq_append(b, tokens, 0, E));
    weft_seq_release(&a);
    OK(weft_seq_append(b, tokens, 1, E));
    weft_seq_release(&b);
    rig_close(&r);
}

static void test_ctx_full(void **state)
{
    (void)state;
    struct rig r = open_tiny(100, 0);
    int32_t tokens[128], token;
    char text[1024];
    rig_tokens(&r, 1, tokens, 128);
    weft_seq *seq = rig_fed(&r, tokens, 90);
    size_t before = rig_free(&r);
    FAILS(WEFT_E_CTX_FULL, weft_seq_append(seq, tokens, 11, E));
    rig_message((const char *const[]){ "11", "90", "100", NULL });
    assert_int_equal(weft_seq_len(seq), 90);
    assert_int_equal(rig_free(&r), before);
    OK(weft_seq_append(seq, tokens, 8, E));
    /* There are two more places: the second token fills the context, so it is the last. */
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.ignore_end = true;
    OK(weft_seq_set_sampling(seq, &s, E));
    rig_generate(&r, seq, SIZE_MAX, text, sizeof text);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_LENGTH);
    assert_int_equal(weft_seq_len(seq), 100);
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_CTX_FULL, weft_seq_append(seq, tokens, 1, E));
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_LENGTH);
    OK(weft_seq_rewind(seq, 99, E));
    assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
    rig_compute(&r, seq);
    OK(weft_seq_next(seq, &token, E));
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_LENGTH);
    weft_seq_release(&seq);
    /* A prompt that fills the context leaves no place for an answer. */
    seq = rig_fed(&r, tokens, 100);
    FAILS(WEFT_E_CTX_FULL, weft_seq_next(seq, &token, E));
    weft_seq_release(&seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- finishing, text, seeds */

static void test_end(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t tokens[10], end = end_token(&r), token;
    rig_tokens(&r, 1, tokens, 10);
    weft_seq *seq = rig_fed(&r, tokens, 10);
    draw(&r, seq, token_of(&r, " the"));
    draw(&r, seq, end);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_END);
    expect_text(seq, " the");
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    /* The token waits until more is appended. */
    assert_int_equal(weft_seq_pending(seq), 1);
    OK(weft_engine_step(r.engine, NULL, E));
    assert_int_equal(weft_seq_pending(seq), 1);
    OK(weft_seq_append(seq, tokens, 2, E));
    assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
    rig_compute(&r, seq);
    const int32_t all[] = { tokens[0],
                            tokens[1],
                            tokens[2],
                            tokens[3],
                            tokens[4],
                            tokens[5],
                            tokens[6],
                            tokens[7],
                            tokens[8],
                            tokens[9],
                            token_of(&r, " the"),
                            end,
                            tokens[0],
                            tokens[1] };
    rig_check(&r, seq, all, 14, "after an end");
    int32_t got[14];
    size_t n;
    OK(weft_seq_tokens(seq, got, 14, &n, E));
    assert_int_equal(n, 14);
    assert_memory_equal(got, all, sizeof all);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_ignore_end(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t tokens[10], token;
    rig_tokens(&r, 1, tokens, 10);
    weft_seq *seq = rig_fed(&r, tokens, 10);
    weft_logit_bias bias = { end_token(&r), 1e4f };
    weft_sampling s = always(&bias);
    s.ignore_end = true;
    OK(weft_seq_set_sampling(seq, &s, E));
    for (size_t i = 0; i < 20; i++) {
        rig_compute(&r, seq);
        OK(weft_seq_next(seq, &token, E));
        assert_false(weft_token_is_end(r.model, token));
    }
    assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_stop(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t tokens[10], token;
    const char *const stops[] = { "zzz", "e and o" };
    rig_tokens(&r, 1, tokens, 10);
    weft_seq *seq = rig_fed(&r, tokens, 10);
    OK(weft_seq_set_stops(seq, stops, 2, E));
    draw(&r, seq, token_of(&r, " the"));
    expect_text(seq, " th"); /* the e may begin the stop string */
    draw(&r, seq, token_of(&r, " and"));
    expect_text(seq, "");
    draw(&r, seq, token_of(&r, " in"));
    expect_text(seq, "e and in");
    draw(&r, seq, token_of(&r, " the"));
    draw(&r, seq, token_of(&r, " and"));
    assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
    draw(&r, seq, token_of(&r, " of"));
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_STOP);
    expect_text(seq, " th");
    expect_text(seq, "");
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    OK(weft_seq_append(seq, tokens, 1, E));
    draw(&r, seq, token_of(&r, " in"));
    assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
    expect_text(seq, " in");
    weft_seq_release(&seq);
    rig_close(&r);
}

static void generate_seeded(const struct rig *r, uint64_t seed, size_t n_batch_mates, char *text)
{
    int32_t tokens[12];
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.seed = seed;
    s.ignore_end = true;
    rig_tokens(r, 3, tokens, 12);
    weft_seq *seq = rig_seq(r, &s), *mates[4] = { 0 };
    for (size_t i = 0; i < n_batch_mates; i++) {
        mates[i] = rig_seq(r, NULL);
        OK(weft_seq_append(mates[i], tokens, 5 + i, E));
    }
    OK(weft_seq_append(seq, tokens, 12, E));
    rig_generate(r, seq, 60, text, 2048);
    weft_seq_release(&seq);
    for (size_t i = 0; i < n_batch_mates; i++) {
        weft_seq_release(&mates[i]);
    }
}

static void test_seeds(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    char first[2048], again[2048], other[2048], crowded[2048];
    generate_seeded(&r, 11, 0, first);
    generate_seeded(&r, 11, 0, again);
    generate_seeded(&r, 12, 0, other);
    generate_seeded(&r, 11, 3, crowded);
    assert_true(strlen(first) > 20);
    assert_string_equal(first, again);
    assert_string_equal(first, crowded);
    assert_string_not_equal(first, other);
    rig_close(&r);
}

/* ---------------------------------------------------------------- state and cancel */

static void test_states(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t tokens[10], token;
    float logit;
    size_t needed;
    rig_tokens(&r, 1, tokens, 10);
    weft_seq *seq = rig_seq(&r, NULL);
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_STATE, weft_seq_logits(seq, &logit, 1, &needed, E));
    OK(weft_seq_append(seq, tokens, 10, E));
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    rig_message((const char *const[]){ "10 of 10", "weft_engine_step", NULL });
    rig_compute(&r, seq);
    FAILS(WEFT_E_BUFFER, weft_seq_logits(seq, &logit, 1, &needed, E));
    assert_int_equal(needed, r.n_vocab);
    OK(weft_seq_next(seq, &token, E));
    /* Each token is drawn only once. */
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_cancel(void **state)
{
    (void)state;
    struct rig r = open_tiny(0, 0);
    int32_t tokens[20], token;
    size_t ready;
    rig_tokens(&r, 1, tokens, 20);
    weft_seq *seq = rig_fed(&r, tokens, 10), *other = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, tokens + 10, 5, E));
    OK(weft_seq_append(other, tokens, 5, E));
    weft_seq_cancel(seq);
    OK(weft_engine_step(r.engine, &ready, E));
    assert_int_equal(ready, 1);
    /* The tokens were taken out of the step, but not forgotten. */
    assert_int_equal(weft_seq_pending(seq), 5);
    FAILS(WEFT_E_CANCELLED, weft_seq_append(seq, tokens + 15, 5, E));
    assert_int_equal(weft_seq_len(seq), 15);
    OK(weft_seq_append(seq, tokens + 15, 5, E));
    rig_compute(&r, seq);
    rig_check(&r, seq, tokens, 20, "after a cancel");
    weft_seq_cancel(seq);
    FAILS(WEFT_E_CANCELLED, weft_seq_next(seq, &token, E));
    OK(weft_seq_next(seq, &token, E));
    weft_seq_release(&seq);
    weft_seq_release(&other);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork),         cmocka_unit_test(test_fork_after_next),
        cmocka_unit_test(test_fork_pages),   cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_rewind_fork),  cmocka_unit_test(test_kv_full),
        cmocka_unit_test(test_kv_full_fork), cmocka_unit_test(test_kv_full_rewind),
        cmocka_unit_test(test_ctx_full),     cmocka_unit_test(test_end),
        cmocka_unit_test(test_ignore_end),   cmocka_unit_test(test_stop),
        cmocka_unit_test(test_seeds),        cmocka_unit_test(test_states),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
