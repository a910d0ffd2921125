/* What the engine asks of a backend that has `top` and `ahead`: how little it reads, when it goes
 * ahead and how far, and what happens if a call fails. test_ahead_pages.c tests the pages that
 * steps ahead take, test_top_random.c that the results equal those of a backend without the two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "forward.h"
#include "support/top_rig.h"

/* ---------------------------------------------------------------- top */

static void test_greedy_reads_no_logits(void **state)
{
    (void)state;
    struct rig r = open_ahead(0, 0, 0);
    weft_seq *seq = waiting(&r, 1, 10);
    for (size_t i = 0; i < 50; i++) {
        step_next(&r, seq);
    }
    assert_int_equal(top.n_top, 50);
    assert_int_equal(top.n_read, 0);
    assert_int_equal(top.n_ahead, 0);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_only_whole_samplings_read_logits(void **state)
{
    (void)state;
    struct rig r = open_ahead(0, 0, 0);
    weft_sampling all = WEFT_SAMPLING_INIT, few = WEFT_SAMPLING_INIT;
    all.top_k = 0;
    few.top_k = 64;
    weft_seq *seqs[3] = { waiting(&r, 1, 5), waiting(&r, 2, 6), waiting(&r, 3, 7) };
    OK(weft_seq_set_sampling(seqs[1], &all, E));
    OK(weft_seq_set_sampling(seqs[2], &few, E));
    step(&r);
    assert_int_equal(top.n_top, 1);
    assert_int_equal(top.n_read, 0); /* until somebody draws */
    /* 64 candidates came for all sequences. They are enough for some other samplings too, but not
     * for all. */
    OK(weft_seq_set_sampling(seqs[0], &few, E));
    next(seqs[0]);
    next(seqs[1]);
    assert_int_equal(top.n_read, 1);
    OK(weft_seq_set_sampling(seqs[2], &all, E));
    next(seqs[2]);
    assert_int_equal(top.n_read, 2);
    /* Only the best token came, and the sampling now asks for 64. */
    weft_seq_release(&seqs[0]);
    weft_seq_release(&seqs[1]);
    seqs[0] = waiting(&r, 1, 5);
    weft_seq_cancel(seqs[2]);
    step(&r);
    OK(weft_seq_set_sampling(seqs[0], &few, E));
    next(seqs[0]);
    assert_int_equal(top.n_read, 3);
    weft_seq_release(&seqs[0]);
    weft_seq_release(&seqs[2]);
    rig_close(&r);
}

static void test_logits_outlive_the_step(void **state)
{
    (void)state;
    struct rig r = open_ahead(0, 0, 0);
    int32_t a[20], b[30];
    rig_tokens(&r, 1, a, 20);
    rig_tokens(&r, 2, b, 30);
    weft_seq *first = waiting(&r, 1, 20), *second = waiting(&r, 2, 30), *fork = NULL;
    weft_sampling all = WEFT_SAMPLING_INIT;
    all.top_k = 0;
    OK(weft_seq_set_sampling(second, &all, E));
    step(&r);
    OK(weft_seq_fork(second, &fork, E));
    assert_int_equal(top.n_read, 0);
    next(first);
    /* Nobody has used the logits of the second sequence and its fork, so they are read before the
     * step. */
    step(&r);
    assert_int_equal(top.n_read, 2);
    rig_check(&r, second, b, 30, "left alone");
    rig_check(&r, fork, b, 30, "its fork");
    assert_int_equal(next(second), next(fork));
    weft_seq_release(&first);
    weft_seq_release(&second);
    weft_seq_release(&fork);
    rig_close(&r);
}

/* The logits of a finished sequence are not read before the step. They are computed once more for
 * the caller who asks. */
static void test_logits_not_kept(void **state)
{
    (void)state;
    struct rig r = open_ahead(0, 0, 0);
    int32_t a[20];
    rig_tokens(&r, 1, a, 20);
    weft_seq *first = waiting(&r, 1, 20), *second = waiting(&r, 1, 20);
    step(&r);
    OK(weft_seq_end(second, E));
    next(first);
    step(&r);
    assert_int_equal(top.n_read, 0);
    uint64_t n_rows = rig_info(&r).n_rows;
    float *logits = rig_logits(&r, second);
    free(logits);
    assert_int_equal(rig_info(&r).n_rows, n_rows + 1);
    rig_check(&r, second, a, 20, "a finished sequence");
    weft_seq_release(&first);
    weft_seq_release(&second);
    rig_close(&r);
}

/* ---------------------------------------------------------------- ahead: when, and how far */

static void test_range(void **state)
{
    (void)state;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    OK(weft_model_open(model_file("tiny-qwen2"), NULL, &model, E));
    p.n_ahead = 65;
    FAILS(WEFT_E_ARG, weft_engine_open(model, &p, &engine, E));
    rig_message((const char *const[]){ "n_ahead", "65", "64", NULL });
    weft_model_release(&model);
    /* A backend without `ahead` takes one step at a time. */
    struct rig r = open_ahead(64, 0, 0);
    top.ops.ahead = NULL;
    weft_seq *seq = waiting(&r, 1, 1);
    step_next(&r, seq);
    assert_int_equal(weft_seq_pending(seq), 1);
    assert_int_equal(rig_info(&r).n_steps, 1);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_tokens_wait(void **state)
{
    (void)state;
    struct rig r = open_ahead(8, 0, 0);
    weft_seq *seq = waiting(&r, 1, 10);
    int32_t token;
    float logits[4096];
    /* A prompt is not decoding. */
    step_next(&r, seq);
    assert_int_equal(rig_info(&r).n_steps, 1);
    for (size_t i = 0; i < 8; i++) {
        /* Only the first step has something to do. */
        step(&r);
        assert_int_equal(rig_info(&r).n_steps, 9);
        assert_int_equal(rig_info(&r).n_rows, 10 + 8);
        assert_int_equal(weft_seq_pending(seq), 0);
        FAILS(WEFT_E_STATE, weft_seq_logits(seq, logits, 4096, NULL, E));
        rig_message((const char *const[]){ "ahead", "n_ahead", NULL });
        next(seq);
    }
    assert_int_equal(weft_seq_pending(seq), 1);
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    assert_int_equal(top.n_ahead, 1);
    assert_int_equal(top.n_top, 1);
    assert_int_equal(top.n_read, 0);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_when(void **state)
{
    (void)state;
    struct rig r = open_ahead(8, 0, 0);
    weft_seq *seqs[5];
    weft_sampling s = greedy();
    for (size_t i = 0; i < 4; i++) {
        seqs[i] = waiting(&r, i, 10);
    }
    step(&r);
    for (size_t i = 0; i < 4; i++) {
        next(seqs[i]);
    }
    /* One sequence is not greedy. */
    s.repeat_penalty = 1.1f;
    OK(weft_seq_set_sampling(seqs[1], &s, E));
    assert_int_equal(steps_of(&r), 1);
    /* One sequence has a prompt. */
    for (size_t i = 0; i < 4; i++) {
        next(seqs[i]);
    }
    weft_seq_release(&seqs[1]);
    seqs[1] = waiting(&r, 7, 2);
    assert_int_equal(steps_of(&r), 1);
    /* There are more rows than the backend takes. */
    seqs[4] = waiting(&r, 7, 1);
    for (size_t i = 0; i < 4; i++) {
        next(seqs[i]);
    }
    assert_int_equal(steps_of(&r), 1);
    /* A cancelled sequence does not count, even if its tokens wait. */
    for (size_t i = 0; i < 5; i++) {
        next(seqs[i]);
    }
    weft_seq_cancel(seqs[4]);
    assert_int_equal(steps_of(&r), 8);
    assert_int_equal(rig_info(&r).n_rows, 4 * 10 + 4 + 3 + 2 + 5 + 4 * 8);
    for (size_t i = 0; i < 5; i++) {
        weft_seq_release(&seqs[i]);
    }
    rig_close(&r);
}

static void count_begin(struct watcher *w) { (void)w; }

static weft_status count_end(struct watcher *w, struct backend *b, enum stage stage,
                             const struct step *s, size_t layer, weft_error *err)
{
    (void)w, (void)b, (void)stage, (void)s, (void)layer, (void)err;
    return WEFT_OK;
}

/* A watcher must see every stage, so nothing is computed ahead. */
static void test_watched(void **state)
{
    (void)state;
    struct watcher watcher = { count_begin, count_end };
    struct rig r = open_ahead(8, 0, 0);
    weft_seq *seq = waiting(&r, 1, 10);
    r.engine->backend->watcher = &watcher;
    assert_int_equal(steps_of(&r), 1);
    next(seq);
    assert_int_equal(steps_of(&r), 1);
    r.engine->backend->watcher = NULL;
    next(seq);
    assert_int_equal(steps_of(&r), 8);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Sequences for which the step has no room wait no longer than they do without steps ahead. */
static void test_small_batch(void **state)
{
    (void)state;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_seq *seqs[3];
    p.device = "cpu";
    p.n_threads = 1;
    p.n_batch = 2;
    p.n_ahead = 8;
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 4);
    for (size_t i = 0; i < 3; i++) {
        seqs[i] = waiting(&r, i, 1);
    }
    assert_int_equal(steps_of(&r), 1);
    assert_int_equal(steps_of(&r), 8);
    for (size_t i = 0; i < 3; i++) {
        weft_seq_release(&seqs[i]);
    }
    rig_close(&r);
}

/* A sequence that comes later goes no further than the others have gone, so that all share the step
 * after that. */
static void test_meets_again(void **state)
{
    (void)state;
    struct rig r = open_ahead(8, 0, 0);
    weft_seq *seqs[2] = { waiting(&r, 1, 10), NULL };
    step_next(&r, seqs[0]);
    assert_int_equal(steps_of(&r), 8);
    next(seqs[0]);
    seqs[1] = waiting(&r, 2, 10);
    assert_int_equal(steps_of(&r), 1);
    /* 6 tokens are left. */
    next(seqs[0]);
    next(seqs[1]);
    assert_int_equal(steps_of(&r), 6);
    for (size_t i = 0; i < 6; i++) {
        next(seqs[0]);
        next(seqs[1]);
    }
    uint64_t before = rig_info(&r).n_rows;
    assert_int_equal(steps_of(&r), 8);
    assert_int_equal(rig_info(&r).n_rows - before, 2 * 8);
    /* The others do not wait for a sequence that has ended. */
    OK(weft_seq_end(seqs[0], E));
    for (size_t i = 0; i < 8; i++) {
        next(seqs[1]);
    }
    assert_int_equal(steps_of(&r), 8);
    weft_seq_release(&seqs[0]);
    weft_seq_release(&seqs[1]);
    rig_close(&r);
}

static void test_end_of_context(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 100, 0);
    weft_seq *seq = waiting(&r, 1, 90);
    /* The sequence has 91 tokens; the token at 99 is the last one, and is not computed. */
    step_next(&r, seq);
    assert_int_equal(steps_of(&r), 9);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(weft_seq_finish(seq), WEFT_RUNNING);
        next(seq);
    }
    assert_int_equal(weft_seq_len(seq), 100);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_LENGTH);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- other sampling, failures */

/* The next token is known, but the new sampling asks for more than that. */
static void test_other_sampling(void **state)
{
    (void)state;
    struct rig r = open_ahead(8, 0, 0);
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.seed = 5;
    weft_seq *seq = waiting(&r, 1, 10), *other = NULL;
    int32_t tokens[32], token;
    size_t n;
    step_next(&r, seq);
    step_next(&r, seq);
    next(seq);
    OK(weft_seq_tokens(seq, tokens, 32, &n, E));
    OK(weft_seq_set_sampling(seq, &s, E));
    uint64_t before = rig_info(&r).n_steps;
    token = next(seq);
    assert_int_equal(rig_info(&r).n_steps - before, 1);
    assert_int_equal(weft_seq_pending(seq), 1);
    other = rig_seq(&r, &s);
    OK(weft_seq_append(other, tokens, n, E));
    step(&r);
    assert_int_equal(next(other), token);
    weft_seq_release(&seq);
    weft_seq_release(&other);
    rig_close(&r);
}

/* Draws the tokens of a greedy sequence that never draws `end`, and counts the steps that they
 * take. */
static void draw_without(uint64_t seed, size_t n_ahead, int32_t end, int32_t *tokens, size_t n,
                         size_t *n_steps)
{
    struct rig r = open_ahead(n_ahead, 0, 0);
    weft_sampling s = greedy();
    s.ignore_end = end >= 0;
    weft_seq *seq = waiting(&r, seed, 10);
    OK(weft_seq_set_sampling(seq, &s, E));
    r.engine->model->ends[0] = end >= 0 ? end : r.engine->model->ends[0];
    for (size_t i = 0; i < n; i++) {
        tokens[i] = step_next(&r, seq);
    }
    *n_steps = rig_info(&r).n_steps;
    assert_int_equal(top.n_read, n_ahead > 0 && end >= 0 ? 1 : 0);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Returns the last place whose token equals no token before it. */
static size_t last_new(const int32_t *tokens, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++) {
        size_t seen = 0;
        while (tokens[seen] != tokens[i]) {
            seen++;
        }
        at = seen == i ? i : at;
    }
    return at;
}

/* An end token is banned: the next best token is drawn, and no logits are read for it. But if the
 * end token came up among the tokens computed ahead, its row is computed once more. */
static void test_banned_end(void **state)
{
    enum { N = 24 };
    int32_t all[N], want[N], got[N];
    size_t n_steps, at = 0;
    uint64_t seed = 0;
    (void)state;
    /* Some texts of the model repeat one token. */
    while (at < 3) {
        assert_in_range(++seed, 1, 100);
        draw_without(seed, 0, -1, all, N, &n_steps);
        at = last_new(all, N);
    }
    const int32_t end = all[at];
    draw_without(seed, 0, end, want, N, &n_steps);
    assert_int_equal(n_steps, N);
    assert_memory_equal(want, all, at * sizeof *want);
    assert_int_not_equal(want[at], end);
    draw_without(seed, 8, end, got, N, &n_steps);
    assert_memory_equal(got, want, sizeof want);
}

/* A fork shares the pages of the tokens, but gets nothing that was computed behind them. */
static void test_fork(void **state)
{
    (void)state;
    struct rig r = open_ahead(8, 0, 0);
    weft_seq *seq = waiting(&r, 1, PAGE - 4), *fork = NULL;
    const int32_t two[] = { 7, 8 };
    int32_t tokens[2][128];
    size_t n[2];
    step_next(&r, seq);
    assert_int_equal(steps_of(&r), 8);
    OK(weft_seq_fork(seq, &fork, E));
    for (size_t i = 0; i < 12; i++) {
        step(&r);
        assert_int_equal(next(seq), next(fork));
    }
    OK(weft_seq_append(seq, two, 2, E));
    OK(weft_seq_append(fork, two, 2, E));
    step(&r);
    OK(weft_seq_tokens(seq, tokens[0], 128, &n[0], E));
    OK(weft_seq_tokens(fork, tokens[1], 128, &n[1], E));
    assert_int_equal(n[0], n[1]);
    rig_check(&r, fork, tokens[1], n[1], "the fork");
    rig_check(&r, seq, tokens[0], n[0], "the forked sequence");
    weft_seq_release(&seq);
    weft_seq_release(&fork);
    rig_close(&r);
}

/* A call of the backend fails: nothing has changed, and the next step does all of it. */
static void test_failures(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 0, 4 * PAGE);
    weft_seq *seq = waiting(&r, 1, PAGE - 2), *other = waiting(&r, 2, 10);
    weft_sampling all = WEFT_SAMPLING_INIT;
    all.top_k = 0; /* so that its logits are kept */
    OK(weft_seq_set_sampling(other, &all, E));
    top.failure = WEFT_E_INTERNAL;
    top.fail = 1; /* the call top() fails */
    FAILS(WEFT_E_INTERNAL, weft_engine_step(r.engine, NULL, E));
    assert_int_equal(weft_seq_pending(seq), PAGE - 2);
    step(&r);
    next(seq);
    top.fail = 1; /* read_logits() of the other sequence, before the step */
    FAILS(WEFT_E_INTERNAL, weft_engine_step(r.engine, NULL, E));
    assert_int_equal(weft_seq_pending(seq), 1);
    top.fail = 2; /* ahead() fails */
    FAILS(WEFT_E_INTERNAL, weft_engine_step(r.engine, NULL, E));
    assert_int_equal(weft_seq_pending(seq), 1);
    assert_int_equal(rig_free(&r), 2 * PAGE);
    assert_int_equal(rig_info(&r).n_steps, 1);
    assert_int_equal(steps_of(&r), 64);
    next(other);
    /* read_logits() for the changed sampling. */
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t token;
    OK(weft_seq_set_sampling(seq, &s, E));
    s.top_k = 0;
    OK(weft_seq_set_sampling(seq, &s, E));
    top.fail = 1;
    FAILS(WEFT_E_INTERNAL, weft_seq_next(seq, &token, E));
    assert_int_equal(weft_seq_len(seq), PAGE - 1);
    next(seq);
    /* A lost device stays lost. */
    OK(weft_seq_set_sampling(other, NULL, E)); /* so that top() is called */
    top.failure = WEFT_E_DEVICE_LOST;
    top.fail = 1;
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(r.engine, NULL, E));
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(r.engine, NULL, E));
    weft_seq_release(&seq);
    weft_seq_release(&other);
    rig_close(&r);
}

static void cancel(void *seq) { weft_seq_cancel(seq); }

static void test_cancelled_under_way(void **state)
{
    (void)state;
    struct rig r = open_ahead(8, 0, 0);
    int32_t token;
    weft_seq *seq = waiting(&r, 1, PAGE);
    step_next(&r, seq);
    size_t before = rig_free(&r);
    top.interrupt = cancel;
    top.user = seq;
    step(&r);
    assert_int_equal(weft_seq_pending(seq), 1);
    assert_int_equal(rig_free(&r), before);
    top.interrupt = NULL;
    FAILS(WEFT_E_CANCELLED, weft_seq_next(seq, &token, E));
    step(&r);
    /* A cancel between two of the tokens ahead is reported once, and the tokens are still there. */
    next(seq);
    weft_seq_cancel(seq);
    FAILS(WEFT_E_CANCELLED, weft_seq_next(seq, &token, E));
    for (size_t i = 0; i < 7; i++) {
        next(seq);
    }
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_reads_no_logits),
        cmocka_unit_test(test_only_whole_samplings_read_logits),
        cmocka_unit_test(test_logits_outlive_the_step),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_tokens_wait),
        cmocka_unit_test(test_when),
        cmocka_unit_test(test_watched),
        cmocka_unit_test(test_small_batch),
        cmocka_unit_test(test_meets_again),
        cmocka_unit_test(test_end_of_context),
        cmocka_unit_test(test_other_sampling),
        cmocka_unit_test(test_banned_end),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_logits_not_kept),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_cancelled_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
