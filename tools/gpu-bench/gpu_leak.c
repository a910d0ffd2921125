/* Checks that the device gets back all memory that an engine took. Engines of all kinds are opened,
 * read prompts by both paths, generate, fork, rewind, and are released in the worst order. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu-bench/gpu.h"

enum { N_SEQS = 4, N_KINDS = 4, MOST_TOKENS = 64 /* of a sequence */ };
enum { PLANTED = 1 << 20 /* bytes that --plant loses with an engine */ };

struct run {
    const char *path;
    bool no_arena;
    uint64_t seed;
    size_t kind, n_prompt, n_tokens; /* n_tokens: generated */
    weft_model *model;
    weft_engine *engine;
    weft_seq *seqs[N_SEQS];
};

static size_t free_bytes(void)
{
    size_t available, total;
    CU(cudaMemGetInfo(&available, &total));
    return available;
}

static void append(struct run *r, weft_seq *seq, size_t n)
{
    int32_t tokens[MOST_TOKENS];
    random_tokens(r->model, r->seed++, tokens, n);
    OK(weft_seq_append(seq, tokens, n, &bench_error));
}

static void compute(struct run *r)
{
    for (size_t i = 0; i < N_SEQS; i++) {
        while (r->seqs[i] != NULL && weft_seq_pending(r->seqs[i]) > 0) {
            OK(weft_engine_step(r->engine, NULL, &bench_error));
        }
    }
}

static void open_run(struct run *r)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    params.device = "cuda:0";
    params.n_ctx = 192;
    params.n_kv = 64 * 3 * N_SEQS;
    params.n_batch = 64;
    params.n_ahead = r->kind & 1 ? 8 : 1;
    params.deterministic = (r->kind & 2) != 0;
    params.no_arena = r->no_arena;
    OK(weft_model_open(r->path, NULL, &r->model, &bench_error));
    OK(weft_engine_open(r->model, &params, &r->engine, &bench_error));
    for (size_t i = 0; i < N_SEQS - 1; i++) {
        weft_sampling sampling = WEFT_SAMPLING_INIT;
        sampling.temperature = i == 2 ? 0.8f : 0.0f;
        sampling.seed = r->seed;
        OK(weft_seq_open(r->engine, &sampling, &r->seqs[i], &bench_error));
        /* The first prompt has few rows, the others have enough for tensor cores. */
        append(r, r->seqs[i], i == 0 ? 3 : r->n_prompt);
    }
    compute(r);
    OK(weft_seq_fork(r->seqs[1], &r->seqs[3], &bench_error));
}

/* Draws a token for each sequence; a text that has ended goes on with another token. */
static void generate(struct run *r)
{
    int32_t token;
    for (size_t i = 0; i < N_SEQS; i++) {
        OK(weft_seq_next(r->seqs[i], &token, &bench_error));
        r->n_tokens++;
        if (weft_seq_finish(r->seqs[i]) != WEFT_RUNNING) {
            append(r, r->seqs[i], 1);
        }
    }
    compute(r);
}

/* Generates n_tokens for each sequence. Returns the number of generated tokens. */
static size_t run_engine(struct run *r, size_t n_tokens)
{
    r->n_tokens = 0;
    open_run(r);
    for (size_t i = 0; i < n_tokens; i++) {
        generate(r);
        if (i == n_tokens / 2) {
            OK(weft_seq_rewind(r->seqs[0], 2, &bench_error));
            OK(weft_seq_rewind(r->seqs[3], r->n_prompt / 2, &bench_error));
            compute(r);
        }
    }
    weft_engine_release(&r->engine);
    weft_model_release(&r->model);
    for (size_t i = 0; i < N_SEQS; i++) {
        weft_seq_release(&r->seqs[i]); /* the last one closes the engine */
    }
    return r->n_tokens;
}

/* Runs one engine of each kind for each model. */
static size_t run_round(struct bench *b, struct run *run, const char *const *paths, size_t n_paths,
                        size_t n_tokens)
{
    size_t done = 0;
    for (size_t i = 0; i < n_paths * N_KINDS; i++) {
        run->path = paths[i % n_paths];
        run->kind = i / n_paths;
        done += run_engine(run, n_tokens);
        if (b->plant) {
            void *lost;
            CU(cudaMalloc(&lost, PLANTED));
        }
    }
    return done;
}

bool bench_leak(struct bench *b, size_t n_tokens, const char *const *paths, size_t n_paths)
{
    struct run run = { .seed = 1, .n_prompt = b->smoke ? 18 : 40, .no_arena = b->no_arena };
    const size_t n_engines = n_paths * N_KINDS, most = MOST_TOKENS * N_SEQS;
    size_t n_rounds = (n_tokens + n_engines * most - 1) / (n_engines * most), done = 0;
    n_rounds = round_up(n_rounds, BENCH_QUARTERS);
    size_t each = n_tokens / (n_rounds * n_engines * N_SEQS) + 1; /* of a sequence */
    size_t *free_after = calloc(n_rounds, sizeof *free_after);
    if (free_after == NULL) {
        bench_die("no memory for a list of %zu rounds", n_rounds);
    }
    /* The driver and cuBLAS load things in the first round, and keep them. */
    (void)run_round(b, &run, paths, n_paths, each);
    const size_t before = free_bytes();
    const struct mallinfo2 host = mallinfo2();
    for (size_t i = 0; i < n_rounds; i++) {
        done += run_round(b, &run, paths, n_paths, each);
        free_after[i] = free_bytes();
        if (free_after[i] < (i > 0 ? free_after[i - 1] : before)) {
            report_fact(b, "less free", "%zu bytes, %zu before, after %zu engines", free_after[i],
                        i > 0 ? free_after[i - 1] : before, (i + 1) * n_engines);
        }
    }
    const bool lost = bench_shrinks(free_after, n_rounds);
    report_fact(b, "generated", "%zu tokens in %zu engines of %d sequences", done,
                n_rounds * n_engines, N_SEQS);
    report_fact(b, "free device memory", "%zu bytes before, %zu after: %s", before,
                free_after[n_rounds - 1],
                lost ? "LOST, engine after engine" : "nothing is lost from engine to engine");
    report_fact(b, "host memory in use", "%zu bytes before, %zu after", host.uordblks,
                mallinfo2().uordblks);
    free(free_after);
    return !lost;
}
