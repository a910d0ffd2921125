/* Hashes, prompts, and an engine with sequences, for manifest.c. A failure ends the program with a
 * message. Everything is static: the program is linked with the objects of a library, some of whose
 * symbols may have the name of a function here. */
#ifndef WEFT_TESTS_MANIFEST_RIG_H
#define WEFT_TESTS_MANIFEST_RIG_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft.h"

#define MAX_SEQS 16u
#define PIECE_BATCH 24u /* rows of a step in setups where prompts come in pieces */

struct setup {
    const char *device, *kv, *plant, *path;
    weft_cpu_isa isa;
    size_t n_ctx, n_prompt, n_new;
    bool deterministic, few;
};

/* Values that several functions need. */
struct rig {
    const struct setup *setup;
    weft_model *model;
    weft_model_info info;
    char name[64]; /* the name of the current case */
    int32_t *text;
    size_t n_text; /* tokens of `passage` */
    float *logits; /* [n_vocab] */
};

/* One engine with sequences on it. */
struct run {
    struct rig *rig;
    weft_engine *engine;
    weft_seq *seqs[MAX_SEQS];
    size_t n_seqs;
};

static const char passage[] =
    "The weaver threw the shuttle through the shed and beat the weft into place. In 1804 Joseph "
    "Marie Jacquard showed a loom that read its pattern from cards; \"a card for each row\", he "
    "said. Caf\xc3\xa9s sold 3,141 of them for 27.18 francs apiece.\n\nint main(void) { return 0; "
    "}\n\tThe capital of France is Paris, and that of Norway is Oslo. \xe4\xbd\xa0\xe5\xa5\xbd, "
    "\xd0\xbc\xd0\xb8\xd1\x80! \xf0\x9f\x99\x82 What is woven once can be worn for years; what "
    "is written once is read a thousand times. ";

/* ---------------------------------------------------------------- hashes and errors */

#define HASH_START 0xcbf29ce484222325u

/* FNV-1a of 64 bits. */
static void hash_bytes(uint64_t *hash, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    uint64_t h = *hash;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ bytes[i]) * 0x100000001b3u;
    }
    *hash = h;
}

static void hash_number(uint64_t *hash, uint64_t value) { hash_bytes(hash, &value, sizeof value); }

static void report(const struct rig *rig, const char *what, uint64_t hash)
{
    const struct setup *s = rig->setup;
    const char *slash = strrchr(s->path, '/');
    if (s->plant != NULL && (strcmp(s->plant, what) == 0 || strcmp(s->plant, "all") == 0)) {
        hash ^= 1;
    }
    printf("%s %s,%zu,%zu+%zu%s %s %s %016" PRIx64 "\n", slash == NULL ? s->path : slash + 1, s->kv,
           s->n_ctx, s->n_prompt, s->n_new, s->deterministic ? ",deterministic" : "", rig->name,
           what, hash);
}

static void must(const struct rig *rig, weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fprintf(stderr, "manifest: %s, %s: %s: %s\n", rig->setup->path, rig->name,
                weft_status_name(status), err->message);
        exit(1);
    }
}

static void *must_alloc(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL) {
        fprintf(stderr, "manifest: no memory for %zu values of %zu bytes\n", n, size);
        exit(1);
    }
    return p;
}

/* ---------------------------------------------------------------- prompts */

/* Sequences of even numbers read the passage from different places on; sequences of odd numbers
 * read ids that are in no text. The first one is the longest, so that it fills more than a page. */
static size_t make_prompt(const struct rig *rig, size_t i, int32_t *dst)
{
    size_t n = i == 0 ? rig->setup->n_prompt : 1 + i * 29 % (1 + rig->setup->n_prompt / 5);
    uint64_t random = 12345 + i;
    for (size_t k = 0; k < n; k++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        dst[k] = i % 2 == 0 ? rig->text[(7 * i + k) % rig->n_text]
                            : (int32_t)((random >> 33) % rig->info.n_vocab);
    }
    return n;
}

static weft_sampling greedy(void)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 0;
    s.ignore_end = true;
    return s;
}

static weft_sampling drawn(size_t i)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 1.5f;
    s.repeat_penalty = 1.1f;
    s.seed = 7 + i;
    s.ignore_end = true;
    return s;
}

/* ---------------------------------------------------------------- engine and sequences */

static weft_engine_params engine_params(const struct rig *rig, bool pieces, size_t n_seqs)
{
    const struct setup *s = rig->setup;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = s->device;
    p.cpu_isa = s->isa;
    p.n_ctx = s->n_ctx;
    p.n_kv = n_seqs * (s->n_prompt + 3 * s->n_new + 64);
    p.n_batch = pieces ? PIECE_BATCH : 0;
    p.n_threads = n_seqs > 1 ? 2 : 1;
    p.deterministic = s->deterministic;
    p.no_prefix_cache = true;
    p.type_k = strncmp(s->kv, "q8_0/", 5) == 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
    p.type_v = strcmp(strchr(s->kv, '/'), "/q8_0") == 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
    return p;
}

static void run_open(struct run *run, struct rig *rig, const weft_engine_params *params,
                     size_t n_seqs)
{
    weft_error err = { 0 };
    weft_sampling sampling = greedy();
    *run = (struct run){ .rig = rig, .n_seqs = n_seqs };
    must(rig, weft_engine_open(rig->model, params, &run->engine, &err), &err);
    for (size_t i = 0; i < n_seqs; i++) {
        must(rig, weft_seq_open(run->engine, &sampling, &run->seqs[i], &err), &err);
    }
}

static void run_close(struct run *run)
{
    for (size_t i = 0; i < run->n_seqs; i++) {
        weft_seq_release(&run->seqs[i]);
    }
    weft_engine_release(&run->engine);
}

static void step(struct run *run, size_t *ready)
{
    weft_error err = { 0 };
    must(run->rig, weft_engine_step(run->engine, ready, &err), &err);
}

/* Steps until all sequences have logits. */
static void settle(struct run *run)
{
    size_t ready = 0;
    do {
        step(run, &ready);
    } while (ready < run->n_seqs);
}

/* Appends all prompts, either in pieces of growing size with a step between them, or each as a
 * whole. */
static void append(struct run *run, bool pieces)
{
    struct rig *rig = run->rig;
    weft_error err = { 0 };
    int32_t *prompt = must_alloc(rig->setup->n_prompt, sizeof *prompt);
    size_t done = 0;
    for (size_t size = pieces ? 1 : rig->setup->n_prompt; done < rig->setup->n_prompt; size *= 3) {
        for (size_t i = 0; i < run->n_seqs; i++) {
            size_t n = make_prompt(rig, i, prompt);
            size_t from = done < n ? done : n;
            size_t left = n - from;
            must(rig, weft_seq_append(run->seqs[i], prompt + from, left < size ? left : size, &err),
                 &err);
        }
        done += size;
        size_t ready;
        step(run, &ready);
    }
    free(prompt);
}

static void hash_logits(struct run *run, weft_seq *seq, uint64_t *hash)
{
    struct rig *rig = run->rig;
    weft_error err = { 0 };
    must(rig, weft_seq_logits(seq, rig->logits, rig->info.n_vocab, NULL, &err), &err);
    hash_bytes(hash, rig->logits, rig->info.n_vocab * sizeof *rig->logits);
}

static void hash_text(struct run *run, weft_seq *seq, uint64_t *hash)
{
    char text[4096];
    size_t n = 0;
    weft_error err = { 0 };
    must(run->rig, weft_seq_text(seq, text, sizeof text, &n, &err), &err);
    hash_bytes(hash, text, n);
}

/* Draws n_new tokens in every sequence. `logits` is NULL when tokens are computed ahead, whose
 * logits are not kept. */
static void generate(struct run *run, uint64_t *ids, uint64_t *logits)
{
    struct rig *rig = run->rig;
    weft_error err = { 0 };
    for (size_t k = 0; k < rig->setup->n_new; k++) {
        settle(run);
        for (size_t i = 0; i < run->n_seqs; i++) {
            int32_t token;
            if (logits != NULL) {
                hash_logits(run, run->seqs[i], logits);
            }
            must(rig, weft_seq_next(run->seqs[i], &token, &err), &err);
            hash_number(ids, (uint64_t)token);
            hash_text(run, run->seqs[i], ids);
        }
    }
}

static void *save(struct run *run, weft_seq *seq, size_t *n)
{
    weft_error err = { 0 };
    (void)weft_seq_save(seq, NULL, 0, n, NULL);
    void *state = must_alloc(*n, 1);
    must(run->rig, weft_seq_save(seq, state, *n, n, &err), &err);
    return state;
}

#endif
