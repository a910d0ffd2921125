/* Element-wise operations of the CPU backend (src/cpu/kernels/dot_*.c), for scalar, AVX2 and
 * AVX-512: rmsnorm, swiglu, add, to_f16, against double or the scalar functions of quant.h, with
 * edge values. */
#include "support/dot_variants.h"

static const size_t lengths[] = { 1, 2, 15, 16, 17, 100, 896, 4864 };
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static void test_rmsnorm(void **state)
{
    const struct cpu_ops *ops = variant(state);
    for (size_t k = 0; k < N_LENGTHS; k++) {
        const size_t n = lengths[k];
        rng_state = n;
        float *x = room(n * sizeof *x), *w = room(n * sizeof *w), *out = room(n * sizeof *out);
        rng_floats(x, n);
        rng_floats(w, n);
        ops->rmsnorm(x, w, n, 1e-6f, out);
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)x[i] * x[i];
        }
        /* A lane sums n / 16 terms, and the root halves the error of the sum; six more roundings
         * follow. */
        const double scale = 1 / sqrt(sum / (double)n + (double)1e-6f);
        const double bound = ((double)n / 32 + 8) * 0x1p-24;
        for (size_t i = 0; i < n; i++) {
            double want = x[i] * scale * w[i];
            assert_true(fabs(out[i] - want) <= bound * fabs(want));
        }
        float *other = room(n * sizeof *other);
        cpu_ops_scalar()->rmsnorm(x, w, n, 1e-6f, other);
        assert_memory_equal(out, other, n * sizeof *out);
        ops->rmsnorm(x, w, n, 1e-6f, x);
        assert_memory_equal(out, x, n * sizeof *out);
        memset(x, 0, n * sizeof *x);
        ops->rmsnorm(x, w, n, 1e-6f, x);
        assert_true(x[n - 1] == 0.0f);
        free(x);
        free(w);
        free(out);
        free(other);
    }
}

static void test_swiglu(void **state)
{
    const struct cpu_ops *ops = variant(state);
    for (size_t k = 0; k < N_LENGTHS; k++) {
        const size_t n = lengths[k];
        rng_state = n;
        float *g = room(n * sizeof *g), *up = room(n * sizeof *up), *h = room(n * sizeof *h);
        for (size_t i = 0; i < n; i++) {
            g[i] = rng_float() * 100.0f;
            up[i] = rng_float();
        }
        ops->swiglu(g, up, n, h);
        for (size_t i = 0; i < n; i++) {
            double want = g[i] / (1 + exp(-(double)g[i])) * up[i];
            /* Below -87 the exponential is 0. Above, it is off by 1e-7 of itself, and five
             * roundings follow. */
            assert_true(fabs(h[i] - want) <= (g[i] < -87.0f ? 2e-36 : fabs(want) * 5e-7));
        }
        float *other = room(n * sizeof *other);
        cpu_ops_scalar()->swiglu(g, up, n, other);
        assert_memory_equal(h, other, n * sizeof *h);
        ops->swiglu(g, up, n, g);
        assert_memory_equal(h, g, n * sizeof *h);
        free(g);
        free(up);
        free(h);
        free(other);
    }
}

static void test_swiglu_edges(void **state)
{
    const struct cpu_ops *ops = variant(state);
    const float max = 3.4028234e38f;
    const float g[] = {
        0.0f, -0.0f, 1e-30f, -1e-30f, 88.0f, 1e4f, -1e4f, max, -max, INFINITY, NAN
    };
    const float want[] = { 0.0f, 0.0f, 5e-31f, -5e-31f, 88.0f, 1e4f, 0.0f, max, 0.0f, INFINITY };
    float up[11], h[11];
    for (size_t i = 0; i < 11; i++) {
        up[i] = 1.0f;
    }
    ops->swiglu(g, up, 11, h);
    for (size_t i = 0; i < 10; i++) {
        assert_true(h[i] == want[i]);
    }
    assert_true(isnan(h[10]));
}

static void test_add(void **state)
{
    const struct cpu_ops *ops = variant(state);
    for (size_t k = 0; k < N_LENGTHS; k++) {
        const size_t n = lengths[k];
        float *x = room((n + 1) * sizeof *x), *y = room(n * sizeof *y);
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)i;
            y[i] = 0.25f;
        }
        x[n] = 7.0f;
        ops->add(x, y, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(x[i] == (float)i + 0.25f);
        }
        assert_true(x[n] == 7.0f);
        free(x);
        free(y);
    }
}

/* All halves come back. Any float, also a NaN and a tie, becomes what f32_to_f16() makes of it. */
static void test_to_f16(void **state)
{
    const struct cpu_ops *ops = variant(state);
    enum { N = 65536 };
    float *x = room(N * sizeof *x);
    f16_bits *h = room((N + 1) * sizeof *h);
    rng_state = 1;
    for (int round = 0; round < 8; round++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t bits = rng();
            memcpy(x + i, &bits, sizeof bits);
            if (round < 2) {
                x[i] = f16_to_f32((f16_bits)i);
            }
            if (round == 1) { /* half-way to the next half */
                x[i] += ldexpf(x[i], -11);
            }
        }
        const size_t n = N - (size_t)round;
        h[n] = 0x1234;
        ops->to_f16(x, n, h);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(h[i], f32_to_f16(x[i]));
        }
        assert_int_equal(h[n], 0x1234);
    }
    free(x);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_rmsnorm), EACH(test_swiglu), EACH(test_swiglu_edges),
        EACH(test_add),     EACH(test_to_f16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
