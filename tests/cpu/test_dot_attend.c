/* Attention of the CPU backend (src/cpu/kernels/dot_attend.inc), for scalar, AVX2 and AVX-512, and
 * the blocks of the KV pool that it reads (src/cpu/kv_block.c).
 * - against a softmax in double; the same bits for every division into rows and heads, whatever
 *   stands in the positions that a row does not see
 * - NaN, Inf and huge scores
 * - the exponential inside it: over the whole range */
#include "support/dot_variants.h"
#include "support/level.h"

/* n positions in pages; the rows of the last n_rows positions read them. */
struct attend_case {
    size_t n_rows, n_heads, head_dim, n, window;
    weft_kv_type type[2];
    float scale;
    float *q, *out;     /* [n_rows, n_heads, head_dim] */
    float *kv[2];       /* [n, head_dim] as stored, rounded to the type */
    uint8_t *blocks[2]; /* for twice as many pages as are needed */
    uint32_t pages[32]; /* in no order */
    size_t block_bytes[2];
};

static size_t n_pages(const struct attend_case *c) { return (c->n + KV_PAGE - 1) / KV_PAGE; }

/* Stores x[head_dim] as position t of K or V. */
static void attend_store(struct attend_case *c, size_t which, size_t t, const float *x)
{
    const struct kv_shape shape = { c->type[which], (enum kv_which)which, c->head_dim };
    uint8_t *block = c->blocks[which] + c->pages[t / KV_PAGE] * c->block_bytes[which];
    const struct quant_type *type =
        quant_find(c->type[which] == WEFT_KV_F16 ? QUANT_F16 : QUANT_Q8_0);
    uint8_t row[1024];
    kv_block_store(cpu_ops_scalar(), &shape, block, t % KV_PAGE, x);
    kv_block_get(&shape, block, t % KV_PAGE, row);
    type->decode(row, c->kv[which] + t * c->head_dim, c->head_dim);
    if (which == KV_K && kv_type_rotates(c->type[which])) {
        kv_rotate(c->kv[which] + t * c->head_dim, c->head_dim);
    }
}

/* Makes a case in which everything but the positions [0, n) is NaN. */
static struct attend_case attend_new(size_t n_rows, size_t n_heads, size_t head_dim, size_t n,
                                     size_t window, weft_kv_type k, weft_kv_type v)
{
    struct attend_case c = { .n_rows = n_rows,
                             .n_heads = n_heads,
                             .head_dim = head_dim,
                             .n = n,
                             .window = window,
                             .type = { k, v },
                             .scale = 1.0f / sqrtf((float)head_dim) };
    float x[512];
    rng_state = n_rows * 100000 + n_heads * 10000 + head_dim * 10 + n;
    c.q = room(n_rows * n_heads * head_dim * sizeof *c.q);
    c.out = room(n_rows * n_heads * head_dim * sizeof *c.out);
    rng_floats(c.q, n_rows * n_heads * head_dim);
    for (size_t p = 0; p < n_pages(&c); p++) {
        c.pages[p] = (uint32_t)(2 * (n_pages(&c) - 1 - p) + p % 2);
    }
    for (size_t i = 0; i < 2; i++) {
        c.block_bytes[i] = kv_block_bytes(c.type[i], head_dim);
        c.blocks[i] = room(2 * n_pages(&c) * c.block_bytes[i]);
        memset(c.blocks[i], 0xff, 2 * n_pages(&c) * c.block_bytes[i]);
        c.kv[i] = room(n * head_dim * sizeof *c.kv[i]);
        for (size_t t = 0; t < n; t++) {
            rng_floats(x, head_dim);
            attend_store(&c, i, t, x);
        }
    }
    return c;
}

static void attend_free(struct attend_case *c)
{
    free(c->q);
    free(c->out);
    for (size_t i = 0; i < 2; i++) {
        free(c->kv[i]);
        free(c->blocks[i]);
    }
}

/* Computes rows [r, r + n_r) in heads [h, h + n_h). */
static void attend_run(const struct cpu_ops *ops, const struct attend_case *c, size_t r, size_t n_r,
                       size_t h, size_t n_h, float *out)
{
    const size_t at = (r * c->n_heads + h) * c->head_dim;
    const size_t bytes = attend_scratch_bytes(n_r * n_h, c->head_dim);
    void *scratch = aligned_alloc(64, bytes);
    assert_non_null(scratch);
    memset(scratch, 0xff, bytes);
    const struct attention a = { .q = c->q + at,
                                 .out = out + at,
                                 .ld = c->n_heads * c->head_dim,
                                 .n_rows = n_r,
                                 .n_heads = n_h,
                                 .head_dim = c->head_dim,
                                 .scale = c->scale,
                                 .pos = c->n - c->n_rows + r,
                                 .window = c->window,
                                 .pages = c->pages,
                                 .kv = { { c->type[0], c->blocks[0], c->block_bytes[0] },
                                         { c->type[1], c->blocks[1], c->block_bytes[1] } },
                                 .scratch = scratch };
    ops->attend(&a);
    free(scratch);
}

static void attend_all(const struct cpu_ops *ops, const struct attend_case *c, float *out)
{
    attend_run(ops, c, 0, c->n_rows, 0, c->n_heads, out);
}

/* Checks one head of one row. With values in (-1, 1) a score is off by at most (head_dim + 2) *
 * 2^-24 * sum |q k| / sqrt(head_dim), which is 5e-5 at 256 with a mean |q k| of 1/5. The logarithm
 * of a weight is the difference of two scores, so it is off by twice as much; the 1e-7 of the
 * exponential and the n * 2^-24 of the sums are small beside it. All roundings of a sum would have
 * to go the same way for that; in fact they differ in sign, and a tenth of it is allowed. */
static void check_row(const struct attend_case *c, size_t r, size_t h)
{
    const size_t end = c->n - c->n_rows + r + 1, at = (r * c->n_heads + h) * c->head_dim;
    const size_t first = c->window > 0 && end > c->window ? end - c->window : 0;
    double *p = room(end * sizeof *p), max = -INFINITY, sum = 0;
    for (size_t t = first; t < end; t++) {
        p[t] = 0;
        for (size_t i = 0; i < c->head_dim; i++) {
            p[t] += (double)c->q[at + i] * c->kv[KV_K][t * c->head_dim + i];
        }
        p[t] *= c->scale;
        max = fmax(max, p[t]);
    }
    for (size_t t = first; t < end; t++) {
        sum += p[t] = exp(p[t] - max);
    }
    for (size_t i = 0; i < c->head_dim; i++) {
        double want = 0;
        for (size_t t = first; t < end; t++) {
            want += p[t] / sum * c->kv[KV_V][t * c->head_dim + i];
        }
        assert_true(fabs(want - c->out[at + i]) <= 1e-5);
    }
    free(p);
}

/* Compares with sums in double, with the scalar kernels, and with rows and heads in blocks of any
 * size, down to one head of one row. A row cannot see the positions behind it, which are NaN. */
static void check_attend(const struct cpu_ops *ops, struct attend_case *c)
{
    const size_t bytes = c->n_rows * c->n_heads * c->head_dim * sizeof(float);
    float *other = room(bytes);
    attend_all(ops, c, c->out);
    for (size_t q = 0; q < c->n_rows * c->n_heads; q++) {
        check_row(c, q / c->n_heads, q % c->n_heads);
    }
    attend_all(cpu_ops_scalar(), c, other);
    assert_memory_equal(other, c->out, bytes);
    for (size_t block = 1; block < 6; block++) {
        for (size_t r = 0; r < c->n_rows; r += block) {
            const size_t left = c->n_rows - r;
            attend_run(ops, c, r, left < block ? left : block, 0, c->n_heads, other);
        }
        assert_memory_equal(other, c->out, bytes);
    }
    float nan[512];
    for (size_t i = 0; i < c->head_dim; i++) {
        nan[i] = NAN;
    }
    for (size_t r = c->n_rows; r-- > 0;) {
        for (size_t h = 0; h < c->n_heads; h++) {
            attend_run(ops, c, r, 1, h, 1, other);
        }
        attend_store(c, KV_K, c->n - c->n_rows + r, nan);
        attend_store(c, KV_V, c->n - c->n_rows + r, nan);
    }
    assert_memory_equal(other, c->out, bytes);
    free(other);
    attend_free(c);
}

static void test_attend(void **state)
{
    const struct cpu_ops *ops = variant(state);
    static const size_t dims[] = { 2, 6, 10, 64, 80, 96, 128, 256 };
    static const size_t lengths[] = { 1, 3, 16, 65, 203 };
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            struct attend_case c = attend_new(1, 1 + (d + 2 * n) % 8, dims[d], lengths[n], 0,
                                              WEFT_KV_F16, WEFT_KV_F16);
            check_attend(ops, &c);
        }
    }
    struct attend_case c = attend_new(1, 71, 10, 100, 0, WEFT_KV_F16, WEFT_KV_F16);
    check_attend(ops, &c);
}

/* The rows of a prompt stand at its beginning and across pages, with and without a window. */
static void test_attend_rows(void **state)
{
    const struct cpu_ops *ops = variant(state);
    static const struct {
        size_t n_rows, n_heads, head_dim, n, window;
    } cases[] = { { 1, 7, 64, 130, 0 },   { 9, 7, 64, 9, 0 },      { 9, 7, 64, 150, 0 },
                  { 64, 1, 6, 64, 0 },    { 70, 1, 32, 200, 0 },   { 16, 4, 96, 133, 0 },
                  { 64, 1, 32, 300, 1 },  { 64, 1, 32, 300, 2 },   { 33, 2, 64, 400, 37 },
                  { 64, 1, 32, 300, 64 }, { 130, 1, 32, 300, 65 }, { 90, 3, 32, 700, 200 } };
    const bool all = level_all("most pairs of types of K and V with rows of a prompt");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (unsigned types = 0; types < 4; types++) {
            if ((all || (i + types) % 3 == 0) && (types == 0 || cases[i].head_dim % 32 == 0)) {
                struct attend_case c =
                    attend_new(cases[i].n_rows, cases[i].n_heads, cases[i].head_dim, cases[i].n,
                               cases[i].window, types & 1 ? WEFT_KV_Q8_0 : WEFT_KV_F16,
                               types & 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16);
                check_attend(ops, &c);
            }
        }
    }
}

static void store_one(struct attend_case *c, size_t which, size_t t, size_t i, float value)
{
    float x[512];
    memcpy(x, c->kv[which] + t * c->head_dim, c->head_dim * sizeof *x);
    x[i] = value;
    attend_store(c, which, t, x);
}

/* A NaN in a key or value reaches the output of every row that sees it, and of no other row. */
static void test_attend_nan(void **state)
{
    const struct cpu_ops *ops = variant(state);
    struct attend_case c = attend_new(5, 1, 6, 70, 0, WEFT_KV_F16, WEFT_KV_F16);
    store_one(&c, KV_K, 67, 1, NAN);
    attend_all(ops, &c, c.out);
    for (size_t i = 0; i < 5 * 6; i++) {
        assert_int_equal(isnan(c.out[i]) != 0, i / 6 >= 2);
    }
    store_one(&c, KV_K, 67, 1, 0.0f);
    store_one(&c, KV_V, 67, 2, NAN);
    attend_all(ops, &c, c.out);
    for (size_t i = 0; i < 5 * 6; i++) {
        assert_int_equal(isnan(c.out[i]) != 0, i / 6 >= 2 && i % 6 == 2);
    }
    attend_free(&c);
    c = attend_new(1, 1, 64, 200, 0, WEFT_KV_Q8_0, WEFT_KV_Q8_0);
    store_one(&c, KV_V, 100, 33, INFINITY);
    store_one(&c, KV_V, 5, 0, NAN);
    attend_all(ops, &c, c.out);
    for (size_t i = 0; i < 64; i++) {
        assert_true(isnan(c.out[i]) || isinf(c.out[i]));
    }
    attend_free(&c);
}

/* Of huge scores only the largest count, and scores of -Inf have no weight, even if a whole page
 * has no others. If all scores are -Inf, there is nothing to choose from. */
static void test_attend_extremes(void **state)
{
    const struct cpu_ops *ops = variant(state);
    struct attend_case c = attend_new(1, 3, 6, 140, 0, WEFT_KV_F16, WEFT_KV_F16);
    for (size_t i = 0; i < 3 * 6; i++) {
        c.q[i] = 1e30f;
    }
    for (size_t i = 0; i < 6; i++) {
        store_one(&c, KV_K, 17, i, 65504.0f);
    }
    attend_all(ops, &c, c.out);
    for (size_t i = 0; i < 3 * 6; i++) {
        assert_true(c.out[i] == c.kv[KV_V][17 * 6 + i % 6]);
    }
    for (size_t t = 0; t < 140; t++) {
        store_one(&c, KV_K, t, 0, t == 100 ? 0.0f : -INFINITY);
        for (size_t i = 1; i < 6; i++) {
            store_one(&c, KV_K, t, i, 0.0f);
        }
    }
    attend_all(ops, &c, c.out);
    for (size_t i = 0; i < 3 * 6; i++) {
        assert_true(c.out[i] == c.kv[KV_V][100 * 6 + i % 6]);
    }
    store_one(&c, KV_K, 100, 0, -INFINITY);
    attend_all(ops, &c, c.out);
    for (size_t i = 0; i < 3 * 6; i++) {
        assert_true(isnan(c.out[i]));
    }
    attend_free(&c);
}

/* Compares with the definition: entry (i, j) of the matrix is (-1)^b, where b is the number of bits
 * that are set in both i and j. An output is a sum of n terms; rotating twice gives the input
 * again. */
static void test_rotate(void **state)
{
    (void)state;
    static const size_t dims[] = { 1, 6, 32, 64, 80, 96, 128, 256, 512 };
    static const size_t blocks[] = { 1, 2, 32, 64, 16, 32, 128, 256, 256 };
    for (size_t k = 0; k < sizeof dims / sizeof *dims; k++) {
        const size_t n = blocks[k];
        float x[512], y[512];
        rng_floats(x, dims[k]);
        memcpy(y, x, dims[k] * sizeof *x);
        assert_int_equal(kv_rotate_block(dims[k]), n);
        kv_rotate(y, dims[k]);
        for (size_t i = 0; i < dims[k]; i++) {
            double want = 0;
            for (size_t j = 0; j < n; j++) {
                want += __builtin_parityll(i % n & j) ? -x[i / n * n + j] : x[i / n * n + j];
            }
            assert_true(fabs(y[i] - want / sqrt((double)n)) <= 1e-5);
        }
        kv_rotate(y, dims[k]);
        for (size_t i = 0; i < dims[k]; i++) {
            assert_true(fabsf(y[i] - x[i]) <= 1e-5f);
        }
    }
}

/* A row that is put into a block comes back unchanged, and putting it there changes no other row.
 */
static void test_kv_block(void **state)
{
    (void)state;
    static const struct kv_shape shapes[] = { { WEFT_KV_F16, KV_K, 6 },
                                              { WEFT_KV_F16, KV_V, 34 },
                                              { WEFT_KV_Q8_0, KV_K, 96 },
                                              { WEFT_KV_Q8_0, KV_V, 96 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct kv_shape *s = shapes + i;
        const size_t row = kv_type_bytes(s->type, s->head_dim), bytes = KV_PAGE * row;
        assert_int_equal(bytes, kv_block_bytes(s->type, s->head_dim));
        uint8_t *block = room(bytes), *rows = room(bytes), *back = room(row);
        for (size_t j = 0; j < bytes; j++) {
            rows[j] = (uint8_t)rng();
        }
        for (size_t t = 0; t < KV_PAGE; t++) {
            kv_block_put(s, block, t, rows + t * row);
        }
        for (size_t t = 0; t < KV_PAGE; t++) {
            kv_block_get(s, block, t, back);
            assert_memory_equal(back, rows + t * row, row);
        }
        free(block);
        free(rows);
        free(back);
    }
}

/* Two positions with scores 0 and x give e^x as out[1] / out[0]. The error is the 1e-7 that is
 * promised for the exponential, and two divisions. x is every 997th float of [-87, -1e-8], and
 * beyond; at the level thin every 9973th. */
static void test_exp(void **state)
{
    const struct cpu_ops *ops = variant(state);
    enum { N = 4096 };
    struct attend_case c = attend_new(1, N, 2, 2, 0, WEFT_KV_F16, WEFT_KV_F16);
    c.scale = 1.0f;
    attend_store(&c, KV_K, 0, (float[]){ 0.0f, 0.0f });
    attend_store(&c, KV_K, 1, (float[]){ 1.0f, 0.0f });
    attend_store(&c, KV_V, 0, (float[]){ 1.0f, 0.0f });
    attend_store(&c, KV_V, 1, (float[]){ 0.0f, 1.0f });
    float *q = c.q, *out = c.out, *want = room(2 * N * sizeof *want);
    const uint32_t step = level_all("nine of ten exponents") ? 997 : 9973;
    size_t n_rounds = 0;
    for (uint32_t bits = 0xb22bcc77; bits < 0xc2c00000; n_rounds++) {
        for (size_t i = 0; i < N; i++, bits += step) {
            memcpy(q + 2 * i, &bits, sizeof bits);
            q[2 * i + 1] = 0;
        }
        attend_all(ops, &c, out);
        for (size_t i = 0; i < N; i++) {
            double e = exp(q[2 * i]), got = (double)out[2 * i + 1] / out[2 * i];
            assert_true(q[2 * i] < -87.0f ? got == 0 : fabs(got - e) <= e * (1e-7 + 0x1p-23));
        }
        if (n_rounds % 16 == 0) {
            attend_all(cpu_ops_scalar(), &c, want);
            assert_memory_equal(out, want, 2 * N * sizeof *out);
        }
    }
    attend_free(&c);
    free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_attend),
        EACH(test_attend_rows),
        EACH(test_attend_nan),
        EACH(test_attend_extremes),
        cmocka_unit_test(test_kv_block),
        cmocka_unit_test(test_rotate),
        EACH(test_exp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
