/* The whole forward pass on the CPU against tests/support/reference.c: every architecture with
 * every tensor type, and every variant of attention, RoPE and tensor binding that the
 * architectures know, on tiny models of odd shapes. All rows of a text are compared. The text
 * runs in several steps over scattered pages.
 *
 * Bounds, as NMSE of the logits of each row, if nothing else is said:
 *   float weights against exact arithmetic: 1e-6 (F32) and 1e-4 (F16, BF16) over all rows of a
 *     text, the project's gates. What differs is float rounding, and K and V in half precision.
 *   float weights against a reference that rounds K and V too: FLOAT_BOUND. Float rounding has an
 *     NMSE of about 1e-13; because of it a K or V now and then rounds the other way, by 2^-10 of
 *     one value among head_dim, 1e-6/32 = 3e-8.
 *   the same with K or V in q8_0: KV_Q8_0_BOUND. The value that rounds the other way is now off by
 *     a step of 1/127 of its block's largest, about 3 deviations: (3/127)^2/32 = 2e-5.
 *   quantised weights against a reference that also rounds activations to 8 bits: CLEAN_BOUND,
 *     float rounding alone, for at least a quarter of the texts. In the others a value near the
 *     middle of two codes rounded the other way, all later products of the text then round
 *     otherwise as well, and what is left is the noise of 8-bit codes itself: a step is 1/127 of a
 *     block's largest value, which is about 3 deviations, so (3/127)^2/12 = 5e-5 for each of the
 *     four products on the way to a residual, twice that in the worst row: NOISE_BOUND.
 *
 * Mistakes tried by hand, each of which fails these tests: the rope style of an architecture
 * swapped; pairs a half of head_dim apart instead of n_rot; angles that restart with each step,
 * without the scale, with factors that multiply; YaRN's ramp one pair too early, between places
 * that are not whole, or cut at the last pair, and YaRN without its factor of sine and cosine; long
 * for short factors, or chosen one context too early; sine without the attention factor; a row that
 * does not see itself, or sees its successor; a sliding window longer by one; the neighbour's KV
 * head; the score scale of another head size; always the first page; gate and up swapped, in two
 * tensors and in a fused one; k and v swapped in a fused one; biases of q and k, of v, of any other
 * product, or per-head norms left out; biases of gate and up swapped, or added behind silu; rope
 * before the norm; the last row of a tile of weights left out; the first token of a text for all;
 * logits of the row before; another epsilon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "format/quant.h"
#include "forward.h"
#include "support/layers.h"
#include "support/models.h"
#include "support/reference.h"
#include "support/rig.h"
#include "synth/synth.h"

#define FLOAT_BOUND 1e-7
#define CLEAN_BOUND 1e-10
#define NOISE_BOUND 4e-4
#define KV_Q8_0_BOUND 2e-5

enum { BATCH = 48 };

struct run {
    const char *what;
    size_t n_texts, n; /* number of texts, and tokens of each; several texts share one step */
    size_t n_ctx;      /* 0 = n */
    weft_kv_type kv_type[2];
    size_t n_vocab;
    int32_t *tokens; /* [n_texts, n] */
    float *logits;   /* the logits that Weft computes, [n_texts, n, n_vocab] */
    bool differ;     /* see layers_differ() */
    struct reference_layer layers[LAYERS_MAX];
};

static void check(weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fail_msg("%s", err->message);
    }
}

/* Computes rows [first, first + n) of each text as one step, all with logits. Pages are taken from
 * the last one on, downwards. */
static void run_step(struct backend *b, struct run *r, size_t first, size_t n)
{
    weft_error err;
    size_t n_pages = (r->n_ctx + KV_PAGE - 1) / KV_PAGE;
    uint32_t *pages = calloc(r->n_texts * n_pages, sizeof *pages);
    struct step_seq seqs[BATCH];
    int32_t tokens[BATCH];
    uint32_t out_rows[BATCH];
    struct step step = { .n_rows = r->n_texts * n,
                         .tokens = tokens,
                         .n_seqs = r->n_texts,
                         .seqs = seqs,
                         .n_out = r->n_texts * n,
                         .out_rows = out_rows };
    for (size_t i = 0; i < r->n_texts * n_pages; i++) {
        pages[i] = (uint32_t)(r->n_texts * n_pages - 1 - i);
    }
    for (size_t i = 0; i < r->n_texts; i++) {
        seqs[i] = (struct step_seq){ .pages = { pages + i * n_pages },
                                     .rope_set = model_rope_set(b->model, r->n),
                                     .pos = first,
                                     .row = i * n,
                                     .n_rows = n };
        memcpy(tokens + i * n, r->tokens + i * r->n + first, n * sizeof *tokens);
    }
    for (uint32_t i = 0; i < step.n_rows; i++) {
        out_rows[i] = i;
    }
    check(forward(b, &step, &err), &err);
    for (size_t i = 0; i < step.n_rows; i++) {
        size_t row = i / n * r->n + first + i % n;
        check(b->ops->read_logits(b, i, r->logits + row * r->n_vocab, &err), &err);
    }
    free(pages);
}

static void run_weft(const char *path, struct run *r)
{
    weft_error err;
    struct model *m;
    struct backend *b;
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    check(model_open(path, &params, &m, &err), &err);
    if (r->differ) {
        layers_differ(m, r->layers);
    }
    r->n_vocab = m->config.n_vocab;
    size_t n_pages = r->n_texts * ((r->n_ctx + KV_PAGE - 1) / KV_PAGE);
    const struct backend_params bp = { .n_ctx = r->n_ctx,
                                       .n_pages = n_pages,
                                       .n_batch = BATCH,
                                       .n_out = BATCH,
                                       .n_threads = 1,
                                       .kv_type = { r->kv_type[0], r->kv_type[1] } };
    check(cpu_backend_open(m, &bp, &b, &err), &err);
    r->tokens = calloc(r->n_texts * r->n, sizeof *r->tokens);
    r->logits = calloc(r->n_texts * r->n * r->n_vocab, sizeof *r->logits);
    uint64_t state = 7;
    for (size_t i = 0; i < r->n_texts * r->n; i++) {
        r->tokens[i] = (int32_t)rig_random(&state, (uint32_t)r->n_vocab);
    }
    for (size_t done = 0, n; done < r->n; done += n) {
        n = r->n - done < BATCH / r->n_texts ? r->n - done : BATCH / r->n_texts;
        run_step(b, r, done, n);
    }
    b->ops->close(b);
    model_close(m);
}

/* Returns the index of the largest value; *gap is how far the second largest lies below it. */
static size_t top(const double *x, size_t n, double *gap)
{
    size_t best = x[0] >= x[1] ? 0 : 1;
    size_t second = 1 - best;
    for (size_t i = 2; i < n; i++) {
        if (x[i] > x[best]) {
            second = best;
            best = i;
        } else if (x[i] > x[second]) {
            second = i;
        }
    }
    *gap = x[best] - x[second];
    return best;
}

/* If the reference's top token leads by more than ten times the error that is allowed, it must be
 * the top token here too. */
static void check_top(const struct run *r, const float *got, const double *want, double bound)
{
    double gap;
    double power = 0.0;
    size_t best = top(want, r->n_vocab, &gap);
    for (size_t i = 0; i < r->n_vocab; i++) {
        power += want[i] * want[i] / (double)r->n_vocab;
    }
    for (size_t i = 0; gap > 10.0 * sqrt(bound * power) && i < r->n_vocab; i++) {
        if (got[i] > got[best]) {
            fail_msg("%s: the top token is %zu, expected %zu", r->what, i, best);
        }
    }
}

/* Every row must stay below `bound`. Returns the number of texts of which all rows stay below
 * CLEAN_BOUND. */
static size_t compare_rows(const char *path, const struct run *r, double bound)
{
    const struct reference_options options = { .acts_8bit = true,
                                               .kv_half = true,
                                               .layers = r->differ ? r->layers : NULL,
                                               .kv_q8_0 = { r->kv_type[0] == WEFT_KV_Q8_0,
                                                            r->kv_type[1] == WEFT_KV_Q8_0 } };
    size_t n_clean = 0;
    for (size_t t = 0; t < r->n_texts; t++) {
        size_t n_vocab;
        double most = 0.0;
        double *want = reference_logits(path, &options, r->tokens + t * r->n, r->n, &n_vocab);
        assert_non_null(want);
        assert_int_equal(n_vocab, r->n_vocab);
        for (size_t i = 0; i < r->n; i++) {
            const float *got = r->logits + (t * r->n + i) * n_vocab;
            double nmse = reference_nmse(got, want + i * n_vocab, n_vocab);
            if (!(nmse <= bound)) {
                fail_msg("%s: row %zu of text %zu has NMSE %.2e, expected at most %.0e", r->what, i,
                         t, nmse, bound);
            }
            check_top(r, got, want + i * n_vocab, bound);
            most = nmse > most ? nmse : most;
        }
        n_clean += most <= CLEAN_BOUND;
        free(want);
    }
    return n_clean;
}

/* Compares all rows of a text together with exact arithmetic. */
static void compare_exactly(const char *path, const struct run *r, double bound)
{
    const struct reference_options options = { 0 };
    for (size_t t = 0; t < r->n_texts; t++) {
        size_t n_vocab;
        const float *got = r->logits + t * r->n * r->n_vocab;
        double *want = reference_logits(path, &options, r->tokens + t * r->n, r->n, &n_vocab);
        assert_non_null(want);
        double nmse = reference_nmse(got, want, r->n * n_vocab);
        if (!(nmse <= bound)) {
            fail_msg("%s: text %zu has NMSE %.2e, expected at most %.0e", r->what, t, nmse, bound);
        }
        for (size_t i = 0; i < r->n; i++) {
            check_top(r, got + i * n_vocab, want + i * n_vocab, bound);
        }
        free(want);
    }
}

/* Compares Weft with the reference on a model of this spec, with the bounds of its tensor type. */
static void check_texts(const struct synth_spec *spec, size_t n_texts, size_t n, size_t n_ctx,
                        const char *what)
{
    struct run r = { .what = what, .n_texts = n_texts, .n = n, .n_ctx = n_ctx > 0 ? n_ctx : n };
    const struct quant_type *type = quant_find_name(spec->type_mix);
    const char *path = model_file_of(spec);
    run_weft(path, &r);
    if (type->block == 1) {
        compare_rows(path, &r, FLOAT_BOUND);
        compare_exactly(path, &r, type->id == QUANT_F32 ? 1e-6 : 1e-4);
    } else {
        size_t n_clean = compare_rows(path, &r, NOISE_BOUND);
        if (n_texts > 1 && n_clean * 4 < n_texts) {
            fail_msg("%s: only %zu of %zu texts have an NMSE below %.0e", what, n_clean, n_texts,
                     CLEAN_BOUND);
        }
    }
    free(r.tokens);
    free(r.logits);
    remove(path);
}

static void check_spec(const struct synth_spec *spec, size_t n, size_t n_ctx, const char *what)
{
    check_texts(spec, 1, n, n_ctx, what);
}

static struct synth_spec spec_of(const char *preset)
{
    struct synth_spec s;
    assert_true(synth_preset(preset, &s));
    s.n_vocab = 512;
    return s;
}

/* ---------------------------------------------------------------- architectures x types */

/* The shapes of the architectures for types with small blocks, and shapes in which all rows are
 * multiples of 256, for the other types. */
struct shape {
    const char *preset;
    size_t n_heads, n_kv_heads, head_dim;
    size_t dim, n_ff; /* multiples of 32, but not of 64 */
    size_t dim_256, n_ff_256, heads_256;
};

static const struct shape shapes[] = {
    { "tiny-qwen2", 7, 1, 32, 224, 160, 256, 512, 8 },
    { "tiny-qwen3", 4, 2, 80, 96, 288, 256, 256, 16 },
    { "tiny-phi3", 3, 3, 96, 288, 96, 256, 256, 8 },
    { "tiny-llama", 8, 2, 64, 160, 224, 512, 256, 4 },
};

static void test_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *shape = &shapes[i];
        for (size_t j = 0; quant_at(j) != NULL; j++) {
            struct synth_spec s = spec_of(shape->preset);
            bool wide = quant_at(j)->block == 256;
            char what[64];
            s.dim = wide ? shape->dim_256 : shape->dim;
            s.n_ff = wide ? shape->n_ff_256 : shape->n_ff;
            s.n_heads = wide ? shape->heads_256 : shape->n_heads;
            s.n_kv_heads = shape->n_kv_heads;
            if (s.n_heads % s.n_kv_heads != 0) {
                s.n_kv_heads = s.n_heads;
            }
            s.head_dim = shape->head_dim;
            s.type_mix = quant_at(j)->name;
            snprintf(what, sizeof what, "%s %s", s.arch, s.type_mix);
            check_texts(&s, 8, 3, 0, what);
        }
    }
}

/* ---------------------------------------------------------------- variants */

static void test_context(void **state)
{
    (void)state;
    static const struct {
        const char *preset, *type;
        size_t n;
    } runs[] = {
        { "tiny-qwen2", "q8_0", 130 }, { "tiny-qwen3", "f16", 130 }, { "tiny-phi3", "q5_1", 130 },
        { "tiny-llama", "f32", 130 },  { "tiny-qwen2", "f32", 530 },
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct synth_spec s = spec_of(runs[i].preset);
        char what[64];
        s.n_ctx = 1024;
        s.type_mix = runs[i].type;
        snprintf(what, sizeof what, "%s %s, %zu tokens", s.arch, s.type_mix, runs[i].n);
        check_spec(&s, runs[i].n, 0, what);
    }
}

/* Layers of one model differ: what is computed follows each layer, not the keys of the file. */
static void test_layers_differ(void **state)
{
    (void)state;
    static const char *const types[] = { "f32", "q8_0" };
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof shapes[0]; i++) {
        struct synth_spec s = spec_of(shapes[i / 2].preset);
        /* The larger the head, the less does one value of K or V that rounds the other way
         * matter. */
        s.head_dim = 96;
        s.type_mix = types[i % 2];
        struct run r = {
            .what = "layers that differ", .n_texts = 2, .n = 24, .n_ctx = 24, .differ = true
        };
        const char *path = model_file_of(&s);
        run_weft(path, &r);
        compare_rows(path, &r, i % 2 == 0 ? FLOAT_BOUND : NOISE_BOUND);
        free(r.tokens);
        free(r.logits);
        remove(path);
    }
}

static void test_tied_and_untied(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct synth_spec s = spec_of(shapes[i].preset);
        s.tied = false;
        check_spec(&s, 6, 0, "untied");
        s.tied = true;
        check_spec(&s, 6, 0, "tied");
    }
}

/* Several query heads share one KV head, and head sizes are not multiples of a vector. */
static void test_heads(void **state)
{
    (void)state;
    static const struct {
        size_t n_heads, n_kv_heads, head_dim;
    } heads[] = { { 14, 2, 64 }, { 3, 3, 80 }, { 4, 2, 96 }, { 8, 2, 32 },
                  { 7, 1, 18 },  { 1, 1, 2 },  { 5, 5, 6 },  { 18, 1, 10 } };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct synth_spec s = spec_of(i % 2 ? "tiny-llama" : "tiny-qwen3");
        char what[64];
        s.n_heads = heads[i].n_heads;
        s.n_kv_heads = heads[i].n_kv_heads;
        s.head_dim = heads[i].head_dim;
        s.dim = 72;
        s.n_ff = 100;
        s.rope_freqs = false;
        snprintf(what, sizeof what, "%zu/%zu heads of %zu", s.n_heads, s.n_kv_heads, s.head_dim);
        check_spec(&s, 70, 0, what);
    }
}

static void test_rope_freqs(void **state)
{
    (void)state;
    struct synth_spec s = spec_of("tiny-llama");
    check_spec(&s, 70, 0, "rope_freqs");
    s.rope_freqs = false;
    check_spec(&s, 70, 0, "no rope_freqs");
}

static void test_partial_rotary(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-phi3", "tiny-llama" };
    for (size_t i = 0; i < 3; i++) {
        struct synth_spec s = spec_of(presets[i]);
        s.head_dim = 32;
        s.n_rot = 24;
        check_spec(&s, 40, 0, "24 of 32 dimensions rotated");
    }
}

/* The length of the text decides, not the context of the engine. */
static void test_long_short(void **state)
{
    (void)state;
    struct synth_spec s = spec_of("tiny-phi3");
    s.rope_long_short = true;
    s.rope_scaling_type = "longrope";
    s.rope_scaling_factor = 1.0f;
    s.n_ctx = 512;
    s.n_ctx_orig = 64;
    s.attn_factor = 1.19f;
    check_spec(&s, 64, 512, "short factors in a long context");
    check_spec(&s, 65, 65, "long factors");
    check_spec(&s, 140, 512, "long factors, long text");
    s.head_dim = 32;
    s.n_rot = 24;
    check_spec(&s, 70, 512, "long factors on a part of the head");
}

static void test_linear_scaling(void **state)
{
    (void)state;
    struct synth_spec s = spec_of("tiny-llama");
    s.rope_freqs = false;
    s.rope_scaling_type = "linear";
    s.rope_scaling_factor = 4.0f;
    check_spec(&s, 70, 0, "linear scaling");
    s.rope_scaling_type = "none";
    check_spec(&s, 70, 0, "scaling of type none");
}

/* Beyond the original context, on all heads and on a part of them, with pairs before, on and behind
 * the ramp, and where the ramp is a step. */
static void test_yarn(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3",   "tiny-phi3",
                                           "tiny-llama", "tiny-qwen2vl", "tiny-qwen3vl" };
    static const char *const keys[][3] = {
        { "general.type=str:model" },
        { "%s.rope.scaling.yarn_beta_fast=f32:8", "%s.rope.scaling.yarn_beta_slow=f32:0.5" },
        { "%s.rope.scaling.yarn_beta_fast=f32:4", "%s.rope.scaling.yarn_beta_slow=f32:4" },
        { "%s.rope.scaling.yarn_ext_factor=f32:0.75", "%s.rope.scaling.attn_factor=f32:1.25" },
        { "%s.rope.scaling.yarn_ext_factor=f32:-1", "%s.rope.scaling.yarn_attn_factor=f32:1" },
    };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        for (size_t j = 0; j < sizeof keys / sizeof keys[0]; j++) {
            char text[3][80], what[64];
            const char *added[3];
            struct synth_spec s = spec_of(presets[i]);
            for (; s.n_keys < 3 && keys[j][s.n_keys] != NULL; s.n_keys++) {
                const char *key = keys[j][s.n_keys];
                bool own = key[0] == '%';
                snprintf(text[s.n_keys], sizeof text[0], "%s%s", own ? s.arch : "",
                         own ? key + 2 : key);
                added[s.n_keys] = text[s.n_keys];
            }
            s.keys = added;
            s.rope_scaling_type = "yarn";
            s.rope_scaling_factor = 4.0f;
            s.rope_base = j == 4 ? 4.0f : 1e4f; /* 4: the ramp ends behind the last pair */
            s.head_dim = 32;
            s.n_rot = j == 1 ? 24 : 32;
            s.n_ctx = s.n_ctx_orig = 128;
            snprintf(what, sizeof what, "yarn, %s, keys %zu", presets[i], j);
            check_spec(&s, j == 0 ? 200 : 40, 512, what);
        }
    }
}

/* The text part of vision models. */
static void test_vision_text(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2vl", "tiny-qwen3vl" };
    for (size_t i = 0; i < 4; i++) {
        struct synth_spec s = spec_of(presets[i / 2]);
        s.type_mix = i % 2 ? "q8_0" : "f32";
        check_spec(&s, 70, 0, presets[i / 2]);
    }
}

static void test_sliding_window(void **state)
{
    (void)state;
    static const size_t windows[] = { 1, 5, 64, 65, 200 };
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        struct synth_spec s = spec_of("tiny-phi3");
        char what[64];
        s.sliding_window = windows[i];
        snprintf(what, sizeof what, "window of %zu", windows[i]);
        check_spec(&s, 140, 0, what);
    }
}

/* K and V in each of their types, through pages and windows, with heads that share a KV head. */
static void test_kv_types(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        size_t n_heads, n_kv_heads, head_dim, window;
    } runs[] = { { "tiny-qwen3", 4, 2, 32, 0 },
                 { "tiny-llama", 14, 2, 64, 0 },
                 { "tiny-phi3", 3, 3, 96, 0 },
                 { "tiny-phi3", 3, 1, 32, 70 } };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct synth_spec s = spec_of(runs[i].preset);
        s.n_heads = runs[i].n_heads;
        s.n_kv_heads = runs[i].n_kv_heads;
        s.head_dim = runs[i].head_dim;
        s.dim = s.n_heads * s.head_dim;
        s.rope_freqs = false;
        s.sliding_window = runs[i].window;
        s.type_mix = "f32";
        const char *path = model_file_of(&s);
        for (unsigned types = 1; types < 4; types++) {
            char what[64];
            struct run r = { .what = what, .n_texts = 1, .n = 140, .n_ctx = 140 };
            r.kv_type[0] = types & 1 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
            r.kv_type[1] = types & 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
            snprintf(what, sizeof what, "%s with K, V of types %d, %d", s.arch, (int)r.kv_type[0],
                     (int)r.kv_type[1]);
            run_weft(path, &r);
            compare_rows(path, &r, KV_Q8_0_BOUND);
            free(r.tokens);
            free(r.logits);
        }
        remove(path);
    }
}

/* Every product that may have a bias has one. q, k and v are in one tensor, as they always are in
 * phi3. */
static void test_biases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (unsigned which = 0; which < 6; which++) {
            struct synth_spec s = spec_of(shapes[i].preset);
            char what[64];
            s.biases = which < 4;
            s.fused_qkv = which % 2 == 1;
            s.n_ff = which < 2 ? 100 : 96;
            s.type_mix = which == 2 || which == 3 ? "q8_0" : "f32";
            snprintf(what, sizeof what, "%s %s%s%s", s.arch, s.type_mix, s.biases ? " biases" : "",
                     s.fused_qkv ? " fused" : "");
            check_texts(&s, 6, 7, 0, what);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),          cmocka_unit_test(test_context),
        cmocka_unit_test(test_layers_differ),  cmocka_unit_test(test_tied_and_untied),
        cmocka_unit_test(test_heads),          cmocka_unit_test(test_rope_freqs),
        cmocka_unit_test(test_partial_rotary), cmocka_unit_test(test_long_short),
        cmocka_unit_test(test_linear_scaling), cmocka_unit_test(test_yarn),
        cmocka_unit_test(test_vision_text),    cmocka_unit_test(test_sliding_window),
        cmocka_unit_test(test_kv_types),       cmocka_unit_test(test_biases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
