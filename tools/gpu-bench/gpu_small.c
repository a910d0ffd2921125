/* The kernels of a decode step that move few bytes, so that they cost about as much as a kernel
 * that does nothing: heads (bias, RoPE, K and V into the pages) of a layer, and the choice of a
 * token. */
#include <stdio.h>
#include <stdlib.h>

#include "gpu-bench/gpu.h"

enum { IN_A_ROW = 50, MOST_ROWS = 8 };

struct small_job {
    size_t n;
    struct dstep step;
    struct heads heads;
    struct dptr logits, ids, values, scratch;
    size_t n_vocab;
};

static cudaError_t record_heads(const void *job, const struct dqueue *on)
{
    const struct small_job *j = job;
    cudaError_t e = cudaSuccess;
    for (size_t i = 0; i < IN_A_ROW && e == cudaSuccess; i++) {
        e = kernel_heads(&j->heads, &j->step, j->n, on);
    }
    return e;
}

static cudaError_t record_top(const void *job, const struct dqueue *on)
{
    const struct small_job *j = job;
    cudaError_t e = cudaSuccess;
    for (size_t i = 0; i < IN_A_ROW && e == cudaSuccess; i++) {
        e = kernel_top(j->logits, j->n, j->n_vocab, 1, j->ids, j->values, j->scratch, on);
    }
    return e;
}

static void small_row(struct bench *b, struct table *t, const char *name, bench_record *record,
                      struct small_job *job)
{
    table_row(t, name);
    for (job->n = 1; job->n <= MOST_ROWS; job->n += MOST_ROWS - 1) {
        table_cell(t, spread_scale(bench_time(b, record, job), 1e6 / (double)IN_A_ROW), "us", -1.0);
    }
    table_row_end(t);
}

/* Makes a step where row i is position i of a sequence of its own, in page i. */
static struct dstep small_step(struct bench *b)
{
    struct drow rows[MOST_ROWS] = { { 0 } };
    uint32_t pages[MOST_ROWS];
    for (uint32_t i = 0; i < MOST_ROWS; i++) {
        rows[i].pos = rows[i].seq = pages[i] = i;
    }
    return (struct dstep){ .rows = bench_put(b, rows, sizeof rows),
                           .pages = bench_put(b, pages, sizeof pages),
                           .page_stride = 1 };
}

static void heads_row(struct bench *b, struct table *t)
{
    enum { N_HEADS = 28, N_KV_HEADS = 4, DIM = 128 };
    double turns[DIM / 2];
    for (size_t i = 0; i < DIM / 2; i++) {
        turns[i] = 1.0 / (double)(i + 1);
    }
    const size_t page = (size_t)ATTEND_PAGE * N_KV_HEADS * DIM * sizeof(f16_bits);
    struct small_job job = { .step = small_step(b) };
    job.heads = (struct heads){
        .q = bench_floats(b, (size_t)MOST_ROWS * N_HEADS * DIM),
        .k = bench_floats(b, (size_t)MOST_ROWS * N_KV_HEADS * DIM),
        .v = bench_floats(b, (size_t)MOST_ROWS * N_KV_HEADS * DIM),
        .bias = { bench_floats(b, (size_t)N_HEADS * DIM), bench_floats(b, (size_t)N_KV_HEADS * DIM),
                  bench_floats(b, (size_t)N_KV_HEADS * DIM) },
        .turns = bench_put(b, turns, sizeof turns),
        .n_rot = DIM,
        .neox = true,
        .rope_factor = 1.0f,
        .eps = 1e-6f,
        .kv = { .k = bench_alloc(b, MOST_ROWS * page),
                .v = bench_alloc(b, MOST_ROWS * page),
                .n_heads = N_HEADS,
                .n_kv_heads = N_KV_HEADS,
                .head_dim = DIM },
    };
    small_row(b, t, "heads, 28/4 of 128", record_heads, &job);
    bench_free(b);
}

void bench_small(struct bench *b)
{
    static const char *const columns[] = { "1 row, us", "8 rows, us", NULL };
    const size_t n_vocab = b->smoke ? 3000 : 151936;
    struct table t = table_begin(b, "small", "kernels whose cost is that of a phase", columns);
    heads_row(b, &t);
    struct small_job job = { .n_vocab = n_vocab };
    job.logits = bench_floats(b, MOST_ROWS * n_vocab);
    job.ids = bench_alloc(b, MOST_ROWS * sizeof(int32_t));
    job.values = bench_alloc(b, MOST_ROWS * sizeof(float));
    job.scratch = bench_alloc(b, top_scratch_bytes(MOST_ROWS, n_vocab, 1));
    small_row(b, &t, "top of 151936", record_top, &job);
    bench_free(b);
}
