/* Attention and element-wise operations of the CPU backend (src/cpu/dot_*.c), for scalar, AVX2 and
 * AVX-512.
 * - attend: against a softmax in double; the same bits for every division into spans and every
 *   number of heads
 * - the exponential inside it: over the whole range
 * - rmsnorm, swiglu, add, to_f16: against double or the scalar functions of quant.h, with edge
 *   values */
#include "dot_variants.h"

struct attend_case {
    size_t n_q, head_dim, n;
    float scale;
    float *q, *scores, *out;
    f16_bits *k, *v;
};

static struct attend_case attend_new(size_t n_q, size_t head_dim, size_t n)
{
    rng_state = n_q * 1000 + head_dim * 10 + n;
    struct attend_case c = { n_q, head_dim, n, .scale = 1.0f / sqrtf((float)head_dim) };
    c.q = room(n_q * head_dim * sizeof *c.q);
    c.k = room(n * head_dim * sizeof *c.k);
    c.v = room(n * head_dim * sizeof *c.v);
    c.scores = room(n_q * n * sizeof *c.scores);
    c.out = room(n_q * head_dim * sizeof *c.out);
    rng_floats(c.q, n_q * head_dim);
    for (size_t i = 0; i < n * head_dim; i++) {
        c.k[i] = f32_to_f16(rng_float());
        c.v[i] = f32_to_f16(rng_float());
    }
    return c;
}

static void attend_free(struct attend_case *c)
{
    free(c->q);
    free(c->k);
    free(c->v);
    free(c->scores);
    free(c->out);
}

/* Heads [h, h + n_h) with the positions in pieces of `piece` (0: of random size, also empty
 * ones). */
static void attend_run(const struct cpu_ops *ops, const struct attend_case *c, size_t h, size_t n_h,
                       size_t piece, float *out)
{
    struct kv_span spans[1000];
    size_t n_spans = 0;
    for (size_t t = 0; t < c->n; n_spans++) {
        size_t n = piece > 0 ? piece : rng() % 65;
        n = n < c->n - t ? n : c->n - t;
        spans[n_spans] = (struct kv_span){ c->k + t * c->head_dim, c->v + t * c->head_dim, n };
        t += n;
        assert_true(n_spans < 999);
    }
    ops->attend(c->q + h * c->head_dim, n_h, c->head_dim, c->scale, spans, n_spans, c->scores, out);
}

/* With values in (-1, 1): a score is off by at most (head_dim / 16 + 5) * 2^-24 * sum |q k| /
 * sqrt(head_dim), 5e-6 at 256; a weight by twice that, the exponential's 1e-7 and (n / 16 + 5) *
 * 2^-24 of the sum: 2e-5 in all. */
static void check_attend_double(const struct attend_case *c)
{
    double *p = room(c->n * sizeof *p);
    for (size_t h = 0; h < c->n_q; h++) {
        double max = -INFINITY, sum = 0;
        for (size_t t = 0; t < c->n; t++) {
            p[t] = 0;
            for (size_t i = 0; i < c->head_dim; i++) {
                p[t] += (double)c->q[h * c->head_dim + i] * f16_to_f32(c->k[t * c->head_dim + i]);
            }
            p[t] *= c->scale;
            max = fmax(max, p[t]);
        }
        for (size_t t = 0; t < c->n; t++) {
            sum += p[t] = exp(p[t] - max);
        }
        for (size_t i = 0; i < c->head_dim; i++) {
            double want = 0;
            for (size_t t = 0; t < c->n; t++) {
                want += p[t] / sum * f16_to_f32(c->v[t * c->head_dim + i]);
            }
            assert_true(fabs(want - c->out[h * c->head_dim + i]) <= 2e-5);
        }
    }
    free(p);
}

static void check_attend(const struct cpu_ops *ops, size_t n_q, size_t head_dim, size_t n)
{
    struct attend_case c = attend_new(n_q, head_dim, n);
    const size_t bytes = n_q * head_dim * sizeof(float);
    float *other = room(bytes);
    attend_run(ops, &c, 0, n_q, 64, c.out);
    check_attend_double(&c);
    attend_run(cpu_ops_scalar(), &c, 0, n_q, 64, other);
    assert_memory_equal(other, c.out, bytes);
    for (size_t piece = 0; piece < 8; piece++) {
        attend_run(ops, &c, 0, n_q, piece, other);
        assert_memory_equal(other, c.out, bytes);
    }
    for (size_t h = 0; h < n_q; h++) {
        attend_run(ops, &c, h, 1, 64, other);
        assert_memory_equal(other, c.out + h * head_dim, head_dim * sizeof(float));
    }
    free(other);
    attend_free(&c);
}

static void test_attend(void **state)
{
    const struct cpu_ops *ops = variant(state);
    static const size_t dims[] = { 2, 6, 64, 80, 96, 128, 256 };
    static const size_t lengths[] = { 1, 3, 16, 65, 203 };
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            check_attend(ops, 1 + (d + 2 * n) % 8, dims[d], lengths[n]);
        }
    }
    check_attend(ops, 19, 10, 100);
}

/* NaN in a key or value reaches the output of every head that sees it; huge scores make a clean
 * choice. */
static void test_attend_edges(void **state)
{
    const struct cpu_ops *ops = variant(state);
    struct attend_case c = attend_new(3, 6, 40);
    c.k[6 * 20 + 1] = 0x7e00;
    attend_run(ops, &c, 0, 3, 64, c.out);
    for (size_t i = 0; i < 3 * 6; i++) {
        assert_true(isnan(c.out[i]));
    }
    c.k[6 * 20 + 1] = 0;
    c.v[6 * 39 + 2] = 0x7e00;
    attend_run(ops, &c, 0, 3, 64, c.out);
    for (size_t i = 0; i < 3 * 6; i++) {
        assert_int_equal(isnan(c.out[i]) != 0, i % 6 == 2);
    }
    c.v[6 * 39 + 2] = 0;
    for (size_t i = 0; i < 3 * 6; i++) {
        c.q[i] = 1e30f;
    }
    for (size_t i = 0; i < 6; i++) {
        c.k[6 * 17 + i] = 0x7bff;
    }
    attend_run(ops, &c, 0, 3, 64, c.out);
    for (size_t i = 0; i < 3 * 6; i++) {
        assert_true(c.out[i] == f16_to_f32(c.v[6 * 17 + i % 6]));
    }
    attend_free(&c);
}

/* Two positions with scores 0 and x give e^x as out[1] / out[0]: the 1e-7 promised for the
 * exponential, and two divisions. Every 997th float of [-87, -1e-8], and beyond. */
static void test_exp(void **state)
{
    const struct cpu_ops *ops = variant(state);
    enum { N = 4096 };
    static const f16_bits k[4] = { 0, 0, 0x3c00, 0 }, v[4] = { 0x3c00, 0, 0, 0x3c00 };
    const struct kv_span span = { k, v, 2 };
    float *q = room(2 * N * sizeof *q), *out = room(2 * N * sizeof *out);
    float *scores = room(2 * N * sizeof *scores), *want = room(2 * N * sizeof *want);
    for (uint32_t bits = 0xb22bcc77; bits < 0xc2c00000;) {
        for (size_t i = 0; i < N; i++, bits += 997) {
            memcpy(q + 2 * i, &bits, sizeof bits);
            q[2 * i + 1] = 0;
        }
        ops->attend(q, N, 2, 1.0f, &span, 1, scores, out);
        for (size_t i = 0; i < N; i++) {
            double e = exp(q[2 * i]), got = (double)out[2 * i + 1] / out[2 * i];
            assert_true(q[2 * i] < -87.0f ? got == 0 : fabs(got - e) <= e * (1e-7 + 0x1p-23));
        }
        if (bits % 16 == 0) {
            cpu_ops_scalar()->attend(q, N, 2, 1.0f, &span, 1, scores, want);
            assert_memory_equal(out, want, 2 * N * sizeof *out);
        }
    }
    free(q);
    free(out);
    free(scores);
    free(want);
}

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
        /* The root halves the error of a sum of n / 16 terms per lane; six more roundings. */
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
            /* Below -87 the exponential is 0. Above: 1e-7 of it, and five roundings. */
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

/* All halves come back, and any float, NaN and ties included, becomes what f32_to_f16 makes of
 * it. */
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
        EACH(test_attend), EACH(test_attend_edges), EACH(test_exp), EACH(test_rmsnorm),
        EACH(test_swiglu), EACH(test_swiglu_edges), EACH(test_add), EACH(test_to_f16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
