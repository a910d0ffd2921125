/* Measures the best that the device can do: the two numbers that everything else is compared
 * with. */
#include <stdio.h>
#include <string.h>

#include "gpu-bench/gpu.h"

/* --- memory --- */

struct read_job {
    struct dptr from, sum;
    size_t bytes;
    uint32_t blocks_per_sm;
};

static cudaError_t record_read(const void *job, const struct dqueue *on)
{
    const struct read_job *r = job;
    return kernel_measure_read(r->from, r->bytes, r->sum, r->blocks_per_sm, on);
}

/* Returns a size of many times the L2 cache, but only a part of the free memory. */
static size_t read_bytes(const struct bench *b)
{
    const size_t most = (size_t)8 << 30, piece = (size_t)64 << 20;
    size_t available, total;
    if (b->smoke) {
        return 1 << 16;
    }
    CU(cudaMemGetInfo(&available, &total));
    size_t bytes = available / 2 < most ? available / 2 : most;
    return bytes > piece ? bytes / piece * piece : piece;
}

void bench_memory(struct bench *b)
{
    static const uint32_t blocks[] = { 2, 4, 8, 16, 32 };
    static const char *const columns[] = { "GB/s", NULL };
    char title[80], name[32];
    size_t bytes = read_bytes(b);
    const uint32_t zero = 0;
    struct read_job job = { .bytes = bytes };
    job.from = bench_halves(b, bytes / sizeof(f16_bits));
    job.sum = bench_put(b, &zero, sizeof zero);
    snprintf(title, sizeof title, "%.2f GB read once, 256 threads a block", (double)bytes / 1e9);
    struct table t = table_begin(b, "memory", title, columns);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        job.blocks_per_sm = blocks[i];
        struct spread rate = spread_rate(bench_time(b, record_read, &job), (double)bytes);
        snprintf(name, sizeof name, "%u blocks per SM", blocks[i]);
        table_row(&t, name);
        table_cell(&t, spread_scale(rate, 1e-9), "GB/s", -1.0);
        table_row_end(&t);
        b->read_rate = rate.median > b->read_rate ? rate.median : b->read_rate;
    }
    bench_free(b);
    report_fact(b, "read rate", "%.0f GB/s: 100 %% in what follows", b->read_rate * 1e-9);
}

void bench_warm_up(struct bench *b)
{
    const size_t bytes = b->smoke ? 1 << 12 : (size_t)256 << 20;
    const uint32_t zero = 0;
    const struct read_job job = { .from = bench_halves(b, bytes / sizeof(f16_bits)),
                                  .sum = bench_put(b, &zero, sizeof zero),
                                  .bytes = bytes,
                                  .blocks_per_sm = 8 };
    (void)bench_time(b, record_read, &job);
    bench_free(b);
}

/* --- phases --- */

enum { N_PHASES = 200 };

struct phase_job {
    uint32_t n_blocks;
    bool programmatic;
};

static cudaError_t record_phases(const void *job, const struct dqueue *on)
{
    const struct phase_job *p = job;
    struct dqueue q = *on;
    cudaError_t e = cudaSuccess;
    q.programmatic = p->programmatic;
    for (size_t i = 0; i < N_PHASES && e == cudaSuccess; i++) {
        e = kernel_measure_nothing(p->n_blocks, &q);
    }
    return e;
}

void bench_phases(struct bench *b)
{
    static const char *const columns[] = { "in order, us", "programmatic, us", NULL };
    const struct {
        const char *name;
        uint32_t n_blocks;
    } grids[] = { { "1 block", 1 },
                  { "1 block per SM", b->queue.n_sms },
                  { "4 blocks per SM", 4 * b->queue.n_sms } };
    struct table t =
        table_begin(b, "phases", "a kernel that does nothing, in a graph of 200", columns);
    for (size_t i = 0; i < sizeof grids / sizeof grids[0]; i++) {
        table_row(&t, grids[i].name);
        for (int programmatic = 0; programmatic < 2; programmatic++) {
            const struct phase_job job = { grids[i].n_blocks, programmatic != 0 };
            if (programmatic && !b->queue.programmatic && !b->smoke) {
                table_skip(&t); /* the device does not support it */
                continue;
            }
            struct spread s = bench_time(b, record_phases, &job);
            table_cell(&t, spread_scale(s, 1e6 / (double)N_PHASES), "us", -1.0);
        }
        table_row_end(&t);
    }
}
