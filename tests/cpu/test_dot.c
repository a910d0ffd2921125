/* Matrix products and quantised activations of the CPU backend (src/cpu/kernels/dot_*.c), for
 * scalar, AVX2 and AVX-512.
 * - matmul: for every tensor type, packed, it is compared with sums in double over the decoded
 *   weights and the quantised activations. Every variant gives the same bits, for every grouping of
 *   rows and from dirty scratch; for Q4_K they are those of the plain reference. A product can be
 *   added to what is in the output.
 * - packing: rows read back from tiles equal rows that are decoded from the file; unaligned weights
 *   give the same tiles
 * - quantize: error, sums, padding, ties, zero, tiny and non-finite blocks, rows in pieces */
#include "support/dot_variants.h"

#include "cpu/pack.h"
#include "support/level.h"

enum { MAX_ROWS = 64, N_W = TILE_ROWS + 3 }; /* one full tile, and one that lacks rows */

/* Allocates n bytes, rounded up to the alignment and no more, so that a sanitizer sees reads and
 * writes past the end. */
static void *aligned(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xff, n);
    return p;
}

static struct acts acts_new(size_t n_cols)
{
    struct acts a = { .n_cols = n_cols, .stride = (n_cols + 63) / 64 * 64 };
    a.q = aligned(MAX_ROWS * a.stride);
    a.q16 = aligned(MAX_ROWS * a.stride * sizeof *a.q16);
    a.scales = aligned(MAX_ROWS * a.stride / 32 * sizeof *a.scales);
    a.x = aligned(MAX_ROWS * a.stride * sizeof(float));
    return a;
}

static void acts_free(struct acts *a)
{
    free(a->q);
    free(a->q16);
    free(a->scales);
    free(a->x);
}

/* Makes random rows. Some blocks are extreme: all their codes are 127 or -127. */
static struct acts acts_random(const struct cpu_ops *ops, size_t n_cols)
{
    struct acts a = acts_new(n_cols);
    float *x = room(n_cols * sizeof *x);
    for (size_t r = 0; r < MAX_ROWS; r++) {
        rng_floats(x, n_cols);
        for (size_t i = 0; r % 4 == 3 && i < n_cols; i++) {
            x[i] = r % 8 == 3 ? 2.0f : i % 64 < 32 ? -3.0f : x[i];
        }
        ops->quantize(x, &a, r);
    }
    free(x);
    return a;
}

#define AT(id, block, field)                                                                       \
    {                                                                                              \
        id, offsetof(struct block, field)                                                          \
    }
static const struct {
    uint32_t id;
    size_t offset;
} halves[] = {
    AT(QUANT_Q4_0, block_q4_0, d),     AT(QUANT_Q4_1, block_q4_1, d),
    AT(QUANT_Q4_1, block_q4_1, m),     AT(QUANT_Q5_0, block_q5_0, d),
    AT(QUANT_Q5_1, block_q5_1, d),     AT(QUANT_Q5_1, block_q5_1, m),
    AT(QUANT_Q8_0, block_q8_0, d),     AT(QUANT_Q2_K, block_q2_k, d),
    AT(QUANT_Q2_K, block_q2_k, dmin),  AT(QUANT_Q3_K, block_q3_k, d),
    AT(QUANT_Q4_K, block_q4_k, d),     AT(QUANT_Q4_K, block_q4_k, dmin),
    AT(QUANT_Q5_K, block_q5_k, d),     AT(QUANT_Q5_K, block_q5_k, dmin),
    AT(QUANT_Q6_K, block_q6_k, d),     AT(QUANT_IQ4_NL, block_iq4_nl, d),
    AT(QUANT_IQ4_XS, block_iq4_xs, d),
};

/* Makes n_w rows of random codes under scales of an ordinary size, so that no encoder is needed.
 * Row 1 has all bits of its codes set. */
static void weights_random(const struct quant_type *t, size_t n_cols, uint8_t *w)
{
    const size_t row_bytes = n_cols / t->block * t->bytes;
    if (t->block == 1) {
        float *x = room(N_W * n_cols * sizeof *x);
        rng_floats(x, N_W * n_cols);
        t->encode(x, w, N_W * n_cols);
        free(x);
        return;
    }
    for (size_t i = 0; i < N_W * row_bytes; i++) {
        w[i] = i / row_bytes == 1 ? 0xff : (uint8_t)rng();
    }
    for (size_t b = 0; b < N_W * row_bytes; b += t->bytes) {
        for (size_t k = 0; k < sizeof halves / sizeof *halves; k++) {
            if (halves[k].id == t->id) {
                f16_bits h = f32_to_f16(rng_float() * 0.01f);
                memcpy(w + b + halves[k].offset, &h, sizeof h);
            }
        }
    }
}

/* Computes out[r, w] in double: the decoded weights times the activations as they were quantised
 * (or as they are given, for float weights). */
static void matmul_double(const struct quant_type *t, const uint8_t *weights, const struct acts *a,
                          double *out)
{
    float *w = room(N_W * a->n_cols * sizeof *w);
    t->decode(weights, w, N_W * a->n_cols);
    for (size_t r = 0; r < MAX_ROWS; r++) {
        for (size_t k = 0; k < N_W; k++) {
            double sum = 0;
            for (size_t i = 0; i < a->n_cols; i++) {
                size_t at = r * a->stride + i;
                double x =
                    t->block == 1 ? (double)a->x[at] : (double)a->scales[at / 32].d * a->q[at];
                sum += x * (double)w[k * a->n_cols + i];
            }
            out[r * N_W + k] = sum;
        }
    }
    free(w);
}

struct matmul_case {
    const struct quant_type *type;
    size_t n_cols;
    struct acts a;
    uint8_t *weights;
    struct packed w;
    void *scratch;
    float *out; /* [MAX_ROWS, N_W], computed by the variant under test */
};

static struct packed pack_all(const struct quant_type *t, const uint8_t *rows, size_t n_cols)
{
    struct packed w = pack_describe(t, rows, N_W, n_cols);
    assert_int_equal(pack_n_tiles(&w), 2);
    assert_true(w.layout.n % VECTOR == 0);
    w.tiles = aligned(2 * w.layout.n);
    pack_tile(&w, 0, w.tiles);
    pack_tile(&w, 1, w.tiles + w.layout.n);
    return w;
}

/* Computes out[r * ld + i] for activation rows [first, first + n) and all rows of w. */
static void matmul(const struct cpu_ops *ops, const struct matmul_case *c, const struct acts *a,
                   size_t first, size_t n, float *out, size_t ld)
{
    memset(c->scratch, 0xff, MATMUL_SCRATCH);
    for (size_t i = 0; i < 2; i++) {
        ops->matmul(&c->w, c->w.tiles + i * c->w.layout.n, i == 0 ? TILE_ROWS : N_W - TILE_ROWS, a,
                    first, n, false, out + i * TILE_ROWS, ld, NULL, c->scratch);
    }
}

static struct matmul_case case_new(const struct cpu_ops *ops, const struct quant_type *t,
                                   size_t n_cols)
{
    rng_state = t->id * 1000003 + n_cols;
    struct matmul_case c = { .type = t, .n_cols = n_cols, .a = acts_random(ops, n_cols) };
    c.weights = room(n_cols / t->block * t->bytes * N_W);
    weights_random(t, n_cols, c.weights);
    c.w = pack_all(t, c.weights, n_cols);
    c.scratch = aligned(MATMUL_SCRATCH);
    c.out = room(MAX_ROWS * N_W * sizeof *c.out);
    matmul(ops, &c, &c.a, 0, MAX_ROWS, c.out, N_W);
    return c;
}

static void case_free(struct matmul_case *c)
{
    acts_free(&c->a);
    free(c->weights);
    free(c->w.tiles);
    free(c->scratch);
    free(c->out);
}

static void each_case(const struct cpu_ops *ops,
                      void (*check)(const struct cpu_ops *ops, const struct matmul_case *c))
{
    static const size_t sizes[] = { 1, 32, 40, 64, 96, 256, 288, 512, 768, 896, 4864 };
    const bool all = level_all("two of three types with each large number of columns");
    const struct quant_type *t;
    for (size_t i = 0; (t = quant_at(i)) != NULL; i++) {
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            if (sizes[k] % t->block == 0 && (all || sizes[k] <= 256 || (i + k) % 3 == 0)) {
                struct matmul_case c = case_new(ops, t, sizes[k]);
                check(ops, &c);
                case_free(&c);
            }
        }
    }
}

/* A sum takes two additions for each block of 32 or 16 columns, 608 at most. Each is off by 2^-24
 * of a partial sum, which the offsets make at most 3 times as large as the result (255 against 255
 * - 128). The errors are as likely up as down: for the largest number of columns the NMSE is about
 * 608 * 2^-48 * 9 / 2 = 1e-11. The rounding of the decoded weights themselves adds as much
 * again. */
static void check_double(const struct cpu_ops *ops, const struct matmul_case *c)
{
    double ref[MAX_ROWS * N_W], error = 0, size = 0;
    matmul_double(c->type, c->weights, &c->a, ref);
    for (size_t i = 0; i < MAX_ROWS * N_W; i++) {
        error += (c->out[i] - ref[i]) * (c->out[i] - ref[i]);
        size += ref[i] * ref[i];
    }
    if (!(error <= 2e-11 * size)) {
        fail_msg("%s %s n_cols %zu: NMSE %g", ops->name, c->type->name, c->n_cols, error / size);
    }
}

static void test_matmul_double(void **state) { each_case(variant(state), check_double); }

/* The bits are those of the scalar kernels. */
static void check_scalar(const struct cpu_ops *ops, const struct matmul_case *c)
{
    float want[MAX_ROWS * N_W];
    matmul(cpu_ops_scalar(), c, &c->a, 0, MAX_ROWS, want, N_W);
    if (memcmp(want, c->out, sizeof want) != 0) {
        fail_msg("%s %s n_cols %zu: not the bits of scalar", ops->name, c->type->name, c->n_cols);
    }
}

/* The bits are those of the reference in dot_scalar.c, which reads the file's blocks, for few and
 * for many rows. */
static void check_plain(const struct cpu_ops *ops, const struct matmul_case *c)
{
    if (c->type->id != QUANT_Q4_K) {
        return;
    }
    const struct block_q4_k *w = (const struct block_q4_k *)(const void *)c->weights;
    float few[MATMUL_FEW * N_W];
    matmul(ops, c, &c->a, 0, MATMUL_FEW, few, N_W);
    for (size_t i = 0; i < MAX_ROWS * N_W; i++) {
        const size_t row = i / N_W, k = i % N_W;
        const float want = dot_row_q4_k(w + k * (c->n_cols / 256), &c->a, row);
        if (memcmp(&want, &c->out[i], sizeof want) != 0 ||
            (row < MATMUL_FEW && memcmp(&want, &few[i], sizeof want) != 0)) {
            fail_msg(
                "%s n_cols %zu: row %zu of weights, %zu of activations: not the reference's bits",
                ops->name, c->n_cols, k, row);
        }
    }
}

/* Rows that are read back from the tiles equal rows that the tensor type decodes. */
static void check_rows_back(const struct cpu_ops *ops, const struct matmul_case *c)
{
    float *want = room(N_W * c->n_cols * sizeof *want), *got = room(c->n_cols * sizeof *got);
    memset(c->scratch, 0xff, PIECE_BYTES);
    c->type->decode(c->weights, want, N_W * c->n_cols);
    for (size_t i = 0; i < N_W; i++) {
        pack_row(ops, &c->w, i, got, c->scratch);
        if (memcmp(got, want + i * c->n_cols, c->n_cols * sizeof *got) != 0) {
            fail_msg("%s %s n_cols %zu: row %zu is another one", ops->name, c->type->name,
                     c->n_cols, i);
        }
    }
    free(want);
    free(got);
}

static void check_bits(const struct cpu_ops *ops, const struct matmul_case *c)
{
    check_scalar(ops, c);
    check_plain(ops, c);
    check_rows_back(ops, c);
}

static void test_matmul_bits(void **state) { each_case(variant(state), check_bits); }

/* Any rows and any number of rows, with the rows of out further apart and with dirty scratch, give
 * the same bits, and nothing else is touched. */
static void check_groups(const struct cpu_ops *ops, const struct matmul_case *c)
{
    static const size_t groups[] = { 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 15, 16 };
    const size_t ld = N_W + 2;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        const size_t n = groups[g], at = (7 * g) % (MAX_ROWS - n);
        float out[16 * (N_W + 2)];
        memset(out, 0x55, sizeof out);
        matmul(ops, c, &c->a, at, n, out, ld);
        for (size_t i = 0; i < 16 * ld; i++) {
            float want;
            memset(&want, 0x55, sizeof want);
            if (i / ld < n && i % ld < N_W) {
                want = c->out[(at + i / ld) * N_W + i % ld];
            }
            if (memcmp(&want, out + i, sizeof want) != 0) {
                fail_msg("%s %s n_cols %zu: %zu rows at %zu differ from all rows at once",
                         ops->name, c->type->name, c->n_cols, n, at);
            }
        }
    }
}

static void test_matmul_groups(void **state) { each_case(variant(state), check_groups); }

/* The product is added to the values in out, with one rounding, and nothing else is touched. */
static void check_add(const struct cpu_ops *ops, const struct matmul_case *c)
{
    enum { N = 9 };
    float out[N * (TILE_ROWS + 1)], before[N * (TILE_ROWS + 1)];
    rng_floats(before, sizeof before / sizeof *before);
    memcpy(out, before, sizeof out);
    ops->matmul(&c->w, c->w.tiles + c->w.layout.n, N_W - TILE_ROWS, &c->a, 5, N, true, out,
                TILE_ROWS + 1, NULL, c->scratch);
    for (size_t i = 0; i < N * (TILE_ROWS + 1); i++) {
        const size_t r = i / (TILE_ROWS + 1), k = i % (TILE_ROWS + 1);
        const bool in_tile = k < N_W - TILE_ROWS;
        const float dot = in_tile ? c->out[(5 + r) * N_W + TILE_ROWS + k] : 0.0f;
        assert_true(out[i] == (in_tile ? before[i] + dot : before[i]));
    }
}

static void test_matmul_add(void **state) { each_case(variant(state), check_add); }

static void check_unaligned(const struct cpu_ops *ops, const struct matmul_case *c)
{
    const size_t bytes = c->n_cols / c->type->block * c->type->bytes * N_W;
    uint8_t *moved = room(bytes + 1);
    memcpy(moved + 1, c->weights, bytes);
    struct packed w = pack_all(c->type, moved + 1, c->n_cols);
    assert_memory_equal(w.tiles, c->w.tiles, 2 * w.layout.n);
    free(w.tiles);
    free(moved);
    (void)ops;
}

static void test_pack_unaligned(void **state)
{
    (void)state;
    each_case(cpu_ops_scalar(), check_unaligned);
}

/* A row with a NaN or Inf gives NaN everywhere; the rows beside it do not change. */
static void check_nan(const struct cpu_ops *ops, const struct matmul_case *c)
{
    if (c->n_cols > 300) {
        return;
    }
    float *x = room(c->n_cols * sizeof *x), out[6 * N_W];
    rng_floats(x, c->n_cols);
    x[c->n_cols - 1] = c->n_cols % 3 == 0 ? INFINITY : NAN;
    struct acts a = c->a;
    ops->quantize(x, &a, 2);
    matmul(ops, c, &a, 0, 6, out, N_W);
    for (size_t i = 0; i < 6 * N_W; i++) {
        if (i / N_W == 2) {
            assert_true(!isfinite(out[i]));
        } else {
            assert_memory_equal(out + i, c->out + i, sizeof *out);
        }
    }
    free(x);
}

static void test_matmul_nan(void **state) { each_case(variant(state), check_nan); }

static void check_block(const float *x, size_t n, const struct acts *a, size_t b)
{
    float amax = 0;
    int sum[2] = { 0, 0 };
    const int8_t *q = a->q + 32 * b;
    const struct act_scale *s = &a->scales[b];
    for (size_t i = 0; i < 32; i++) {
        float v = i < n ? x[i] : 0.0f;
        amax = fmaxf(amax, fabsf(v));
        sum[i / 16] += q[i];
        assert_true(q[i] >= -127);
        assert_true(a->x[32 * b + i] == v);
        /* The error is half a step, and the two roundings of x * (127 / amax). */
        assert_true(fabs((double)v - (double)s->d * q[i]) <= s->d * (0.5 + 127 * 0x1p-23));
    }
    assert_true(s->d == amax / 127.0f);
    assert_true(s->sum16[0] == s->d * (float)sum[0]);
    assert_true(s->sum16[1] == s->d * (float)sum[1]);
    assert_true(s->sum32 == s->d * (float)(sum[0] + sum[1]));
}

static void test_quantize(void **state)
{
    const struct cpu_ops *ops = variant(state);
    static const size_t sizes[] = { 1, 31, 32, 40, 512, 896, 4864 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const size_t n = sizes[k];
        rng_state = n;
        struct acts a = acts_new(n), b = acts_new(n);
        float *x = room((n + 1) * sizeof *x) /* also from an address that is no multiple of 64 */;
        rng_floats(x, n + 1);
        ops->quantize(x + 1, &a, 0);
        cpu_ops_scalar()->quantize(x + 1, &b, 0);
        for (size_t i = 0; i < a.stride; i += 32) {
            check_block(x + 1 + i, i < n ? n - i : 0, &a, i / 32);
        }
        assert_memory_equal(a.q, b.q, a.stride);
        assert_memory_equal(a.scales, b.scales, a.stride / 32 * sizeof *a.scales);
        /* The next row is untouched. */
        assert_true(a.q[a.stride] == -1);
        free(x);
        acts_free(&a);
        acts_free(&b);
    }
}

/* Rows that are quantised in pieces of 32 columns have the bits of rows that are quantised whole,
 * whichever forms of activations (codes, 16-bit codes, floats) are kept. */
static void test_quantize_part(void **state)
{
    enum { N_COLS = 96, N = 5, FIRST = 2 };
    const struct cpu_ops *ops = variant(state);
    float x[N][N_COLS], part[N][32];
    rng_floats(x[0], N * N_COLS);
    x[3][40] = NAN;
    for (unsigned forms = 0; forms < 8; forms++) {
        struct acts a = acts_new(N_COLS), b = acts_new(N_COLS), kept = b;
        kept.q = (forms & 1) ? b.q : NULL;
        kept.q16 = forms == 3 || forms == 7 ? b.q16 : NULL;
        kept.x = (forms & 4) ? b.x : NULL;
        for (size_t r = 0; r < N; r++) {
            ops->quantize(x[r], &a, FIRST + r);
        }
        for (size_t col = N_COLS; col > 0; col -= 32) {
            for (size_t r = 0; r < N; r++) {
                memcpy(part[r], x[r] + col - 32, sizeof part[r]);
            }
            ops->quantize_part(part[0], &kept, FIRST, N, col - 32);
        }
        for (size_t r = FIRST; r < FIRST + N; r++) {
            const size_t at = r * a.stride, s = at / 32;
            assert_true(kept.q == NULL || memcmp(a.q + at, b.q + at, N_COLS) == 0);
            assert_true(kept.q == NULL ||
                        memcmp(a.scales + s, b.scales + s, N_COLS / 32 * sizeof *a.scales) == 0);
            assert_true(kept.q16 == NULL || memcmp(a.q16 + at, b.q16 + at, N_COLS * 2) == 0);
            assert_true(kept.x == NULL || memcmp(a.x + at, b.x + at, N_COLS * 4) == 0);
            /* The bytes behind the piece are as they were. */
            assert_true(b.q[at + N_COLS] == -1);
        }
        acts_free(&a);
        acts_free(&b);
    }
}

static void test_quantize_edges(void **state)
{
    const struct cpu_ops *ops = variant(state);
    /* amax 127 makes the step 1, so that ties go to even. */
    static const float ties[] = { 127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127.0f };
    static const int8_t codes[] = { 127, 0, 2, 2, 0, -2, -2, -127 };
    float x[6 * 32] = { 0 };
    memcpy(x, ties, sizeof ties);
    x[32 * 2 + 5] = 1e-40f;
    x[32 * 3 + 31] = NAN;
    x[32 * 4] = -INFINITY;
    x[32 * 5 + 7] = -3.4028234e38f;
    struct acts a = acts_new(6 * 32);
    ops->quantize(x, &a, 0);
    assert_memory_equal(a.q, codes, sizeof codes);
    /* The values are zero, or so small that they count as zero. */
    for (size_t b = 1; b < 3; b++) {
        const struct act_scale *s = &a.scales[b];
        assert_true(s->d == 0.0f && s->sum32 == 0.0f && s->sum16[0] == 0.0f);
        assert_true(a.q[32 * b + 5] == 0);
    }
    for (size_t b = 3; b < 5; b++) {
        const struct act_scale *s = &a.scales[b];
        assert_true(isnan(s->d) && isnan(s->sum32) && isnan(s->sum16[1]));
    }
    assert_true(isnan(a.x[32 * 3 + 31]));
    assert_true(a.q[32 * 5 + 7] == -127 && isfinite(a.scales[5].d));
    acts_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_matmul_double),
        EACH(test_matmul_bits),
        EACH(test_matmul_groups),
        EACH(test_matmul_add),
        cmocka_unit_test(test_pack_unaligned),
        EACH(test_matmul_nan),
        EACH(test_quantize),
        EACH(test_quantize_part),
        EACH(test_quantize_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
