/* Attention by rows (decoding) and in tiles (prompts), in the shapes of three models. Each launch
 * has K and V of a layer of its own; there are so many layers that none is left in the L2 cache. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu-bench/gpu.h"

static const struct shape {
    const char *name;
    uint32_t n_heads, n_kv_heads, head_dim;
} shapes[] = { { "Qwen2.5 0.5B, 14/2 of 64", 14, 2, 64 },
               { "Qwen2.5 7B, 28/4 of 128", 28, 4, 128 },
               { "Phi-3 mini, 32/32 of 96", 32, 32, 96 } };

enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

struct attend_job {
    struct attend *layers; /* [n_layers] */
    size_t n_layers, n_launches, n_rows, n_ctx, n_tiles;
    struct dstep step;
    struct dptr tiles;
};

static cudaError_t record_rows(const void *job, const struct dqueue *on)
{
    const struct attend_job *a = job;
    cudaError_t e = cudaSuccess;
    for (size_t i = 0; i < a->n_launches && e == cudaSuccess; i++) {
        e = kernel_attend(&a->layers[i % a->n_layers], &a->step, (struct dptr){ 0 }, a->n_rows,
                          a->n_ctx, on);
    }
    return e;
}

static cudaError_t record_tiles(const void *job, const struct dqueue *on)
{
    const struct attend_job *a = job;
    cudaError_t e = cudaSuccess;
    for (size_t i = 0; i < a->n_launches && e == cudaSuccess; i++) {
        e = kernel_attend_tiled(&a->layers[i % a->n_layers], &a->step, a->tiles, a->n_tiles, on);
    }
    return e;
}

/* Makes a step of n rows at positions [first, first + n) of one sequence, whose pages follow one
 * another. */
static struct dstep make_step(struct bench *b, size_t first, size_t n, size_t n_pages)
{
    struct drow *rows = calloc(n, sizeof *rows);
    uint32_t *pages = calloc(n_pages, sizeof *pages);
    if (rows == NULL || pages == NULL) {
        bench_die("no memory for %zu rows", n);
    }
    for (size_t i = 0; i < n; i++) {
        rows[i].pos = (uint32_t)(first + i);
    }
    for (uint32_t i = 0; i < n_pages; i++) {
        pages[i] = i;
    }
    struct dstep step = { .rows = bench_put(b, rows, n * sizeof *rows),
                          .pages = bench_put(b, pages, n_pages * sizeof *pages),
                          .page_stride = (uint32_t)n_pages };
    free(rows);
    free(pages);
    return step;
}

/* Allocates a multiple of 4 zero bytes. */
static struct dptr zeros(struct bench *b, size_t bytes)
{
    struct dptr d = bench_alloc(b, bytes);
    CU(cudaMemsetAsync((void *)d.at, 0, bytes, b->queue.stream));
    return d;
}

static size_t layer_bytes(const struct shape *s, size_t n_positions)
{
    return 2 * n_positions * s->n_kv_heads * s->head_dim * sizeof(f16_bits);
}

/* Makes a job for the last n of n_ctx positions; o has the form that the next product reads. */
static struct attend_job make_job(struct bench *b, const struct shape *s, size_t n, size_t n_ctx,
                                  uint32_t form)
{
    struct attend_job job = { .n_rows = n, .n_ctx = n_ctx };
    size_t n_pages = ceil_div(n_ctx, ATTEND_PAGE), dim = s->n_heads * s->head_dim;
    size_t pool = n_pages * ATTEND_PAGE * s->n_kv_heads * s->head_dim; /* of K in one layer */
    size_t stride = round_up(dim, 32);
    job.n_layers = bench_copies(b, layer_bytes(s, n_ctx));
    job.n_launches = bench_launches(b, job.n_layers);
    job.step = make_step(b, n_ctx - n, n, n_pages);
    job.layers = calloc(job.n_layers, sizeof *job.layers);
    if (job.layers == NULL) {
        bench_die("no memory for %zu layers", job.n_layers);
    }
    struct dptr kv = bench_halves(b, 2 * pool * job.n_layers);
    struct attend layer = {
        .kv = { .n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .head_dim = s->head_dim },
        .scale = 1.0f / sqrtf((float)s->head_dim),
        .o = { .n_cols = (uint32_t)dim, .stride = (uint32_t)stride, .forms = form },
    };
    layer.q = bench_floats(b, n * dim);
    layer.o.q = bench_alloc(b, n * stride);
    layer.o.block = bench_alloc(b, n * stride / 32 * sizeof(struct act_block));
    layer.o.half = bench_alloc(b, n * stride * sizeof(f16_bits));
    layer.o.half_scale = bench_alloc(b, n * sizeof(float));
    if (form == ACT_Q8) { /* tiles need no scratch */
        layer.partial =
            bench_alloc(b, attend_partial_floats(&layer.kv, n, n_ctx, &b->queue) * sizeof(float));
        layer.counters = zeros(b, attend_counters(&layer.kv, n) * sizeof(uint32_t));
    }
    for (size_t i = 0; i < job.n_layers; i++) {
        job.layers[i] = layer;
        job.layers[i].kv.k.at = kv.at + 2 * i * pool * sizeof(f16_bits);
        job.layers[i].kv.v.at = job.layers[i].kv.k.at + pool * sizeof(f16_bits);
    }
    return job;
}

void bench_attend(struct bench *b)
{
    static const char *const columns[] = { "512, us",   "512, GB/s",   "4096, us", "4096, GB/s",
                                           "32768, us", "32768, GB/s", NULL };
    struct table t = table_begin(
        b, "attend", "one row at this depth; K and V, GB/s (part of the read rate)", columns);
    for (size_t i = 0; i < N_SHAPES; i++) {
        table_row(&t, shapes[i].name);
        for (size_t depth = 512; depth <= 32768; depth *= 8) {
            size_t n = b->smoke ? depth / 128 : depth;
            struct attend_job job = make_job(b, &shapes[i], 1, n, ACT_Q8);
            struct spread s =
                spread_scale(bench_time(b, record_rows, &job), 1.0 / (double)job.n_launches);
            struct spread rate = spread_rate(s, (double)layer_bytes(&shapes[i], n));
            table_cell(&t, spread_scale(s, 1e6), "us", -1.0);
            table_cell(&t, spread_scale(rate, 1e-9), "GB/s", bench_percent(b, rate.median));
            free(job.layers);
            bench_free(b);
        }
        table_row_end(&t);
    }
}

static struct dptr make_tiles(struct bench *b, size_t n_rows, size_t *n_tiles)
{
    struct attend_tile *tiles = calloc(n_rows, sizeof *tiles);
    if (tiles == NULL) {
        bench_die("no memory for %zu tiles", n_rows);
    }
    *n_tiles = 0;
    for (size_t row = 0; row < n_rows; row += ATTEND_TILE) {
        size_t n = size_min(n_rows - row, ATTEND_TILE);
        tiles[(*n_tiles)++] = (struct attend_tile){ (uint32_t)row, (uint32_t)n };
    }
    struct dptr d = bench_put(b, tiles, *n_tiles * sizeof *tiles);
    free(tiles);
    return d;
}

void bench_tiled(struct bench *b)
{
    static const char *const columns[] = { "us", "TFLOP/s", NULL };
    const size_t n = b->smoke ? 70 : 2048;
    struct table t = table_begin(b, "tiled", "attention among the 2048 rows of a prompt", columns);
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct attend_job job = make_job(b, &shapes[i], n, n, ACT_F16);
        /* q . k and p * v: two operations each, for half of all pairs. */
        double flop =
            4.0 * shapes[i].n_heads * shapes[i].head_dim * (double)n * ((double)n + 1) / 2;
        job.tiles = make_tiles(b, n, &job.n_tiles);
        job.n_launches = size_min(job.n_launches, 16);
        struct spread s =
            spread_scale(bench_time(b, record_tiles, &job), 1.0 / (double)job.n_launches);
        table_row(&t, shapes[i].name);
        table_cell(&t, spread_scale(s, 1e6), "us", -1.0);
        table_cell(&t, spread_scale(spread_rate(s, flop), 1e-12), "TFLOP/s", -1.0);
        table_row_end(&t);
        free(job.layers);
        bench_free(b);
    }
}
