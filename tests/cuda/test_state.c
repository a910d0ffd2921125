/* Saved states of an engine on CUDA. The bytes that were written to the device come back from it,
 * from full pages and from partly filled ones. A state that a CPU has computed goes on on the GPU
 * and the other way round, in one format.
 *
 * Between the backends, K and V differ by the rounding to half of values computed in another order,
 * and the logits behind them differ as in test_model.c with float weights: FLOAT_BOUND, as NMSE. */
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
#include "support/state.h"
#include "synth/synth.h"

#define FLOAT_BOUND 1e-6

enum { PAGE = 64, MAX_TOKENS = 160 };

static struct rig open_on(const char *file, const char *device, size_t n_kv)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = device;
    p.n_ctx = 256;
    p.n_kv = n_kv;
    p.n_batch = 32;
    p.n_threads = 1;
    p.deterministic = true;
    return rig_open(file, &p);
}

static const char *small_model(const char *preset)
{
    struct synth_spec spec;
    assert_true(synth_preset(preset, &spec));
    spec.n_vocab = 512;
    return model_file_of(&spec);
}

/* Opens a sequence that holds the state, with logits. */
static weft_seq *loaded(const struct rig *r, const struct state *s)
{
    weft_seq *seq = state_load(r, s);
    uint64_t before = rig_info(r).n_rows;
    rig_compute(r, seq);
    assert_int_equal(rig_info(r).n_rows - before, 1);
    return seq;
}

static void compare(const struct rig *r, weft_seq *seq, const float *want, double bound)
{
    float *got = rig_logits(r, seq);
    double error = 0, power = 0;
    for (size_t i = 0; i < r->n_vocab; i++) {
        double d = (double)got[i] - (double)want[i];
        error += d * d;
        power += (double)want[i] * (double)want[i];
    }
    if (!(error <= bound * power)) {
        fail_msg("the logits behind a state have NMSE %.2e, expected at most %.0e", error / power,
                 bound);
    }
    free(got);
}

/* A state that is saved and loaded on one device keeps its bits, again and again. */
static void check_same(const char *preset, size_t n)
{
    const char *file = small_model(preset);
    struct rig r = open_on(file, "cuda:0", 512), other = open_on(file, "cuda:0", 256);
    int32_t tokens[MAX_TOKENS];
    rig_tokens(&r, n, tokens, MAX_TOKENS);
    weft_seq *seq = rig_fed(&r, tokens, n), *taken = rig_fed(&other, tokens, 3);
    float *want = rig_logits(&r, seq);
    struct state s = state_save(seq);
    /* The pages are not those from which the state came. */
    weft_seq *back = loaded(&other, &s);
    struct state again = state_save(back);
    assert_int_equal(again.n, s.n);
    assert_memory_equal(again.data, s.data, s.n);
    float *got = rig_logits(&other, back);
    rig_same(&r, got, want, "loaded on the GPU");
    free(got);
    free(want);
    free(s.data);
    free(again.data);
    weft_seq_release(&seq);
    weft_seq_release(&back);
    weft_seq_release(&taken);
    rig_close(&r);
    rig_close(&other);
}

static void test_same(void **state)
{
    (void)state;
    check_same("tiny-qwen2", 1);
    check_same("tiny-phi3", PAGE + 1);
    if (level_all("states of a full page, and of one less than two")) {
        check_same("tiny-qwen3", PAGE);
        check_same("tiny-llama", 2 * PAGE - 1);
    }
}

/* A state goes from the CPU to the GPU and back. Everything that the GPU has not computed again
 * comes back bit by bit. */
static void test_between(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-phi3" };
    const size_t n_presets = level_all("states of a second model between backends") ? 2 : 1;
    for (size_t i = 0; i < n_presets; i++) {
        const char *file = small_model(presets[i]);
        struct rig cpu = open_on(file, "cpu", 512), gpu = open_on(file, "cuda:0", 512);
        int32_t tokens[MAX_TOKENS];
        size_t n = PAGE + 21;
        rig_tokens(&cpu, 5, tokens, n);
        weft_seq *seq = rig_fed(&cpu, tokens, n), *computed = rig_fed(&gpu, tokens, n);
        float *want = rig_logits(&cpu, seq);
        struct state s = state_save(seq), of_gpu = state_save(computed);
        assert_int_equal(s.n, of_gpu.n);
        weft_seq *there = loaded(&gpu, &s), *back = loaded(&cpu, &of_gpu);
        compare(&gpu, there, want, FLOAT_BOUND);
        compare(&cpu, back, want, FLOAT_BOUND);
        /* The GPU has computed only the page with the last token again; the others came back. */
        size_t head = 80 + n * sizeof *tokens, position = (s.n - head - 8) / n;
        struct state round = state_save(there);
        assert_int_equal(round.n, s.n);
        assert_memory_equal(round.data, s.data, head + PAGE * position);
        free(want);
        free(s.data);
        free(of_gpu.data);
        free(round.data);
        weft_seq_release(&seq);
        weft_seq_release(&computed);
        weft_seq_release(&there);
        weft_seq_release(&back);
        rig_close(&cpu);
        rig_close(&gpu);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
