/* Tensors that a file may have or not: biases, and q, k and v in one tensor or in three. If the
 * file has them, they are used; if only a part of a group is there, the file is refused.
 * test_model.c tests their shapes and types, test_forward.c their arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"
#include "support/edit.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
enum { N_PRESETS = 4, N_TOKENS = 5 };

static const int32_t tokens[N_TOKENS] = { 300, 301, 302, 303, 300 };
static const char *edited;

static int setup(void **state)
{
    (void)state;
    edited = model_path("edited.gguf");
    return 0;
}

static const char *biased(const char *preset, bool fused_qkv)
{
    struct synth_spec s;
    assert_true(synth_preset(preset, &s));
    s.biases = true;
    s.fused_qkv = fused_qkv;
    return model_file_of(&s);
}

static float *logits_of(const char *path, size_t *n)
{
    struct rig r = rig_open(path, NULL);
    float *logits = rig_expected(&r, tokens, N_TOKENS);
    *n = r.n_vocab;
    rig_close(&r);
    return logits;
}

static bool same_logits(const char *a, const char *b)
{
    size_t n, m;
    float *x = logits_of(a, &n), *y = logits_of(b, &m);
    bool same = n == m && memcmp(x, y, n * sizeof *x) == 0;
    free(x);
    free(y);
    return same;
}

static void refused(const struct edit *edits, size_t n, const char *path, weft_status want,
                    const char *name, const char *what)
{
    weft_model *model = NULL;
    edit_model(path, edited, edits, n);
    rig_err = (weft_error){ 0 };
    rig_expect(weft_model_open(edited, NULL, &model, E), want, name, __FILE__, __LINE__);
    rig_message((const char *const[]){ edited, name, what, NULL });
}

/* Groups of tensors of which a file must have all or none, with their names in the last layer. */
static const struct group {
    const char *preset;
    size_t n;
    const char *names[3];
} groups[] = {
    { "tiny-qwen2", 3, { "blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias" } },
    { "tiny-qwen3", 3, { "blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias" } },
    { "tiny-llama", 3, { "blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias" } },
    { "tiny-llama", 3, { "blk.1.ffn_gate.bias", "blk.1.ffn_up.bias", "blk.1.ffn_down.bias" } },
    { "tiny-llama", 1, { "blk.1.attn_output.bias" } },
    { "tiny-phi3", 1, { "blk.1.attn_qkv.bias" } },
    { "tiny-qwen2", 1, { "output.bias" } },
};

/* If one tensor of a group is absent, the file is refused. If all are absent, the file opens, and
 * the logits are others. */
static void test_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        const struct group *g = &groups[i];
        const char *path = biased(g->preset, false);
        struct edit drops[3];
        for (size_t k = 0; k < g->n; k++) {
            drops[k] = (struct edit){ .what = EDIT_TENSOR_DROP, .name = g->names[k] };
            if (g->n > 1) {
                refused(&drops[k], 1, path, WEFT_E_FORMAT, g->names[k], "missing");
            }
        }
        edit_model(path, edited, drops, g->n);
        assert_false(same_logits(path, edited));
    }
}

/* Each bias alone changes the logits. */
static void test_each(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        for (size_t k = 0; k < groups[i].n; k++) {
            const char *path = biased(groups[i].preset, false);
            const struct edit fill = { .what = EDIT_TENSOR_FILL,
                                       .name = groups[i].names[k],
                                       .f = 0.25f };
            edit_model(path, edited, &fill, 1);
            if (same_logits(path, edited)) {
                fail_msg("%s of %s changes nothing", fill.name, groups[i].preset);
            }
        }
    }
}

/* Biases that are all zeros give the same bits as no biases. */
static void test_zeros(void **state)
{
    (void)state;
    static const char *const names[] = { "attn_q.bias",      "attn_k.bias",   "attn_v.bias",
                                         "attn_output.bias", "ffn_gate.bias", "ffn_up.bias",
                                         "ffn_down.bias" };
    enum { N = sizeof names / sizeof names[0] };
    static char of_layer[2 * N][32];
    const uint64_t ne[N] = { 64, 64, 64, 64, 96, 96, 64 }; /* the lengths in tiny-llama */
    struct edit zeros[2 * N];
    for (size_t i = 0; i < 2 * (size_t)N; i++) {
        snprintf(of_layer[i], sizeof of_layer[i], "blk.%zu.%s", i / N, names[i % N]);
        zeros[i] =
            (struct edit){ .what = EDIT_TENSOR_NEW, .name = of_layer[i], .ne = { ne[i % N] } };
    }
    edit_model(model_file("tiny-llama"), edited, zeros, 2 * (size_t)N);
    assert_true(same_logits(model_file("tiny-llama"), edited));
}

/* Makes a copy in which attn_qkv of each layer, weight and bias, is in three parts. */
static void split_qkv(const char *path)
{
    enum { N_LAYERS = 2, PER_LAYER = 8 };
    static char names[N_LAYERS * PER_LAYER][32];
    struct edit edits[N_LAYERS * PER_LAYER];
    struct gguf *g;
    weft_error err;
    size_t n = 0;
    assert_int_equal(gguf_open(path, true, &g, &err), WEFT_OK);
    for (size_t i = 0; i < 2 * (size_t)N_LAYERS; i++) {
        static const char parts[3] = { 'q', 'k', 'v' };
        const char *suffix = i % 2 == 0 ? "weight" : "bias";
        snprintf(names[n], sizeof names[n], "blk.%zu.attn_output.weight", i / 2);
        const uint64_t q = gguf_find_tensor(g, names[n])->ne[0];
        snprintf(names[n], sizeof names[n], "blk.%zu.attn_qkv.%s", i / 2, suffix);
        const struct gguf_tensor *t = gguf_find_tensor(g, names[n]);
        const uint64_t cols = t->n_dims > 1 ? t->ne[0] : 1, rows = t->n_elements / cols;
        edits[n] = (struct edit){ .what = EDIT_TENSOR_DROP, .name = names[n] };
        n++;
        const uint8_t *at = t->data;
        for (size_t k = 0; k < 3; k++, n++) {
            const uint64_t some = k == 0 ? q : (rows - q) / 2;
            snprintf(names[n], sizeof names[n], "blk.%zu.attn_%c.%s", i / 2, parts[k], suffix);
            edits[n] = (struct edit){ .what = EDIT_TENSOR_NEW, .name = names[n], .values = at };
            edits[n].ne[0] = cols > 1 ? cols : some;
            edits[n].ne[1] = cols > 1 ? some : 0;
            at += some * cols * sizeof(float);
        }
        assert_true(at == t->data + t->n_bytes);
    }
    edit_model(path, edited, edits, n);
    gguf_close(g);
}

/* q, k and v in one tensor or in three, with one bias or three, give the same model and the same
 * bits. */
static void test_fused_qkv(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRESETS; i++) {
        const char *path = biased(presets[i], true);
        split_qkv(path);
        assert_true(same_logits(path, edited));
        /* A part beside the whole is one tensor too many. */
        const struct edit more[] = {
            { .what = EDIT_TENSOR_NEW, .name = "blk.0.attn_q.weight", .ne = { 64, 64 } },
            { .what = EDIT_TENSOR_NEW, .name = "blk.0.attn_v.bias", .ne = { 64 } },
        };
        for (size_t k = 0; k < 2; k++) {
            refused(&more[k], 1, path, WEFT_E_UNSUPPORTED, more[k].name, presets[i] + 5);
        }
    }
}

/* The bits are the same however a text is cut into steps and the work is cut for threads, with any
 * instructions, from packed weights or from the file. The number of rows is no multiple of a tile,
 * and the biases are not aligned to vectors. */
static void test_cuts(void **state)
{
    (void)state;
    enum { N = 100 };
    static const struct {
        size_t n_batch, n_threads;
        weft_cpu_isa isa;
        bool no_repack;
    } ways[] = { { 1, 1, WEFT_ISA_AUTO, false },
                 { 7, 2, WEFT_ISA_AUTO, false },
                 { 64, 5, WEFT_ISA_SCALAR, false },
                 { 33, 2, WEFT_ISA_AUTO, true } };
    for (size_t i = 0; i < 2 * (size_t)N_PRESETS; i++) {
        struct synth_spec spec;
        int32_t text[N];
        assert_true(synth_preset(presets[i / 2], &spec));
        spec.biases = spec.fused_qkv = true;
        spec.type_mix = i % 2 == 0 ? "f32" : "q8_0";
        spec.n_heads = 3, spec.n_kv_heads = 1, spec.head_dim = 18;
        spec.dim = 72, spec.n_ff = 100, spec.n_vocab = 517;
        spec.rope_freqs = false;
        const char *path = model_file_of(&spec);
        struct rig r = rig_open(path, NULL);
        rig_tokens(&r, i, text, N);
        float *want = rig_expected(&r, text, N);
        for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
            const weft_engine_params p = { .size = sizeof p,
                                           .n_batch = ways[k].n_batch,
                                           .n_threads = ways[k].n_threads,
                                           .cpu_isa = ways[k].isa,
                                           .no_repack = ways[k].no_repack };
            struct rig other = rig_open(path, &p);
            float *got = rig_expected(&other, text, N);
            rig_same(&r, got, want, presets[i / 2]);
            free(got);
            rig_close(&other);
        }
        free(want);
        rig_close(&r);
    }
}

/* A state of the model without a bias does not belong to the model with it. */
static void test_states(void **state)
{
    (void)state;
    const char *path = biased("tiny-llama", false);
    const struct edit drop = { .what = EDIT_TENSOR_DROP, .name = "blk.1.attn_output.bias" };
    edit_model(path, edited, &drop, 1);
    struct rig whole = rig_open(path, NULL), less = rig_open(edited, NULL);
    weft_seq *from = rig_fed(&less, tokens, N_TOKENS), *to = rig_seq(&whole, NULL);
    size_t n = 0;
    FAILS(WEFT_E_BUFFER, weft_seq_save(from, NULL, 0, &n, E));
    uint8_t *saved = malloc(n);
    OK(weft_seq_save(from, saved, n, &n, E));
    FAILS(WEFT_E_ARG, weft_seq_load(to, saved, n, E));
    rig_message((const char *const[]){ "another model", "fingerprint", NULL });
    OK(weft_seq_load(from, saved, n, E));
    free(saved);
    weft_seq_release(&from);
    weft_seq_release(&to);
    rig_close(&whole);
    rig_close(&less);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups), cmocka_unit_test(test_each),
        cmocka_unit_test(test_zeros),  cmocka_unit_test(test_fused_qkv),
        cmocka_unit_test(test_states), cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
