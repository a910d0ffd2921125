/* Steps of many rows with values that ordinary models do not have: rows whose halves are scaled,
 * gate and up beyond what a half holds, products of matrices of several types, matrices in pieces.
 * Each is compared with tests/support/reference.c, with exact activations.
 *
 * The bounds, as NMSE of the last row's logits, are those of tests/cuda/test_model.c for tensor
 * cores: HALF_BOUND for f16 and f32, HEAD_BOUND if a matrix is quantised. A scale that is left out,
 * or a product in a wrong place, has an NMSE near 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda/cuda.h"
#include "format/gguf.h"
#include "run/engine.h"
#include "support/models.h"
#include "support/reference.h"
#include "support/rig.h"
#include "synth/synth.h"

#define HALF_BOUND 1e-5
#define HEAD_BOUND 1e-4

enum { N = 40, MAX_WEIGHTS = 1 << 20 };

/* The tensors whose names contain `name` are multiplied. */
struct factor {
    const char *name;
    float by;
};

static struct synth_spec spec_of(const char *preset, const char *types)
{
    struct synth_spec s;
    assert_true(synth_preset(preset, &s));
    s.n_vocab = 512;
    s.type_mix = types;
    s.dim = s.n_ff = 256;
    s.n_heads = 4, s.n_kv_heads = 2, s.head_dim = 64;
    return s;
}

/* Multiplies all values of a tensor in the file by a power of two: the codes of Q8_0 stay as they
 * are. */
static void multiply_tensor(int fd, const struct gguf *g, const struct gguf_tensor *t, float by)
{
    static float x[MAX_WEIGHTS];
    static uint8_t bytes[MAX_WEIGHTS * sizeof(float)];
    assert_true(t->type->block == 1 || t->type->id == QUANT_Q8_0);
    assert_true(t->n_elements <= MAX_WEIGHTS);
    t->type->decode(t->data, x, t->n_elements);
    for (size_t i = 0; i < t->n_elements; i++) {
        x[i] *= by;
        assert_true(t->type->id == QUANT_F32 || fabsf(x[i]) <= 65504.0f);
    }
    t->type->encode(x, bytes, t->n_elements);
    assert_int_equal(pwrite(fd, bytes, t->n_bytes, t->data - g->parts[0].data), t->n_bytes);
}

static const char *model_with(const struct synth_spec *spec, const struct factor *f, size_t n)
{
    weft_error err;
    struct gguf *g;
    const char *path = model_file_of(spec);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(gguf_open(path, true, &g, &err), WEFT_OK);
    for (size_t k = 0; k < n; k++) {
        size_t n_found = 0;
        for (size_t i = 0; i < g->n_tensors; i++) {
            if (strstr(g->tensors[i].name, f[k].name) != NULL) {
                multiply_tensor(fd, g, &g->tensors[i], f[k].by);
                n_found++;
            }
        }
        assert_int_equal(n_found, spec->n_layers);
    }
    gguf_close(g);
    close(fd);
    return path;
}

/* Checks the model in one step of many rows. `rows` is the number of weight rows that become halves
 * at once, 0 = all rows of a product. */
static void check_model(const char *path, double bound, size_t rows, const char *what)
{
    const weft_engine_params p = { .size = sizeof p, .device = "cuda", .n_batch = 64 };
    const struct reference_options options = { 0 };
    struct rig r = rig_open(path, &p);
    int32_t tokens[N];
    size_t n_vocab;
    rig_tokens(&r, 3, tokens, N);
    if (rows > 0) {
        struct cuda *c = (struct cuda *)r.engine->backend;
        assert_true(c->halves_bytes > rows * 512);
        /* A row has 256 columns. */
        c->halves_bytes = rows * 512;
    }
    weft_seq *seq = rig_fed(&r, tokens, N);
    float *got = rig_logits(&r, seq);
    double *want = reference_logits(path, &options, tokens, N, &n_vocab);
    assert_non_null(want);
    double e = reference_nmse(got, want + (N - 1) * n_vocab, n_vocab);
    if (!(e <= bound)) {
        fail_msg("%s: NMSE %.2e, expected at most %.0e", what, e, bound);
    }
    free(got);
    free(want);
    weft_seq_release(&seq);
    rig_close(&r);
}

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
enum { N_PRESETS = sizeof presets / sizeof presets[0] };

/* Normalised rows have values up to 3 * 2^16, beyond a half float, so they are scaled down. The
 * matrices that multiply them are smaller by 2^16, so that later values are as usual. */
static void test_large_norms(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRESETS; i++) {
        const struct synth_spec s = spec_of(presets[i], "f16");
        const bool fused = strcmp(s.arch, "phi3") == 0;
        const struct factor joint[] = { { "attn_norm.", 0x1p16f },
                                        { "attn_qkv.", 0x1p-16f },
                                        { "ffn_norm.", 0x1p16f },
                                        { "ffn_up.", 0x1p-16f } };
        const struct factor apart[] = {
            { "attn_norm.", 0x1p16f },     { "attn_q.weight", 0x1p-16f },
            { "attn_k.weight", 0x1p-16f }, { "attn_v.weight", 0x1p-16f },
            { "ffn_norm.", 0x1p16f },      { "ffn_up.", 0x1p-16f },
            { "ffn_gate.", 0x1p-16f }
        };
        check_model(fused ? model_with(&s, joint, 4) : model_with(&s, apart, 7), HALF_BOUND, 0,
                    presets[i]);
    }
}

/* Up or gate is about 10^5, more than a half holds. The products of quantised matrices are stored
 * as halves, so a scale has to keep them in range. Later values are as usual. */
static void test_large_gates(void **state)
{
    (void)state;
    const struct factor up[] = { { "ffn_up.", 0x1p17f }, { "ffn_down.", 0x1p-17f } };
    const struct factor gate[] = { { "ffn_gate.", 0x1p17f }, { "ffn_down.", 0x1p-17f } };
    for (size_t i = 0; i < N_PRESETS; i++) {
        const struct synth_spec s = spec_of(presets[i], "q8_0");
        /* In phi3 gate and up are one tensor. */
        if (strcmp(s.arch, "phi3") != 0) {
            check_model(model_with(&s, up, 2), HEAD_BOUND, 0, "large up");
            check_model(model_with(&s, gate, 2), HEAD_BOUND, 0, "large gate");
        }
    }
}

/* Gate and up have biases that halves could not hold. Without biases the products of these weights
 * would be computed as halves. */
static void test_large_biases(void **state)
{
    (void)state;
    const struct factor up[] = { { "ffn_up.bias", 0x1p23f }, { "ffn_down.weight", 0x1p-17f } };
    const struct factor gate[] = { { "ffn_gate.bias", 0x1p23f }, { "ffn_down.weight", 0x1p-17f } };
    struct synth_spec s = spec_of("tiny-llama", "q8_0");
    s.biases = true;
    check_model(model_with(&s, NULL, 0), HEAD_BOUND, 0, "biases");
    check_model(model_with(&s, up, 2), HEAD_BOUND, 0, "large bias of up");
    check_model(model_with(&s, gate, 2), HEAD_BOUND, 0, "large bias of gate");
}

/* Types take turns, so that neighbouring matrices have different types, both within one product
 * and from one product to the next. */
static void test_mixed_types(void **state)
{
    (void)state;
    static const struct {
        const char *types;
        double bound;
    } mixes[] = { { "f16+f32", HALF_BOUND },           { "f32+f32+f16", HALF_BOUND },
                  { "f16+f16+f32", HALF_BOUND },       { "q4_k+q6_k", HEAD_BOUND },
                  { "q4_k+f32+q6_k+f16", HEAD_BOUND }, { "q8_0+q4_k+f32", HEAD_BOUND } };
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++) {
        /* First with biases, then with norms of heads. */
        for (size_t k = 0; k < 2; k++) {
            const struct synth_spec s = spec_of(presets[k], mixes[i].types);
            check_model(model_file_of(&s), mixes[i].bound, 0, mixes[i].types);
        }
    }
}

/* A product is computed in pieces that end inside a matrix, at its end, or after several matrices.
 * Some pieces have fewer rows than a tile, some fewer than two tiles. */
static void test_pieces(void **state)
{
    (void)state;
    static const size_t rows[] = { 1, 100, 128, 200, 300, 511 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct synth_spec s =
            spec_of(presets[i % N_PRESETS], i < 3 ? "f16" : "q4_k+f32+q6_k");
        check_model(model_file_of(&s), i < 3 ? HALF_BOUND : HEAD_BOUND, rows[i], "in pieces");
    }
}

/* Tiny models leave room for the largest number of rows. */
static void test_default(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .device = "cuda" };
    struct rig r = rig_open(model_file(presets[0]), &p);
    assert_int_equal(rig_info(&r).n_batch, 2048);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_norms), cmocka_unit_test(test_large_gates),
        cmocka_unit_test(test_mixed_types), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_default),     cmocka_unit_test(test_large_biases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
