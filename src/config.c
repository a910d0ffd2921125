#include "config.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"

/* What the functions below share. */
struct reader {
    const struct gguf *file;
    const char *prefix; /* architecture name, the prefix of its keys */
    weft_error *err;
};

static const char *key_of(const struct reader *r, char *buf, size_t cap, const char *suffix)
{
    snprintf(buf, cap, "%s.%s", r->prefix, suffix);
    return buf;
}

static weft_status get_size(const struct reader *r, const char *suffix, size_t *out)
{
    char key[128];
    uint32_t v = 0;
    TRY(gguf_get_u32(r->file, key_of(r, key, sizeof key, suffix), &v, r->err));
    *out = v;
    return WEFT_OK;
}

static weft_status opt_size(const struct reader *r, const char *suffix, size_t *out)
{
    char key[128];
    uint32_t v = (uint32_t)*out;
    TRY(gguf_opt_u32(r->file, key_of(r, key, sizeof key, suffix), &v, r->err));
    *out = v;
    return WEFT_OK;
}

static weft_status opt_float(const struct reader *r, const char *suffix, float *out)
{
    char key[128];
    return gguf_opt_f32(r->file, key_of(r, key, sizeof key, suffix), out, r->err);
}

/* Sizes that code divides by or multiplies must lie in a range where that is safe. */
static weft_status check_range(const struct reader *r, const char *suffix, size_t v, size_t low,
                               size_t high)
{
    if (v < low || v > high) {
        return error_set(r->err, WEFT_E_FORMAT, "key %s.%s is %zu, expected %zu to %zu", r->prefix,
                         suffix, v, low, high);
    }
    return WEFT_OK;
}

static weft_status check_positive(const struct reader *r, const char *suffix, float v)
{
    if (!isfinite(v) || v <= 0.0f) {
        return error_set(r->err, WEFT_E_FORMAT,
                         "key %s.%s is %g, expected a positive finite number", r->prefix, suffix,
                         (double)v);
    }
    return WEFT_OK;
}

static weft_status read_heads(const struct reader *r, struct config *c)
{
    TRY(get_size(r, "attention.head_count", &c->n_heads));
    TRY(check_range(r, "attention.head_count", c->n_heads, 1, 4096));
    c->n_kv_heads = c->n_heads;
    TRY(opt_size(r, "attention.head_count_kv", &c->n_kv_heads));
    TRY(check_range(r, "attention.head_count_kv", c->n_kv_heads, 1, c->n_heads));
    if (c->n_heads % c->n_kv_heads != 0) {
        return error_set(r->err, WEFT_E_FORMAT,
                         "key %s.attention.head_count is %zu, no multiple of head_count_kv %zu",
                         r->prefix, c->n_heads, c->n_kv_heads);
    }
    size_t key_length = 0, value_length = 0;
    TRY(opt_size(r, "attention.key_length", &key_length));
    TRY(opt_size(r, "attention.value_length", &value_length));
    if (key_length == 0 && c->dim % c->n_heads != 0) {
        return error_set(r->err, WEFT_E_FORMAT,
                         "key %s.embedding_length is %zu, no multiple of head_count %zu, and "
                         "attention.key_length is absent",
                         r->prefix, c->dim, c->n_heads);
    }
    c->head_dim = key_length ? key_length : c->dim / c->n_heads;
    if (value_length != 0 && value_length != c->head_dim) {
        return error_set(
            r->err, WEFT_E_UNSUPPORTED,
            "attention.value_length %zu differs from key_length %zu; Weft needs them equal",
            value_length, c->head_dim);
    }
    TRY(check_range(r, "attention.key_length", c->head_dim, 2, 1024));
    if (c->head_dim % 2 != 0) {
        return error_set(r->err, WEFT_E_UNSUPPORTED, "head size %zu is odd; RoPE needs pairs",
                         c->head_dim);
    }
    return WEFT_OK;
}

/* A file that says nothing gets the numbers of the paper. llama.cpp writes a negative mix where
 * none was set. */
static weft_status read_yarn(const struct reader *r, struct config *c, float factor)
{
    struct yarn y = { .mix = 1.0f, .beta_fast = 32.0f, .beta_slow = 1.0f, .magnitude = 1.0f };
    TRY(opt_float(r, "rope.scaling.yarn_ext_factor", &y.mix));
    y.mix = y.mix < 0.0f ? 1.0f : y.mix;
    if (!(y.mix > 0.0f && y.mix <= 1.0f)) {
        return error_set(r->err, WEFT_E_UNSUPPORTED,
                         "key %s.rope.scaling.yarn_ext_factor is %g, expected more than 0 and at "
                         "most 1, or a negative number in place of 1",
                         r->prefix, (double)y.mix);
    }
    TRY(opt_float(r, "rope.scaling.yarn_beta_fast", &y.beta_fast));
    TRY(opt_float(r, "rope.scaling.yarn_beta_slow", &y.beta_slow));
    TRY(check_positive(r, "rope.scaling.yarn_beta_slow", y.beta_slow));
    if (!isfinite(y.beta_fast) || y.beta_fast < y.beta_slow) {
        return error_set(r->err, WEFT_E_FORMAT,
                         "key %s.rope.scaling.yarn_beta_fast is %g, expected at least "
                         "yarn_beta_slow, %g",
                         r->prefix, (double)y.beta_fast, (double)y.beta_slow);
    }
    y.n_ctx = c->n_ctx_orig;
    TRY(check_range(r, "rope.scaling.original_context_length", y.n_ctx, 1, INT32_MAX));
    if (c->rope_base <= 1.0f) {
        return error_set(r->err, WEFT_E_FORMAT,
                         "key %s.rope.freq_base is %g, expected more than 1 with YaRN", r->prefix,
                         (double)c->rope_base);
    }
    if (factor > 1.0f) {
        y.magnitude = (float)(1.0 + 0.1 * log((double)factor));
        c->rope_attn_factor *= y.magnitude;
        double longest = fmin((double)y.n_ctx * (double)factor, INT32_MAX);
        c->n_ctx_train = size_max(c->n_ctx_train, (size_t)longest);
    }
    c->yarn = y;
    return WEFT_OK;
}

static weft_status read_scaling(const struct reader *r, struct config *c)
{
    char key[128];
    struct gguf_str type = { "linear", 6 }; /* taken if there is a factor without a type */
    float factor = 0.0f;
    TRY(gguf_opt_str(r->file, key_of(r, key, sizeof key, "rope.scaling.type"), &type, r->err));
    TRY(opt_float(r, "rope.scale_linear", &factor)); /* the name of the key before 2023-10 */
    TRY(opt_float(r, "rope.scaling.factor", &factor));
    bool linear = gguf_str_is(type, "linear"), yarn = gguf_str_is(type, "yarn");
    c->longrope = gguf_str_is(type, "longrope");
    if (!linear && !yarn && !c->longrope && !gguf_str_is(type, "none")) {
        return error_set(r->err, WEFT_E_UNSUPPORTED,
                         "rope.scaling.type is '%.*s'; Weft knows none, linear, yarn and longrope",
                         (int)size_min(type.n, 64), type.s);
    }
    c->rope_scale = 1.0f;
    if ((linear || yarn) && factor != 0.0f) {
        TRY(check_positive(r, "rope.scaling.factor", factor));
        c->rope_scale = 1.0f / factor;
    }
    return yarn ? read_yarn(r, c, factor) : WEFT_OK;
}

static weft_status read_rope(const struct reader *r, struct config *c)
{
    c->n_rot = c->head_dim;
    TRY(opt_size(r, "rope.dimension_count", &c->n_rot));
    TRY(check_range(r, "rope.dimension_count", c->n_rot, 2, c->head_dim));
    if (c->n_rot % 2 != 0) {
        return error_set(r->err, WEFT_E_FORMAT,
                         "key %s.rope.dimension_count is %zu, expected an even number", r->prefix,
                         c->n_rot);
    }
    c->rope_base = 10000.0f;
    TRY(opt_float(r, "rope.freq_base", &c->rope_base));
    TRY(check_positive(r, "rope.freq_base", c->rope_base));
    c->rope_attn_factor = 1.0f;
    TRY(opt_float(r, "rope.scaling.attn_factor", &c->rope_attn_factor));
    TRY(check_positive(r, "rope.scaling.attn_factor", c->rope_attn_factor));
    c->n_ctx_orig = c->n_ctx_train;
    TRY(opt_size(r, "rope.scaling.original_context_length", &c->n_ctx_orig));
    return read_scaling(r, c);
}

weft_status config_read(const struct gguf *file, const char *arch, struct config *c,
                        weft_error *err)
{
    const struct reader reader = { .file = file, .prefix = arch, .err = err };
    const struct reader *r = &reader;
    TRY(get_size(r, "embedding_length", &c->dim));
    TRY(check_range(r, "embedding_length", c->dim, 1, 1u << 20));
    TRY(get_size(r, "block_count", &c->n_layers));
    TRY(check_range(r, "block_count", c->n_layers, 1, 4096));
    TRY(get_size(r, "feed_forward_length", &c->n_ff));
    TRY(check_range(r, "feed_forward_length", c->n_ff, 1, 1u << 22));
    TRY(get_size(r, "context_length", &c->n_ctx_train));
    TRY(check_range(r, "context_length", c->n_ctx_train, 1, INT32_MAX));
    char key[128];
    TRY(gguf_get_f32(r->file, key_of(r, key, sizeof key, "attention.layer_norm_rms_epsilon"),
                     &c->norm_eps, r->err));
    TRY(check_positive(r, "attention.layer_norm_rms_epsilon", c->norm_eps));
    TRY(read_heads(r, c));
    TRY(read_rope(r, c));
    TRY(opt_size(r, "attention.sliding_window", &c->sliding_window));
    TRY(opt_size(r, "pooling_type", &c->pooling));
    return WEFT_OK;
}
