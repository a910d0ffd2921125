/* Checks that the tokens of a greedy text are the same whenever and however it is generated. Texts
 * of several depths, alone and eight at once, are generated again and again: one token at a time
 * and eight ahead, with and without programmatic launches, with and without graphs. The same
 * kernels compute all of them, so a difference means a race, or memory that nobody has written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu-bench/gpu.h"

enum { MANY = 8 /* texts at once */, N_GROUPS = 4, N_WAYS = 8, NO_ID = -1 };

/* Texts that are generated side by side. */
struct group {
    size_t n_texts, depth;
};

struct plan {
    struct group groups[N_GROUPS];
    size_t n_tokens, n_runs, n_batch, n_ahead, n_ids; /* n_ids: of all texts of a run */
};

static struct plan make_plan(const struct bench *b)
{
    struct plan p = { .groups = { { 1, 1 }, { 1, 40 }, { 1, 600 }, { MANY, 40 } },
                      .n_tokens = 96,
                      .n_runs = 3,
                      .n_batch = 512,
                      .n_ahead = 8 };
    if (b->smoke) {
        p = (struct plan){ .groups = { { 1, 1 }, { 1, 3 }, { 1, 20 }, { 2, 4 } },
                           .n_tokens = 3,
                           .n_runs = 2,
                           .n_batch = 32,
                           .n_ahead = 3 };
    }
    for (size_t i = 0; i < N_GROUPS; i++) {
        p.n_ids += p.groups[i].n_texts * p.n_tokens;
    }
    return p;
}

/* Each bit of `way` is a switch: tokens ahead, no programmatic launches, no graphs. */
static weft_engine_params way_params(const struct plan *p, size_t way)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    params.device = "cuda:0";
    params.n_ctx = p->groups[2].depth + p->n_tokens + 8;
    params.n_kv = 2 * params.n_ctx + MANY * (p->groups[3].depth + p->n_tokens + 64);
    params.n_batch = p->n_batch;
    params.no_prefix_cache = true; /* everything that is compared must be computed */
    params.n_ahead = way & 1 ? p->n_ahead : 1;
    params.no_pdl = (way & 2) != 0;
    params.no_graphs = (way & 4) != 0;
    return params;
}

static void compute(weft_engine *engine, weft_seq *const *seqs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (weft_seq_pending(seqs[i]) > 0) {
            OK(weft_engine_step(engine, NULL, &bench_error));
        }
    }
}

/* Fills ids [n_texts, n_tokens]; after the end of a text its ids stay as they were. */
static void run_group(const weft_model *model, weft_engine *engine, const struct group *g,
                      size_t n_tokens, int32_t *ids)
{
    weft_seq *seqs[MANY];
    for (size_t i = 0; i < g->n_texts; i++) {
        seqs[i] = random_text(model, engine, 10 * g->depth + i, g->depth);
    }
    compute(engine, seqs, g->n_texts);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < g->n_texts; i++) {
            if (weft_seq_finish(seqs[i]) == WEFT_RUNNING) {
                OK(weft_seq_next(seqs[i], &ids[i * n_tokens + t], &bench_error));
            }
        }
        compute(engine, seqs, g->n_texts);
    }
    for (size_t i = 0; i < g->n_texts; i++) {
        weft_seq_release(&seqs[i]);
    }
}

static void run_all(const weft_model *model, weft_engine *engine, const struct plan *p,
                    int32_t *ids)
{
    for (size_t i = 0; i < p->n_ids; i++) {
        ids[i] = NO_ID;
    }
    for (size_t i = 0; i < N_GROUPS; i++) {
        run_group(model, engine, &p->groups[i], p->n_tokens, ids);
        ids += p->groups[i].n_texts * p->n_tokens;
    }
}

/* Reports where the ids first differ; returns true if they are equal. */
static bool same_ids(struct bench *b, const struct plan *p, const char *name, size_t run,
                     const int32_t *got, const int32_t *want)
{
    size_t at = 0;
    while (at < p->n_ids && got[at] == want[at]) {
        at++;
    }
    if (at == p->n_ids) {
        return true;
    }
    const struct group *g = p->groups;
    size_t text = at / p->n_tokens;
    for (; text >= g->n_texts; g++) {
        text -= g->n_texts;
    }
    report_fact(b, name,
                "run %zu DIFFERS: text %zu of %zu at once, depth %zu, token %zu is %d, "
                "expected %d as in the first run",
                run + 1, text + 1, g->n_texts, g->depth, at % p->n_tokens + 1, (int)got[at],
                (int)want[at]);
    return false;
}

/* Makes all runs of one way; the first run of all is `want`. */
static bool run_way(struct bench *b, weft_model *model, const struct plan *p, size_t way,
                    int32_t *got, int32_t *want)
{
    weft_engine_params params = way_params(p, way);
    weft_engine *engine;
    char name[64];
    bool same = true;
    snprintf(name, sizeof name, "%zu %s%s%s", params.n_ahead, way & 1 ? "ahead" : "at a time",
             params.no_graphs ? ", no graphs" : "", params.no_pdl ? ", no pdl" : "");
    params.no_arena = b->no_arena;
    OK(weft_engine_open(model, &params, &engine, &bench_error));
    for (size_t run = 0; run < p->n_runs; run++) {
        bool first = way == 0 && run == 0;
        run_all(model, engine, p, first ? want : got);
        if (b->plant && way == N_WAYS - 1 && run == p->n_runs - 1) {
            got[p->n_ids / 2] ^= 1;
        }
        same = (first || same_ids(b, p, name, run, got, want)) && same;
    }
    weft_engine_release(&engine);
    if (same) {
        report_fact(b, name, "%zu runs, equal", p->n_runs);
    }
    return same;
}

bool bench_ids(struct bench *b, const char *path)
{
    const struct plan p = make_plan(b);
    const char *slash = strrchr(path, '/');
    weft_model *model;
    bool same = true;
    int32_t *want = malloc(2 * p.n_ids * sizeof *want);
    if (want == NULL) {
        bench_die("no memory for %zu tokens", 2 * p.n_ids);
    }
    printf("\nids: %s, greedy, %zu tokens for each text\n", slash != NULL ? slash + 1 : path,
           p.n_tokens);
    OK(weft_model_open(path, NULL, &model, &bench_error));
    for (size_t way = 0; way < N_WAYS; way++) {
        same = run_way(b, model, &p, way, want + p.n_ids, want) && same;
    }
    weft_model_release(&model);
    free(want);
    report_fact(b, "ids", "%s: %d ways, %zu runs each: %s", slash != NULL ? slash + 1 : path,
                (int)N_WAYS, p.n_runs, same ? "equal" : "DIFFERENT");
    return same;
}
