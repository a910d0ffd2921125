/* Does the device get back all memory that an engine took? Engines of all kinds are opened, read
 * prompts by both paths, generate, fork, rewind, and are released in the worst order. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu.h"

enum { N_SEQS = 4, N_KINDS = 4, MOST_TOKENS = 64 /* of a sequence */ };

struct run {
    const char *path;
    uint64_t seed;
    size_t kind, n_tokens; /* n_tokens: generated */
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
    OK(weft_model_open(r->path, NULL, &r->model, &bench_error));
    OK(weft_engine_open(r->model, &params, &r->engine, &bench_error));
    for (size_t i = 0; i < N_SEQS - 1; i++) {
        weft_sampling sampling = WEFT_SAMPLING_INIT;
        sampling.temperature = i == 2 ? 0.8f : 0.0f;
        sampling.seed = r->seed;
        OK(weft_seq_open(r->engine, &sampling, &r->seqs[i], &bench_error));
        append(r, r->seqs[i], i == 0 ? 3 : 40); /* few rows, and enough for tensor cores */
    }
    compute(r);
    OK(weft_seq_fork(r->seqs[1], &r->seqs[3], &bench_error));
}

/* A token for each sequence; a text that has ended goes on with another token. */
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

/* Returns the number of generated tokens. */
static size_t run_engine(struct run *r, size_t n_tokens)
{
    size_t n = n_tokens < MOST_TOKENS ? n_tokens : MOST_TOKENS;
    r->n_tokens = 0;
    open_run(r);
    for (size_t i = 0; i < n; i++) {
        generate(r);
        if (i == n / 2) {
            OK(weft_seq_rewind(r->seqs[0], 2, &bench_error));
            OK(weft_seq_rewind(r->seqs[3], 30, &bench_error));
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

bool bench_leak(struct bench *b, size_t n_tokens, const char *const *paths, size_t n_paths)
{
    struct run run = { .seed = 1 };
    size_t done = 0, n_engines = 0, lost = 0;
    /* what the driver and cuBLAS load once, and keep */
    for (size_t i = 0; i < 2 * n_paths * N_KINDS; i++) {
        run.path = paths[i % n_paths];
        run.kind = i / n_paths % N_KINDS;
        (void)run_engine(&run, b->smoke ? 10 : MOST_TOKENS);
    }
    const size_t before = free_bytes();
    const struct mallinfo2 host = mallinfo2();
    for (; done < n_tokens; n_engines++) {
        run.path = paths[n_engines % n_paths];
        run.kind = n_engines / n_paths % N_KINDS;
        done += run_engine(&run, b->smoke ? 10 : MOST_TOKENS);
        size_t now = free_bytes();
        if (now < before && before - now > lost) {
            lost = before - now;
            report_fact(b, "lost", "%zu bytes after %zu engines and %zu tokens", lost,
                        n_engines + 1, done);
        }
    }
    const size_t after = free_bytes();
    report_fact(b, "generated", "%zu tokens in %zu engines of %d sequences", done, n_engines,
                N_SEQS);
    report_fact(b, "free device memory", "%zu bytes before, %zu after: %s", before, after,
                after >= before ? "nothing is lost" : "MEMORY IS LOST");
    report_fact(b, "host memory in use", "%zu bytes before, %zu after", host.uordblks,
                mallinfo2().uordblks);
    return after >= before;
}
