/* Saved states: a sequence that is saved and loaded goes on as if it had never been away, bit by
 * bit, and only new tokens are computed. Every test ends with all pages free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/state.h"
#include "support/top_backend.h"

enum { PAGE = 64, MAX_TOKENS = 256 };

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
enum { N_PRESETS = sizeof presets / sizeof presets[0] };

/* Computes the waiting tokens and expects that this takes so many rows. */
static void compute_rows(const struct rig *r, weft_seq *seq, size_t want)
{
    uint64_t before = rig_info(r).n_rows;
    rig_compute(r, seq);
    assert_int_equal(rig_info(r).n_rows - before, want);
}

/* ---------------------------------------------------------------- round trips */

/* A sequence with n computed and n_waiting other tokens is saved, loaded, and continued by five
 * tokens. */
static void check_round_trip(const struct rig *r, size_t n, size_t n_waiting)
{
    int32_t tokens[MAX_TOKENS];
    size_t all = n + n_waiting, again = n_waiting > 0 ? n_waiting : 1;
    rig_tokens(r, n, tokens, all + 5);
    weft_seq *seq = n > 0 ? rig_fed(r, tokens, n) : rig_seq(r, NULL);
    OK(weft_seq_append(seq, tokens + n, n_waiting, E));
    struct state s = state_save(seq);
    /* The sequence that was saved goes on as if nothing had happened. */
    assert_int_equal(weft_seq_pending(seq), n_waiting);
    rig_compute(r, seq);
    rig_check(r, seq, tokens, all, "saved");
    weft_seq_release(&seq);
    size_t before = rig_free(r);
    seq = state_load(r, &s);
    assert_int_equal(before - rig_free(r), (all + PAGE - 1) / PAGE * PAGE);
    assert_int_equal(weft_seq_pending(seq), again);
    state_tokens(seq, tokens, all);
    compute_rows(r, seq, again);
    rig_check(r, seq, tokens, all, "loaded");
    OK(weft_seq_append(seq, tokens + all, 5, E));
    compute_rows(r, seq, 5);
    rig_check(r, seq, tokens, all + 5, "loaded and continued");
    weft_seq_release(&seq);
    /* A prompt that is appended to a loaded state costs its own rows and one more. */
    seq = state_load(r, &s);
    OK(weft_seq_append(seq, tokens + all, 5, E));
    compute_rows(r, seq, again + 5);
    rig_check(r, seq, tokens, all + 5, "loaded and continued at once");
    weft_seq_release(&seq);
    free(s.data);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 30, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 20 };
    for (size_t m = 0; m < N_PRESETS; m++) {
        struct rig r = rig_open(model_file(presets[m]), NULL);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            check_round_trip(&r, sizes[i], 0);
            check_round_trip(&r, sizes[i], 1);
            check_round_trip(&r, sizes[i], 80);
        }
        check_round_trip(&r, 0, 7);
        rig_close(&r);
    }
}

/* K and V are in q8_0. The file holds the bytes that attention reads, so these states are bit-equal
 * too. */
static void test_kv_types(void **state)
{
    (void)state;
    static const char *const wide[] = { "tiny-qwen3", "tiny-phi3" };
    size_t bytes[4];
    for (size_t m = 0; m < 2; m++) {
        for (unsigned types = 0; types < 4; types++) {
            weft_engine_params p = state_params(0, 0);
            p.type_k = types & 1 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
            p.type_v = types & 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
            struct rig r = rig_open(model_file(wide[m]), &p);
            check_round_trip(&r, 1, 0);
            check_round_trip(&r, PAGE + 1, 80);
            int32_t tokens[PAGE];
            rig_tokens(&r, 1, tokens, PAGE);
            weft_seq *seq = rig_fed(&r, tokens, PAGE);
            struct state s = state_save(seq);
            bytes[types] = s.n - STATE_HEADER - STATE_CHECKSUM - PAGE * sizeof *tokens;
            assert_int_equal(bytes[types], PAGE * rig_info(&r).kv_position_bytes);
            free(s.data);
            weft_seq_release(&seq);
            rig_close(&r);
        }
        assert_int_equal(bytes[1] + bytes[2], bytes[0] + bytes[3]);
        assert_int_equal(bytes[3] * 32, bytes[0] * 17);
    }
}

static void test_empty(void **state)
{
    (void)state;
    struct rig r = state_rig(0, 0);
    int32_t tokens[100];
    rig_tokens(&r, 1, tokens, 100);
    weft_seq *seq = rig_seq(&r, NULL), *other = rig_fed(&r, tokens, 100);
    struct state s = state_save(seq);
    assert_int_equal(s.n, STATE_HEADER + STATE_CHECKSUM);
    OK(weft_seq_load(other, s.data, s.n, E));
    assert_int_equal(weft_seq_len(other), 0);
    assert_int_equal(weft_seq_pending(other), 0);
    assert_int_equal(rig_free(&r), 4096);
    OK(weft_seq_append(other, tokens, 9, E));
    compute_rows(&r, other, 9);
    rig_check(&r, other, tokens, 9, "behind an empty state");
    weft_seq_release(&seq);
    weft_seq_release(&other);
    free(s.data);
    rig_close(&r);
}

/* A prompt is saved when half of it is computed. */
static void test_in_the_prompt(void **state)
{
    (void)state;
    weft_engine_params p = state_params(0, 0);
    p.n_batch = 16;
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    int32_t tokens[100];
    rig_tokens(&r, 1, tokens, 100);
    weft_seq *seq = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, tokens, 100, E));
    for (size_t i = 0; i < 5; i++) {
        OK(weft_engine_step(r.engine, NULL, E));
    }
    struct state s = state_save(seq);
    weft_seq_release(&seq);
    seq = state_load(&r, &s);
    compute_rows(&r, seq, 20);
    rig_check(&r, seq, tokens, 100, "loaded in the prompt");
    weft_seq_release(&seq);
    free(s.data);
    rig_close(&r);
}

/* A trace that only makes the engine compute through src/run/watch.c. test_other_engine() loads a
 * state into an engine with it, and into one with other sizes and threads. */
static void ignore_values(void *user, const weft_checkpoint *checkpoint)
{
    (void)user, (void)checkpoint;
}

static void test_other_engine(void **state)
{
    (void)state;
    int32_t tokens[150];
    for (size_t m = 0; m < N_PRESETS; m++) {
        weft_engine_params a = state_params(256, 512), b = state_params(160, 192),
                           c = state_params(0, 0);
        b.n_threads = 3;
        b.n_batch = 7;
        b.cpu_isa = WEFT_ISA_SCALAR;
        c.trace = ignore_values;
        const char *file = model_file(presets[m]);
        struct rig from = rig_open(file, &a), to[] = { rig_open(file, &b), rig_open(file, &c) };
        rig_tokens(&from, 1, tokens, 150);
        weft_seq *seq = rig_fed(&from, tokens, 140);
        struct state s = state_save(seq);
        float *want = rig_logits(&from, seq);
        weft_seq_release(&seq);
        for (size_t i = 0; i < 2; i++) {
            seq = state_load(&to[i], &s);
            struct state again = state_save(seq);
            compute_rows(&to[i], seq, 1);
            float *got = rig_logits(&to[i], seq);
            rig_same(&from, got, want, "in another engine");
            struct state third = state_save(seq);
            assert_int_equal(third.n, s.n);
            assert_memory_equal(third.data, s.data, s.n);
            /* Before the last token was computed again, the state lacked its K and V. */
            assert_true(again.n < s.n);
            free(again.data);
            free(third.data);
            free(got);
            weft_seq_release(&seq);
            rig_close(&to[i]);
        }
        free(want);
        free(s.data);
        rig_close(&from);
    }
}

/* A fork is saved, and the sequence that loads it is forked and rewound. */
static void test_fork_and_rewind(void **state)
{
    (void)state;
    struct rig r = state_rig(0, 0);
    int32_t a[150], b[150];
    rig_tokens(&r, 1, a, 150);
    rig_tokens(&r, 2, b, 150);
    memcpy(b, a, 70 * sizeof *a);
    weft_seq *first = rig_fed(&r, a, 70), *second = NULL;
    OK(weft_seq_fork(first, &second, E));
    OK(weft_seq_append(first, a + 70, 10, E));
    OK(weft_seq_append(second, b + 70, 30, E));
    rig_compute(&r, first);
    rig_compute(&r, second);
    struct state s = state_save(second);
    /* The state is loaded into the other sequence of the two, whose pages are partly shared. */
    OK(weft_seq_load(first, s.data, s.n, E));
    compute_rows(&r, first, 1);
    rig_check(&r, second, b, 100, "the saved fork");
    rig_check(&r, first, b, 100, "the loaded one");
    weft_seq_release(&second);
    OK(weft_seq_fork(first, &second, E));
    OK(weft_seq_append(second, a, 3, E));
    OK(weft_seq_rewind(first, 66, E));
    compute_rows(&r, first, 4);
    rig_check(&r, first, b, 66, "loaded and rewound");
    memcpy(b + 100, a, 3 * sizeof *a);
    rig_check(&r, second, b, 103, "loaded and forked");
    weft_seq_release(&first);
    weft_seq_release(&second);
    free(s.data);
    rig_close(&r);
}

/* ---------------------------------------------------------------- text, sampling, tokens ahead */

/* Text that was not taken is dropped, a finished sequence can go on, its seed starts anew, and its
 * stop strings stay. */
static void test_text(void **state)
{
    (void)state;
    struct rig r = state_rig(0, 0);
    int32_t tokens[20], token;
    char want[2048], got[2048];
    static const char *const stops[] = { "\x01 no such text" };
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    sampling.seed = 5;
    sampling.temperature = 3;
    rig_tokens(&r, 1, tokens, 20);
    weft_seq *seq = rig_fed(&r, tokens, 20);
    struct state s = state_save(seq);
    weft_seq_release(&seq);
    seq = rig_seq(&r, &sampling);
    OK(weft_seq_load(seq, s.data, s.n, E));
    rig_generate(&r, seq, 60, want, sizeof want);
    assert_true(strlen(want) > 0);
    /* The state is loaded into the same sequence, in the middle of another text. */
    OK(weft_seq_rewind(seq, 10, E));
    rig_compute(&r, seq);
    OK(weft_seq_next(seq, &token, E));
    OK(weft_seq_end(seq, E));
    OK(weft_seq_set_stops(seq, stops, 1, E));
    OK(weft_seq_load(seq, s.data, s.n, E));
    assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    rig_generate(&r, seq, 60, got, sizeof got);
    assert_string_equal(got, want);
    weft_seq_release(&seq);
    free(s.data);
    rig_close(&r);
}

static void note_position(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    (void)logits, (void)n_vocab;
    size_t *next = user;
    assert_int_equal(pos, *next);
    (*next)++;
}

static void test_observed(void **state)
{
    (void)state;
    struct rig r = state_rig(0, 0);
    int32_t tokens[90];
    size_t next = 79;
    rig_tokens(&r, 1, tokens, 90);
    weft_seq *seq = rig_fed(&r, tokens, 80);
    struct state s = state_save(seq);
    OK(weft_seq_observe(seq, note_position, &next, E));
    OK(weft_seq_load(seq, s.data, s.n, E));
    OK(weft_seq_append(seq, tokens + 80, 10, E));
    rig_compute(&r, seq);
    assert_int_equal(next, 90);
    rig_check(&r, seq, tokens, 90, "observed");
    weft_seq_release(&seq);
    free(s.data);
    rig_close(&r);
}

/* Tokens that a device has computed ahead do not yet belong to the sequence. They are not saved,
 * and their pages are given back when a state needs them. */
static void test_ahead(void **state)
{
    (void)state;
    static struct top_backend top;
    weft_engine_params p = state_params(256, 3 * PAGE);
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    int32_t tokens[MAX_TOKENS], token;
    p.n_ahead = 12;
    greedy.temperature = 0;
    greedy.ignore_end = false;
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 4);
    rig_tokens(&r, 1, tokens, MAX_TOKENS);
    weft_seq *seq = rig_seq(&r, &greedy), *other = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, tokens, 60, E));
    rig_compute(&r, seq);
    /* With the second token ten more are computed ahead, which reach into another page. */
    for (size_t i = 0; i < 2; i++) {
        OK(weft_seq_next(seq, &token, E));
        tokens[60 + i] = token;
        rig_compute(&r, seq);
    }
    assert_true(top.n_ahead > 0);
    size_t n = weft_seq_len(seq);
    struct state s = state_save(seq);
    assert_int_equal(rig_free(&r), PAGE);
    OK(weft_seq_append(other, tokens, PAGE, E));
    assert_int_equal(rig_free(&r), 0);
    /* The other sequence takes the page that the tokens ahead had. */
    OK(weft_seq_append(other, tokens + PAGE, 1, E));
    OK(weft_seq_rewind(other, 0, E));
    OK(weft_seq_load(other, s.data, s.n, E));
    state_tokens(other, tokens, n);
    rig_compute(&r, other);
    weft_seq_release(&seq);
    rig_check(&r, other, tokens, n, "saved before tokens ahead");
    weft_seq_release(&other);
    free(s.data);
    rig_close(&r);
}

/* ---------------------------------------------------------------- threads */

static void *save_and_load(void *arg)
{
    const struct rig *r = arg;
    int32_t tokens[20];
    struct state s = { 0 };
    weft_seq *seq = NULL;
    for (int32_t i = 0; i < 20; i++) {
        tokens[i] = 300 + i;
    }
    bool ok = weft_seq_open(r->engine, NULL, &seq, NULL) == WEFT_OK &&
              weft_seq_append(seq, tokens, 20, NULL) == WEFT_OK;
    ok = ok && weft_seq_save(seq, NULL, 0, &s.n, NULL) == WEFT_E_BUFFER;
    s.data = calloc(1, s.n + 1);
    ok = ok && weft_seq_save(seq, s.data, s.n, NULL, NULL) == WEFT_OK &&
         weft_seq_load(seq, s.data, s.n, NULL) == WEFT_OK && weft_seq_len(seq) == 20;
    weft_seq_release(&seq);
    free(s.data);
    return ok ? NULL : arg;
}

/* The first thread that saves computes the fingerprint of the model; here several threads do so at
 * once, on one model. */
static void test_threads(void **state)
{
    (void)state;
    enum { N = 4 };
    pthread_t threads[N];
    void *failed;
    struct rig r = state_rig(0, 0), more[N] = { r };
    const weft_engine_params p = state_params(0, 0);
    for (size_t i = 1; i < N; i++) {
        OK(weft_engine_open(r.model, &p, &more[i].engine, E));
    }
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, save_and_load, &more[i]), 0);
    }
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    for (size_t i = 1; i < N; i++) {
        weft_engine_release(&more[i].engine);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_kv_types),
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_in_the_prompt),
        cmocka_unit_test(test_other_engine), cmocka_unit_test(test_fork_and_rewind),
        cmocka_unit_test(test_text),         cmocka_unit_test(test_observed),
        cmocka_unit_test(test_ahead),        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
