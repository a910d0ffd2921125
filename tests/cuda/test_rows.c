/* kernel_norm, kernel_swiglu, kernel_convert, kernel_add and kernel_add_bias against the CPU's
 * quantisation (bits), its rounding to half (bits), and double arithmetic. */
#include "cuda/acts_rig.h"

enum { ALL_FORMS = ACT_Q8 | ACT_F32 | ACT_F16 };

static const size_t widths[] = { 1,   4,   31,   32,   33,   127,  128, 132,
                                 255, 896, 1023, 1024, 1028, 2080, 5000 };
enum { N_WIDTHS = sizeof widths / sizeof widths[0], N_ROWS = 5 };

/* Returns the least power of two that is at least x. */
static double power_up(double x)
{
    double p = 0x1p-149;
    while (p < x) {
        p *= 2;
    }
    return p;
}

/* Returns the scale of a row of halves: the least power of two that brings the largest magnitude to
 * at most 32768. The magnitude is first rounded up to a power of two and, if there is a reach (the
 * largest sum of |weight| of a matrix row), multiplied by the reach, rounded up as well. */
static float want_half_scale(const float *x, size_t n, double reach)
{
    double top = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return 1.0f;
        }
        top = fmax(top, fabs((double)x[i]));
    }
    double most = power_up(top) * (reach > 1 ? power_up(reach) : 1), scale = 1;
    while (most / scale > 32768 && scale < 0x1p127) {
        scale *= 2;
    }
    return (float)scale;
}

static bool same_half(f16_bits h, float want)
{
    return isnan(want) ? (h & 0x7fff) > 0x7c00 : h == f32_to_f16(want);
}

/* Expects that the forms Q8 and F16 of n rows follow from the form F32, and returns F32,
 * [n, stride]. reach: the reach for which a was made, 0 if there is none. */
static const float *expect_forms_of(const struct dacts *a, size_t n, double reach)
{
    const struct host_acts h = acts_get(a, n);
    size_t wrong = 0;
    for (size_t r = 0; r < n; r++) {
        const float *x = h.x + r * h.stride, scale = want_half_scale(x, h.n_cols, reach);
        assert_true(h.half_scale[r] == scale);
        for (size_t i = 0; i < h.stride; i++) {
            wrong += !same_half(h.half[r * h.stride + i], x[i] / scale);
            /* The norm of a row with a NaN is all NaN. */
            wrong += i >= h.n_cols && !same_float(x[i], 0.0f) && !isnan(x[0]);
        }
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(wrong_blocks(&h, n, h.x), 0);
    return h.x;
}

static const float *expect_forms(const struct dacts *a, size_t n)
{
    return expect_forms_of(a, n, 0);
}

/* Runs a kernel into the forms of `out`. */
typedef void produce_fn(const void *job, size_t n, const struct dacts *out);

/* Runs the kernel into all forms together, and checks them against each other; then runs it into
 * each form alone, and compares. Returns F32. */
static const float *produce(produce_fn *run, const void *job, size_t n, size_t n_cols)
{
    struct dacts all = device_acts(n, n_cols, ALL_FORMS);
    run(job, n, &all);
    const float *x = expect_forms(&all, n);
    const struct host_acts want = acts_get(&all, n);
    for (uint32_t form = ACT_Q8; form <= ACT_F16; form *= 2) {
        struct dacts one = device_acts(n, n_cols, form);
        run(job, n, &one);
        const struct host_acts h = acts_get(&one, n);
        const size_t cells = n * h.stride;
        if (form == ACT_Q8) {
            assert_memory_equal(h.q, want.q, cells);
            assert_memory_equal(h.block, want.block, cells / 32 * sizeof *h.block);
        } else if (form == ACT_F32) {
            assert_memory_equal(h.x, want.x, cells * sizeof *h.x);
        } else {
            assert_memory_equal(h.half, want.half, cells * sizeof *h.half);
            assert_memory_equal(h.half_scale, want.half_scale, n * sizeof *h.half_scale);
        }
    }
    return x;
}

static void run_norm(const void *job, size_t n, const struct dacts *out)
{
    CU(kernel_norm(job, n, out, device_queue()));
}

static void norm(void **state)
{
    (void)state;
    static const float sizes[N_ROWS] = { 1.0f, 1e-4f, 3e4f, 1e-20f, 100.0f };
    static const uint32_t pick[N_ROWS - 1] = { 3, 0, 4, 0 };
    const struct dptr rows = device_put(pick, sizeof pick);
    for (size_t k = 0; k < N_WIDTHS; k++) {
        const size_t dim = widths[k];
        float *x = random_floats(k, N_ROWS * dim), *w = random_floats(k + 100, dim);
        for (size_t i = 0; i < N_ROWS * dim; i++) {
            x[i] *= sizes[i / dim];
        }
        struct norm job = { .x = device_put(x, N_ROWS * dim * sizeof *x),
                            .weight = device_put(w, dim * sizeof *w),
                            .dim = (uint32_t)dim,
                            .eps = 1e-5f };
        const float *got = produce(run_norm, &job, N_ROWS, dim);
        const size_t stride = up32(dim);
        for (size_t r = 0; r < N_ROWS; r++) {
            double squares = 0;
            for (size_t i = 0; i < dim; i++) {
                squares += (double)x[r * dim + i] * (double)x[r * dim + i];
            }
            const double scale = 1 / sqrt(squares / (double)dim + (double)job.eps);
            /* A sum of squares rounds dim / 256 times in each thread, then 5 + 8 times. The root
             * halves this error, and 6 more roundings follow. */
            const double u = ((double)dim / 256 + 13) / 2 + 6;
            for (size_t i = 0; i < dim; i++) {
                const double want = (double)x[r * dim + i] * scale * (double)w[i];
                assert_true(fabs((double)got[r * stride + i] - want) <= u * 0x1p-24 * fabs(want));
            }
        }
        job.rows = rows;
        const float *picked = produce(run_norm, &job, N_ROWS - 1, dim);
        for (size_t r = 0; r < N_ROWS - 1; r++) {
            assert_memory_equal(picked + r * stride, got + pick[r] * stride,
                                stride * sizeof *picked);
        }
    }
}

/* The row lies more than 2^33 elements into x, of which only this row exists. */
static void far_row(void **state)
{
    (void)state;
    enum { DIM = 96 };
    const uint32_t row = 123456789;
    const float *x = random_floats(1, DIM), *w = random_floats(2, DIM);
    struct norm job = { .x = device_put(x, DIM * sizeof *x),
                        .weight = device_put(w, DIM * sizeof *w),
                        .dim = DIM,
                        .eps = 1e-5f };
    const float *want = produce(run_norm, &job, 1, DIM);
    job.x.at -= (uintptr_t)row * DIM * sizeof *x;
    job.rows = device_put(&row, sizeof row);
    assert_memory_equal(produce(run_norm, &job, 1, DIM), want, DIM * sizeof *want);
}

static void run_swiglu(const void *job, size_t n, const struct dacts *out)
{
    CU(kernel_swiglu(job, n, out, device_queue()));
}

static void swiglu(void **state)
{
    (void)state;
    static const float sizes[N_ROWS] = { 1.0f, 100.0f, 1000.0f, 1e-3f, 20.0f };
    for (size_t k = 0; k < N_WIDTHS; k++) {
        const size_t n_cols = widths[k], n = N_ROWS * n_cols, stride = up32(n_cols);
        float *gate = random_floats(k, n), *up = random_floats(k + 100, n);
        for (size_t i = 0; i < n; i++) {
            gate[i] *= sizes[i / n_cols];
            up[i] *= sizes[N_ROWS - 1 - i / n_cols];
        }
        const struct swiglu job = { .gate = device_put(gate, n * sizeof *gate),
                                    .up = device_put(up, n * sizeof *up),
                                    .stride = (uint32_t)n_cols };
        const float *got = produce(run_swiglu, &job, N_ROWS, n_cols);
        for (size_t i = 0; i < n; i++) {
            const double g = (double)gate[i], want = g / (1 + exp(-g)) * (double)up[i];
            /* expf is within 2 ulp, and four operations are within half an ulp each. A subnormal
             * e^-|gate| is off by a step of its own, times gate and up. */
            const double step = 0x1p-149 * (fabs(g) + 1) * (fabs((double)up[i]) + 1);
            const double tolerance = 4 * 0x1p-23 * fabs(want) + step;
            assert_true(fabs((double)got[i / n_cols * stride + i % n_cols] - want) <= tolerance);
        }
    }
}

/* Gate and up lie side by side in rows with a gap, as halves or floats, and are scaled. They give
 * the bits of floats that lie apart and were multiplied before. */
static void swiglu_joint(void **state)
{
    (void)state;
    static const float scales[2][N_ROWS] = { { 1, 4, 0x1p20f, 0.5f, 2 },
                                             { 8, 1, 0x1p30f, 0x1p-9f, 1 } };
    for (size_t k = 0; k < N_WIDTHS * 8; k++) {
        const size_t n_cols = widths[k / 8], n = N_ROWS * n_cols, which = k % 8;
        const size_t stride = up32(2 * n_cols) + 4, size = which & 1 ? 2 : 4;
        float *x[2] = { random_floats(k, n), random_floats(k + 100, n) };
        uint8_t *joint = device_host(N_ROWS * stride * size);
        memset(joint, 0xff, N_ROWS * stride * size);
        for (size_t i = 0; i < 2 * n; i++) {
            size_t half = i / n, row = i % n / n_cols, col = i % n_cols;
            float *v = &x[half][i % n];
            f16_bits h = f32_to_f16(*v *= 20);
            *v = size == 2 ? f16_to_f32(h) : *v;
            memcpy(joint + (row * stride + half * n_cols + col) * size,
                   size == 2 ? (const void *)&h : v, size);
            *v *= which >> (1 + half) & 1 ? scales[half][row] : 1;
        }
        struct swiglu job = { .gate = device_put(x[0], n * sizeof(float)),
                              .up = device_put(x[1], n * sizeof(float)),
                              .stride = (uint32_t)n_cols };
        const float *want = produce(run_swiglu, &job, N_ROWS, n_cols);
        job = (struct swiglu){ .gate = device_put(joint, N_ROWS * stride * size),
                               .stride = (uint32_t)stride,
                               .halves = size == 2 };
        job.up.at = job.gate.at + n_cols * size;
        for (size_t i = 0; i < 2; i++) {
            if (which >> (1 + i) & 1) {
                job.scale[i] = device_put(scales[i], sizeof scales[i]);
            }
        }
        const float *got = produce(run_swiglu, &job, N_ROWS, n_cols);
        assert_memory_equal(got, want, N_ROWS * up32(n_cols) * sizeof *got);
        assert_int_equal(device_teardown(NULL), 0);
        assert_int_equal(device_setup(NULL), 0);
    }
    const struct swiglu odd = { .stride = 2 * 64 + 2, .halves = 1 };
    const struct dacts out = { .n_cols = 64, .stride = 64, .forms = ALL_FORMS };
    assert_int_equal(kernel_swiglu(&odd, 1, &out, device_queue()), cudaErrorInvalidValue);
}

/* With biases, scaled or not, the bits are those of gate and up to which the biases were added
 * before. */
static void swiglu_biased(void **state)
{
    (void)state;
    static const float scales[2][N_ROWS] = { { 1, 4, 0x1p20f, 0.5f, 2 },
                                             { 8, 1, 0x1p30f, 0x1p-9f, 1 } };
    for (size_t k = 0; k < N_WIDTHS * 4; k++) {
        const size_t n_cols = widths[k / 4], n = N_ROWS * n_cols, which = k % 4;
        const size_t stride = up32(2 * n_cols) + 4;
        float *x[2] = { random_floats(k, n), random_floats(k + 100, n) };
        const float *bias[2] = { random_floats(k + 200, n_cols), random_floats(k + 300, n_cols) };
        float *joint = device_host(N_ROWS * stride * sizeof *joint);
        memset(joint, 0xff, N_ROWS * stride * sizeof *joint);
        for (size_t i = 0; i < 2 * n; i++) {
            size_t half = i / n, row = i % n / n_cols, col = i % n_cols;
            float *v = &x[half][i % n];
            joint[row * stride + half * n_cols + col] = *v;
            *v = fmaf(which >> half & 1 ? scales[half][row] : 1, *v, bias[half][col]);
        }
        struct swiglu job = { .gate = device_put(x[0], n * sizeof(float)),
                              .up = device_put(x[1], n * sizeof(float)),
                              .stride = (uint32_t)n_cols };
        const float *want = produce(run_swiglu, &job, N_ROWS, n_cols);
        job = (struct swiglu){ .gate = device_put(joint, N_ROWS * stride * sizeof *joint),
                               .stride = (uint32_t)stride };
        job.up.at = job.gate.at + n_cols * sizeof *joint;
        for (size_t i = 0; i < 2; i++) {
            job.bias[i] = device_put(bias[i], n_cols * sizeof(float));
            if (which >> i & 1) {
                job.scale[i] = device_put(scales[i], sizeof scales[i]);
            }
        }
        const float *got = produce(run_swiglu, &job, N_ROWS, n_cols);
        assert_memory_equal(got, want, N_ROWS * up32(n_cols) * sizeof *got);
        assert_int_equal(device_teardown(NULL), 0);
        assert_int_equal(device_setup(NULL), 0);
    }
    const float zeros[64] = { 0 };
    const struct dptr bias = device_put(zeros, sizeof zeros);
    const struct swiglu halves = { .stride = 64, .halves = 1, .bias = { bias, bias } };
    const struct dacts out = { .n_cols = 64, .stride = 64, .forms = ALL_FORMS };
    assert_int_equal(kernel_swiglu(&halves, 1, &out, device_queue()), cudaErrorInvalidValue);
}

/* With a reach the halves are so small that sum |w a| stays below the largest half. */
static void reach(void **state)
{
    (void)state;
    enum { DIM = 100, KINDS = 7 };
    static const float reaches[] = { 0.0f, 0.7f,    1.0f,     1.5f, 1024.0f, 1025.0f,
                                     1e6f, 0x1p33f, INFINITY, NAN,  3e38f };
    static const float sizes[KINDS] = { 0.0f, 1e-40f, 0.3f, 32.0f, 33.0f, 70000.0f, 3e38f };
    float *x = random_floats(1, KINDS * DIM);
    for (size_t i = 0; i < KINDS * DIM; i++) {
        x[i] = i % DIM == 5 ? sizes[i / DIM] : x[i] * sizes[i / DIM] * 0.9f;
    }
    const struct dptr d = device_put(x, KINDS * DIM * sizeof *x);
    for (size_t k = 0; k < sizeof reaches / sizeof reaches[0]; k++) {
        struct dacts out = device_acts(KINDS, DIM, ALL_FORMS);
        out.reach = device_put(&reaches[k], sizeof reaches[k]);
        CU(kernel_convert(d, KINDS, &out, device_queue()));
        double most = isfinite(reaches[k]) ? (double)reaches[k] : 0;
        expect_forms_of(&out, KINDS, most);
        const struct host_acts h = acts_get(&out, KINDS);
        for (size_t r = 0; r < KINDS; r++) {
            double top = (double)sizes[r] / (double)h.half_scale[r];
            assert_true(top * most <= 32768 || h.half_scale[r] == 0x1p127f);
        }
    }
}

static void run_convert(const void *job, size_t n, const struct dacts *out)
{
    CU(kernel_convert(*(const struct dptr *)job, n, out, device_queue()));
}

/* Fills rows that are hard to quantise or to turn into halves. */
static void fill_special(float *row, size_t n, size_t kind)
{
    static const float one[] = { 0.0f,      -0.0f,    1e-36f,   9e-36f,   1e-35f,    2e-35f,
                                 1e-45f,    32767.0f, 32768.0f, 32769.0f, 65504.0f,  65520.0f,
                                 -65536.0f, 1e30f,    3.4e38f,  INFINITY, -INFINITY, NAN };
    enum { N_ONE = sizeof one / sizeof one[0] };
    for (size_t i = 0; i < n && kind < N_ONE; i++) {
        row[i] *= 1e-3f * fabsf(isfinite(one[kind]) ? one[kind] : 1.0f);
    }
    if (kind < N_ONE) {
        row[n * 3 / 4] = one[kind];
        /* Ties: d = 1, and codes lie half-way between two integers. */
    } else if (kind == N_ONE) {
        for (size_t i = 0; i < n; i++) {
            row[i] = i % 32 == 0 ? 127.0f : (float)(i % 32) * 4.0f - 63.5f;
        }
        /* All magnitudes are equal. */
    } else {
        for (size_t i = 0; i < n; i++) {
            row[i] = i % 3 == 0 ? -2.5f : 2.5f;
        }
    }
}

static void convert(void **state)
{
    (void)state;
    enum { N_KINDS = 20 };
    for (size_t k = 0; k < N_WIDTHS; k++) {
        const size_t n_cols = widths[k], stride = up32(n_cols);
        float *x = random_floats(k, N_KINDS * n_cols);
        for (size_t r = 0; r < N_KINDS; r++) {
            fill_special(x + r * n_cols, n_cols, r);
        }
        const struct dptr d = device_put(x, N_KINDS * n_cols * sizeof *x);
        const float *got = produce(run_convert, &d, N_KINDS, n_cols);
        for (size_t i = 0; i < N_KINDS * n_cols; i++) {
            assert_true(same_float(got[i / n_cols * stride + i % n_cols], x[i]));
        }
    }
}

/* A NaN or Inf can still be seen behind a norm and a SwiGLU, in every form. */
static void broken(void **state)
{
    (void)state;
    enum { DIM = 300, ROWS = 3 };
    static const float bad[ROWS] = { NAN, INFINITY, -INFINITY };
    float *x = random_floats(1, ROWS * DIM), *w = random_floats(2, ROWS * DIM);
    for (size_t r = 0; r < ROWS; r++) {
        x[r * DIM + 77] = bad[r];
    }
    const struct dptr dx = device_put(x, ROWS * DIM * sizeof *x),
                      dw = device_put(w, ROWS * DIM * sizeof *w);
    const struct norm job = { .x = dx, .weight = dw, .dim = DIM, .eps = 1e-5f };
    const struct swiglu up = { .gate = dw, .up = dx, .stride = DIM };
    for (int k = 0; k < 2; k++) {
        struct dacts out = device_acts(ROWS, DIM, ALL_FORMS);
        (k == 0 ? run_norm : run_swiglu)(k == 0 ? (const void *)&job : &up, ROWS, &out);
        expect_forms(&out, ROWS);
        const struct host_acts h = acts_get(&out, ROWS);
        for (size_t r = 0; r < ROWS; r++) {
            assert_true(isnan(h.block[r * (h.stride / 32) + 77 / 32].d));
            assert_true(!isfinite(h.x[r * h.stride + 77]));
            assert_true((h.half[r * h.stride + 77] & 0x7c00) == 0x7c00);
        }
    }
}

static void add(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_WIDTHS; k++) {
        const size_t dim = widths[k], n = N_ROWS * dim;
        const float *x = random_floats(k, n), *y = random_floats(k + 50, n);
        static const float scale[N_ROWS] = { 1.0f, 4.0f, 0.25f, 0.0f, 3.1f };
        const struct dptr dy = device_put(y, n * sizeof *y);
        for (int scaled = 0; scaled < 2; scaled++) {
            const struct dptr dx = device_put(x, n * sizeof *x);
            const struct dptr ds = scaled ? device_put(scale, sizeof scale) : (struct dptr){ 0 };
            CU(kernel_add(dx, dy, ds, N_ROWS, dim, device_queue()));
            const float *got = device_get(dx, n * sizeof *got);
            for (size_t i = 0; i < n; i++) {
                assert_true(got[i] == fmaf(scaled ? scale[i / dim] : 1.0f, y[i], x[i]));
            }
        }
    }
}

static void add_bias(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_WIDTHS; k++) {
        const size_t dim = widths[k], n = N_ROWS * dim;
        const float *x = random_floats(k, n), *bias = random_floats(k + 50, dim);
        const struct dptr dx = device_put(x, n * sizeof *x);
        CU(kernel_add_bias(dx, device_put(bias, dim * sizeof *bias), N_ROWS, dim, device_queue()));
        const float *got = device_get(dx, n * sizeof *got);
        for (size_t i = 0; i < n; i++) {
            assert_true(got[i] == x[i] + bias[i % dim]);
        }
    }
}

/* A call with no rows is no error, and touches nothing. */
static void no_rows(void **state)
{
    (void)state;
    const struct dacts none = { .n_cols = 64, .stride = 64, .forms = ALL_FORMS };
    const struct norm job = { .dim = 64 };
    const struct swiglu up = { .stride = 64 };
    const struct dptr null = { 0 };
    CU(kernel_norm(&job, 0, &none, device_queue()));
    CU(kernel_swiglu(&up, 0, &none, device_queue()));
    CU(kernel_convert(null, 0, &none, device_queue()));
    CU(kernel_add(null, null, null, 0, 64, device_queue()));
    CU(kernel_add(null, null, null, 1, 0, device_queue()));
    CU(kernel_add_bias(null, null, 0, 64, device_queue()));
    CU(kernel_add_bias(null, null, 1, 0, device_queue()));
    CU(cudaStreamSynchronize(device_queue()->stream));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, device_setup, device_teardown)
    const struct CMUnitTest tests[] = {
        TEST(norm),          TEST(far_row),  TEST(swiglu),  TEST(swiglu_joint),
        TEST(swiglu_biased), TEST(reach),    TEST(convert), TEST(broken),
        TEST(add),           TEST(add_bias), TEST(no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
