/* Attention row by row, with the positions of a row split among blocks (kernel_attend). */
#include "cuda/attend_rig.h"

/* The device is so large that rows of few KV heads are split into as many parts as there may be. A
 * test may choose fewer multiprocessors. */
enum { MANY_SMS = 132 };
static uint32_t n_sms = MANY_SMS;

static struct dqueue queue(void)
{
    struct dqueue on = *device_queue();
    on.n_sms = n_sms;
    return on;
}

/* Launches the listed rows; all rows if list is NULL. The counters have to be zero afterwards. */
static void attend(struct rows *r, const uint32_t *list, uint32_t n, size_t n_ctx)
{
    const struct dqueue on = queue();
    const size_t n_counters = attend_counters(&r->pool.kv, n);
    uint32_t *zero = device_host(n_counters * sizeof *zero);
    r->job.counters = device_put(zero, n_counters * sizeof *zero);
    r->job.partial =
        device_alloc(attend_partial_floats(&r->pool.kv, n, n_ctx, &on) * sizeof(float));
    struct dptr rows = { 0 };
    if (list != NULL) {
        rows = device_put(list, n * sizeof *list);
    }
    CU(kernel_attend(&r->job, &r->step, rows, n, n_ctx, &on));
    assert_memory_equal(device_get(r->job.counters, n_counters * sizeof *zero), zero,
                        n_counters * sizeof *zero);
}

/* The error allowed. A value is a sum over the pages of a split (3 here) of 16 positions each, over
 * 4 warps and over 64 splits, and the weights are off by a few ulp of exp2. The error of all this
 * is below 2^-16 of the sum of |weight * v|. */
static void check(const struct rows *r, uint32_t i, const float *x)
{
    const size_t n_cols = r->job.o.n_cols;
    double *q = device_host(n_cols * sizeof *q);
    for (size_t c = 0; c < n_cols; c++) {
        q[c] = (double)r->q[i * n_cols + c] * (double)r->job.scale / log(2.0);
    }
    check_row(r, i, x, q, 0x1p-16, 0.0);
}

/* Each row has its own sequence, in which everything behind the row's position is NaN. Between the
 * rows of the list there are other rows, which nobody may read. */
static void check_positions(struct shape s, const uint32_t *pos, uint32_t n, size_t far)
{
    struct span spans[16];
    struct drow row[33];
    uint32_t list[16];
    memset(row, 0xff, sizeof row);
    for (uint32_t i = 0; i < n; i++) {
        spans[i] = (struct span){ first_seen(pos[i], s.window), pos[i] };
        list[i] = 2 * (n - 1 - i) + 1;
        row[list[i]] = (struct drow){ .pos = pos[i], .seq = i };
    }
    struct rows r = make_rows(s, spans, n, far, row, 2 * n + 1, ACT_F32);
    attend(&r, list, n, r.pool.stride * PAGE);
    const size_t stride = r.job.o.stride;
    const float *x = device_get(r.job.o.x, r.n * stride * sizeof *x);
    const uint8_t *bytes = (const uint8_t *)x;
    for (uint32_t i = 0; i < r.n; i++) {
        if (i % 2 == 1) {
            check(&r, i, x + i * stride);
            continue;
        }
        for (size_t b = i * stride * 4; b < (i + 1) * stride * 4; b++) {
            assert_int_equal(bytes[b], 0xff);
        }
    }
    case_done();
}

static const uint32_t positions[] = { 0, 1, 63, 64, 65, 127, 128, 500 };
enum { N_POSITIONS = sizeof positions / sizeof positions[0] };

static void test_every_head_size(void **state)
{
    (void)state;
    static const uint32_t dims[] = { 64, 80, 96, 128, 8, 40, 72, 256 };
    static const uint32_t groups[] = { 1, 2, 7, 8, 12, 3 }, windows[] = { 0, 100 };
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (size_t j = 0; j < sizeof groups / sizeof groups[0]; j++) {
            for (size_t k = 0; k < 2; k++) {
                if (!thin() || (i + j + k) % 3 == 0) {
                    check_positions((struct shape){ dims[i], 2, groups[j], windows[k] }, positions,
                                    thin() ? 5 : N_POSITIONS, 0);
                }
            }
        }
    }
}

/* K, V or both are in q8_0. This runs every kernel for q8_0, all group sizes, with and without a
 * window. */
static void test_q8(void **state)
{
    (void)state;
    static const uint32_t dims[] = { 64, 96, 128, 32, 160, 256 }, groups[] = { 1, 2, 3, 12 };
    for (uint32_t i = 0; i < 6 * N_Q8_PAIRS; i++) {
        set_types(q8_pairs[i % N_Q8_PAIRS]);
        for (uint32_t j = 0; j < 4; j++) {
            const struct shape s = { dims[i / N_Q8_PAIRS], 2, groups[j], (i + j) % 2 ? 100 : 0 };
            if ((i / N_Q8_PAIRS < 3 && !thin()) || (i + j) % 4 == 0) {
                check_positions(s, positions, thin() ? 5 : N_POSITIONS, 0);
            }
        }
    }
    set_types(NULL);
}

static void test_windows(void **state)
{
    (void)state;
    static const uint32_t windows[] = { 1, 2, 63, 64, 65, 128, 501, 100000 };
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        check_positions((struct shape){ 64, 1, 2, windows[i] }, positions, N_POSITIONS, 0);
    }
}

/* Rows have up to 35 splits, mostly more than a thread that combines them reads at once, and blocks
 * have several chunks of 128 columns. */
static void test_many_splits(void **state)
{
    (void)state;
    static const uint32_t pos[] = { 64 * 9 - 1, 64 * 34 + 5 };
    const uint32_t n = thin() ? 1 : 2;
    check_positions((struct shape){ 128, 1, 7, 0 }, pos, n, 0);
    check_positions((struct shape){ 96, 1, 2, 0 }, pos, n, 0);
    check_positions((struct shape){ 40, 1, 12, 0 }, pos, n, 0); /* rows are combined as a whole */
    check_positions((struct shape){ 256, 1, 1, 0 }, pos, n, 0);
    if (!thin()) {
        check_positions((struct shape){ 64, 1, 4, 0 }, pos, n, 0);
        check_positions((struct shape){ 256, 1, 8, 0 }, pos, 1, 0);
    }
}

/* How many splits a row has: at least one, and at most one for each page. The splits of all KV
 * heads together give each multiprocessor at most one block, or at most two if a block has few
 * heads. */
static void test_number_of_splits(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_sms, n_kv, group, pages;
        size_t splits;
    } cases[] = {
        { 132, 4, 7, 1, 1 },   { 132, 4, 7, 8, 8 },    { 132, 4, 7, 64, 32 },
        { 132, 4, 7, 65, 33 }, { 132, 32, 1, 8, 8 },   { 132, 32, 1, 9, 5 },
        { 132, 32, 1, 64, 8 }, { 132, 2, 7, 500, 63 }, { 132, 300, 1, 64, 1 },
        { 4, 2, 1, 64, 4 },    { 132, 8, 12, 100, 8 }, { 1, 1, 1, 100, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dkv kv = { .n_heads = cases[i].n_kv * cases[i].group,
                                .n_kv_heads = cases[i].n_kv,
                                .head_dim = 64 };
        n_sms = cases[i].n_sms;
        const struct dqueue on = queue();
        assert_int_equal(attend_splits(&kv, cases[i].pages, &on), cases[i].splits);
        /* Whatever the position, there is room for the results of its splits. */
        const size_t one = kv.n_heads * (kv.head_dim + 2);
        for (uint32_t pages = 1; pages <= cases[i].pages; pages++) {
            assert_true(attend_splits(&kv, pages, &on) * one <=
                        attend_partial_floats(&kv, 1, cases[i].pages * PAGE, &on));
        }
    }
    n_sms = MANY_SMS;
}

/* On few multiprocessors a split has several pages, or a row has only one split. */
static void test_few_splits(void **state)
{
    (void)state;
    for (n_sms = 1; n_sms <= 4; n_sms += 3) {
        check_positions((struct shape){ 64, 2, 3, 0 }, positions, thin() ? 5 : N_POSITIONS, 0);
        check_positions((struct shape){ 40, 1, 3, 100 }, positions, thin() ? 5 : N_POSITIONS, 0);
    }
    n_sms = MANY_SMS;
}

/* Rows of 64, 65, 128, 129 and 131 pages; all but the first have more pages than splits. */
static void test_long_sequences(void **state)
{
    (void)state;
    static const uint32_t pos[] = { 64 * 64 - 1, 64 * 64, 64 * 128 - 1, 64 * 128, 64 * 130 + 5 };
    const uint32_t n = thin() ? 2 : 5;
    check_positions((struct shape){ 8, 1, 1, 0 }, pos, n, 0);    /* rows are combined as a whole */
    check_positions((struct shape){ 8, 1, 4, 0 }, pos, n, 0);    /* heads are combined alone */
    check_positions((struct shape){ 8, 1, 1, 5000 }, pos, n, 0); /* 79 pages */
}

/* These places in the pool cannot be numbered in 32 bits, neither in bytes nor in elements. */
static void test_beyond_32_bits(void **state)
{
    (void)state;
    static const uint32_t pos[] = { 3, 200 };
    const struct shape s = { 128, 8, 1, 0 };
    check_positions(s, pos, 2, ((size_t)1 << 32) / (8 * 128 * PAGE) + 4321);
    set_types(q8_pairs[0]);
    check_positions(s, pos, 2, ((size_t)1 << 32) / (8 * 128 * PAGE) + 4321);
    set_types(NULL);
}

/* A row that is computed alone, or with a longer context, has the bits that it has among other
 * rows. */
static void test_bits_of_a_row(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        { 64, 2, 7, 0 }, { 128, 1, 12, 0 }, { 40, 1, 3, 200 }, { 128, 1, 7, 0 }, { 32, 1, 3, 200 }
    };
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        const struct shape s = shapes[k];
        set_types(k < 3 ? NULL : q8_pairs[0]);
        struct drow row[N_POSITIONS];
        const struct span spans[] = { { 0, 500 }, { 0, 64 * 5 } };
        for (uint32_t i = 0; i < N_POSITIONS; i++) {
            row[i] = (struct drow){ .pos = positions[i], .seq = positions[i] < 300 ? i % 2 : 0 };
        }
        struct rows r = make_rows(s, spans, 2, 0, row, N_POSITIONS, ACT_F32);
        const size_t bytes = r.job.o.stride * sizeof(float);
        attend(&r, NULL, N_POSITIONS, 501);
        const uint8_t *all = device_get(r.job.o.x, r.n * bytes);
        for (uint32_t i = 0; i < r.n; i++) {
            r.job.o = blank_acts(r.n, r.job.o.n_cols, ACT_F32);
            attend(&r, &i, 1, i == 3 ? 20000 : 512);
            const uint8_t *alone = device_get(r.job.o.x, r.n * bytes);
            assert_memory_equal(alone + i * bytes, all + i * bytes, bytes);
        }
        case_done();
    }
    set_types(NULL);
}

/* Checks a block of 32 in Q8, as device.cuh describes it. */
static void check_q8(const float *x, const int8_t *q, const struct act_block *block)
{
    float top = 0.0f;
    int sum[2] = { 0, 0 };
    for (int i = 0; i < 32; i++) {
        top = fmaxf(top, fabsf(x[i]));
    }
    for (int i = 0; i < 32; i++) {
        const int code = top > 0.0f ? (int)lrintf(x[i] * (127.0f / top)) : 0;
        assert_int_equal(q[i], code);
        sum[i / 16] += code;
    }
    assert_true(block->d == top / 127.0f);
    assert_int_equal(block->sum[0], sum[0]);
    assert_int_equal(block->sum[1], sum[1]);
}

/* All forms hold the same numbers, whether blocks of 32 columns belong to one block of heads or to
 * two, in rows of one split and of several, with and without padding. */
static void test_forms(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        { 64, 2, 2, 0 }, { 128, 1, 9, 0 }, { 80, 1, 1, 0 },  { 80, 2, 2, 0 }, { 80, 2, 9, 0 },
        { 8, 3, 1, 0 },  { 8, 1, 4, 0 },   { 40, 1, 12, 0 }, { 72, 3, 3, 0 }, { 16, 1, 10, 0 },
    };
    const struct drow row[] = { { .pos = 70, .seq = 0 }, { .pos = 9, .seq = 0 } };
    const struct span span = { 0, 70 };
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct rows r = make_rows(shapes[k], &span, 1, 0, row, 2, ACT_Q8 | ACT_F32 | ACT_F16);
        attend(&r, NULL, 2, 128);
        const size_t n = r.n * r.job.o.stride;
        const float *x = device_get(r.job.o.x, n * sizeof *x);
        const int8_t *q = device_get(r.job.o.q, n);
        const struct act_block *block = device_get(r.job.o.block, n / 32 * sizeof *block);
        const f16_bits *half = device_get(r.job.o.half, n * sizeof *half);
        const float *scale = device_get(r.job.o.half_scale, r.n * sizeof *scale);
        for (uint32_t i = 0; i < r.n; i++) {
            check(&r, i, x + i * r.job.o.stride);
            assert_true(scale[i] == 1.0f);
        }
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(half[i], f32_to_f16(x[i]));
        }
        for (size_t i = 0; i < n; i += 32) {
            check_q8(x + i, q + i, block + i / 32);
        }
        case_done();
    }
}

static void test_arguments(void **state)
{
    (void)state;
    static const struct dkv bad[] = {
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 0 },
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 12 },
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 264 },
        { .n_heads = 3, .n_kv_heads = 2, .head_dim = 64 },
        { .n_heads = 2, .n_kv_heads = 0, .head_dim = 64 },
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 80, .type = { WEFT_KV_Q8_0 } },
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 72, .type = { 0, WEFT_KV_Q8_0 } },
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 64, .type = { 2, 0 } },
        { .n_heads = 2, .n_kv_heads = 1, .head_dim = 64, .type = { 0, 2 } }
    };
    const struct dstep step = { .page_stride = 1 };
    const struct dptr none = { 0 };
    struct attend job = { .kv = { .n_heads = 2, .n_kv_heads = 1, .head_dim = 64 } };
    assert_int_equal(kernel_attend(&job, &step, none, 0, 64, device_queue()), cudaSuccess);
    assert_int_equal(kernel_attend_tiled(&job, &step, none, 0, device_queue()), cudaSuccess);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        job.kv = bad[i];
        assert_int_equal(kernel_attend(&job, &step, none, 1, 64, device_queue()),
                         cudaErrorInvalidValue);
        assert_int_equal(kernel_attend_tiled(&job, &step, none, 1, device_queue()),
                         cudaErrorInvalidValue);
    }
    job.kv = (struct dkv){ .n_heads = 2, .n_kv_heads = 1, .head_dim = 72 };
    assert_int_equal(kernel_attend_tiled(&job, &step, none, 1, device_queue()),
                     cudaErrorInvalidValue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, device_setup, device_teardown)
        TEST(test_every_head_size), TEST(test_q8),
        TEST(test_windows),         TEST(test_long_sequences),
        TEST(test_many_splits),     TEST(test_number_of_splits),
        TEST(test_few_splits),      TEST(test_beyond_32_bits),
        TEST(test_bits_of_a_row),   TEST(test_forms),
        TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
