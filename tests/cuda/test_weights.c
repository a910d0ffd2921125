/* Weights on the device against quant.c: planes, dequantisation and the embedding, for every type
 * of the table. All comparisons are of bits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/device.h"
#include "support/level.h"

enum { POOL = 768 }; /* blocks of a quantised type in a pool */

/* Finds where the half floats of a block lie, and returns their number. */
static size_t halves(uint32_t type, size_t at[2])
{
    switch (type) {
    case QUANT_Q4_1:
    case QUANT_Q5_1:
    case QUANT_Q4_K:
    case QUANT_Q5_K: at[0] = 0, at[1] = 2; return 2;
    case QUANT_Q2_K:
        at[0] = offsetof(struct block_q2_k, d), at[1] = offsetof(struct block_q2_k, dmin);
        return 2;
    case QUANT_Q3_K: at[0] = offsetof(struct block_q3_k, d); return 1;
    case QUANT_Q6_K: at[0] = offsetof(struct block_q6_k, d); return 1;
    default: at[0] = 0; return 1;
    }
}

static uint8_t *random_bytes(uint64_t seed, size_t n)
{
    uint8_t *b = device_host(n);
    uint64_t state = seed * 77 + 5;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b[i] = (uint8_t)(state >> 40);
    }
    return b;
}

/* Makes a pool of blocks: first blocks in which every byte has every value (and so every code,
 * scale and minimum), then blocks of random codes under every pair of special half floats, then
 * random blocks. */
static uint8_t *block_pool(const struct quant_type *t)
{
    static const f16_bits special[] = { 0x0000, 0x8000, 0x0001, 0x83ff, 0x3c00, 0xbc00,
                                        0x7bff, 0xfbff, 0x2e66, 0xae66, 0x7c00, 0x7e00 };
    const size_t n_special = sizeof(special) / sizeof(special[0]);
    uint8_t *pool = random_bytes(t->id, POOL * t->bytes);
    size_t at[2];
    const size_t n = halves(t->id, at);
    for (size_t i = 0; i < 256; i++) {
        memset(pool + i * t->bytes, (int)i, t->bytes);
    }
    for (size_t i = 0; i < 256 + n_special * n_special; i++) {
        /* With the same bytes as half floats many of the first 256 blocks would be infinite, so
         * their half floats are +-0.1. */
        const size_t sane = i % 2 ? 8 + 9 * n_special : 9 + 8 * n_special;
        const size_t k = i < 256 ? sane : i - 256;
        for (size_t j = 0; j < n; j++) {
            const f16_bits h = special[j == 0 ? k % n_special : k / n_special % n_special];
            memcpy(pool + i * t->bytes + at[j], &h, sizeof(h));
        }
    }
    return pool;
}

/* Returns n_rows * n_cols weights. Blocks of a quantised type are taken from its pool, beginning
 * with block `from`, and again from the start behind the last. Weights of a float type count up
 * from `from` through all bit patterns of a half, or of the upper 16 bits of a float. */
static uint8_t *weights(const struct quant_type *t, size_t from, size_t n_rows, size_t n_cols)
{
    const size_t n = n_rows * n_cols / t->block;
    uint8_t *w = device_host(n * t->bytes);
    const uint8_t *pool = t->block > 1 ? block_pool(t) : NULL;
    for (size_t i = 0; i < n; i++) {
        const uint32_t k = (uint32_t)(from + i) & 0xffff;
        const uint32_t word = t->id == QUANT_F32 ? k << 16 | (k * 40503 & 0xffff) : k;
        memcpy(w + i * t->bytes,
               pool != NULL ? (const void *)(pool + (from + i) % POOL * t->bytes) : &word,
               t->bytes);
    }
    return w;
}

static float *reference(const struct quant_type *t, const uint8_t *file, size_t n)
{
    float *y = device_host(n * sizeof(*y));
    t->decode(file, y, n);
    return y;
}

/* Returns true for the same bits, and for any two NaN. */
static bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0 || (isnan(a) && isnan(b));
}
static bool same_half(f16_bits h, float want)
{
    const float held = want > 65504.0f ? 65504.0f : want < -65504.0f ? -65504.0f : want;
    return isnan(want) ? (h & 0x7fff) > 0x7c00 : h == f32_to_f16(held);
}

static size_t up8(size_t n) { return (n + 7) / 8 * 8; }

/* Counts the weights of rows [first, first + n) whose half differs from that of `want` [n, n_cols],
 * or whose padding is not 0. A guard behind the rows has to stay. */
static size_t wrong_halves(const struct dmatrix *m, size_t first, size_t n, const float *want)
{
    const size_t stride = up8(m->n_cols), bytes = n * stride * sizeof(f16_bits);
    uint8_t *fill = device_host(bytes + 64);
    memset(fill, 0x5a, bytes + 64);
    const struct dptr out = device_put(fill, bytes + 64);
    CU(kernel_dequant(m, first, n, out, device_queue()));
    const f16_bits *h = device_get(out, bytes + 64);
    size_t wrong = 0;
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < stride; c++) {
            const f16_bits v = h[r * stride + c];
            wrong += c < m->n_cols ? !same_half(v, want[r * m->n_cols + c]) : v != 0;
        }
    }
    assert_memory_equal(h + n * stride, fill, 64);
    return wrong;
}

static const float *embedded(const struct dmatrix *m, const int32_t *tokens, size_t n)
{
    struct drow *rows = device_host(n * sizeof(*rows));
    for (size_t i = 0; i < n; i++) {
        rows[i] = (struct drow){ .token = tokens[i], .pos = 7, .seq = 1 };
    }
    const size_t bytes = n * m->n_cols * sizeof(float);
    uint8_t *fill = device_host(bytes + 64);
    memset(fill, 0x5a, bytes + 64);
    const struct dptr x = device_put(fill, bytes + 64);
    const struct dstep step = { .rows = device_put(rows, n * sizeof(*rows)) };
    CU(kernel_embed(m, &step, n, x, device_queue()));
    const uint8_t *got = device_get(x, bytes + 64);
    assert_memory_equal(got + bytes, fill, 64);
    return (const float *)(const void *)got;
}

/* Counts the weights of rows [first, first + n) that differ from `want` [n, n_cols] when the tokens
 * first + n - 1 .. first are embedded. */
static size_t wrong_floats(const struct dmatrix *m, size_t first, size_t n, const float *want)
{
    int32_t *tokens = device_host(n * sizeof(*tokens));
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)(first + n - 1 - i);
    }
    const float *x = embedded(m, tokens, n);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < m->n_cols; c++) {
            wrong += !same_float(x[i * m->n_cols + c], want[(n - 1 - i) * m->n_cols + c]);
        }
    }
    return wrong;
}

static void check_shape(const struct quant_type *t, size_t from, size_t n_rows, size_t n_cols)
{
    const uint8_t *file = weights(t, from, n_rows, n_cols);
    const float *want = reference(t, file, n_rows * n_cols);
    const struct dmatrix m = device_matrix(t, file, n_rows, n_cols);
    const size_t halves_off = wrong_halves(&m, 0, n_rows, want);
    const size_t floats_off = wrong_floats(&m, 0, n_rows, want);
    if (halves_off + floats_off > 0) {
        fail_msg("%s [%zu, %zu]: %zu halves and %zu floats differ", t->name, n_rows, n_cols,
                 halves_off, floats_off);
    }
}

static bool thin(void) { return !level_all("two of three numbers of rows"); }

/* --- the tests ---------------------------------------------------------------------------------
 */

static void test_layout(void **state)
{
    (void)state;
    const struct quant_type *t;
    for (size_t i = 0; (t = quant_at(i)) != NULL; i++) {
        const struct plane_layout *l = plane_layout(t->id);
        assert_non_null(l);
        uint8_t owners[256] = { 0 };
        for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
            const struct plane_field f = l->field[p];
            assert_true(f.at + f.bytes <= t->bytes);
            assert_true(f.at % 2 == 0 && f.bytes % 2 == 0);
            for (size_t b = f.at; b < f.at + (size_t)f.bytes; b++) {
                owners[b]++;
            }
            if (t->block > 1) {
                assert_int_equal(plane_row_bytes(t->id, p, t->block * 5u), f.bytes * 5u);
            }
        }
        for (size_t b = 0; b < t->bytes; b++) {
            assert_int_equal(owners[b], 1);
        }
        /* Each load of codes is 16 aligned bytes. */
        assert_int_equal(plane_row_bytes(t->id, PLANE_CODES, t->block) % 16, 0);
    }
    assert_int_equal(plane_row_bytes(QUANT_F32, PLANE_CODES, 1023), 4096);
    assert_int_equal(plane_row_bytes(QUANT_F16, PLANE_CODES, 9), 32);
    assert_int_equal(plane_row_bytes(QUANT_BF16, PLANE_SCALES, 9), 0);
    assert_int_equal(plane_row_bytes(QUANT_Q4_0, PLANE_CODES, (size_t)1 << 40), (size_t)1 << 39);
    assert_null(plane_layout(4));
    assert_int_equal(plane_row_bytes(4, PLANE_CODES, 256), 0);
    const struct dmatrix unknown = { .type = 4, .n_rows = 1, .n_cols = 32 };
    assert_int_equal(kernel_repack(&unknown, 0, 1, device_alloc(64), device_queue()),
                     cudaErrorInvalidValue);
}

/* Builds a plane byte by byte, as kernels.h describes it. */
static uint8_t *plane_of(const struct quant_type *t, enum weight_plane p, const uint8_t *file,
                         size_t n_rows, size_t n_cols)
{
    const struct plane_field f = plane_layout(t->id)->field[p];
    const size_t row_bytes = plane_row_bytes(t->id, p, n_cols), n_blocks = n_cols / t->block;
    uint8_t *plane = device_host(n_rows * row_bytes);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t b = 0; b < n_blocks; b++) {
            memcpy(plane + r * row_bytes + b * f.bytes, file + (r * n_blocks + b) * t->bytes + f.at,
                   f.bytes);
        }
    }
    return plane;
}

/* Repacks rows in chunks of odd sizes, from addresses that are multiples of 2 only. The bytes
 * behind the planes have to stay. */
static void test_repack_in_chunks(void **state)
{
    const struct quant_type *t = *state;
    static const size_t chunks[] = { 1, 5, 0, 31, 1, 3 };
    enum { N_ROWS = 41, GUARD = 64 };
    const size_t n_cols = t->block > 1 ? t->block * 5u : 37;
    const size_t row_bytes = n_cols / t->block * t->bytes;
    const uint8_t *file = weights(t, 100, N_ROWS, n_cols);
    struct dmatrix m = { .type = t->id, .n_rows = N_ROWS, .n_cols = (uint32_t)n_cols };
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        const size_t bytes = N_ROWS * plane_row_bytes(t->id, p, n_cols);
        m.plane[p] = device_put(random_bytes(p, bytes + GUARD), bytes + GUARD);
    }
    size_t row = 0;
    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        const size_t bytes = chunks[c] * row_bytes;
        uint8_t *shifted = device_host(bytes + 2);
        memcpy(shifted + 2, file + row * row_bytes, bytes);
        const struct dptr src = { device_put(shifted, bytes + 2).at + 2 };
        CU(kernel_repack(&m, row, chunks[c], src, device_queue()));
        row += chunks[c];
    }
    assert_int_equal(row, N_ROWS);
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        const size_t bytes = N_ROWS * plane_row_bytes(t->id, p, n_cols);
        const uint8_t *got = device_get(m.plane[p], bytes + GUARD);
        assert_memory_equal(got, plane_of(t, p, file, N_ROWS, n_cols), bytes);
        assert_memory_equal(got + bytes, random_bytes(p, bytes + GUARD) + bytes, GUARD);
    }
}

static void test_every_code_point(void **state)
{
    const struct quant_type *t = *state;
    if (t->block > 1) {
        check_shape(t, 0, POOL / 12, t->block * 12u);
    } else {
        check_shape(t, 0, 65, 1023); /* 65 * 1023 > 2^16 */
    }
}

static void test_shapes(void **state)
{
    const struct quant_type *t = *state;
    static const size_t rows[] = { 3, 1, 33 }, blocks[] = { 1, 2, 3, 5, 9 };
    static const size_t cols[] = { 1, 2, 4, 5, 7, 8, 31, 33, 255, 257, 1023 };
    const size_t n =
        t->block > 1 ? sizeof(blocks) / sizeof(blocks[0]) : sizeof(cols) / sizeof(cols[0]);
    for (size_t r = 0; r < (thin() ? 1 : sizeof(rows) / sizeof(rows[0])); r++) {
        for (size_t c = 0; c < n; c++) {
            /* From place 390 on come blocks under special scales, then random ones. */
            check_shape(t, 390 + 17 * c, rows[r], t->block > 1 ? blocks[c] * t->block : cols[c]);
        }
    }
}

static void test_rows_of_a_matrix(void **state)
{
    const struct quant_type *t = *state;
    const size_t n_cols = t->block > 1 ? t->block * 2u : 19;
    const uint8_t *file = weights(t, 300, 12, n_cols);
    const float *want = reference(t, file, 12 * n_cols);
    const struct dmatrix m = device_matrix(t, file, 12, n_cols);
    assert_int_equal(wrong_halves(&m, 5, 4, want + 5 * n_cols), 0);
    assert_int_equal(wrong_halves(&m, 11, 1, want + 11 * n_cols), 0);
    assert_int_equal(wrong_halves(&m, 12, 0, want), 0);
    assert_int_equal(wrong_floats(&m, 3, 2, want + 3 * n_cols), 0);
    assert_int_equal(wrong_floats(&m, 3, 0, want), 0);
}

/* The planes of three rows are said to begin more than 2^33 weights earlier. Code that computes
 * places in 32 bits misses the three rows. */
static void test_beyond_32_bits(void **state)
{
    const struct quant_type *t = *state;
    const size_t n_cols = t->block > 1 ? t->block * 3u : 33;
    const size_t first = ((size_t)1 << 33) / n_cols + 12345;
    size_t bytes;
    const uint8_t *file = random_weights(9, t, 3, n_cols, &bytes);
    const float *want = reference(t, file, 3 * n_cols);
    struct dmatrix m = { .type = t->id, .n_rows = (uint32_t)first + 3, .n_cols = (uint32_t)n_cols };
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        const size_t row_bytes = plane_row_bytes(t->id, p, n_cols);
        m.plane[p].at = device_alloc(3 * row_bytes).at - first * row_bytes;
    }
    CU(kernel_repack(&m, first, 3, device_put(file, bytes), device_queue()));
    CU(cudaStreamSynchronize(device_queue()->stream));
    assert_int_equal(wrong_halves(&m, first, 3, want), 0);
    assert_int_equal(wrong_floats(&m, first, 3, want), 0);
}

/* These tests can fail: they notice each plane that is moved by one row. */
static void test_a_moved_plane_is_noticed(void **state)
{
    const struct quant_type *t = *state;
    const size_t n_cols = t->block > 1 ? t->block * 2u : 40;
    const uint8_t *file = random_weights(3, t, 4, n_cols, NULL);
    const float *want = reference(t, file, 4 * n_cols);
    const struct dmatrix m = device_matrix(t, file, 4, n_cols);
    assert_int_equal(wrong_halves(&m, 0, 3, want), 0);
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        struct dmatrix moved = m;
        moved.plane[p].at += plane_row_bytes(t->id, p, n_cols);
        if (moved.plane[p].at != m.plane[p].at) {
            assert_true(wrong_halves(&moved, 0, 3, want) > n_cols / 8);
            assert_true(wrong_floats(&moved, 0, 3, want) > n_cols / 8);
        }
    }
}

static void test_weights_beyond_half(void **state)
{
    (void)state;
    static const float w[] = { 65504.0f, 65519.996f, 65520.0f,  1e9f,   INFINITY, 5.9604645e-8f,
                               1e-8f,    -65504.0f,  -65520.0f, -1e38f, NAN,      -INFINITY };
    enum { N = sizeof(w) / sizeof(w[0]) };
    const struct quant_type *t = quant_find(QUANT_F32);
    const struct dmatrix m = device_matrix(t, (const uint8_t *)w, 1, N);
    const struct dptr out = device_alloc(up8(N) * sizeof(f16_bits));
    CU(kernel_dequant(&m, 0, 1, out, device_queue()));
    const f16_bits *h = device_get(out, N * sizeof(*h));
    static const f16_bits want[] = { 0x7bff, 0x7bff, 0x7bff, 0x7bff, 0x7bff, 0x0001,
                                     0x0000, 0xfbff, 0xfbff, 0xfbff, 0,      0xfbff };
    for (size_t i = 0; i < N; i++) {
        if (isnan(w[i])) {
            assert_true((h[i] & 0x7fff) > 0x7c00);
        } else {
            assert_int_equal(h[i], want[i]);
        }
    }
}

/* The reach of a matrix is its largest sum of |weight| over a row. kernel_reach() keeps the larger
 * one of several matrices. Sums of halves are in float: n_cols / 8 additions in a thread and 10 in
 * the block, each off by 2^-24 of the sum. */
static void test_reach(void **state)
{
    const struct quant_type *t = *state;
    enum { ROWS = 5 };
    const size_t n_cols = t->block > 1 ? t->block * 9u : 1003;
    const float zero = 0.0f;
    const struct dptr d = device_put(&zero, sizeof zero);
    double want = 0;
    for (uint64_t seed = 0; seed < 3; seed++) {
        const uint8_t *file = random_weights(seed, t, ROWS, n_cols, NULL);
        const float *w = reference(t, file, ROWS * n_cols);
        const struct dmatrix m = device_matrix(t, file, ROWS, n_cols);
        for (size_t r = 0; r < ROWS; r++) {
            double sum = 0;
            for (size_t i = 0; i < n_cols; i++) {
                sum += fabs((double)f16_to_f32(f32_to_f16(w[r * n_cols + i])));
            }
            want = sum > want ? sum : want;
        }
        CU(kernel_reach(&m, d, device_queue()));
        const double got = (double)*(const float *)device_get(d, sizeof(float));
        assert_true(want > 0);
        assert_true(fabs(got - want) <= (double)(n_cols / 8 + 10) * 0x1p-24 * want);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    static const int32_t tokens[] = { 4, 0, 0, -1, 5, INT32_MAX, INT32_MIN, 2 };
    enum { N = sizeof(tokens) / sizeof(tokens[0]), ROWS = 5 };
    static const uint32_t types[] = { QUANT_Q6_K, QUANT_F16 };
    for (size_t i = 0; i < 2; i++) {
        const struct quant_type *t = quant_find(types[i]);
        const size_t n_cols = t->block > 1 ? 256 : 13;
        const uint8_t *file = random_weights(5, t, ROWS, n_cols, NULL);
        const float *table = reference(t, file, ROWS * n_cols);
        const struct dmatrix m = device_matrix(t, file, ROWS, n_cols);
        const float *x = embedded(&m, tokens, N);
        for (size_t r = 0; r < N; r++) {
            for (size_t c = 0; c < n_cols; c++) {
                const bool known = tokens[r] >= 0 && tokens[r] < ROWS;
                const float want = known ? table[(size_t)tokens[r] * n_cols + c] : 0.0f;
                assert_true(same_float(x[r * n_cols + c], want));
            }
        }
    }
}

/* The first few tests run once, the others for each type of the table. */
static const struct {
    const char *name;
    CMUnitTestFunction run;
    bool each_type;
} list[] = {
    { "layout", test_layout, false },
    { "weights beyond half", test_weights_beyond_half, false },
    { "tokens", test_tokens, false },
    { "repack in chunks", test_repack_in_chunks, true },
    { "every code point", test_every_code_point, true },
    { "shapes", test_shapes, true },
    { "rows of a matrix", test_rows_of_a_matrix, true },
    { "reach", test_reach, true },
    { "beyond 32 bits", test_beyond_32_bits, true },
    { "a moved plane is noticed", test_a_moved_plane_is_noticed, true },
};
enum { N_LIST = sizeof(list) / sizeof(list[0]), MAX_TYPES = 32 };

int main(void)
{
    static struct CMUnitTest tests[N_LIST * MAX_TYPES];
    static char names[N_LIST * MAX_TYPES][64];
    size_t n = 0;
    for (size_t k = 0; k < N_LIST; k++) {
        const struct quant_type *t;
        for (size_t i = 0; (t = quant_at(i)) != NULL && (i == 0 || list[k].each_type); i++) {
            snprintf(names[n], sizeof(names[n]), "%s%s%s", list[k].name,
                     list[k].each_type ? ", " : "", list[k].each_type ? t->name : "");
            tests[n] = (struct CMUnitTest){ names[n], list[k].run, device_setup, device_teardown,
                                            list[k].each_type ? (void *)(uintptr_t)t : NULL };
            n++;
        }
    }
    return _cmocka_run_group_tests("weights", tests, n, NULL, NULL);
}
