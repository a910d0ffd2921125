/* Sequences whose every position gives its logits: they are the logits of the sequence, in order
 * and each once, whatever else is computed beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"

enum { N = 150, MORE = 5 };

/* What an observer has seen. */
struct seen {
    size_t first, n; /* positions [first, first + n) */
    float *logits;   /* [N + MORE, n_vocab] by position */
};

static void look(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    struct seen *seen = user;
    seen->first = seen->n == 0 ? pos : seen->first;
    assert_int_equal(pos, seen->first + seen->n);
    assert_in_range(pos, 0, N + MORE - 1);
    memcpy(seen->logits + pos * n_vocab, logits, n_vocab * sizeof *logits);
    seen->n++;
}

static struct seen seen_open(const struct rig *r)
{
    return (struct seen){ .logits = calloc((N + MORE) * r->n_vocab, sizeof(float)) };
}

/* The logits at every tenth position and at the last are those of the text up to there. */
static void check_seen(const struct rig *r, const struct seen *seen, const int32_t *tokens)
{
    size_t end = seen->first + seen->n;
    for (size_t i = seen->first; i < end; i++) {
        if (i % 10 != 0 && i + 1 != end) {
            continue;
        }
        float *want = rig_expected(r, tokens, i + 1);
        rig_same(r, seen->logits + i * r->n_vocab, want, "an observed position");
        free(want);
    }
}

static void test_every_position(void **state)
{
    (void)state;
    static const size_t batches[] = { 1, 7, 64, 512 };
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        const weft_engine_params p = { .size = sizeof p, .n_threads = 1, .n_batch = batches[i] };
        struct rig r = rig_open(model_file("tiny-qwen2"), &p);
        struct seen seen = seen_open(&r);
        int32_t tokens[N];
        rig_tokens(&r, 3, tokens, N);
        weft_seq *seq = rig_seq(&r, NULL);
        OK(weft_seq_observe(seq, look, &seen, E));
        OK(weft_seq_append(seq, tokens, N, E));
        rig_compute(&r, seq);
        assert_int_equal(seen.first, 0);
        assert_int_equal(seen.n, N);
        check_seen(&r, &seen, tokens);
        rig_check(&r, seq, tokens, N, "the sequence itself");
        weft_seq_release(&seq);
        free(seen.logits);
        rig_close(&r);
    }
}

/* One sequence is observed beside one that decodes and one that reads a prompt; those two are not
 * disturbed. */
static void test_among_others(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .n_threads = 1, .n_batch = 96 };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    struct seen seen = seen_open(&r);
    int32_t tokens[3][N];
    weft_seq *seqs[3];
    for (size_t i = 0; i < 3; i++) {
        rig_tokens(&r, 10 + i, tokens[i], N);
        seqs[i] = rig_seq(&r, NULL);
    }
    OK(weft_seq_observe(seqs[1], look, &seen, E));
    OK(weft_seq_append(seqs[0], tokens[0], 1, E));
    OK(weft_seq_append(seqs[1], tokens[1], N, E));
    OK(weft_seq_append(seqs[2], tokens[2], N, E));
    for (size_t n = 1; weft_seq_pending(seqs[1]) + weft_seq_pending(seqs[2]) > 0; n++) {
        OK(weft_engine_step(r.engine, NULL, E));
        if (n < N && weft_seq_pending(seqs[0]) == 0) {
            OK(weft_seq_append(seqs[0], &tokens[0][n], 1, E));
        }
    }
    assert_int_equal(seen.n, N);
    check_seen(&r, &seen, tokens[1]);
    rig_compute(&r, seqs[0]);
    for (size_t i = 0; i < 3; i++) {
        rig_check(&r, seqs[i], tokens[i], weft_seq_len(seqs[i]), "one of three");
        weft_seq_release(&seqs[i]);
    }
    free(seen.logits);
    rig_close(&r);
}

/* Observing begins in the middle, goes on through drawn tokens, and is switched off. Forks are not
 * observed. */
static void test_begin_and_end(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-llama"), NULL);
    struct seen seen = seen_open(&r);
    int32_t tokens[N], all[N];
    size_t n_all;
    rig_tokens(&r, 5, tokens, N);
    const weft_sampling greedy = {
        .size = sizeof greedy, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .ignore_end = true
    };
    weft_seq *seq = rig_seq(&r, &greedy), *fork;
    OK(weft_seq_append(seq, tokens, 40, E));
    rig_compute(&r, seq);
    OK(weft_seq_observe(seq, look, &seen, E));
    OK(weft_seq_append(seq, tokens + 40, 20, E));
    OK(weft_seq_fork(seq, &fork, E));
    rig_compute(&r, seq);
    rig_compute(&r, fork);
    assert_int_equal(seen.first, 40);
    assert_int_equal(seen.n, 20);
    for (size_t i = 0; i < MORE; i++) {
        int32_t token;
        OK(weft_seq_next(seq, &token, E));
        rig_compute(&r, seq);
        assert_int_equal(seen.n, 21 + i);
    }
    OK(weft_seq_tokens(seq, all, N, &n_all, E));
    check_seen(&r, &seen, all);
    OK(weft_seq_observe(seq, NULL, NULL, E));
    OK(weft_seq_append(seq, tokens, 10, E));
    rig_compute(&r, seq);
    assert_int_equal(seen.n, 20 + MORE);
    /* A position that is computed again after a rewind is seen again. */
    seen.n = 0;
    OK(weft_seq_observe(seq, look, &seen, E));
    OK(weft_seq_rewind(seq, 50, E));
    rig_compute(&r, seq);
    assert_int_equal(seen.first, 49);
    assert_int_equal(seen.n, 1);
    weft_seq_release(&seq);
    weft_seq_release(&fork);
    free(seen.logits);
    rig_close(&r);
}

static void cancel_at_70(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    (void)logits;
    (void)n_vocab;
    if (pos == 70) {
        weft_seq_cancel(*(weft_seq **)user);
    }
}

static void test_cancel_from_inside(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .n_batch = 64 };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    int32_t tokens[N];
    rig_tokens(&r, 5, tokens, N);
    weft_seq *seq = rig_seq(&r, NULL);
    OK(weft_seq_observe(seq, cancel_at_70, &seq, E));
    OK(weft_seq_append(seq, tokens, N, E));
    for (size_t i = 0; i < 10; i++) {
        OK(weft_engine_step(r.engine, NULL, E));
    }
    assert_int_equal(weft_seq_pending(seq), N - 128);
    FAILS(WEFT_E_CANCELLED, weft_seq_append(seq, NULL, 0, E));
    OK(weft_seq_observe(seq, NULL, NULL, E));
    rig_compute(&r, seq);
    rig_check(&r, seq, tokens, N, "after a cancel");
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_bad_handles(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    FAILS(WEFT_E_ARG, weft_seq_observe(NULL, NULL, NULL, E));
    FAILS(WEFT_E_HANDLE, weft_seq_observe((weft_seq *)(void *)r.engine, NULL, NULL, E));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_position), cmocka_unit_test(test_among_others),
        cmocka_unit_test(test_begin_and_end),  cmocka_unit_test(test_cancel_from_inside),
        cmocka_unit_test(test_bad_handles),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
