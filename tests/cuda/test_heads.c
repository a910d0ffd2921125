/* Bias, per-head norm, RoPE and the writes to the pages, against a reference in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/device.h"
#include "format/kv_type.h"

enum { PAGE = ATTEND_PAGE, MAX_DIM = 256 };

struct shape {
    uint32_t head_dim, n_heads, n_kv, n_rot;
    bool neox;
    /* A bit for each of q, k and v: it has a bias. */
    unsigned bias;
    /* A bit for each of q and k: it has a norm. */
    unsigned norms;
    float factor;
    /* A number that is added to all page numbers; the pool's address is moved back by as many. */
    size_t far;
    weft_kv_type types[2]; /* of K and V */
    /* True if q, k and v lie side by side in rows with a gap, and the new q goes to another
     * place. */
    bool joint;
    /* A bit for each of q, k and v: its rows still have to be multiplied by a factor. */
    unsigned scaled;
};

/* Two sequences of up to 3 pages; a row of the page table is longer than that. */
enum { N_SEQS = 2, SEQ_PAGES = 3, N_PAGES = 8 };
static const uint32_t page_numbers[N_SEQS][SEQ_PAGES] = { { 6, 1, 3 }, { 0, 7, 4 } };

/* One launch and its inputs. */
struct run {
    struct shape s;
    size_t n, stride; /* rows; entries of a sequence in the page table */
    const struct drow *row;
    float *in[3]; /* q, k, v [n, heads * head_dim] */
    float *bias[3], *norm[2];
    double *turns; /* [2, n_rot / 2], for each rope_set */
    struct heads job;
};

static uint32_t heads_of(const struct shape *s, size_t which)
{
    return which == 0 ? s->n_heads : s->n_kv;
}

static size_t row_floats(const struct shape *s, size_t which)
{
    return (size_t)heads_of(s, which) * s->head_dim;
}

/* Returns the bytes of K (0) or V (1) of a page and KV head. */
static size_t block_bytes(const struct shape *s, size_t which)
{
    return PAGE * kv_type_bytes(s->types[which], s->head_dim);
}

static struct dptr blank_pool(const struct shape *s, size_t which)
{
    const size_t block = block_bytes(s, which), bytes = N_PAGES * s->n_kv * block;
    void *blank = device_host(bytes);
    memset(blank, 0xff, bytes);
    struct dptr d = device_put(blank, bytes);
    d.at -= s->far * s->n_kv * block;
    return d;
}

/* Returns the page that holds a position. Behind SEQ_PAGES the table repeats the same pages, so
 * that large positions need no large pool. */
static uint32_t page_of(uint32_t seq, uint32_t pos)
{
    return page_numbers[seq][pos / PAGE % SEQ_PAGES];
}

/* Puts q, k and v on the device. Rows that the kernel has to multiply by a factor are first divided
 * by it here. */
static void put_rows(struct run *r)
{
    const struct shape *s = &r->s;
    size_t all = 0, stride = row_floats(s, 0) + 2 * row_floats(s, 1) + 5, n = r->n;
    struct dptr *d[3] = { &r->job.q, &r->job.k, &r->job.v };
    float *joint = device_host(n * stride * sizeof *joint), *scale = device_host(n * sizeof *scale);
    memset(joint, 0xff, n * stride * sizeof *joint);
    for (size_t i = 0; i < 3; i++) {
        size_t cols = row_floats(s, i);
        float *x = device_host((n + 1) * cols * sizeof *x);
        memcpy(x, r->in[i], (n + 1) * cols * sizeof *x);
        for (size_t row = 0; row < n; row++) {
            scale[row] = ldexpf(1.0f, (int)((row + 3 * i) % 20));
            for (size_t c = 0; c < cols; c++) {
                x[row * cols + c] /= s->scaled >> i & 1 ? scale[row] : 1.0f;
                joint[row * stride + all + c] = x[row * cols + c];
            }
        }
        *d[i] = device_put(x, (n + (i == 0)) * cols * sizeof *x);
        if (s->scaled >> i & 1) {
            r->job.scale[i] = device_put(scale, n * sizeof *scale);
        }
        all += cols;
    }
    if (s->joint) {
        r->job.q_out = r->job.q;
        r->job.stride = (uint32_t)stride;
        r->job.q = device_put(joint, n * stride * sizeof *joint);
        r->job.k.at = r->job.q.at + row_floats(s, 0) * sizeof *joint;
        r->job.v.at = r->job.k.at + row_floats(s, 1) * sizeof *joint;
    }
}

static struct run make_run(struct shape s, const struct drow *row, size_t n)
{
    struct run r = { .s = s, .n = n, .row = row };
    const struct shape *p = &r.s;
    struct heads *job = &r.job;
    for (size_t i = 0; i < 3; i++) {
        /* One more row, which has to stay as it is. */
        r.in[i] = random_floats(i + 11, (n + 1) * row_floats(p, i));
        r.bias[i] = random_floats(i + 21, row_floats(p, i));
        if (s.bias >> i & 1) {
            job->bias[i] = device_put(r.bias[i], row_floats(p, i) * sizeof(float));
        }
    }
    for (size_t i = 0; i < 2; i++) {
        r.norm[i] = random_floats(i + 31, s.head_dim);
    }
    const size_t half = s.n_rot / 2;
    r.turns = device_host((2 * half + 1) * sizeof(double));
    for (size_t i = 0; i < half; i++) {
        r.turns[i] = pow(10000.0, -2.0 * (double)i / s.n_rot) / acos(-1.0);
        r.turns[half + i] = r.turns[i] / (1.5 + (double)i);
    }
    put_rows(&r);
    job->turns = device_put(r.turns, 2 * half * sizeof(double));
    if (s.norms & 1) {
        job->q_norm = device_put(r.norm[0], s.head_dim * sizeof(float));
    }
    if (s.norms & 2) {
        job->k_norm = device_put(r.norm[1], s.head_dim * sizeof(float));
    }
    job->n_rot = s.n_rot;
    job->neox = s.neox;
    job->rope_factor = s.factor;
    job->eps = 1e-6f;
    job->kv = (struct dkv){ .k = blank_pool(p, 0),
                            .v = blank_pool(p, 1),
                            .n_heads = s.n_heads,
                            .n_kv_heads = s.n_kv,
                            .head_dim = s.head_dim,
                            .type = { (uint16_t)s.types[0], (uint16_t)s.types[1] } };
    return r;
}

static void launch_run(struct run *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const size_t pages = r->row[i].pos / PAGE + 1;
        r->stride = pages > r->stride ? pages : r->stride;
    }
    uint32_t *table = device_host(N_SEQS * r->stride * sizeof *table);
    for (uint32_t i = 0; i < N_SEQS; i++) {
        for (uint32_t j = 0; j < r->stride; j++) {
            table[i * r->stride + j] = page_of(i, j * PAGE) + (uint32_t)r->s.far;
        }
    }
    const struct dstep step = { .rows = device_put(r->row, r->n * sizeof *r->row),
                                .pages = device_put(table, N_SEQS * r->stride * sizeof *table),
                                .page_stride = (uint32_t)r->stride };
    CU(kernel_heads(&r->job, &step, r->n, device_queue()));
}

/* Computes a head as it should be. bound[] is how far each element may be off, in units of 2^-24 of
 * its pair. The bias adds 1 unit. The norm adds 8: its sum has 13 additions, and the root halves
 * their error. The rotation adds 2 for the angle as a float, 3 for sine and cosine, 1 for the
 * factor and 2 for the sums. */
static void expected_head(const struct run *r, size_t which, size_t row, uint32_t head, double *h,
                          double *bound)
{
    const struct shape *s = &r->s;
    const size_t at = row * row_floats(s, which) + (size_t)head * s->head_dim;
    const uint32_t half = s->n_rot / 2;
    double sum = 0.0;
    for (uint32_t d = 0; d < s->head_dim; d++) {
        const float b = r->bias[which][head * s->head_dim + d];
        h[d] = (double)r->in[which][at + d] + (s->bias >> which & 1 ? (double)b : 0.0);
        bound[d] = 0x1p-24 * (fabs((double)r->in[which][at + d]) + fabs((double)b));
        sum += h[d] * h[d];
    }
    if (s->norms >> which & 1) {
        const double scale = 1.0 / sqrt(sum / s->head_dim + (double)r->job.eps);
        for (uint32_t d = 0; d < s->head_dim; d++) {
            const double w = (double)r->norm[which][d] * scale;
            h[d] *= w;
            bound[d] = bound[d] * fabs(w) + 8 * 0x1p-24 * fabs(h[d]);
        }
    }
    const double *turns = r->turns + r->row[row].rope_set * half;
    for (uint32_t i = 0; i < half; i++) {
        const uint32_t a = s->neox ? i : 2 * i, b = s->neox ? i + half : 2 * i + 1;
        const double angle = acos(-1.0) * fmod(r->row[row].pos * turns[i], 2.0);
        const double c = cos(angle) * (double)s->factor, e = sin(angle) * (double)s->factor;
        const double x = h[a], y = h[b];
        const double off =
            (double)s->factor * (bound[a] + bound[b] + 8 * 0x1p-24 * (fabs(x) + fabs(y)));
        h[a] = x * c - y * e;
        h[b] = x * e + y * c;
        bound[a] = bound[b] = off;
    }
}

/* Rotates h[n] as kv_rotate() does. The bound of a sum has three parts: the errors of all its
 * terms, a rounding for each time that the block can be halved, and the rounding of the scale. */
static void rotated(double *h, double *bound, uint32_t n)
{
    const uint32_t block = (uint32_t)kv_rotate_block(n);
    const double scale = 1.0 / sqrt((double)block);
    for (uint32_t i = 0; i < n; i += block) {
        double in[MAX_DIM], size = 0.0, error = 0.0;
        memcpy(in, h + i, block * sizeof *in);
        for (uint32_t k = 0; k < block; k++) {
            size += fabs(in[k]) * scale;
            error += bound[i + k] * scale;
        }
        for (uint32_t j = 0; j < block; j++) {
            h[i + j] = 0.0;
            for (uint32_t k = 0; k < block; k++) {
                h[i + j] += __builtin_parity(j & k) ? -in[k] * scale : in[k] * scale;
            }
            bound[i + j] = error + (log2((double)block) + 3.0) * 0x1p-24 * size;
        }
    }
}

static void check_q(const struct run *r)
{
    const size_t n = row_floats(&r->s, 0);
    const struct dptr at = r->job.q_out.at != 0 ? r->job.q_out : r->job.q;
    const float *q = device_get(at, (r->n + 1) * n * sizeof *q);
    double h[MAX_DIM], bound[MAX_DIM];
    for (size_t row = 0; row < r->n; row++) {
        for (uint32_t head = 0; head < r->s.n_heads; head++) {
            expected_head(r, 0, row, head, h, bound);
            if (kv_type_rotates(r->s.types[0])) {
                rotated(h, bound, r->s.head_dim);
            }
            for (uint32_t d = 0; d < r->s.head_dim; d++) {
                const double got = (double)q[row * n + head * r->s.head_dim + d];
                if (!(fabs(got - h[d]) <= bound[d])) {
                    fail_msg("head_dim %u, n_rot %u, neox %d, bias %u, norms %u: q of position %u, "
                             "head %u [%u] is %.9g, expected %.9g +- %.2g",
                             r->s.head_dim, r->s.n_rot, r->s.neox, r->s.bias, r->s.norms,
                             r->row[row].pos, head, d, got, h[d], bound[d]);
                }
            }
        }
    }
    assert_memory_equal(q + r->n * n, r->in[0] + r->n * n, n * sizeof *q);
}

/* Takes a head from the pool to got [head_dim]; the bytes that were read become 0xff. off[d] is the
 * error that storing adds. A value stored as a half is off by 2^-11 of itself. A value stored as a
 * code is off by half a step, and by 2^-11 of itself because the step is rounded to a half. */
static void take_head(const struct shape *s, size_t which, uint8_t *block, uint32_t row,
                      double *got, double *off)
{
    const uint32_t dim = s->head_dim;
    if (s->types[which] == WEFT_KV_F16) {
        f16_bits *at = (f16_bits *)(void *)block + row * dim;
        for (uint32_t d = 0; d < dim; d++) {
            got[d] = (double)f16_to_f32(at[d]);
            off[d] = 0x1p-11 * fabs(got[d]) + 0x1p-25;
            at[d] = 0xffff;
        }
        return;
    }
    int8_t *codes = (int8_t *)block + row * dim;
    f16_bits *scales = (f16_bits *)(void *)(block + PAGE * dim) + row * (dim / 32);
    for (uint32_t d = 0; d < dim; d++) {
        const double scale = (double)f16_to_f32(scales[d / 32]);
        got[d] = scale * codes[d];
        off[d] = 0.501 * scale + 0x1p-11 * fabs(got[d]);
        codes[d] = -1;
    }
    memset(scales, 0xff, dim / 32 * sizeof *scales);
}

/* Computes V as it should be. The only operation before it is rounded is an addition, so it is
 * bit-equal. */
static void expected_v(const struct run *r, size_t row, uint32_t head, double *h)
{
    const struct shape *s = &r->s;
    float v[MAX_DIM];
    struct block_q8_0 b;
    for (uint32_t d = 0; d < s->head_dim; d++) {
        const size_t i = head * s->head_dim + d;
        v[d] = r->in[2][row * row_floats(s, 2) + i];
        v[d] = s->bias & 4 ? v[d] + r->bias[2][i] : v[d];
        if (s->types[1] == WEFT_KV_F16) {
            v[d] = f16_to_f32(f32_to_f16(v[d]));
        } else if (d % 32 == 31) {
            quant_find(QUANT_Q8_0)->encode(v + d - 31, &b, 32);
            quant_find(QUANT_Q8_0)->decode(&b, v + d - 31, 32);
        }
    }
    for (uint32_t d = 0; d < s->head_dim; d++) {
        h[d] = (double)v[d];
    }
}

/* Checks one of the pools: the rows' positions are as they should be, and all the rest is
 * untouched. */
static void check_pool(const struct run *r, size_t which)
{
    const struct shape *s = &r->s;
    const size_t block = block_bytes(s, which), n = N_PAGES * s->n_kv * block;
    struct dptr d = which == 0 ? r->job.kv.k : r->job.kv.v;
    d.at += s->far * s->n_kv * block;
    uint8_t *pool = device_get(d, n);
    double h[MAX_DIM], bound[MAX_DIM], got[MAX_DIM], off[MAX_DIM];
    for (size_t row = 0; row < r->n; row++) {
        const uint32_t page = page_of(r->row[row].seq, r->row[row].pos);
        for (uint32_t head = 0; head < s->n_kv; head++) {
            take_head(s, which, pool + ((size_t)page * s->n_kv + head) * block,
                      r->row[row].pos % PAGE, got, off);
            if (which == 0) {
                expected_head(r, 1, row, head, h, bound);
                if (kv_type_rotates(s->types[0])) {
                    rotated(h, bound, s->head_dim);
                }
            } else {
                expected_v(r, row, head, h);
            }
            for (uint32_t e = 0; e < s->head_dim; e++) {
                assert_true(fabs(got[e] - h[e]) <= (which == 0 ? bound[e] + off[e] : 0.0));
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pool[i], 0xff);
    }
}

static void check(struct shape s, const struct drow *row, size_t n)
{
    struct run r = make_run(s, row, n);
    launch_run(&r);
    check_q(&r);
    check_pool(&r, 0);
    check_pool(&r, 1);
    /* The more allocations there are, the slower is the simulator. */
    assert_int_equal(device_teardown(NULL), 0);
    assert_int_equal(device_setup(NULL), 0);
}

static const struct drow some_rows[] = {
    { .pos = 0, .seq = 0 },      { .pos = 1, .seq = 0, .rope_set = 1 },   { .pos = 63, .seq = 1 },
    { .pos = 64, .seq = 1 },     { .pos = 130, .seq = 1, .rope_set = 1 }, { .pos = 4095, .seq = 0 },
    { .pos = 131071, .seq = 1 },
};
enum { N_ROWS = sizeof some_rows / sizeof some_rows[0] };

static void test_every_flag(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 128; flags++) {
        const struct shape s = { .head_dim = 64,
                                 .n_heads = 3,
                                 .n_kv = 1,
                                 .n_rot = flags & 1 ? 64 : 24,
                                 .neox = flags & 2,
                                 .bias = flags >> 2 & 7,
                                 .norms = flags >> 5,
                                 .factor = flags % 3 ? 1.0f : 1.19f,
                                 .joint = flags % 5 == 1,
                                 .scaled = flags % 7 };
        check(s, some_rows + flags % 5, 3);
    }
}

static void test_every_size(void **state)
{
    (void)state;
    static const uint32_t dims[] = { 8, 40, 64, 72, 80, 96, 128, 192, 256 };
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (uint32_t neox = 0; neox < 2; neox++) {
            const uint32_t n_rot[] = { dims[i], dims[i] - 2, 2, 0 };
            const struct shape s = { .head_dim = dims[i],
                                     .n_heads = ((uint32_t)i % 2 + 1) * (2 + (uint32_t)i / 2),
                                     .n_kv = (uint32_t)i % 2 + 1,
                                     .n_rot = n_rot[(i + 2 * neox) % 4],
                                     .neox = neox,
                                     .bias = 7,
                                     .norms = 3,
                                     .factor = 1.0f };
            check(s, some_rows, N_ROWS);
            const struct shape plain = { .head_dim = dims[i],
                                         .n_heads = 1,
                                         .n_kv = 1,
                                         .n_rot = dims[i],
                                         .neox = neox,
                                         .factor = 1.0f };
            check(plain, some_rows, N_ROWS);
        }
    }
}

static void test_q8(void **state)
{
    (void)state;
    static const uint32_t dims[] = { 32, 64, 96, 128, 160, 256 };
    for (uint32_t i = 0; i < 18; i++) {
        const uint32_t dim = dims[i / 3];
        struct shape s = { .head_dim = dim,
                           .n_heads = 3,
                           .n_kv = 3,
                           .n_rot = i % 2 ? dim : dim - 8,
                           .neox = i % 4 < 2,
                           .bias = i % 8,
                           .norms = i % 4,
                           .factor = 1.0f };
        s.types[0] = i % 3 < 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
        s.types[1] = i % 3 > 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
        s.joint = i % 2, s.scaled = i % 8;
        check(s, some_rows, N_ROWS);
    }
}

/* The bytes equal those of the encoder of quant.c for these blocks: ties; zeros; values so small
 * that the inverse of the scale is infinite; values so large that a half cannot hold the scale. A
 * block with a NaN or an infinity gets a scale that is NaN or infinite. */
static void test_q8_bits(void **state)
{
    (void)state;
    enum { DIM = 256, LAST = DIM - 64 };
    static const struct drow row = { .pos = 5 };
    const struct shape s = { .head_dim = DIM,
                             .n_heads = 1,
                             .n_kv = 1,
                             .factor = 1.0f,
                             .types = { WEFT_KV_F16, WEFT_KV_Q8_0 } };
    struct run r = make_run(s, &row, 1);
    float *v = r.in[2];
    for (int i = 0; i < 32; i++) {
        v[i] = i == 0 ? 127.0f : (float)(i - 16) + 0.5f;
        v[32 + i] = i % 2 ? 0.0f : -0.0f;
        v[64 + i] = (float)(i - 9) * 1e-42f;
        v[96 + i] = (float)(i - 20) * 1e36f;
        v[LAST + i] = i == 7 ? NAN : 1.0f;
        v[LAST + 32 + i] = i == 9 ? -INFINITY : 1.0f;
    }
    device_fill(r.job.v, v, DIM * sizeof *v);
    launch_run(&r);
    struct block_q8_0 b[DIM / 32];
    quant_find(QUANT_Q8_0)->encode(v, b, DIM);
    const uint8_t *page = device_get(r.job.kv.v, (page_of(0, row.pos) + 1) * block_bytes(&s, 1));
    page += page_of(0, row.pos) * block_bytes(&s, 1);
    const f16_bits *scale =
        (const f16_bits *)(const void *)(page + PAGE * DIM) + row.pos * DIM / 32;
    for (size_t i = 0; i < LAST / 32; i++) {
        assert_int_equal(scale[i], b[i].d);
        assert_memory_equal(page + row.pos * DIM + 32 * i, b[i].qs, 32);
    }
    assert_true(isnan(f16_to_f32(scale[LAST / 32])));
    assert_true(isinf(f16_to_f32(scale[LAST / 32 + 1])));
}

/* Pairs (1, 0) become cosine and sine. An angle is the nearest float, off by pi / 2^25, and
 * sincospif is off by one in the last place of numbers up to 1. */
static void test_angles(void **state)
{
    (void)state;
    static const struct drow row[] = {
        { .pos = 131071 }, { .pos = 99991 }, { .pos = 7, .seq = 1 }, { .pos = 1048573, .seq = 1 }
    };
    const struct shape s = { .head_dim = 128, .n_heads = 1, .n_kv = 1, .n_rot = 128, .factor = 1 };
    struct run r = make_run(s, row, 4);
    for (size_t i = 0; i < 4 * 128; i++) {
        r.in[0][i] = i % 2 == 0;
    }
    device_fill(r.job.q, r.in[0], 4 * 128 * sizeof(float));
    launch_run(&r);
    const float *q = device_get(r.job.q, 4 * 128 * sizeof *q);
    double worst = 0.0;
    for (size_t i = 0; i < 4 * 128; i += 2) {
        const double angle = acos(-1.0) * fmod(row[i / 128].pos * r.turns[i % 128 / 2], 2.0);
        worst = fmax(worst, fabs((double)q[i] - cos(angle)));
        worst = fmax(worst, fabs((double)q[i + 1] - sin(angle)));
    }
    if (!(worst <= 3.1416 * 0x1p-25 + 0x1p-23)) {
        fail_msg("sine or cosine off by %g", worst);
    }
}

/* These places in the pool cannot be numbered in 32 bits, neither in bytes nor in elements. */
static void test_beyond_32_bits(void **state)
{
    (void)state;
    struct shape s = { .head_dim = 128,
                       .n_heads = 8,
                       .n_kv = 8,
                       .n_rot = 128,
                       .neox = true,
                       .factor = 1.0f,
                       .far = ((size_t)1 << 32) / (8 * 128 * PAGE) + 77 };
    check(s, some_rows, 5);
    s.types[0] = s.types[1] = WEFT_KV_Q8_0;
    check(s, some_rows, 5);
}

static void test_arguments(void **state)
{
    (void)state;
    const struct dstep step = { .page_stride = 1 };
    struct heads job = { .n_rot = 64, .kv = { .n_heads = 2, .n_kv_heads = 1, .head_dim = 64 } };
    assert_int_equal(kernel_heads(&job, &step, 0, device_queue()), cudaSuccess);
    job.stride = 512;
    assert_int_equal(kernel_heads(&job, &step, 1, device_queue()), cudaErrorInvalidValue);
    job.stride = 0;
    job.n_rot = 66;
    assert_int_equal(kernel_heads(&job, &step, 1, device_queue()), cudaErrorInvalidValue);
    job.n_rot = 63;
    assert_int_equal(kernel_heads(&job, &step, 1, device_queue()), cudaErrorInvalidValue);
    job.n_rot = 0;
    job.kv.head_dim = 264;
    assert_int_equal(kernel_heads(&job, &step, 1, device_queue()), cudaErrorInvalidValue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, device_setup, device_teardown)
        TEST(test_every_flag), TEST(test_every_size),     TEST(test_q8),        TEST(test_q8_bits),
        TEST(test_angles),     TEST(test_beyond_32_bits), TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
