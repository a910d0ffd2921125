/* Values between stages as the CUDA backend gives them to a trace, compared with those of the CPU
 * backend: in steps of few rows (mat-vec kernels) and of many (tensor cores, attention in tiles),
 * for every architecture. The limits of the device are checked too.
 *
 * Bound: the NMSE of each checkpoint. Both sides round activations before products with quantised
 * weights, to 8 bits or (many rows) to half. NOISE_BOUND is that of tests/cuda/test_model.c for
 * logits, which come after all of these values. A buffer that is mixed up with another, or rows
 * with the wrong stride, have an NMSE near 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "support/level.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"
#include "synth/synth.h"

#define NOISE_BOUND 4e-4

enum { N = 40, MAX_POINTS = 100 };

struct values {
    size_t n;
    struct {
        char name[16];
        size_t n_values;
        float *values;
    } points[MAX_POINTS];
};

static void keep(void *user, const weft_checkpoint *c)
{
    struct values *v = user;
    size_t n = c->n_rows * c->n_cols;
    assert_in_range(v->n, 0, MAX_POINTS - 1);
    strncpy(v->points[v->n].name, c->name, sizeof v->points[v->n].name - 1);
    v->points[v->n].n_values = n;
    v->points[v->n].values = malloc(n * sizeof *c->values);
    assert_non_null(v->points[v->n].values);
    memcpy(v->points[v->n].values, c->values, n * sizeof *c->values);
    v->n++;
}

static struct values run(const char *path, const char *device, size_t n_tokens)
{
    struct values v = { 0 };
    const weft_engine_params p = { .size = sizeof p,
                                   .device = device,
                                   .n_ctx = 128,
                                   .n_batch = 64,
                                   .n_threads = 1,
                                   .trace = keep,
                                   .trace_user = &v };
    struct rig r = rig_open(path, &p);
    int32_t tokens[N];
    rig_tokens(&r, 4, tokens, N);
    weft_seq *seq = rig_fed(&r, tokens, n_tokens);
    weft_seq_release(&seq);
    rig_close(&r);
    return v;
}

static void check_same(const struct values *got, const struct values *want, const char *what)
{
    assert_int_equal(got->n, want->n);
    for (size_t i = 0; i < got->n; i++) {
        double error = 0, power = 0;
        assert_string_equal(got->points[i].name, want->points[i].name);
        assert_int_equal(got->points[i].n_values, want->points[i].n_values);
        for (size_t k = 0; k < got->points[i].n_values; k++) {
            double a = (double)got->points[i].values[k], b = (double)want->points[i].values[k];
            error += (a - b) * (a - b);
            power += b * b;
        }
        if (!(error <= NOISE_BOUND * power)) {
            fail_msg("%s: checkpoint %zu, %s: NMSE %.2e", what, i, got->points[i].name,
                     error / power);
        }
        free(got->points[i].values);
        free(want->points[i].values);
    }
}

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };

static void test_values(void **state)
{
    (void)state;
    const bool all = level_all("a short and a long step of each model");
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        for (size_t n = 3; n <= N; n += N - 3) {
            if (!all && (n == 3) != (i % 2 == 0)) {
                continue;
            }
            struct values gpu = run(model_file(presets[i]), "cuda", n);
            struct values cpu = run(model_file(presets[i]), "cpu", n);
            check_same(&gpu, &cpu, presets[i]);
        }
    }
}

/* Checks the values where all weights, or only some of them, are converted to halves. The results
 * of several matrices are then computed side by side, and separated afterwards. */
static void test_values_of_halves(void **state)
{
    (void)state;
    static const char *const types[] = { "f16", "f16+f32", "f32+f32+f16", "f16+f16+f32" };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        struct synth_spec s;
        assert_true(synth_preset(presets[i], &s));
        s.type_mix = types[i];
        const char *path = model_file_of(&s);
        struct values gpu = run(path, "cuda", N), cpu = run(path, "cpu", N);
        check_same(&gpu, &cpu, types[i]);
    }
}

static void test_limits(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .device = "cuda" };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    weft_limits limits = { .size = sizeof limits };
    OK(weft_engine_measure(r.engine, &limits, E));
    assert_true(limits.read_bytes_per_s > 0);
    assert_true(limits.macs_per_s > 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_of_halves),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
