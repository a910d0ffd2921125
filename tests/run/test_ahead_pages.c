/* Tokens computed ahead take KV pages only as long as nobody else needs them: nothing fails for
 * lack of these pages, and unused ones are given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/top_rig.h"
#include "synth/synth.h"

static void test_pages(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 0, 4 * PAGE);
    const int32_t one = 1;
    weft_seq *seq = waiting(&r, 1, PAGE - 2);
    /* A token waits at position 62; computing 63 more tokens needs the next page. */
    step_next(&r, seq);
    assert_int_equal(rig_free(&r), 3 * PAGE);
    assert_int_equal(steps_of(&r), 64);
    assert_int_equal(rig_free(&r), 2 * PAGE);
    /* Five calls give up the tokens ahead: an append, a rewind, an end, a stop string, a
     * release. */
    OK(weft_seq_append(seq, &one, 1, E));
    assert_int_equal(rig_free(&r), 3 * PAGE);
    step_next(&r, seq);
    step(&r);
    OK(weft_seq_rewind(seq, PAGE - 2, E));
    assert_int_equal(rig_free(&r), 3 * PAGE);
    step_next(&r, seq);
    step(&r);
    assert_int_equal(rig_free(&r), 2 * PAGE);
    OK(weft_seq_end(seq, E));
    assert_int_equal(rig_free(&r), 3 * PAGE);
    /* The stop string is the text that the model writes anyway. */
    char text[256];
    OK(weft_seq_rewind(seq, PAGE - 4, E));
    rig_generate(&r, seq, PAGE - 1, text, sizeof text);
    assert_true(strlen(text) > 0);
    const char *const stops[] = { text };
    OK(weft_seq_rewind(seq, PAGE - 4, E));
    OK(weft_seq_set_stops(seq, stops, 1, E));
    while (weft_seq_finish(seq) == WEFT_RUNNING && weft_seq_len(seq) < PAGE) {
        step_next(&r, seq);
    }
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_STOP);
    assert_int_equal(rig_free(&r), 3 * PAGE);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_pages_for_others(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 0, 3 * PAGE);
    weft_seq *seq = waiting(&r, 1, PAGE - 2), *other = NULL, *late = NULL;
    step_next(&r, seq);
    /* No page is left, so the steps ahead go as far as the sequence's own page reaches. */
    other = waiting(&r, 2, 2 * PAGE);
    weft_seq_cancel(other);
    assert_int_equal(rig_free(&r), 0);
    assert_int_equal(steps_of(&r), 2);
    assert_int_equal(rig_free(&r), 0);
    weft_seq_release(&other);
    /* Another sequence gets the pages that it needs. */
    OK(weft_seq_rewind(seq, PAGE - 2, E));
    other = waiting(&r, 2, PAGE);
    weft_seq_cancel(other);
    assert_int_equal(steps_of(&r), 64);
    assert_int_equal(rig_free(&r), 0);
    late = waiting(&r, 3, 1);
    assert_int_equal(ahead_beyond(seq), 0);
    assert_int_equal(rig_free(&r), 0);
    weft_seq_release(&late);
    assert_int_equal(rig_free(&r), PAGE);
    /* The next token was still known, and now waits. */
    next(seq);
    assert_int_equal(weft_seq_pending(seq), 1);
    weft_seq_release(&seq);
    weft_seq_release(&other);
    rig_close(&r);
}

/* Lets seq go ahead into the last page. */
static void take_last_page(const struct rig *r, weft_seq *seq)
{
    OK(weft_seq_rewind(seq, PAGE - 2, E));
    assert_int_equal(steps_of(r), 64);
    assert_int_equal(rig_free(r), 0);
}

static void test_pages_for_copies(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 0, 3 * PAGE);
    weft_seq *greedy_one = waiting(&r, 1, PAGE - 2), *seq = waiting(&r, 2, 20), *fork = NULL;
    step(&r);
    /* A fork is rewound into a page that it shares. */
    OK(weft_seq_fork(seq, &fork, E));
    take_last_page(&r, greedy_one);
    OK(weft_seq_rewind(fork, 10, E));
    assert_int_equal(ahead_beyond(greedy_one), 0);
    weft_seq_release(&fork);
    /* A fork has a token that waits. */
    next(seq);
    weft_seq_cancel(seq);
    take_last_page(&r, greedy_one);
    OK(weft_seq_fork(seq, &fork, E));
    assert_int_equal(ahead_beyond(greedy_one), 0);
    weft_seq_release(&fork);
    weft_seq_release(&seq);
    weft_seq_release(&greedy_one);
    rig_close(&r);
}

/* One page is free, and two sequences could use it for tokens ahead. */
static void test_pages_for_all_or_none(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 0, 3 * PAGE);
    weft_seq *seqs[2] = { waiting(&r, 1, PAGE - 2), waiting(&r, 2, PAGE - 2) };
    step(&r);
    next(seqs[0]);
    next(seqs[1]);
    assert_int_equal(rig_free(&r), PAGE);
    assert_int_equal(steps_of(&r), 2);
    assert_int_equal(rig_free(&r), PAGE);
    weft_seq_release(&seqs[0]);
    weft_seq_release(&seqs[1]);
    rig_close(&r);
}

/* A call that fails changes nothing: here the logits of the very next token are NaN. */
static void test_failure_keeps_pages(void **state)
{
    (void)state;
    struct rig r = open_ahead(64, 0, 4 * PAGE);
    weft_seq *seq = waiting(&r, 1, PAGE - 2);
    int32_t token, known;
    step_next(&r, seq);
    step(&r);
    known = seq->logits.ids[0];
    seq->logits.ids[0] = -1;
    assert_int_equal(rig_free(&r), 2 * PAGE);
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    rig_message((const char *const[]){ "NaN", NULL });
    assert_int_equal(rig_free(&r), 2 * PAGE);
    seq->logits.ids[0] = known;
    assert_int_equal(next(seq), known);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Draws n_new tokens behind n_fed tokens, with tokens computed ahead and without: they must be
 * equal. */
static void same_tokens(const char *path, size_t n_fed, size_t n_new)
{
    int32_t tokens[2][32], prompt[16 * PAGE];
    const weft_sampling s = greedy();
    for (size_t i = 0; i < 2; i++) {
        weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
        p.device = "cpu";
        p.n_threads = 1;
        p.n_ahead = 16;
        struct rig r = rig_open(path, &p);
        top_backend_wrap(&top, r.engine, i == 0 ? 0 : TOP_BEST | TOP_AHEAD, 4);
        weft_seq *seq = rig_seq(&r, &s);
        rig_tokens(&r, 1, prompt, n_fed);
        OK(weft_seq_append(seq, prompt, n_fed, E));
        rig_compute(&r, seq);
        for (size_t j = 0; j < n_new; j++) {
            rig_compute(&r, seq);
            tokens[i][j] = next(seq);
        }
        assert_int_equal(top.n_ahead > 0, i);
        weft_seq_release(&seq);
        rig_close(&r);
    }
    assert_memory_equal(tokens[0], tokens[1], n_new * sizeof *tokens[0]);
}

/* The list of pages grows, and so moves, while the step for which it grows is already packed. */
static void test_list_moves(void **state)
{
    (void)state;
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.n_ctx = 2048;
    same_tokens(model_file_of(&spec), 16 * PAGE - 8, 30);
}

/* No token is computed ahead with RoPE factors that its text no longer has. */
static void test_rope_border(void **state)
{
    (void)state;
    for (size_t border = 100; border < 118; border++) {
        same_tokens(model_file_long(border), 98, 26);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_pages_for_others),
        cmocka_unit_test(test_pages_for_copies),
        cmocka_unit_test(test_pages_for_all_or_none),
        cmocka_unit_test(test_failure_keeps_pages),
        cmocka_unit_test(test_list_moves),
        cmocka_unit_test(test_rope_border),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
