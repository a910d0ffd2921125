/* Whole forward passes of the CUDA backend, on tiny models: every architecture with the types that
 * common files hold, and the variants of attention and RoPE. A text is run token by token (the
 * captured graph), in chunks of 7 (mat-vec kernels), in one step (tensor cores and attention in
 * tiles), and deterministically in all three ways, which must give the same bits. Pages are
 * scattered; what no step has written is NaN on the simulator.
 *
 * Bounds, as NMSE of each row's logits:
 *   FLOAT_BOUND: mat-vec kernels against the CPU backend, with float weights. Both sides compute in
 *     float. K and V are rounded to half, now and then in the other direction: 3e-8 for each (see
 *     tests/model/test_forward.c).
 *   NOISE_BOUND: the same comparison with quantised weights. Both sides round activations to 8
 *     bits, and as in tests/model/test_forward.c one value that is rounded in the other direction
 *     leaves the noise of the codes.
 *   HALF_BOUND: tensor cores against tests/support/reference.c with exact activations. Weights,
 *     activations, queries, attention weights and K and V are rounded to half: 2^-22 / 12 = 2e-8
 *     for each rounding, about ten on the way to a logit, the worst of many rows ten times that.
 *   HEAD_BOUND: the head is a mat-vec kernel here too. With quantised weights its activations are
 *     rounded to 8 bits: (3/127)^2/12 = 5e-5, twice that in the worst row.
 *   Q8_BOUND: K and V in q8_0 against the reference that rounds them in the same way, with float
 *     weights. A value between two codes may take the other code: (2.5/127)^2 = 4e-4 of one value
 *     among 32 or more of a head. On tensor cores values differ by roundings to half, many take
 *     the other code, and what is left is the noise of the codes: NOISE_BOUND. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "format/quant.h"
#include "forward.h"
#include "support/layers.h"
#include "support/level.h"
#include "support/models.h"
#include "support/reference.h"
#include "support/rig.h"
#include "synth/synth.h"

#define FLOAT_BOUND 1e-6
#define HALF_BOUND 1e-5
#define HEAD_BOUND 1e-4
#define NOISE_BOUND 4e-4
#define Q8_BOUND 1.2e-5

enum { BATCH = 150, N_TEXTS = 2 };

struct text {
    weft_kv_type types[2]; /* of K and V */
    size_t n, n_ctx, n_vocab;
    int32_t *tokens;                      /* [N_TEXTS, n] */
    const struct reference_layer *layers; /* NULL = as the keys say */
};

typedef weft_status opener(const struct model *, const struct backend_params *, struct backend **,
                           weft_error *);

static void check(weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fail_msg("%s", err->message);
    }
}

/* Computes rows [first, first + n) of each text as one step, all with logits. */
static void run_step(struct backend *b, const struct text *t, size_t first, size_t n, float *logits)
{
    weft_error err;
    size_t n_pages = (t->n_ctx + KV_PAGE - 1) / KV_PAGE;
    uint32_t pages[N_TEXTS][16];
    struct step_seq seqs[N_TEXTS];
    int32_t tokens[BATCH];
    uint32_t out_rows[BATCH];
    struct step step = { .n_rows = N_TEXTS * n,
                         .tokens = tokens,
                         .n_seqs = N_TEXTS,
                         .seqs = seqs,
                         .n_out = N_TEXTS * n,
                         .out_rows = out_rows };
    assert_true(n_pages <= 16 && step.n_rows <= BATCH);
    for (size_t i = 0; i < N_TEXTS; i++) {
        for (size_t p = 0; p < n_pages; p++) {
            pages[i][p] = (uint32_t)(N_TEXTS * n_pages - 1 - (p * N_TEXTS + i));
        }
        seqs[i] = (struct step_seq){ .pages = { pages[i] },
                                     .rope_set = model_rope_set(b->model, t->n),
                                     .pos = first,
                                     .row = i * n,
                                     .n_rows = n };
        memcpy(tokens + i * n, t->tokens + i * t->n + first, n * sizeof *tokens);
    }
    for (uint32_t i = 0; i < step.n_rows; i++) {
        out_rows[i] = i;
    }
    check(forward(b, &step, &err), &err);
    for (size_t i = 0; i < step.n_rows; i++) {
        size_t row = i / n * t->n + first + i % n;
        check(b->ops->read_logits(b, i, logits + row * t->n_vocab, &err), &err);
    }
}

/* Returns logits [N_TEXTS, n, n_vocab] of the texts, computed `chunk` tokens at a time. */
static float *run(opener *open, const struct model *m, const struct text *t, size_t chunk,
                  bool deterministic)
{
    weft_error err;
    struct backend *b;
    size_t n_pages = N_TEXTS * ((t->n_ctx + KV_PAGE - 1) / KV_PAGE);
    const struct log log = { 0 };
    const struct backend_params bp = { .n_ctx = t->n_ctx,
                                       .n_pages = n_pages,
                                       .n_batch = BATCH,
                                       .n_out = BATCH,
                                       .n_threads = 1,
                                       .kv_type = { t->types[0], t->types[1] },
                                       .deterministic = deterministic,
                                       .no_arena = true,
                                       .no_pdl = rig_no_pdl(),
                                       .log = &log };
    float *logits = calloc(N_TEXTS * t->n * t->n_vocab, sizeof *logits);
    check(open(m, &bp, &b, &err), &err);
    for (size_t done = 0, n; done < t->n; done += n) {
        n = t->n - done < chunk ? t->n - done : chunk;
        run_step(b, t, done, n, logits);
    }
    b->ops->close(b);
    return logits;
}

static double nmse(const float *got, const float *want, size_t n)
{
    double error = 0.0, power = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        error += d * d;
        power += (double)want[i] * (double)want[i];
    }
    return error / power;
}

static void compare(const struct text *t, const float *got, const float *want, double bound,
                    const char *what, const char *how)
{
    for (size_t i = 0; i < N_TEXTS * t->n; i++) {
        double e = nmse(got + i * t->n_vocab, want + i * t->n_vocab, t->n_vocab);
        if (!(e <= bound)) {
            fail_msg("%s, %s: row %zu of text %zu has NMSE %.2e, expected at most %.0e", what, how,
                     i % t->n, i / t->n, e, bound);
        }
    }
}

static void compare_bits(const struct text *t, const float *got, const float *want,
                         const char *what, const char *how)
{
    for (size_t i = 0; i < N_TEXTS * t->n; i++) {
        if (memcmp(got + i * t->n_vocab, want + i * t->n_vocab, t->n_vocab * sizeof *got) != 0) {
            fail_msg("%s, %s: row %zu of text %zu differs", what, how, i % t->n, i / t->n);
        }
    }
}

static void compare_exactly(const struct text *t, const float *got, const char *path, double bound,
                            const char *what)
{
    const struct reference_options options = {
        .layers = t->layers, .kv_q8_0 = { t->types[0] == WEFT_KV_Q8_0, t->types[1] == WEFT_KV_Q8_0 }
    };
    for (size_t i = 0; i < N_TEXTS; i++) {
        size_t n_vocab;
        double *want = reference_logits(path, &options, t->tokens + i * t->n, t->n, &n_vocab);
        assert_non_null(want);
        for (size_t r = 0; r < t->n; r++) {
            const float *row = got + (i * t->n + r) * n_vocab;
            double e = reference_nmse(row, want + r * n_vocab, n_vocab);
            if (!(e <= bound)) {
                fail_msg(
                    "%s, in one step: row %zu of text %zu has NMSE %.2e, expected at most %.0e",
                    what, r, i, e, bound);
            }
        }
        free(want);
    }
}

/* Makes texts of n random tokens. */
static struct text text_of(const struct model *m, size_t n, size_t n_ctx)
{
    struct text t = { .n = n, .n_ctx = n_ctx > 0 ? n_ctx : n, .n_vocab = m->config.n_vocab };
    uint64_t state = 7;
    t.tokens = calloc(N_TEXTS * n, sizeof *t.tokens);
    for (size_t i = 0; i < N_TEXTS * n; i++) {
        t.tokens[i] = (int32_t)rig_random(&state, (uint32_t)t.n_vocab);
    }
    return t;
}

/* Checks texts of n tokens. If every_way is true, they are also computed token by token, and
 * deterministically in one step. */
static void check_ways(const struct synth_spec *spec, size_t n, size_t n_ctx, bool every_way,
                       const char *what)
{
    weft_error err;
    struct model *m;
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    const char *path = model_file_of(spec);
    check(model_open(path, &params, &m, &err), &err);
    struct text t = text_of(m, n, n_ctx);
    bool floats = quant_find_name(spec->type_mix)->block == 1;
    size_t most = n < BATCH / N_TEXTS ? n : BATCH / N_TEXTS;
    float *whole = run(cuda_backend_open, m, &t, most, false);
    compare_exactly(&t, whole, path, floats ? HALF_BOUND : HEAD_BOUND, what);
    float *cpu = run(cpu_backend_open, m, &t, most, false);
    float *exact = run(cuda_backend_open, m, &t, 7, true);
    compare(&t, exact, cpu, floats ? FLOAT_BOUND : NOISE_BOUND, what, "in chunks");
    if (every_way) {
        float *one = run(cuda_backend_open, m, &t, 1, false);
        float *all = run(cuda_backend_open, m, &t, n, true);
        compare_bits(&t, one, exact, what, "token by token");
        compare_bits(&t, all, exact, what, "deterministic, in one step");
        free(one);
        free(all);
    }
    free(cpu);
    free(whole);
    free(exact);
    free(t.tokens);
    model_close(m);
    remove(path);
}

static void check_spec(const struct synth_spec *spec, size_t n, size_t n_ctx, const char *what)
{
    check_ways(spec, n, n_ctx, n <= 20, what);
}

/* At the level thin every architecture and every type is tested, but few pairs of them are. */
static bool thin(void)
{
    return !level_all("most pairs of architecture and type, and texts past a page");
}

static struct synth_spec spec_of(const char *preset)
{
    struct synth_spec s;
    assert_true(synth_preset(preset, &s));
    s.n_vocab = 512;
    return s;
}

static void test_types(void **state)
{
    (void)state;
    static const char *const types[] = { "f16", "q8_0", "q4_0", "q5_0", "q4_k", "q6_k" };
    static const struct {
        const char *preset;
        size_t n_heads, n_kv_heads, head_dim;
    } shapes[] = { { "tiny-qwen2", 7, 1, 64 },
                   { "tiny-qwen3", 4, 2, 80 },
                   { "tiny-phi3", 2, 2, 96 },
                   { "tiny-llama", 4, 2, 128 } };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (size_t j = 0; j < sizeof types / sizeof types[0]; j++) {
            if (thin() && (i + j) % 4 != 0) {
                continue;
            }
            struct synth_spec s = spec_of(shapes[i].preset);
            bool wide = quant_find_name(types[j])->block == 256;
            char what[64];
            s.dim = wide ? 256 : 160;
            s.n_ff = wide ? 256 : 224;
            s.n_heads = shapes[i].n_heads;
            s.n_kv_heads = shapes[i].n_kv_heads;
            s.head_dim = shapes[i].head_dim;
            /* The rows of attn_output are multiples of 256. */
            if (wide) {
                s.n_heads = 4, s.n_kv_heads = 2, s.head_dim = 64;
            }
            s.type_mix = types[j];
            snprintf(what, sizeof what, "%s %s", s.arch, s.type_mix);
            check_ways(&s, 17, 0, (i + j) % 4 == 0, what);
        }
    }
}

/* The other types, on one architecture. */
static void test_rare_types(void **state)
{
    (void)state;
    static const char *const types[] = { "f32",  "bf16", "q4_1",   "q5_1",  "q2_k",
                                         "q3_k", "q5_k", "iq4_nl", "iq4_xs" };
    for (size_t j = 0; j < sizeof types / sizeof types[0]; j += thin() ? 4 : 1) {
        struct synth_spec s = spec_of("tiny-llama");
        s.dim = s.n_ff = 256;
        s.n_heads = 4, s.n_kv_heads = 2, s.head_dim = 64;
        s.type_mix = types[j];
        check_ways(&s, 17, 0, false, types[j]);
    }
}

/* The text goes past a page, in several steps of many rows. */
static void test_context(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-phi3" };
    for (size_t i = 0; i < 2 && !thin(); i++) {
        struct synth_spec s = spec_of(presets[i]);
        s.type_mix = i == 0 ? "q8_0" : "f16";
        check_spec(&s, 135, 1024, presets[i]);
    }
}

/* Layers of one model differ: what is computed follows each layer, not the keys of the file. */
static void check_layers_differ(const char *type)
{
    weft_error err;
    struct model *m;
    struct reference_layer layers[LAYERS_MAX];
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    struct synth_spec s = spec_of("tiny-qwen2");
    s.type_mix = type;
    const bool floats = quant_find_name(type)->block == 1;
    const char *path = model_file_of(&s);
    check(model_open(path, &params, &m, &err), &err);
    layers_differ(m, layers);
    struct text t = text_of(m, 24, 24);
    t.layers = layers;
    float *whole = run(cuda_backend_open, m, &t, 24, false);
    compare_exactly(&t, whole, path, floats ? HALF_BOUND : HEAD_BOUND, "layers that differ");
    float *one = run(cuda_backend_open, m, &t, 1, true);
    float *cpu = run(cpu_backend_open, m, &t, 24, false);
    compare(&t, one, cpu, floats ? FLOAT_BOUND : NOISE_BOUND, "layers that differ",
            "token by token");
    free(whole);
    free(one);
    free(cpu);
    free(t.tokens);
    model_close(m);
    remove(path);
}

static void test_layers_differ(void **state)
{
    (void)state;
    check_layers_differ("f32");
    check_layers_differ("q8_0");
}

static void test_variants(void **state)
{
    (void)state;
    struct synth_spec s = spec_of("tiny-phi3");
    s.sliding_window = 5;
    check_spec(&s, 20, 0, "window of 5");
    s = spec_of("tiny-phi3");
    s.sliding_window = 70;
    if (!thin()) {
        check_spec(&s, 135, 0, "window of 70");
    }
    s = spec_of("tiny-qwen2");
    s.head_dim = 32, s.n_rot = 24;
    check_spec(&s, 20, 0, "24 of 32 dimensions rotated");
    s = spec_of("tiny-phi3");
    s.rope_long_short = true;
    s.rope_scaling_type = "longrope";
    s.rope_scaling_factor = 1.0f;
    s.n_ctx = 512, s.n_ctx_orig = 19, s.attn_factor = 1.19f;
    check_spec(&s, 19, 512, "short factors");
    check_spec(&s, 20, 512, "long factors");
    s = spec_of("tiny-llama");
    s.tied = !s.tied;
    s.n_heads = 3, s.n_kv_heads = 3, s.head_dim = 40;
    s.dim = 72, s.n_ff = 100;
    check_spec(&s, 20, 0, "rows of no round size, heads of 40");
    s = spec_of("tiny-llama");
    s.n_heads = 12, s.n_kv_heads = 1, s.head_dim = 16;
    check_spec(&s, 20, 0, "12 heads on one");
}

/* Every product that may have a bias has one, and q, k and v are in one tensor. */
static void test_biases(void **state)
{
    (void)state;
    static const struct {
        const char *preset, *type;
        bool fused;
    } cases[] = { { "tiny-llama", "q8_0", false }, { "tiny-llama", "f16", true },
                  { "tiny-llama", "f32", false },  { "tiny-llama", "q4_0", false },
                  { "tiny-qwen2", "q8_0", true },  { "tiny-phi3", "f16", false },
                  { "tiny-qwen3", "q8_0", true } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct synth_spec s = spec_of(cases[i].preset);
        char what[64];
        if (thin() && i > 1) {
            break;
        }
        s.biases = true;
        s.fused_qkv = cases[i].fused;
        s.type_mix = cases[i].type;
        /* The rows are not multiples of 4. */
        if (i == 2) {
            s.n_ff = 99, s.n_heads = 3, s.n_kv_heads = 3, s.head_dim = 40;
            s.dim = 70;
        }
        snprintf(what, sizeof what, "%s %s, biases", s.arch, s.type_mix);
        check_spec(&s, 20, 0, what);
    }
}

/* K and V are in q8_0; the reference rounds them in the same way. */
static void check_q8(const struct synth_spec *spec, size_t n, const weft_kv_type *types,
                     const char *what)
{
    weft_error err;
    struct model *m;
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    const char *path = model_file_of(spec);
    check(model_open(path, &params, &m, &err), &err);
    struct text t = text_of(m, n, 0);
    t.types[0] = types[0], t.types[1] = types[1];
    float *whole = run(cuda_backend_open, m, &t, n, false);
    float *exact = run(cuda_backend_open, m, &t, 7, true);
    float *one = run(cuda_backend_open, m, &t, 1, false);
    float *all = run(cuda_backend_open, m, &t, n, true);
    compare_exactly(&t, whole, path, NOISE_BOUND, what);
    compare_exactly(&t, exact, path, Q8_BOUND, what);
    compare_bits(&t, one, exact, what, "token by token");
    compare_bits(&t, all, exact, what, "deterministic, in one step");
    free(one);
    free(all);
    free(whole);
    free(exact);
    free(t.tokens);
    model_close(m);
    remove(path);
}

static void test_q8(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        size_t n_heads, n_kv_heads, head_dim, n;
        weft_kv_type types[2];
    } cases[] = {
        { "tiny-qwen2", 7, 1, 64, 70, { WEFT_KV_Q8_0, WEFT_KV_Q8_0 } },
        { "tiny-qwen3", 4, 2, 128, 20, { WEFT_KV_Q8_0, WEFT_KV_Q8_0 } },
        { "tiny-phi3", 2, 2, 96, 20, { WEFT_KV_Q8_0, WEFT_KV_F16 } },
        { "tiny-llama", 4, 2, 32, 20, { WEFT_KV_F16, WEFT_KV_Q8_0 } },
    };
    for (size_t i = thin() ? 1 : 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct synth_spec s = spec_of(cases[i].preset);
        s.dim = 160;
        s.n_ff = 224;
        s.n_heads = cases[i].n_heads;
        s.n_kv_heads = cases[i].n_kv_heads;
        s.head_dim = cases[i].head_dim;
        s.type_mix = "f16";
        check_q8(&s, cases[i].n, cases[i].types, cases[i].preset);
    }
}

/* Shapes that the kernels do not run are refused by name. */
static void test_refused(void **state)
{
    (void)state;
    weft_error err;
    struct model *m;
    struct backend *b = NULL;
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    const struct log log = { 0 };
    struct synth_spec s = spec_of("tiny-llama");
    s.head_dim = 18;
    s.rope_freqs = false;
    const char *path = model_file_of(&s);
    check(model_open(path, &params, &m, &err), &err);
    const struct backend_params bp = {
        .n_ctx = 64, .n_pages = 1, .n_batch = 8, .n_out = 8, .log = &log
    };
    assert_int_equal(cuda_backend_open(m, &bp, &b, &err), WEFT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "heads of 18 values"));
    assert_null(b);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_rare_types),
        cmocka_unit_test(test_context), cmocka_unit_test(test_variants),
        cmocka_unit_test(test_q8),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_biases),  cmocka_unit_test(test_layers_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
