/* Kernels that read weights: the mat-vec for every tensor type, the products of whole layers, and
 * dequantisation. Weights come from memory, not from the L2 cache: a graph goes through so many
 * copies that none is left there when its turn comes again. */
#include <stdio.h>
#include <stdlib.h>

#include "gpu-bench/gpu.h"
#include "synth/parts.h"

/* --- weights and activations on the device --- */

struct store {
    struct bench *bench;
    struct pools pools;
    /* The pools that are on the device. */
    struct {
        const struct quant_type *type;
        struct dptr file;
    } sent[32];
    size_t n_sent;
};

static void store_open(struct store *s, struct bench *b)
{
    weft_error err;
    *s = (struct store){ .bench = b };
    if (pools_init(&s->pools, b->smoke ? 1 : 1 << 20, 1, &err) != WEFT_OK) {
        bench_die("%s", err.message);
    }
}

static void store_close(struct store *s)
{
    pools_free(&s->pools);
    bench_free(s->bench);
}

/* Returns blocks of this type as a file has them, with *n_elements elements. */
static struct dptr file_of(struct store *s, const struct quant_type *type, size_t *n_elements)
{
    const struct pool *pool;
    weft_error err;
    if (pools_get(&s->pools, type, 0.02f, &pool, &err) != WEFT_OK) {
        bench_die("%s", err.message);
    }
    *n_elements = pool->n_blocks * type->block;
    for (size_t i = 0; i < s->n_sent; i++) {
        if (s->sent[i].type == type) {
            return s->sent[i].file;
        }
    }
    if (s->n_sent == sizeof s->sent / sizeof s->sent[0]) {
        bench_die("more than %zu tensor types", s->n_sent);
    }
    s->sent[s->n_sent].type = type;
    s->sent[s->n_sent].file = bench_put(s->bench, pool->data, pool->n_blocks * type->bytes);
    return s->sent[s->n_sent++].file;
}

static size_t matrix_bytes(uint32_t type, size_t n_rows, size_t n_cols)
{
    size_t bytes = 0;
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        bytes += n_rows * plane_row_bytes(type, p, n_cols);
    }
    return bytes;
}

static struct dmatrix make_matrix(struct store *s, uint32_t type, size_t n_rows, size_t n_cols)
{
    struct bench *b = s->bench;
    struct dmatrix m = { .type = type, .n_rows = (uint32_t)n_rows, .n_cols = (uint32_t)n_cols };
    size_t n_elements;
    struct dptr file = file_of(s, quant_find(type), &n_elements);
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        size_t bytes = n_rows * plane_row_bytes(type, p, n_cols);
        if (bytes > 0) {
            m.plane[p] = bench_alloc(b, bytes);
        }
    }
    size_t most = n_elements / n_cols;
    if (most == 0) {
        bench_die("a row of %zu weights is longer than the pool of %zu", n_cols, n_elements);
    }
    for (size_t row = 0; row < n_rows; row += most) {
        size_t n = size_min(n_rows - row, most);
        CU(kernel_repack(&m, row, n, file, &b->queue));
    }
    /* Kernels read weights before they wait for the launch before them (kernels.h). */
    CU(cudaStreamSynchronize(b->queue.stream));
    return m;
}

/* Allocates activations for n rows in these forms, with random values if `filled`. */
static struct dacts make_acts(struct bench *b, size_t n, size_t n_cols, uint32_t forms, bool filled)
{
    size_t stride = round_up(n_cols, 32);
    struct dacts a = { .n_cols = (uint32_t)n_cols, .stride = (uint32_t)stride, .forms = forms };
    a.q = bench_alloc(b, n * stride);
    a.block = bench_alloc(b, n * stride / 32 * sizeof(struct act_block));
    a.x = bench_alloc(b, n * stride * sizeof(float));
    if (filled) {
        CU(kernel_convert(bench_floats(b, n * n_cols), n, &a, &b->queue));
    }
    return a;
}

static uint32_t form_for(uint32_t type) { return quant_find(type)->block == 1 ? ACT_F32 : ACT_Q8; }

/* --- products --- */

struct product {
    const char *name;
    enum matvec_mode mode;
    bool norm; /* normalises its rows itself */
    size_t n_cols, n_w, n_rows[3];
    uint32_t type[3];
};

struct products {
    struct matvec *jobs;          /* [n_jobs], each with weights of its own */
    size_t n_jobs, n_launches, n; /* n: rows of activations */
};

static cudaError_t record_products(const void *job, const struct dqueue *on)
{
    const struct products *p = job;
    cudaError_t e = cudaSuccess;
    for (size_t i = 0; i < p->n_launches && e == cudaSuccess; i++) {
        e = kernel_matvec(&p->jobs[i % p->n_jobs], p->n, on);
    }
    return e;
}

static size_t product_bytes(const struct product *p)
{
    size_t bytes = 0;
    for (size_t i = 0; i < p->n_w; i++) {
        bytes += matrix_bytes(p->type[i], p->n_rows[i], p->n_cols);
    }
    return bytes;
}

/* Makes the part that all copies share: their input and output. */
static struct matvec make_job(struct bench *b, const struct product *p)
{
    struct matvec job = { .mode = p->mode, .n_w = (uint32_t)p->n_w };
    if (p->norm) {
        job.norm = (struct norm){ .x = bench_floats(b, MATVEC_ROWS * p->n_cols),
                                  .weight = bench_floats(b, p->n_cols),
                                  .dim = (uint32_t)p->n_cols,
                                  .eps = 1e-6f };
    } else {
        job.in = make_acts(b, MATVEC_ROWS, p->n_cols, form_for(p->type[0]), true);
    }
    if (p->mode == MATVEC_SWIGLU) {
        job.acts = make_acts(b, MATVEC_ROWS, p->n_rows[0], ACT_Q8, false);
        return job;
    }
    for (size_t i = 0; i < p->n_w; i++) {
        job.out[i] = bench_floats(b, MATVEC_ROWS * p->n_rows[i]); /* ADD reads it too */
    }
    return job;
}

static struct products make_products(struct store *s, const struct product *p)
{
    size_t n_jobs = bench_copies(s->bench, product_bytes(p));
    struct products all = { .jobs = calloc(n_jobs, sizeof *all.jobs),
                            .n_jobs = n_jobs,
                            .n_launches = bench_launches(s->bench, n_jobs),
                            .n = 1 };
    if (all.jobs == NULL) {
        bench_die("no memory for %zu products", n_jobs);
    }
    const struct matvec job = make_job(s->bench, p);
    for (size_t i = 0; i < n_jobs; i++) {
        all.jobs[i] = job;
        for (size_t w = 0; w < p->n_w; w++) {
            all.jobs[i].w[w] = make_matrix(s, p->type[w], p->n_rows[w], p->n_cols);
        }
    }
    return all;
}

/* Returns the seconds of one product. */
static struct spread time_product(struct bench *b, struct products *all, size_t n)
{
    all->n = n;
    return spread_scale(bench_time(b, record_products, all), 1.0 / (double)all->n_launches);
}

static void rate_cell(struct table *t, struct spread seconds, size_t bytes)
{
    struct spread rate = spread_rate(seconds, (double)bytes);
    table_cell(t, spread_scale(rate, 1e-9), "GB/s", bench_percent(t->bench, rate.median));
}

void bench_matvec(struct bench *b)
{
    static const char *const columns[] = { "1 row",  "2 rows",         "4 rows",
                                           "8 rows", "1 row of 16384", NULL };
    const size_t n_cols = b->smoke ? 256 : 4096, n_rows = b->smoke ? 40 : 4096;
    struct table t = table_begin(
        b, "matvec",
        "weights of 4096 x 4096, last column 16384 x 4096, GB/s (part of the read rate)", columns);
    const struct quant_type *type;
    for (size_t i = 0; (type = quant_at(i)) != NULL; i++) {
        table_row(&t, type->name);
        for (size_t tall = 0; tall < 2; tall++) {
            struct store s;
            const struct product p = { .mode = MATVEC_STORE,
                                       .n_cols = n_cols,
                                       .n_w = 1,
                                       .n_rows = { tall ? 4 * n_rows : n_rows },
                                       .type = { type->id } };
            store_open(&s, b);
            struct products all = make_products(&s, &p);
            for (size_t n = 1; n <= (tall ? 1 : MATVEC_ROWS); n *= 2) {
                rate_cell(&t, time_product(b, &all, n), product_bytes(&p));
            }
            free(all.jobs);
            store_close(&s);
        }
        table_row_end(&t);
    }
}

/* The products of one layer of Qwen2.5 7B and 0.5B in the mix Q4_K_M. */
static const struct product layer_products[] = {
    { "7B q, k, v",
      MATVEC_STORE,
      true,
      3584,
      3,
      { 3584, 512, 512 },
      { QUANT_Q4_K, QUANT_Q4_K, QUANT_Q6_K } },
    { "7B attn_output", MATVEC_ADD, false, 3584, 1, { 3584 }, { QUANT_Q4_K } },
    { "7B gate, up", MATVEC_SWIGLU, true, 3584, 2, { 18944, 18944 }, { QUANT_Q4_K, QUANT_Q4_K } },
    { "7B down, Q4_K", MATVEC_ADD, false, 18944, 1, { 3584 }, { QUANT_Q4_K } },
    { "7B down, Q6_K", MATVEC_ADD, false, 18944, 1, { 3584 }, { QUANT_Q6_K } },
    { "7B head", MATVEC_STORE, true, 3584, 1, { 152064 }, { QUANT_Q6_K } },
    { "0.5B q, k, v",
      MATVEC_STORE,
      true,
      896,
      3,
      { 896, 128, 128 },
      { QUANT_Q5_0, QUANT_Q5_0, QUANT_Q8_0 } },
    { "0.5B attn_output", MATVEC_ADD, false, 896, 1, { 896 }, { QUANT_Q5_0 } },
    { "0.5B gate, up", MATVEC_SWIGLU, true, 896, 2, { 4864, 4864 }, { QUANT_Q5_0, QUANT_Q5_0 } },
    { "0.5B down, Q4_K", MATVEC_ADD, false, 4864, 1, { 896 }, { QUANT_Q4_K } },
    { "0.5B head", MATVEC_STORE, true, 896, 1, { 151936 }, { QUANT_Q8_0 } },
};

void bench_layers(struct bench *b)
{
    static const char *const columns[] = { "1 row, us", "1 row, GB/s", "8 rows, us", "8 rows, GB/s",
                                           NULL };
    struct table t =
        table_begin(b, "layers", "products with norms and SwiGLU (part of the read rate)", columns);
    for (size_t i = 0; i < sizeof layer_products / sizeof layer_products[0]; i++) {
        struct product p = layer_products[i];
        struct store s;
        if (b->smoke) {
            p.n_cols = 256;
            for (size_t w = 0; w < p.n_w; w++) {
                p.n_rows[w] = p.n_rows[w] > 512 ? 64 : 24;
            }
        }
        store_open(&s, b);
        struct products all = make_products(&s, &p);
        table_row(&t, p.name);
        for (size_t n = 1; n <= MATVEC_ROWS; n += MATVEC_ROWS - 1) {
            struct spread seconds = time_product(b, &all, n);
            table_cell(&t, spread_scale(seconds, 1e6), "us", -1.0);
            rate_cell(&t, seconds, product_bytes(&p));
        }
        table_row_end(&t);
        free(all.jobs);
        store_close(&s);
    }
}

/* --- weights to halves --- */

struct dequant_job {
    struct dmatrix *m; /* [n] */
    size_t n, n_launches;
    struct dptr half;
};

static cudaError_t record_dequant(const void *job, const struct dqueue *on)
{
    const struct dequant_job *d = job;
    cudaError_t e = cudaSuccess;
    for (size_t i = 0; i < d->n_launches && e == cudaSuccess; i++) {
        const struct dmatrix *m = &d->m[i % d->n];
        e = kernel_dequant(m, 0, m->n_rows, d->half, on);
    }
    return e;
}

void bench_dequant(struct bench *b)
{
    static const char *const columns[] = { "us", "read, GB/s", "read + written", NULL };
    const size_t n_cols = b->smoke ? 256 : 4096, n_rows = b->smoke ? 8 : 4096;
    struct table t = table_begin(
        b, "dequant", "4096 x 4096 weights to halves, GB/s (part of the read rate)", columns);
    const struct quant_type *type;
    for (size_t i = 0; (type = quant_at(i)) != NULL; i++) {
        size_t bytes = matrix_bytes(type->id, n_rows, n_cols), n = bench_copies(b, bytes);
        struct dequant_job job = { .m = calloc(n, sizeof *job.m),
                                   .n = n,
                                   .n_launches = bench_launches(b, n) };
        struct store s;
        if (job.m == NULL) {
            bench_die("no memory for %zu matrices", n);
        }
        store_open(&s, b);
        job.half = bench_alloc(b, n_rows * n_cols * sizeof(f16_bits));
        for (size_t k = 0; k < n; k++) {
            job.m[k] = make_matrix(&s, type->id, n_rows, n_cols);
        }
        struct spread seconds =
            spread_scale(bench_time(b, record_dequant, &job), 1.0 / (double)job.n_launches);
        table_row(&t, type->name);
        table_cell(&t, spread_scale(seconds, 1e6), "us", -1.0);
        rate_cell(&t, seconds, bytes);
        rate_cell(&t, seconds, bytes + n_rows * n_cols * sizeof(f16_bits));
        table_row_end(&t);
        free(job.m);
        store_close(&s);
    }
}
