/* Attention of tiles of rows on tensor cores (kernel_attend_tiled). */
#include "cuda/attend_rig.h"

/* The reference gets q rounded to half, as the kernel rounds it, and the values to which q8_0
 * rounds K and V. The kernel also rounds p to half: by 2^-11 of itself or, for p too small for a
 * half, by 2^-25 of the largest p. */
static void check(const struct rows *r, uint32_t i, const float *x, const f16_bits *half)
{
    const size_t n_cols = r->job.o.n_cols;
    const float scale = r->job.scale * 1.44269504f;
    double *q = device_host(n_cols * sizeof *q);
    for (size_t c = 0; c < n_cols; c++) {
        q[c] = (double)f16_to_f32(f32_to_f16(r->q[i * n_cols + c] * scale));
    }
    check_row(r, i, x, q, 0x1p-11 + 0x1p-16, 0x1p-25 * (r->row[i].pos + 1));
    for (size_t c = 0; c < r->job.o.stride; c++) {
        assert_int_equal(half[c], f32_to_f16(x[c]));
    }
}

static void round_to_half(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = f16_to_f32(f32_to_f16(x[i]));
    }
}

/* The rows [begin, begin + n) of a sequence, in one step. */
struct chunk {
    uint32_t begin, n;
};

static void check_chunks(struct shape s, const struct chunk *chunks, uint32_t n_chunks, size_t far)
{
    struct span spans[8];
    struct drow row[512];
    struct attend_tile tile[16];
    /* Row 0 and the last row belong to no tile. */
    uint32_t n = 1, n_tiles = 0;
    memset(row, 0xff, sizeof row);
    for (uint32_t i = 0; i < n_chunks; i++) {
        const uint32_t begin = chunks[i].begin;
        spans[i] = (struct span){ first_seen(begin, s.window), begin + chunks[i].n - 1 };
        for (uint32_t j = 0; j < chunks[i].n; j++) {
            if (j % ATTEND_TILE == 0) {
                tile[n_tiles++] = (struct attend_tile){ .row = n };
            }
            tile[n_tiles - 1].n_rows++;
            row[n++] = (struct drow){ .pos = begin + j, .seq = i };
        }
    }
    struct rows r = make_rows(s, spans, n_chunks, far, row, n + 1, ACT_F32 | ACT_F16);
    round_to_half(r.pool.k, r.pool.n);
    round_to_half(r.pool.v, r.pool.n);
    CU(kernel_attend_tiled(&r.job, &r.step, device_put(tile, n_tiles * sizeof tile[0]), n_tiles,
                           device_queue()));
    const size_t stride = r.job.o.stride;
    const float *x = device_get(r.job.o.x, r.n * stride * sizeof *x);
    const f16_bits *half = device_get(r.job.o.half, r.n * stride * sizeof *half);
    const float *half_scale = device_get(r.job.o.half_scale, r.n * sizeof *half_scale);
    for (uint32_t i = 1; i < n; i++) {
        check(&r, i, x + i * stride, half + i * stride);
        assert_true(half_scale[i] == 1.0f);
    }
    assert_true(isnan(half_scale[0]) && isnan(half_scale[n]));
    for (size_t c = 0; c < stride; c++) {
        assert_true(isnan(x[c]) && half[c] == 0xffff);
        assert_true(isnan(x[n * stride + c]) && half[n * stride + c] == 0xffff);
    }
    case_done();
}

/* Whole and partial tiles, from the middle of a page and across pages. */
static const struct chunk few[] = { { 0, 64 }, { 37, 17 }, { 127, 2 }, { 150, 70 } };

static void test_tiles_of_every_head_size(void **state)
{
    (void)state;
    static const uint32_t dims[] = { 64, 80, 96, 128 }, groups[] = { 1, 2, 7 };
    for (uint32_t i = 0; i < 24; i++) {
        const struct shape s = { dims[i % 4], i / 4 % 2 + 1, groups[i / 8], i / 4 % 2 ? 50 : 0 };
        if (!thin() || i % 5 == 1) {
            check_chunks(s, few + (thin() ? 1 : 0), thin() ? 2 : 4, 0);
        }
    }
    for (uint32_t d = 1; d <= 256; d++) {
        assert_int_equal(attend_tiled_supports(d), d == 64 || d == 80 || d == 96 || d == 128);
    }
}

static void test_q8_tiles(void **state)
{
    (void)state;
    static const uint32_t dims[] = { 64, 96, 128 };
    for (uint32_t i = 0; i < 3 * N_Q8_PAIRS; i++) {
        const struct shape s = { dims[i / 3], i % 2 + 1, 2, i % 2 ? 50 : 0 };
        if (!thin() || i % 4 == 0) {
            set_types(q8_pairs[i % N_Q8_PAIRS]);
            check_chunks(s, few + (thin() ? 1 : 0), thin() ? 2 : 4, 0);
        }
    }
    set_types(NULL);
}

static void test_tile_windows(void **state)
{
    (void)state;
    static const uint32_t windows[] = { 0, 1, 16, 63, 64, 65, 200 };
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const struct shape s = { 64, 1, 1, windows[i] };
        check_chunks(s, few + (thin() ? 1 : 0), thin() ? 2 : 4, 0);
    }
}

static void test_tile_edges(void **state)
{
    (void)state;
    static const struct chunk edges[][2] = {
        { { 0, 1 }, { 0, 15 } },    { { 0, 16 }, { 63, 1 } },  { { 64, 1 }, { 63, 2 } },
        { { 1, 63 }, { 127, 33 } }, { { 300, 3 }, { 5, 48 } }, { { 65, 49 }, { 128, 64 } },
        { { 49, 16 }, { 33, 64 } }, /* the last row of a warp is the first row of a page */
    };
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_chunks((struct shape){ 64, 1, 2, i % 2 ? 20 : 0 }, edges[i], 2, 0);
    }
}

static void test_tiles_beyond_32_bits(void **state)
{
    (void)state;
    const struct shape s = { 128, 8, 1, 0 };
    for (int i = 0; i < 2; i++) {
        set_types(i == 0 ? NULL : q8_pairs[0]);
        check_chunks(s, (const struct chunk[]){ { 60, 7 } }, 1,
                     ((size_t)1 << 32) / (8 * 128 * PAGE) + 1234);
    }
    set_types(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, device_setup, device_teardown)
        TEST(test_tiles_of_every_head_size),
        TEST(test_q8_tiles),
        TEST(test_tile_windows),
        TEST(test_tile_edges),
        TEST(test_tiles_beyond_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
