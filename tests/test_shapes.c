/* The shapes of batches that bindings to other engines stumble over: 1 token in 1 sequence, 10 in
 * 1, 10 over 3 sequences, 512 over 16; and 64 sequences of random lengths that come and go. Each
 * sequence gets exactly the ids that it gets alone, greedy and sampled. Includes only weft.h of the
 * library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

enum { MAX_PROMPT = 80, MAX_NEW = 30, MAX_SEQS = 64 };

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };

/* A text to be written: what goes in, and the ids that come out when it is alone. */
struct text {
    int32_t prompt[MAX_PROMPT], alone[MAX_NEW];
    size_t n_prompt, n_new;
    weft_sampling sampling;
};

/* A text on its way. */
struct writing {
    const struct text *text; /* NULL = none */
    weft_seq *seq;
    size_t n_done;
};

static struct text text_of(const struct rig *alone, uint64_t seed, size_t n_prompt, size_t n_new)
{
    struct text t = { .n_prompt = n_prompt, .n_new = n_new, .sampling = WEFT_SAMPLING_INIT };
    t.sampling.temperature = seed % 2 == 0 ? 0 : 0.9f;
    t.sampling.repeat_penalty = seed % 3 == 0 ? 1.1f : 1;
    t.sampling.seed = seed;
    t.sampling.ignore_end = true;
    rig_tokens(alone, seed, t.prompt, n_prompt);
    weft_seq *seq = rig_seq(alone, &t.sampling);
    OK(weft_seq_append(seq, t.prompt, n_prompt, E));
    for (size_t i = 0; i < n_new; i++) {
        rig_compute(alone, seq);
        OK(weft_seq_next(seq, &t.alone[i], E));
    }
    weft_seq_release(&seq);
    return t;
}

static struct writing begin(const struct rig *r, const struct text *t)
{
    struct writing w = { .text = t, .seq = rig_seq(r, &t->sampling) };
    OK(weft_seq_append(w.seq, t->prompt, t->n_prompt, E));
    return w;
}

/* Takes the next id if it is ready; true when the text is complete. */
static bool go_on(struct writing *w, const char *what)
{
    int32_t token;
    if (weft_seq_pending(w->seq) > 0) {
        return false;
    }
    OK(weft_seq_next(w->seq, &token, E));
    if (token != w->text->alone[w->n_done]) {
        fail_msg("%s: id %zu behind a prompt of %zu (temperature %g, seed %zu) is %d, alone %d",
                 what, w->n_done, w->text->n_prompt, (double)w->text->sampling.temperature,
                 (size_t)w->text->sampling.seed, token, w->text->alone[w->n_done]);
    }
    return ++w->n_done == w->text->n_new;
}

static void end(struct writing *w)
{
    weft_seq_release(&w->seq);
    w->text = NULL;
}

/* ---------------------------------------------------------------- the four shapes */

/* n_tokens over n_seqs sequences, which then write side by side. The prompts go into one step if it
 * has room for them. */
static void check_types(const char *preset, size_t n_tokens, size_t n_seqs, size_t n_batch,
                        weft_kv_type type)
{
    const weft_engine_params p = { .size = sizeof p,
                                   .n_batch = n_batch,
                                   .n_threads = type == WEFT_KV_F16 ? 1 : 3,
                                   .type_k = type,
                                   .type_v = type };
    const weft_engine_params q = {
        .size = sizeof q, .n_threads = 1, .type_k = type, .type_v = type
    };
    struct rig r = rig_open(model_file(preset), &p), alone = rig_open(model_file(preset), &q);
    struct text *texts = calloc(n_seqs, sizeof *texts);
    struct writing writings[16];
    size_t n_left = n_seqs, n_running = n_seqs;
    char what[96];
    snprintf(what, sizeof what, "%s, %zu tokens in %zu, n_batch %zu", preset, n_tokens, n_seqs,
             n_batch);
    for (size_t i = 0; i < n_seqs; i++, n_left--) {
        /* uneven, but at least one for each; the last takes what is left */
        size_t share = n_tokens / n_left,
               n = n_left == 1 ? n_tokens : share - (share > 2 ? i % 3 : 0);
        texts[i] = text_of(&alone, i, n, 8 + i);
        n_tokens -= n;
        writings[i] = begin(&r, &texts[i]);
    }
    uint64_t n_rows = rig_info(&r).n_rows;
    OK(weft_engine_step(r.engine, NULL, E));
    size_t n_waiting = 0;
    for (size_t i = 0; i < n_seqs; i++) {
        n_waiting += weft_seq_pending(writings[i].seq);
    }
    assert_int_equal(n_waiting == 0, n_batch >= 512);
    assert_in_range(rig_info(&r).n_rows - n_rows, 1, n_batch);
    while (n_running > 0) {
        OK(weft_engine_step(r.engine, NULL, E));
        for (size_t i = 0; i < n_seqs; i++) {
            if (writings[i].text != NULL && go_on(&writings[i], what)) {
                end(&writings[i]);
                n_running--;
            }
        }
    }
    free(texts);
    rig_close(&r);
    rig_close(&alone);
}

static void check_shape(const char *preset, size_t n_tokens, size_t n_seqs, size_t n_batch)
{
    check_types(preset, n_tokens, n_seqs, n_batch, WEFT_KV_F16);
}

static void test_one_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], 1, 1, 512);
    }
}

static void test_ten_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], 10, 1, 512);
        check_shape(presets[i], 10, 1, 4);
    }
}

static void test_ten_over_three(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], 10, 3, 512);
        check_shape(presets[i], 10, 3, 4);
    }
}

static void test_512_over_sixteen(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_shape(presets[i], 512, 16, 512);
    }
    check_shape(presets[0], 512, 16, 100);
    check_shape(presets[0], 512, 16, 1);
}

static void test_q8_0(void **state)
{
    (void)state;
    static const size_t batches[] = { 512, 100, 7 };
    for (size_t i = 0; i < 3; i++) {
        check_types("tiny-qwen3", 512, 16, batches[i], WEFT_KV_Q8_0);
        check_types("tiny-phi3", 512, 16, batches[i], WEFT_KV_Q8_0);
    }
}

/* ---------------------------------------------------------------- 64 that come and go */

static void check_crowd(const char *preset, uint64_t seed, size_t n_batch)
{
    enum { N_TEXTS = 110 };
    const weft_engine_params p = { .size = sizeof p,
                                   .n_ctx = MAX_PROMPT + MAX_NEW,
                                   .n_kv = MAX_SEQS * 128,
                                   .n_batch = n_batch,
                                   .n_threads = 1 };
    struct rig r = rig_open(model_file(preset), &p), alone = rig_open(model_file(preset), NULL);
    struct text *texts = calloc(N_TEXTS, sizeof *texts);
    struct writing crowd[MAX_SEQS] = { { 0 } };
    size_t n_begun = 0, n_running = 0, most = 0;
    char what[96];
    snprintf(what, sizeof what, "%s, a crowd, n_batch %zu, seed %zu", preset, n_batch,
             (size_t)seed);
    for (size_t i = 0; i < N_TEXTS; i++) {
        size_t n_prompt = 1 + rig_random(&seed, i % 3 == 0 ? MAX_PROMPT : 20);
        texts[i] = text_of(&alone, i, n_prompt, 1 + rig_random(&seed, MAX_NEW));
    }
    while (n_begun < N_TEXTS || n_running > 0) {
        for (size_t i = 0; i < MAX_SEQS; i++) {
            if (crowd[i].text == NULL && n_begun < N_TEXTS && rig_random(&seed, 4) == 0) {
                crowd[i] = begin(&r, &texts[n_begun++]);
                n_running++;
            } else if (crowd[i].text != NULL && n_begun > MAX_SEQS && rig_random(&seed, 200) == 0) {
                end(&crowd[i]); /* leaves in the middle */
                n_running--;
            }
        }
        most = n_running > most ? n_running : most;
        OK(weft_engine_step(r.engine, NULL, E));
        for (size_t i = 0; i < MAX_SEQS; i++) {
            if (crowd[i].text != NULL && rig_random(&seed, 8) > 0 && go_on(&crowd[i], what)) {
                end(&crowd[i]);
                n_running--;
            }
        }
    }
    assert_in_range(most, MAX_SEQS / 2, MAX_SEQS);
    free(texts);
    rig_close(&r);
    rig_close(&alone);
}

static void test_crowd(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_crowd(presets[i], i, 96);
    }
    check_crowd(presets[0], 7, 5);
    check_crowd(presets[0], 8, 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_token),      cmocka_unit_test(test_ten_tokens),
        cmocka_unit_test(test_ten_over_three), cmocka_unit_test(test_512_over_sixteen),
        cmocka_unit_test(test_q8_0),           cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
