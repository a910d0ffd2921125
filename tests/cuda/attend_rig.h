/* What the tests of attention share: sequences in a pool, a reference in double on K and V as the
 * pool keeps them, and rows of a step. Everything in the pool that belongs to no position of a
 * sequence is NaN, and pages that a row does not see have no number. */
#ifndef TESTS_CUDA_ATTEND_RIG_H
#define TESTS_CUDA_ATTEND_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/device.h"
#include "format/kv_type.h"
#include "support/level.h"

enum { PAGE = ATTEND_PAGE, NO_PAGE = 0x7fffffff };

struct shape {
    uint32_t head_dim, n_kv, group, window;
};

/* The types of K and V in the pools that are made. */
static weft_kv_type kv_types[2];
static const weft_kv_type q8_pairs[][2] = { { WEFT_KV_Q8_0, WEFT_KV_Q8_0 },
                                            { WEFT_KV_Q8_0, WEFT_KV_F16 },
                                            { WEFT_KV_F16, WEFT_KV_Q8_0 } };
enum { N_Q8_PAIRS = sizeof q8_pairs / sizeof q8_pairs[0] };

/* Sets the types; NULL means f16. */
static inline void set_types(const weft_kv_type *types)
{
    kv_types[0] = types != NULL ? types[0] : WEFT_KV_F16;
    kv_types[1] = types != NULL ? types[1] : WEFT_KV_F16;
}

/* The positions of a sequence that hold K and V. */
struct span {
    uint32_t first, last;
};

struct pool {
    struct shape shape;
    uint32_t stride; /* pages of a sequence */
    uint32_t *pages; /* [n_seqs, stride] */
    float *k, *v;    /* [n_pages, n_kv, PAGE, head_dim], NaN where nothing was written */
    size_t n;        /* elements of each */
    struct dkv kv;
    struct dptr device_pages;
};

static inline bool thin(void) { return !level_all("most shapes of attention, and late positions"); }

static inline uint32_t first_seen(uint32_t pos, uint32_t window)
{
    return window > 0 && pos >= window ? pos - window + 1 : 0;
}

static inline size_t up32(size_t n) { return (n + 31) / 32 * 32; }

/* Returns the numbers [0, n) in a random order. */
static inline uint32_t *shuffled(uint64_t seed, uint32_t n)
{
    uint32_t *x = device_host(n * sizeof *x);
    const float *r = random_floats(seed, n);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t j = (uint32_t)((r[i] + 1.0f) / 2.0f * (float)i);
        x[i] = x[j];
        x[j] = i;
    }
    return x;
}

static inline size_t element(const struct pool *p, uint32_t seq, uint32_t pos, uint32_t kv_head)
{
    const size_t page = p->pages[seq * p->stride + pos / PAGE];
    return ((page * p->shape.n_kv + kv_head) * PAGE + pos % PAGE) * p->shape.head_dim;
}

/* Copies K or V to the device, and rounds x to the values that the device keeps. Elements in no
 * span become bytes of 0xff. */
static inline struct dptr put_halves(float *x, size_t n)
{
    f16_bits *h = device_host(n * sizeof *h);
    for (size_t i = 0; i < n; i++) {
        h[i] = isnan(x[i]) ? 0xffff : f32_to_f16(x[i]);
        x[i] = f16_to_f32(h[i]);
    }
    return device_put(h, n * sizeof *h);
}

static inline struct dptr put_codes(float *x, size_t n, uint32_t dim)
{
    const struct quant_type *t = quant_find(QUANT_Q8_0);
    const size_t bytes = n / 32 * t->bytes, block = PAGE * dim / 32 * t->bytes;
    uint8_t *all = device_host(bytes);
    memset(all, 0xff, bytes);
    for (size_t i = 0; i < n; i += 32) {
        const size_t row = i / dim % PAGE, at = i % dim;
        uint8_t *to = all + i / dim / PAGE * block;
        struct block_q8_0 b;
        if (!isnan(x[i])) {
            t->encode(x + i, &b, 32);
            t->decode(&b, x + i, 32);
            memcpy(to + row * dim + at, b.qs, 32);
            memcpy(to + PAGE * dim + (row * (dim / 32) + at / 32) * sizeof b.d, &b.d, sizeof b.d);
        }
    }
    return device_put(all, bytes);
}

static inline struct dptr put_pool(const struct pool *p, size_t which, size_t n, size_t far)
{
    float *x = which == 0 ? p->k : p->v;
    const uint32_t dim = p->shape.head_dim;
    struct dptr d = kv_types[which] == WEFT_KV_Q8_0 ? put_codes(x, n, dim) : put_halves(x, n);
    d.at -= far * p->shape.n_kv * PAGE * kv_type_bytes(kv_types[which], dim);
    return d;
}

/* Makes sequences whose pages are scattered over a pool. `far` is added to all page numbers, and
 * the address of the pool is moved back by as many pages, so that every number still names its
 * page. */
static inline struct pool make_pool(struct shape s, const struct span *spans, uint32_t n_seqs,
                                    size_t far)
{
    struct pool p = { .shape = s };
    uint32_t used = 0;
    for (uint32_t i = 0; i < n_seqs; i++) {
        const uint32_t n = spans[i].last / PAGE + 1;
        p.stride = n > p.stride ? n : p.stride;
        used += n;
    }
    const uint32_t n_pages = used + 3, *order = shuffled(n_pages, n_pages);
    const size_t block = (size_t)s.n_kv * PAGE * s.head_dim, n = n_pages * block;
    p.n = n;
    p.k = device_host(n * sizeof(float));
    p.v = device_host(n * sizeof(float));
    p.pages = device_host(n_seqs * p.stride * sizeof(uint32_t));
    memset(p.k, 0xff, n * sizeof(float));
    memset(p.v, 0xff, n * sizeof(float));
    const float *r = random_floats(7 + s.head_dim, n);
    for (uint32_t i = 0; i < n_seqs; i++) {
        for (uint32_t j = 0; j < p.stride; j++) {
            const bool seen = j >= spans[i].first / PAGE && j <= spans[i].last / PAGE;
            p.pages[i * p.stride + j] = seen ? order[--used] : NO_PAGE;
        }
        for (uint32_t pos = spans[i].first; pos <= spans[i].last; pos++) {
            for (uint32_t h = 0; h < s.n_kv; h++) {
                const size_t at = element(&p, i, pos, h);
                for (uint32_t d = 0; d < s.head_dim; d++) {
                    p.k[at + d] = r[at + d];
                    p.v[at + d] = r[n - 1 - at - d];
                }
            }
        }
    }
    uint32_t *table = device_host(n_seqs * p.stride * sizeof *table);
    for (uint32_t i = 0; i < n_seqs * p.stride; i++) {
        table[i] = p.pages[i] + (uint32_t)far;
    }
    p.device_pages = device_put(table, n_seqs * p.stride * sizeof *table);
    p.kv = (struct dkv){ .k = put_pool(&p, 0, n, far),
                         .v = put_pool(&p, 1, n, far),
                         .n_heads = s.n_kv * s.group,
                         .n_kv_heads = s.n_kv,
                         .head_dim = s.head_dim,
                         .type = { (uint16_t)kv_types[0], (uint16_t)kv_types[1] } };
    return p;
}

/* Computes o [head_dim] of one head. q is scaled so that the weight of a position is 2^(q . k).
 * Bounds on errors need two more figures: `mass` [head_dim] gets the same sum as o with |v| in
 * place of v, and the function returns the largest sum of |q k| of a position. */
static inline double reference(const struct pool *p, uint32_t seq, struct span seen,
                               uint32_t kv_head, const double *q, double *o, double *mass)
{
    const uint32_t dim = p->shape.head_dim, n = seen.last - seen.first + 1;
    double *s = malloc(n * sizeof *s), top = -INFINITY, sum = 0.0, reach = 0.0;
    for (uint32_t j = 0; j < n; j++) {
        const float *k = p->k + element(p, seq, seen.first + j, kv_head);
        double around = 0.0;
        s[j] = 0.0;
        for (uint32_t d = 0; d < dim; d++) {
            s[j] += q[d] * (double)k[d];
            around += fabs(q[d] * (double)k[d]);
        }
        top = fmax(top, s[j]);
        reach = fmax(reach, around);
    }
    memset(o, 0, dim * sizeof *o);
    memset(mass, 0, dim * sizeof *mass);
    for (uint32_t j = 0; j < n; j++) {
        const float *v = p->v + element(p, seq, seen.first + j, kv_head);
        const double w = exp2(s[j] - top);
        sum += w;
        for (uint32_t d = 0; d < dim; d++) {
            o[d] += w * (double)v[d];
            mass[d] += w * fabs((double)v[d]);
        }
    }
    for (uint32_t d = 0; d < dim; d++) {
        o[d] /= sum;
        mass[d] /= sum;
    }
    free(s);
    return reach;
}

/* Returns a scale with which the scores differ by some units, so that positions differ and none
 * wins alone. */
static inline float scale_of(uint32_t head_dim) { return 3.0f / sqrtf((float)head_dim); }

/* Rows of a step and their attention. */
struct rows {
    struct pool pool;
    uint32_t n;
    struct drow *row; /* [n] */
    float *q;         /* [n, n_heads * head_dim] */
    struct attend job;
    struct dstep step;
};

/* Makes forms of o that are filled with 0xff, so that values that are not written show. */
static inline struct dacts blank_acts(size_t n, size_t n_cols, uint32_t forms)
{
    const size_t stride = up32(n_cols), bytes = n * stride * sizeof(float);
    struct dacts a = device_acts(n, n_cols, forms);
    void *blank = device_host(bytes);
    memset(blank, 0xff, bytes);
    if (forms & ACT_Q8) {
        device_fill(a.q, blank, n * stride);
        device_fill(a.block, blank, n * stride / 32 * sizeof(struct act_block));
    }
    if (forms & ACT_F32) {
        device_fill(a.x, blank, bytes);
    }
    if (forms & ACT_F16) {
        device_fill(a.half, blank, n * stride * 2);
        device_fill(a.half_scale, blank, n * sizeof(float));
    }
    return a;
}

static inline struct rows make_rows(struct shape s, const struct span *spans, uint32_t n_seqs,
                                    size_t far, const struct drow *row, uint32_t n, uint32_t forms)
{
    const size_t n_cols = (size_t)s.n_kv * s.group * s.head_dim;
    struct rows r = { .pool = make_pool(s, spans, n_seqs, far), .n = n };
    r.row = device_host(n * sizeof *row);
    memcpy(r.row, row, n * sizeof *row);
    r.q = random_floats(3 + s.group, n * n_cols);
    r.job = (struct attend){ .q = device_put(r.q, n * n_cols * sizeof(float)),
                             .kv = r.pool.kv,
                             .scale = scale_of(s.head_dim),
                             .window = s.window,
                             .o = blank_acts(n, n_cols, forms) };
    r.step = (struct dstep){ .rows = device_put(row, n * sizeof *row),
                             .pages = r.pool.device_pages,
                             .page_stride = r.pool.stride };
    return r;
}

/* Checks row i of x, the result in F32, against the reference for q [n_heads * head_dim] (in the
 * units of reference()). Scores may be off by reach * 2^-19: q is rounded twice, and a dot product
 * adds at most 15 times or, in a tensor core that cuts off instead of rounding, 16 times. The
 * caller gives the rest of the bound. */
static inline void check_row(const struct rows *r, uint32_t i, const float *x, const double *q,
                             double relative, double absolute)
{
    const struct shape s = r->pool.shape;
    const struct span seen = { first_seen(r->row[i].pos, s.window), r->row[i].pos };
    const size_t n_cols = (size_t)s.n_kv * s.group * s.head_dim;
    double o[256], mass[256];
    for (uint32_t h = 0; h < s.n_kv * s.group; h++) {
        const double reach =
            reference(&r->pool, r->row[i].seq, seen, h / s.group, q + h * s.head_dim, o, mass);
        for (uint32_t d = 0; d < s.head_dim; d++) {
            const double got = (double)x[h * s.head_dim + d];
            const double bound = (relative + reach * 0x1p-19) * mass[d] + absolute;
            if (!(fabs(got - o[d]) <= bound)) {
                fail_msg("head_dim %u, %u x %u heads, window %u, position %u, head %u [%u]: %.8g, "
                         "expected %.8g +- %.2g",
                         s.head_dim, s.n_kv, s.group, s.window, r->row[i].pos, h, d, got, o[d],
                         bound);
            }
        }
    }
    for (size_t c = n_cols; c < up32(n_cols); c++) {
        assert_true(x[c] == 0.0f);
    }
}

/* Frees what a case has allocated: the more allocations there are, the slower is the simulator. */
static inline void case_done(void)
{
    assert_int_equal(device_teardown(NULL), 0);
    assert_int_equal(device_setup(NULL), 0);
}

#endif
