/* Opening models with faults: every hyper-parameter zero, huge, of a wrong type or missing; every
 * tensor of a wrong shape, of a wrong type, missing, or one too many; features that Weft does not
 * run, which are refused by name. An edited file either opens and computes, or is refused with a
 * message that names the file and the key or tensor. It never crashes, and never takes more than a
 * moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/gguf.h"
#include "support/edit.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/slowed.h"
#include "synth/synth.h"

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3",   "tiny-phi3",
                                       "tiny-llama", "tiny-qwen2vl", "tiny-qwen3vl" };
enum { N_PRESETS = 4 };

/* Processor time of an opening, refused or not: the time that is promised, and ten times as much
 * where every memory access is checked. */
#ifdef SLOWED
#define MOST_SECONDS 0.5
#else
#define MOST_SECONDS 0.05
#endif

static const char *edited;

static int setup(void **state)
{
    (void)state;
    edited = model_path("edited.gguf");
    return 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static weft_status open_edited(const char *path, const struct edit *edits, size_t n,
                               weft_model **model)
{
    edit_model(path, edited, edits, n);
    double start = seconds();
    weft_status status = weft_model_open(edited, NULL, model, E);
    assert_true(seconds() - start < MOST_SECONDS);
    return status;
}

/* Opens the copy with these edits, and expects a refusal with this status. */
static void refuse(const char *path, const struct edit *edits, size_t n, weft_status want)
{
    weft_model *model = NULL;
    rig_err = (weft_error){ 0 };
    rig_expect(open_edited(path, edits, n, &model), want, edits[0].name, __FILE__, __LINE__);
    assert_null(model);
    WORDS(edited);
}

#define REFUSE(path, want, ...)                                                                    \
    refuse(path, (const struct edit[]){ __VA_ARGS__ },                                             \
           sizeof((const struct edit[]){ __VA_ARGS__ }) / sizeof(struct edit), want)

/* Computes a few tokens of a model that was opened. */
static void compute(weft_model *model)
{
    const weft_engine_params p = { .size = sizeof p, .n_batch = 4, .n_kv = 64, .n_threads = 1 };
    struct rig r = { .model = model };
    int32_t tokens[3] = { 300, 301, 302 };
    OK(weft_engine_open(model, &p, &r.engine, E));
    weft_seq *seq = rig_fed(&r, tokens, 3);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- keys */

/* Which values of a key are refused; with the other values the model must compute. */
struct key_case {
    const char *suffix;
    bool is_float;
    bool missing, zero, huge; /* refused? */
};

static const struct key_case keys[] = {
    { "embedding_length", false, true, true, true },
    { "block_count", false, true, true, true },
    { "feed_forward_length", false, true, true, true },
    { "context_length", false, true, true, true },
    { "attention.head_count", false, true, true, true },
    { "attention.head_count_kv", false, true, true, true },
    { "attention.key_length", false, false, false, true },
    { "attention.value_length", false, false, false, true },
    { "attention.layer_norm_rms_epsilon", true, true, true, true },
    { "attention.sliding_window", false, false, false, false },
    { "rope.dimension_count", false, false, true, true },
    { "rope.freq_base", true, false, true, true },
    { "rope.scaling.factor", true, false, false, true },
    { "rope.scaling.attn_factor", true, false, true, true },
    { "rope.scaling.original_context_length", false, false, false, false },
    { "expert_count", false, false, false, true },
};

static void try_key(const char *path, const struct edit *e, bool refused, const char *suffix)
{
    weft_model *model = NULL;
    weft_status status = open_edited(path, e, 1, &model);
    if (!refused) {
        if (status != WEFT_OK) {
            fail_msg("%s: %s", e->name, rig_err.message);
        }
        compute(model);
        return;
    }
    if (status != WEFT_E_FORMAT && status != WEFT_E_UNSUPPORTED) {
        fail_msg("%s (edit %d): %s, expected to be refused", e->name, (int)e->what,
                 weft_status_name(status));
    }
    WORDS(edited);
    /* The message names the key, or the last part of it. */
    const char *dot = strrchr(suffix, '.');
    WORDS(dot != NULL ? dot + 1 : suffix);
}

/* Returns true if a file of this preset means the same without the key. */
static bool may_miss(const char *preset, const struct key_case *k)
{
    return strcmp(k->suffix, "attention.head_count_kv") == 0
               ? strcmp(preset, "tiny-llama") == 0       /* as many as query heads */
               : strncmp(preset, "tiny-qwen3", 10) != 0; /* attention.key_length: dim / heads */
}

static void try_values(const char *path, const char *preset, const struct key_case *k)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", preset + 5, k->suffix);
    struct edit e = { .what = EDIT_KEY_DROP, .name = key };
    bool length = strcmp(k->suffix, "attention.key_length") == 0;
    bool heads = strcmp(k->suffix, "attention.head_count_kv") == 0;
    if (!heads && !length) {
        try_key(path, &e, k->missing, k->suffix);
    } else if (may_miss(preset, k)) {
        try_key(path, &e, false, k->suffix);
    }
    e.what = k->is_float ? EDIT_KEY_F32 : EDIT_KEY_U32;
    if (!length || may_miss(preset, k)) {
        /* A length of zero counts as an absent key. */
        try_key(path, &e, k->zero, k->suffix);
    }
    e.u = UINT32_MAX;
    e.f = INFINITY;
    try_key(path, &e, k->huge, k->suffix);
    e.f = NAN;
    try_key(path, &e, k->huge, k->suffix);
    e.what = EDIT_KEY_STR;
    e.s = "many";
    try_key(path, &e, true, k->suffix);
}

/* Hyper-parameters that are missing, zero, huge, not a number or of another kind. */
static void test_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRESETS; i++) {
        for (size_t j = 0; j < sizeof keys / sizeof keys[0]; j++) {
            try_values(model_file(presets[i]), presets[i], &keys[j]);
        }
    }
}

/* Every key of the files in turn is missing, and then has every other type. The file is refused, or
 * it opens and the model computes. */
static void test_every_key(void **state)
{
    (void)state;
    size_t n_refused = 0;
    for (size_t i = 0; i < N_PRESETS; i++) {
        weft_error err;
        struct gguf *g;
        const char *path = model_file(presets[i]);
        assert_int_equal(gguf_open(path, true, &g, &err), WEFT_OK);
        for (size_t k = 0; k < g->n_kv; k++) {
            for (uint32_t type = 0; type <= GGUF_N_TYPES; type++) {
                const struct edit e = { .what = type < GGUF_N_TYPES ? EDIT_KEY_TYPE : EDIT_KEY_DROP,
                                        .name = g->kv[k].key,
                                        .u = type };
                weft_model *model = NULL;
                weft_status status = open_edited(path, &e, 1, &model);
                if (status == WEFT_OK) {
                    compute(model);
                    continue;
                }
                n_refused++;
                if (status != WEFT_E_FORMAT && status != WEFT_E_UNSUPPORTED) {
                    fail_msg("%s, type %u: %s", e.name, type, weft_status_name(status));
                }
                WORDS(edited);
            }
        }
        /* A model cannot do without the architecture, its five sizes, and the four arrays of a
         * vocabulary. */
        assert_true(n_refused > (i + 1) * 10 * (GGUF_N_TYPES - 1));
        gguf_close(g);
    }
}

/* Numbers that contradict each other or the tensors. */
static void test_contradictions(void **state)
{
    (void)state;
    /* tiny-qwen2 has dim 64, 4 heads, 2 KV heads, n_ff 96. */
    const char *qwen2 = model_file("tiny-qwen2");
#define U32(key, value) { .what = EDIT_KEY_U32, .name = key, .u = value }
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.attention.head_count", 3));
    WORDS("head_count", "3");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.attention.head_count_kv", 3));
    WORDS("4", "3");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.attention.head_count_kv", 8));
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.embedding_length", 66));
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.embedding_length", 128));
    WORDS("token_embd.weight", "64", "128");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.feed_forward_length", 95));
    WORDS("ffn_gate.weight", "96", "95");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.block_count", 3));
    WORDS("blk.2.attn_norm.weight", "missing");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.block_count", 4096));
    REFUSE(qwen2, WEFT_E_UNSUPPORTED, U32("qwen2.block_count", 1));
    WORDS("blk.1.", "1 layers");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.attention.key_length", 18),
           U32("qwen2.rope.dimension_count", 18));
    REFUSE(qwen2, WEFT_E_UNSUPPORTED, U32("qwen2.attention.key_length", 15),
           U32("qwen2.rope.dimension_count", 14));
    WORDS("15", "odd");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.rope.dimension_count", 7));
    WORDS("7", "even");
    REFUSE(qwen2, WEFT_E_FORMAT, U32("qwen2.rope.dimension_count", 18));
    REFUSE(qwen2, WEFT_E_UNSUPPORTED, U32("qwen2.attention.value_length", 8));
    WORDS("8", "16");
}

static void test_refused_by_name(void **state)
{
    (void)state;
    const char *llama = model_file("tiny-llama"), *qwen2 = model_file("tiny-qwen2");
    REFUSE(llama, WEFT_E_UNSUPPORTED,
           { .what = EDIT_KEY_STR, .name = "general.architecture", .s = "mamba" });
    WORDS("mamba", "llama, phi3, qwen2, qwen2vl, qwen3, qwen3vl");
    REFUSE(llama, WEFT_E_UNSUPPORTED, { .what = EDIT_KEY_DROP, .name = "general.architecture" });
    REFUSE(llama, WEFT_E_FORMAT, { .what = EDIT_KEY_U32, .name = "general.architecture", .u = 1 });
    REFUSE(llama, WEFT_E_UNSUPPORTED, U32("llama.expert_count", 8));
    WORDS("expert_count is 8");
    REFUSE(qwen2, WEFT_E_UNSUPPORTED,
           { .what = EDIT_KEY_STR, .name = "qwen2.rope.scaling.type", .s = "ntk" });
    WORDS("'ntk'", "none, linear, yarn and longrope");
}

/* Numbers with which YaRN cannot be computed, or of which it is not known what is meant. */
static void test_yarn_refused(void **state)
{
    (void)state;
    const char *path = model_file("tiny-qwen2");
    const struct edit yarn = { .what = EDIT_KEY_STR,
                               .name = "qwen2.rope.scaling.type",
                               .s = "yarn" };
#define YARN(code, key, number)                                                                    \
    REFUSE(path, code, yarn, { .what = EDIT_KEY_F32, .name = "qwen2." key, .f = number });         \
    WORDS(key)
    YARN(WEFT_E_UNSUPPORTED, "rope.scaling.yarn_ext_factor", 0.0f);
    YARN(WEFT_E_UNSUPPORTED, "rope.scaling.yarn_ext_factor", 1.5f);
    YARN(WEFT_E_UNSUPPORTED, "rope.scaling.yarn_ext_factor", NAN);
    YARN(WEFT_E_FORMAT, "rope.scaling.yarn_beta_slow", 0.0f);
    YARN(WEFT_E_FORMAT, "rope.scaling.yarn_beta_slow", NAN);
    YARN(WEFT_E_FORMAT, "rope.scaling.yarn_beta_fast", 0.5f);
    YARN(WEFT_E_FORMAT, "rope.scaling.yarn_beta_fast", INFINITY);
    YARN(WEFT_E_FORMAT, "rope.scaling.factor", -4.0f);
    YARN(WEFT_E_FORMAT, "rope.scaling.factor", INFINITY);
    YARN(WEFT_E_FORMAT, "rope.freq_base", 1.0f);
#undef YARN
    REFUSE(path, WEFT_E_FORMAT, yarn, U32("qwen2.rope.scaling.original_context_length", 0));
    WORDS("original_context_length is 0");
}

/* Returns the longest context of tiny-qwen2, trained for 256 positions, with these keys. */
static size_t longest(const struct edit *edits, size_t n)
{
    weft_model *model = NULL;
    weft_model_info info = { .size = sizeof info };
    edit_model(model_file("tiny-qwen2"), edited, edits, n);
    OK(weft_model_open(edited, NULL, &model, E));
    OK(weft_model_get_info(model, &info, E));
    weft_model_release(&model);
    return info.n_ctx_train;
}

/* A stretched context is longer than the trained one only if the file's numbers say so. */
static void test_yarn_context(void **state)
{
    (void)state;
    struct edit e[3] = {
        { .what = EDIT_KEY_STR, .name = "qwen2.rope.scaling.type", .s = "yarn" },
        { .what = EDIT_KEY_F32, .name = "qwen2.rope.scaling.factor", .f = 2.5f },
        { .what = EDIT_KEY_U32, .name = "qwen2.rope.scaling.original_context_length", .u = 128 }
    };
    assert_int_equal(longest(e, 1), 256);
    assert_int_equal(longest(e, 2), 640);
    assert_int_equal(longest(e, 3), 320);
    e[2].u = 64;
    assert_int_equal(longest(e, 3), 256);
    e[2].u = UINT32_MAX / 2;
    assert_int_equal(longest(e, 3), INT32_MAX);
    e[0].s = "linear";
    assert_int_equal(longest(e, 2), 256);
    e[0].s = "yarn", e[2].u = 128;
    edit_model(model_file("tiny-qwen2"), edited, e, 3);
    weft_engine_params p = { .size = sizeof p, .n_ctx = WEFT_CTX_MODEL };
    struct rig r = rig_open(edited, &p);
    assert_int_equal(rig_info(&r).n_ctx, 320);
    p.n_ctx = 321;
    weft_engine *engine = NULL;
    FAILS(WEFT_E_ARG, weft_engine_open(r.model, &p, &engine, E));
    WORDS("n_ctx is 321", "320");
    rig_close(&r);
}

/* A factor without a type means linear scaling, also under the key's old name. The type "none"
 * switches the factor off. */
static void test_rope_scaling(void **state)
{
    (void)state;
    const char *path = model_file("tiny-qwen2");
    const struct edit factor = { .what = EDIT_KEY_F32,
                                 .name = "qwen2.rope.scaling.factor",
                                 .f = 4 };
    const struct edit old = { .what = EDIT_KEY_F32, .name = "qwen2.rope.scale_linear", .f = 4 };
    const struct edit linear = { .what = EDIT_KEY_STR,
                                 .name = "qwen2.rope.scaling.type",
                                 .s = "linear" };
    const struct edit none = { .what = EDIT_KEY_STR,
                               .name = "qwen2.rope.scaling.type",
                               .s = "none" };
    const struct edit variants[][2] = {
        { factor, linear }, { factor, factor }, { old, old }, { old, linear }, { factor, none }
    };
    const int32_t tokens[] = { 300, 301, 302, 303, 304, 305 };
    struct rig plain = rig_open(path, NULL);
    float *unscaled = rig_expected(&plain, tokens, 6), *scaled = NULL;
    for (size_t i = 0; i < 5; i++) {
        edit_model(path, edited, variants[i], variants[i][0].name == variants[i][1].name ? 1 : 2);
        struct rig r = rig_open(edited, NULL);
        float *got = rig_expected(&r, tokens, 6);
        if (scaled == NULL) {
            assert_memory_not_equal(got, unscaled, r.n_vocab * sizeof *got);
            scaled = got;
        } else {
            rig_same(&r, got, i < 4 ? scaled : unscaled, "linear scaling");
            free(got);
        }
        rig_close(&r);
    }
    free(unscaled);
    free(scaled);
    rig_close(&plain);
}

/* ---------------------------------------------------------------- tensors */

static bool optional(const char *name)
{
    static const char *const names[] = { "rope_freqs.weight", "output.weight", "output.bias",
                                         "blk.1.attn_qkv.bias", "blk.1.attn_output.bias" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Checks that the file is refused if this tensor is missing, has one row or column more, or has a
 * type that it cannot have. */
static void check_tensor(const char *path, const struct gguf_tensor *t)
{
    const char *name = t->name;
    bool vector = t->n_dims == 1;
    if (!optional(name)) {
        REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_TENSOR_DROP, .name = name });
        /* Without attn_qkv most architectures want q, k and v. */
        WORDS(strcmp(name, "blk.1.attn_qkv.weight") == 0 ? "blk.1.attn_q" : name, "missing");
    }
    REFUSE(
        path, WEFT_E_FORMAT,
        { .what = EDIT_TENSOR_SHAPE, .name = name, .ne = { t->ne[0] + 1, vector ? 0 : t->ne[1] } });
    WORDS(name, "expected");
    REFUSE(path, WEFT_E_FORMAT,
           { .what = EDIT_TENSOR_SHAPE, .name = name, .ne = { t->ne[0], t->ne[1] + 1 } });
    WORDS(name, "expected");
    if (vector) {
        REFUSE(path, WEFT_E_UNSUPPORTED,
               { .what = EDIT_TENSOR_TYPE, .name = name, .u = QUANT_F16 });
        WORDS(name, "F16", "F32");
    }
}

static void check_tensors(const char *path)
{
    weft_error err;
    struct gguf *g;
    assert_int_equal(gguf_open(path, true, &g, &err), WEFT_OK);
    for (size_t j = 0; j < g->n_tensors; j++) {
        /* The layers are alike, so the last one stands for all. */
        if (strncmp(g->tensors[j].name, "blk.0.", 6) != 0) {
            check_tensor(path, &g->tensors[j]);
        }
    }
    gguf_close(g);
}

/* The tensors of the plain models, and of those with every bias that an architecture may have. */
static void test_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRESETS; i++) {
        struct synth_spec s;
        assert_true(synth_preset(presets[i], &s));
        check_tensors(model_file(presets[i]));
        s.biases = true;
        check_tensors(model_file_of(&s));
        s.fused_qkv = true;
        check_tensors(model_file_of(&s));
    }
}

/* The file has a tensor that the architecture does not have. */
static void test_extra_tensors(void **state)
{
    (void)state;
    static const char *const names[] = { "blk.2.attn_norm.weight", "blk.0.attn_q.scale",
                                         "blk.1.ffn_gate_inp.weight", "surprise" };
    for (size_t i = 0; i < N_PRESETS; i++) {
        for (size_t j = 0; j < 4; j++) {
            REFUSE(model_file(presets[i]), WEFT_E_UNSUPPORTED,
                   { .what = EDIT_TENSOR_NEW, .name = names[j], .ne = { 64 } });
            WORDS(names[j], presets[i] + 5);
        }
    }
    /* Only some architectures have these biases and norms. */
    static const char *const biases[] = { "blk.0.attn_output.bias", "blk.0.ffn_gate.bias",
                                          "blk.0.ffn_up.bias", "blk.0.ffn_down.bias",
                                          "output.bias" };
    for (size_t i = 0; i < 5 * N_PRESETS; i++) {
        const char *preset = presets[i / 5], *name = biases[i % 5];
        if (strcmp(name, "output.bias") == 0 ? strcmp(preset, "tiny-qwen2") != 0
                                             : strcmp(preset, "tiny-llama") != 0) {
            REFUSE(model_file(preset), WEFT_E_UNSUPPORTED,
                   { .what = EDIT_TENSOR_NEW, .name = name, .ne = { 64 } });
            WORDS(name, preset + 5);
        }
    }
    REFUSE(model_file("tiny-qwen2"), WEFT_E_UNSUPPORTED,
           { .what = EDIT_TENSOR_NEW, .name = "blk.0.attn_q_norm.weight", .ne = { 16 } });
}

/* The message that users see most often is compared word for word. */
static void test_message(void **state)
{
    (void)state;
    char want[512];
    struct synth_spec s;
    assert_true(synth_preset("tiny-qwen2", &s));
    s.dim = 896;
    s.n_heads = 14;
    s.n_layers = 4;
    s.n_vocab = 512;
    s.type_mix = "q8_0";
    REFUSE(model_file_of(&s), WEFT_E_FORMAT,
           { .what = EDIT_TENSOR_SHAPE, .name = "blk.3.attn_q.weight", .ne = { 896, 512 } });
    snprintf(want, sizeof want,
             "%s: tensor blk.3.attn_q.weight is 896x512, expected 896x896 "
             "(head_count 14 x key_length 64, embedding_length)",
             edited);
    assert_string_equal(rig_err.message, want);
}

/* Long and short factors come as a pair, and are positive numbers. */
static void test_factor_pairs(void **state)
{
    (void)state;
    static const char long_name[] = "rope_factors_long.weight";
    static const char short_name[] = "rope_factors_short.weight";
    struct synth_spec s;
    assert_true(synth_preset("tiny-phi3", &s));
    s.rope_long_short = true;
    s.rope_scaling_type = "longrope";
    s.rope_scaling_factor = 1.0f;
    const char *path = model_file_of(&s);
    weft_model *model = NULL;
    OK(weft_model_open(path, NULL, &model, E));
    compute(model);
    REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_TENSOR_DROP, .name = long_name });
    WORDS(long_name, "missing");
    REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_TENSOR_DROP, .name = short_name });
    WORDS(short_name, "missing");
    /* The scaling type that the file names needs both lists of factors. */
    REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_TENSOR_DROP, .name = long_name },
           { .what = EDIT_TENSOR_DROP, .name = short_name });
    WORDS(long_name, "missing");
    REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_TENSOR_SHAPE, .name = short_name, .ne = { 15 } });
    static const float bad[] = { 0.0f, -1.0f, NAN, INFINITY };
    for (size_t i = 0; i < 4; i++) {
        REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_TENSOR_FILL, .name = long_name, .f = bad[i] });
        WORDS(long_name, "factor 0");
    }
}

/* ---------------------------------------------------------------- files of another kind */

static void test_vocab_only(void **state)
{
    (void)state;
    const weft_model_params vocab_only = { .size = sizeof vocab_only, .vocab_only = true };
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_model_info info = { .size = sizeof info };
    int32_t tokens[8];
    size_t n;
    const char *path = model_file("tiny-qwen2");
    REFUSE(path, WEFT_E_FORMAT, { .what = EDIT_ALL_TENSORS_DROP });
    WORDS("vocab_only");
    for (size_t i = 0; i < 2; i++) {
        /* First the edited file without tensors is opened, then a whole one. */
        OK(weft_model_open(i == 0 ? edited : path, &vocab_only, &model, E));
        OK(weft_tokenize(model, "Hello", 5, 0, tokens, 8, &n, E));
        OK(weft_model_get_info(model, &info, E));
        assert_int_equal(info.n_vocab, 640);
        assert_int_equal(info.n_layers, 0);
        FAILS(WEFT_E_STATE, weft_engine_open(model, NULL, &engine, E));
        WORDS("vocab_only");
        weft_model_release(&model);
    }
}

/* The weights are NaN. The logits are NaN too, and drawing from them is an error, not a crash. */
static void test_nan(void **state)
{
    (void)state;
    static const char *const names[] = { "token_embd.weight", "blk.0.attn_norm.weight",
                                         "blk.1.attn_k.weight", "blk.1.ffn_down.weight",
                                         "output_norm.weight" };
    static const float values[] = { NAN, INFINITY, 1e38f };
    for (size_t i = 0; i < 15; i++) {
        const struct edit e = { .what = EDIT_TENSOR_FILL,
                                .name = names[i / 3],
                                .f = values[i % 3] };
        edit_model(model_file("tiny-qwen2"), edited, &e, 1);
        struct rig r = rig_open(edited, NULL);
        const int32_t tokens[] = { 300, 301 };
        weft_seq *seq = rig_fed(&r, tokens, 2);
        int32_t token = -5;
        weft_status status = weft_seq_next(seq, &token, E);
        if (i % 3 == 0) {
            assert_int_equal(status, WEFT_E_STATE);
            WORDS("NaN");
            assert_int_equal(token, -5);
            assert_int_equal(weft_seq_len(seq), 2);
        } else {
            assert_true(status == WEFT_OK || status == WEFT_E_STATE);
        }
        weft_seq_release(&seq);
        rig_close(&r);
    }
}

static void test_info(void **state)
{
    (void)state;
    weft_model *model = NULL;
    weft_model_info info = { .size = sizeof info };
    OK(weft_model_open(model_file("tiny-phi3"), NULL, &model, E));
    OK(weft_model_get_info(model, &info, E));
    assert_string_equal(info.architecture, "phi3");
    assert_string_equal(info.name, "Tiny Phi-3");
    assert_string_equal(info.type, "F32");
    assert_string_equal(info.chat_template, "file");
    assert_int_equal(info.n_vocab, 640);
    assert_int_equal(info.n_ctx_train, 256);
    assert_int_equal(info.n_layers, 2);
    assert_int_equal(info.dim, 96);
    assert_int_equal(info.n_heads, 3);
    assert_int_equal(info.n_kv_heads, 1);
    assert_int_equal(info.head_dim, 32);
    assert_int_equal(info.n_ff, 128);
    assert_true(info.adds_bos);
    assert_int_equal(info.bos, 1);
    /* The embedding and the output matrix; in each layer qkv of 5 heads, the output of 3 heads,
     * fused gate and up, down, and norms. */
    size_t layer = 96 * 160 + 96 * 96 + 96 * 256 + 128 * 96 + 2 * 96;
    assert_int_equal(info.n_params, 2 * 640 * 96 + 2 * layer + 96);
    assert_int_equal(info.n_bytes, 4 * info.n_params);
    weft_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_refused_by_name),
        cmocka_unit_test(test_rope_scaling),
        cmocka_unit_test(test_yarn_refused),
        cmocka_unit_test(test_yarn_context),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_extra_tensors),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_factor_pairs),
        cmocka_unit_test(test_vocab_only),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
