/* Shapes of batches, on any device: sequences that are computed together get exactly the ids that
 * each gets alone; those that sample also get the same bits of logits. For one translation unit:
 * include it after cmocka.h. Includes only weft.h of the library. */
#ifndef TESTS_SHAPES_RIG_H
#define TESTS_SHAPES_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

enum { MAX_PROMPT = 80, MAX_NEW = 30, MAX_SEQS = 64 };

/* A text to be written: its prompt, and the ids that come out when it is alone. */
struct text {
    int32_t prompt[MAX_PROMPT], alone[MAX_NEW];
    uint64_t logits[MAX_NEW]; /* hashes, see hash_of() */
    size_t n_prompt, n_new;
    weft_sampling sampling;
};

/* A text that is being written. */
struct writing {
    const struct text *text; /* NULL = none */
    weft_seq *seq;
    size_t n_done;
};

/* Hashes the logits that the next id is drawn from. It is 0 for a greedy text, because a device
 * need not give its logits. */
static inline uint64_t hash_of(const struct rig *r, weft_seq *seq, const struct text *t)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    if (t->sampling.temperature <= 0) {
        return 0;
    }
    float *logits = rig_logits(r, seq);
    for (size_t i = 0; i < r->n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    free(logits);
    return hash;
}

static inline struct text text_of(const struct rig *alone, uint64_t seed, size_t n_prompt,
                                  size_t n_new)
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
        t.logits[i] = hash_of(alone, seq, &t);
        OK(weft_seq_next(seq, &t.alone[i], E));
    }
    weft_seq_release(&seq);
    return t;
}

static inline struct writing begin(const struct rig *r, const struct text *t)
{
    struct writing w = { .text = t, .seq = rig_seq(r, &t->sampling) };
    OK(weft_seq_append(w.seq, t->prompt, t->n_prompt, E));
    return w;
}

/* Takes the next id if it is ready. Returns true when the text is complete. */
static inline bool go_on(const struct rig *r, struct writing *w, const char *what)
{
    int32_t token;
    if (weft_seq_pending(w->seq) > 0) {
        return false;
    }
    if (hash_of(r, w->seq, w->text) != w->text->logits[w->n_done]) {
        fail_msg("%s: other logits for id %zu behind a prompt of %zu (seed %zu) than alone", what,
                 w->n_done, w->text->n_prompt, (size_t)w->text->sampling.seed);
    }
    OK(weft_seq_next(w->seq, &token, E));
    if (token != w->text->alone[w->n_done]) {
        fail_msg("%s: id %zu behind a prompt of %zu (temperature %g, seed %zu) is %d, alone %d",
                 what, w->n_done, w->text->n_prompt, (double)w->text->sampling.temperature,
                 (size_t)w->text->sampling.seed, token, w->text->alone[w->n_done]);
    }
    return ++w->n_done == w->text->n_new;
}

static inline void end(struct writing *w)
{
    weft_seq_release(&w->seq);
    w->text = NULL;
}

static inline struct rig shapes_open(const char *preset, weft_engine_params p)
{
    p.size = sizeof p;
    p.n_threads = 1;
    return rig_open(model_file(preset), &p);
}

/* Returns parameters for texts that run alone: the same device, K and V; everything else is the
 * default. */
static inline weft_engine_params one_by_one(weft_engine_params p)
{
    return (weft_engine_params){
        .device = p.device, .deterministic = p.deterministic, .type_k = p.type_k, .type_v = p.type_v
    };
}

/* ---------------------------------------------------------------- n tokens over m sequences */

/* Spreads n_tokens over n_seqs sequences, which then write at least n_new ids each, side by side.
 * The prompts go into one step if it has room for them. p: the device, n_batch, threads, K and
 * V. */
static inline void check_shape(const char *preset, weft_engine_params p, size_t n_tokens,
                               size_t n_seqs, size_t n_new)
{
    const size_t n_batch = p.n_batch;
    struct rig r = shapes_open(preset, p), alone = shapes_open(preset, one_by_one(p));
    struct text *texts = calloc(n_seqs, sizeof *texts);
    struct writing writings[16];
    size_t n_left = n_seqs, n_running = n_seqs;
    char what[96];
    snprintf(what, sizeof what, "%s, %zu tokens in %zu, n_batch %zu", preset, n_tokens, n_seqs,
             n_batch);
    for (size_t i = 0; i < n_seqs; i++, n_left--) {
        /* Shares are uneven, but at least one token each; the last sequence takes the rest. */
        size_t share = n_tokens / n_left,
               n = n_left == 1 ? n_tokens : share - (share > 2 ? i % 3 : 0);
        texts[i] = text_of(&alone, i, n, n_new + i);
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
            if (writings[i].text != NULL && go_on(&r, &writings[i], what)) {
                end(&writings[i]);
                n_running--;
            }
        }
    }
    free(texts);
    rig_close(&r);
    rig_close(&alone);
}

/* ---------------------------------------------------------------- 64 sequences that come and go */

/* The sizes of a crowd: prompts of up to n_short tokens, every third up to n_long. */
struct crowd {
    size_t n_texts, n_short, n_long, n_new;
};

static inline void check_crowd(const char *preset, weft_engine_params p, const struct crowd *c,
                               uint64_t seed)
{
    p.n_ctx = MAX_PROMPT + MAX_NEW;
    p.n_kv = MAX_SEQS * 128;
    struct rig r = shapes_open(preset, p), alone = shapes_open(preset, one_by_one(p));
    struct text *texts = calloc(c->n_texts, sizeof *texts);
    struct writing crowd[MAX_SEQS] = { { 0 } };
    size_t n_begun = 0, n_running = 0, most = 0;
    char what[96];
    snprintf(what, sizeof what, "%s, a crowd, n_batch %zu, seed %zu", preset, p.n_batch,
             (size_t)seed);
    for (size_t i = 0; i < c->n_texts; i++) {
        size_t n_prompt = 1 + rig_random(&seed, (uint32_t)(i % 3 == 0 ? c->n_long : c->n_short));
        texts[i] = text_of(&alone, i, n_prompt, 1 + rig_random(&seed, (uint32_t)c->n_new));
    }
    while (n_begun < c->n_texts || n_running > 0) {
        for (size_t i = 0; i < MAX_SEQS; i++) {
            if (crowd[i].text == NULL && n_begun < c->n_texts && rig_random(&seed, 4) == 0) {
                crowd[i] = begin(&r, &texts[n_begun++]);
                n_running++;
            } else if (crowd[i].text != NULL && n_begun > MAX_SEQS && rig_random(&seed, 200) == 0) {
                end(&crowd[i]); /* it leaves in the middle */
                n_running--;
            }
        }
        most = n_running > most ? n_running : most;
        OK(weft_engine_step(r.engine, NULL, E));
        for (size_t i = 0; i < MAX_SEQS; i++) {
            if (crowd[i].text != NULL && rig_random(&seed, 8) > 0 && go_on(&r, &crowd[i], what)) {
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

#endif
