/* Reads the config from the keys, binds every tensor to its place, and checks presence, shape and
 * type of each. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/keys.h"

/* Everything the binding functions share. */
struct binder {
    const struct gguf *file;
    const char *prefix; /* architecture name, the prefix of its keys */
    bool *bound;        /* [file->n_tensors] which tensors of the file found their place */
    weft_error *err;
};

/* ---------------------------------------------------------------- tensors */

/* The file's tensor `name`, checked to be [rows, cols]; `why` says where the expected shape comes
 * from. */
static weft_status find(struct binder *b, const char *name, enum presence presence, size_t rows,
                        size_t cols, const char *why, struct tensor *out)
{
    const struct gguf_tensor *t = gguf_find_tensor(b->file, name);
    if (t == NULL) {
        if (presence == REQUIRED) {
            return error_set(
                b->err, WEFT_E_FORMAT,
                "tensor %s is missing, expected %zux%zu; the file is incomplete or not a %s model",
                name, cols, rows, b->prefix);
        }
        return WEFT_OK;
    }
    if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1) {
        char more[64] = "";
        if (t->ne[2] != 1 || t->ne[3] != 1) {
            snprintf(more, sizeof more, "x%llux%llu", (unsigned long long)t->ne[2],
                     (unsigned long long)t->ne[3]);
        }
        return error_set(b->err, WEFT_E_FORMAT, "tensor %s is %llux%llu%s, expected %zux%zu (%s)",
                         name, (unsigned long long)t->ne[0], (unsigned long long)t->ne[1], more,
                         cols, rows, why);
    }
    *out = (struct tensor){ .name = t->name,
                            .type = t->type,
                            .n_rows = rows,
                            .n_cols = cols,
                            .data = t->data,
                            .n_bytes = (size_t)t->n_bytes };
    b->bound[t - b->file->tensors] = true;
    return WEFT_OK;
}

/* Norms, biases and factors are used as they are: only F32 will do. */
static weft_status find_vector(struct binder *b, const char *name, enum presence presence, size_t n,
                               const char *why, struct tensor *out)
{
    if (presence == ABSENT) {
        return WEFT_OK;
    }
    TRY(find(b, name, presence, 1, n, why, out));
    if (out->name != NULL && out->type->id != QUANT_F32) {
        return error_set(b->err, WEFT_E_UNSUPPORTED,
                         "tensor %s has type %s, expected F32 for a vector", name, out->type->name);
    }
    return WEFT_OK;
}

/* Rows [first, first + n_rows) of a fused tensor, as a tensor of its own. */
static struct tensor row_range(const struct tensor *t, size_t first, size_t n_rows)
{
    size_t row_bytes = t->n_bytes / t->n_rows;
    struct tensor part = *t;
    part.n_rows = n_rows;
    part.data = t->data + first * row_bytes;
    part.n_bytes = n_rows * row_bytes;
    return part;
}

/* Elements [first, first + n) of a fused vector, likewise. */
static struct tensor vector_range(const struct tensor *t, size_t first, size_t n)
{
    struct tensor part = *t;
    part.n_cols = n;
    part.data = t->data + first * sizeof(float);
    part.n_bytes = n * sizeof(float);
    return part;
}

/* "blk.<layer>.<suffix>" */
static const char *layer_name(char *buf, size_t cap, size_t layer, const char *suffix)
{
    snprintf(buf, cap, "blk.%zu.%s", layer, suffix);
    return buf;
}

static bool has(const struct binder *b, size_t layer, const char *suffix)
{
    char name[64];
    return gguf_find_tensor(b->file, layer_name(name, sizeof name, layer, suffix)) != NULL;
}

/* A tensor of a layer, and its place. */
struct wanted {
    const char *suffix;
    size_t n; /* rows of a matrix, elements of a vector */
    const char *why;
    struct tensor *out;
};

/* Biases that come together: a file that has one of them has lost the others if it lacks them. */
static weft_status find_biases(struct binder *b, size_t l, enum presence presence,
                               const struct wanted *w, size_t n)
{
    char name[64];
    for (size_t i = 0; i < n; i++) {
        if (presence == OPTIONAL && has(b, l, w[i].suffix)) {
            presence = REQUIRED;
        }
    }
    for (size_t i = 0; i < n; i++) {
        TRY(find_vector(b, layer_name(name, sizeof name, l, w[i].suffix), presence, w[i].n,
                        w[i].why, w[i].out));
    }
    return WEFT_OK;
}

/* q, k and v are rows of one matrix, their biases a part of one vector or vectors of their own.
 * *has_bias: they were the former. */
static weft_status bind_fused_qkv(struct binder *b, const struct config *c, size_t l,
                                  const struct wanted *weights, const struct wanted *biases,
                                  bool *has_bias)
{
    char name[64], why[128];
    struct tensor qkv = { 0 }, bias = { 0 };
    const size_t n = weights[0].n + weights[1].n + weights[2].n;
    snprintf(why, sizeof why, "(head_count %zu + 2 x head_count_kv %zu) x key_length %zu",
             c->n_heads, c->n_kv_heads, c->head_dim);
    TRY(find(b, layer_name(name, sizeof name, l, "attn_qkv.weight"), REQUIRED, n, c->dim, why,
             &qkv));
    enum presence presence = c->arch->qkv_bias != ABSENT ? OPTIONAL : ABSENT;
    TRY(find_vector(b, layer_name(name, sizeof name, l, "attn_qkv.bias"), presence, n, why, &bias));
    *has_bias = bias.name != NULL;
    for (size_t i = 0, first = 0; i < 3; first += weights[i++].n) {
        *weights[i].out = row_range(&qkv, first, weights[i].n);
        if (*has_bias) {
            *biases[i].out = vector_range(&bias, first, biases[i].n);
        }
    }
    return WEFT_OK;
}

static weft_status bind_qkv(struct binder *b, const struct config *c, size_t l, struct layer *layer)
{
    char name[64], why[128], why_kv[128];
    size_t q_rows = c->n_heads * c->head_dim, kv_rows = c->n_kv_heads * c->head_dim;
    snprintf(why, sizeof why, "head_count %zu x key_length %zu", c->n_heads, c->head_dim);
    snprintf(why_kv, sizeof why_kv, "head_count_kv %zu x key_length %zu", c->n_kv_heads,
             c->head_dim);
    const struct wanted weights[] = { { "attn_q.weight", q_rows, why, &layer->attn_q },
                                      { "attn_k.weight", kv_rows, why_kv, &layer->attn_k },
                                      { "attn_v.weight", kv_rows, why_kv, &layer->attn_v } };
    const struct wanted biases[] = { { "attn_q.bias", q_rows, why, &layer->attn_q_bias },
                                     { "attn_k.bias", kv_rows, why_kv, &layer->attn_k_bias },
                                     { "attn_v.bias", kv_rows, why_kv, &layer->attn_v_bias } };
    bool has_bias = false;
    if (has(b, l, "attn_qkv.weight") || (c->arch->fused && !has(b, l, "attn_q.weight"))) {
        TRY(bind_fused_qkv(b, c, l, weights, biases, &has_bias));
    } else {
        for (size_t i = 0; i < 3; i++) {
            TRY(find(b, layer_name(name, sizeof name, l, weights[i].suffix), REQUIRED, weights[i].n,
                     c->dim, weights[i].why, weights[i].out));
        }
    }
    if (!has_bias) {
        TRY(find_biases(b, l, c->arch->qkv_bias, biases, 3));
    }
    enum presence norm = c->arch->qk_norm;
    TRY(find_vector(b, layer_name(name, sizeof name, l, "attn_q_norm.weight"), norm, c->head_dim,
                    "key_length", &layer->attn_q_norm));
    return find_vector(b, layer_name(name, sizeof name, l, "attn_k_norm.weight"), norm, c->head_dim,
                       "key_length", &layer->attn_k_norm);
}

static weft_status bind_ffn(struct binder *b, const struct config *c, size_t l, struct layer *layer)
{
    char name[64];
    const char *why = "feed_forward_length, embedding_length";
    TRY(find_vector(b, layer_name(name, sizeof name, l, "ffn_norm.weight"), REQUIRED, c->dim,
                    "embedding_length", &layer->ffn_norm));
    if (c->arch->fused) {
        struct tensor gate_up = { 0 };
        TRY(find(b, layer_name(name, sizeof name, l, "ffn_up.weight"), REQUIRED, 2 * c->n_ff,
                 c->dim, "2 x feed_forward_length", &gate_up));
        layer->ffn_gate = row_range(&gate_up, 0, c->n_ff);
        layer->ffn_up = row_range(&gate_up, c->n_ff, c->n_ff);
    } else {
        TRY(find(b, layer_name(name, sizeof name, l, "ffn_gate.weight"), REQUIRED, c->n_ff, c->dim,
                 why, &layer->ffn_gate));
        TRY(find(b, layer_name(name, sizeof name, l, "ffn_up.weight"), REQUIRED, c->n_ff, c->dim,
                 why, &layer->ffn_up));
    }
    TRY(find(b, layer_name(name, sizeof name, l, "ffn_down.weight"), REQUIRED, c->dim, c->n_ff, why,
             &layer->ffn_down));
    const struct wanted biases[] = {
        { "ffn_gate.bias", c->n_ff, "feed_forward_length", &layer->ffn_gate_bias },
        { "ffn_up.bias", c->n_ff, "feed_forward_length", &layer->ffn_up_bias },
        { "ffn_down.bias", c->dim, "embedding_length", &layer->ffn_down_bias }
    };
    return find_biases(b, l, c->arch->ffn_bias, biases, 3);
}

static weft_status bind_layer(struct binder *b, const struct config *c, size_t l,
                              struct layer *layer)
{
    char name[64];
    TRY(find_vector(b, layer_name(name, sizeof name, l, "attn_norm.weight"), REQUIRED, c->dim,
                    "embedding_length", &layer->attn_norm));
    TRY(bind_qkv(b, c, l, layer));
    TRY(find(b, layer_name(name, sizeof name, l, "attn_output.weight"), REQUIRED, c->dim,
             c->n_heads * c->head_dim, "embedding_length, head_count x key_length",
             &layer->attn_output));
    TRY(find_vector(b, layer_name(name, sizeof name, l, "attn_output.bias"),
                    c->arch->attn_output_bias, c->dim, "embedding_length",
                    &layer->attn_output_bias));
    return bind_ffn(b, c, l, layer);
}

static weft_status bind_rope_factors(struct binder *b, const struct config *c, struct weights *w)
{
    size_t n = c->n_rot / 2;
    const char *why = "half of rope.dimension_count";
    TRY(find_vector(b, "rope_freqs.weight", c->arch->rope_freqs, n, why, &w->rope_freqs));
    enum presence pair = c->longrope ? REQUIRED : c->arch->rope_long_short;
    TRY(find_vector(b, "rope_factors_long.weight", pair, n, why, &w->rope_long));
    pair = w->rope_long.name != NULL ? REQUIRED : pair;
    TRY(find_vector(b, "rope_factors_short.weight", pair, n, why, &w->rope_short));
    if (w->rope_short.name != NULL && w->rope_long.name == NULL) {
        return error_set(b->err, WEFT_E_FORMAT,
                         "tensor rope_factors_long.weight is missing beside "
                         "rope_factors_short.weight");
    }
    const struct tensor *const all[] = { &w->rope_freqs, &w->rope_long, &w->rope_short };
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; all[i]->name != NULL && j < n; j++) {
            float f;
            memcpy(&f, all[i]->data + j * sizeof f, sizeof f);
            if (!isfinite(f) || f <= 0.0f) {
                return error_set(b->err, WEFT_E_FORMAT,
                                 "tensor %s: factor %zu is %g, expected a positive number",
                                 all[i]->name, j, (double)f);
            }
        }
    }
    return WEFT_OK;
}

/* A tensor that nobody bound would change the result of a real model: refuse instead of ignoring
 * it. */
static weft_status refuse_extra(const struct binder *b, size_t n_layers)
{
    for (size_t i = 0; i < b->file->n_tensors; i++) {
        if (!b->bound[i]) {
            return error_set(b->err, WEFT_E_UNSUPPORTED,
                             "tensor %s is not part of a %s model with %zu layers; Weft would "
                             "compute without it, so "
                             "the file is refused",
                             b->file->tensors[i].name, b->prefix, n_layers);
        }
    }
    return WEFT_OK;
}

static weft_status bind_weights(struct binder *b, struct model *m)
{
    struct config *c = &m->config;
    struct weights *w = &m->weights;
    c->n_vocab = tokenizer_n_vocab(m->tokenizer);
    TRY(find(b, "token_embd.weight", REQUIRED, c->n_vocab, c->dim,
             "tokens in the vocabulary, embedding_length", &w->token_embd));
    TRY(find_vector(b, "output_norm.weight", REQUIRED, c->dim, "embedding_length",
                    &w->output_norm));
    TRY(find(b, "output.weight", OPTIONAL, c->n_vocab, c->dim,
             "tokens in the vocabulary, embedding_length", &w->output));
    if (w->output.name == NULL) {
        w->output = w->token_embd;
    }
    TRY(find_vector(b, "output.bias", c->arch->output_bias, c->n_vocab, "tokens in the vocabulary",
                    &w->output_bias));
    TRY(bind_rope_factors(b, c, w));
    /* every layer has tensors, so a count beyond the number of tensors is a lie; checked before it
     * is allocated */
    if (c->n_layers > m->file->n_tensors) {
        return error_set(b->err, WEFT_E_FORMAT,
                         "key %s.block_count is %zu, but the file has only %zu tensors", b->prefix,
                         c->n_layers, m->file->n_tensors);
    }
    w->layers = mem_array(c->n_layers, sizeof *w->layers);
    if (w->layers == NULL) {
        return error_nomem(b->err, "the layer table", c->n_layers * sizeof *w->layers);
    }
    for (size_t l = 0; l < c->n_layers; l++) {
        TRY(bind_layer(b, c, l, &w->layers[l]));
    }
    return refuse_extra(b, c->n_layers);
}

/* ---------------------------------------------------------------- open and close */

static weft_status copy_str(struct gguf_str s, char **out, weft_error *err)
{
    *out = malloc(s.n + 1);
    if (*out == NULL) {
        return error_nomem(err, "a name", s.n + 1);
    }
    memcpy(*out, s.s, s.n);
    (*out)[s.n] = '\0';
    return WEFT_OK;
}

static weft_status read_names(struct model *m, weft_error *err)
{
    struct gguf_str name = { "", 0 }, arch = { "", 0 }, tmpl = { "", 0 };
    TRY(gguf_opt_str(m->file, "general.name", &name, err));
    TRY(gguf_opt_str(m->file, "general.architecture", &arch, err));
    TRY(gguf_opt_str(m->file, "tokenizer.chat_template", &tmpl, err));
    TRY(copy_str(name, &m->name, err));
    TRY(copy_str(arch, &m->arch_name, err));
    m->chat = tmpl.n > 0 ? chat_recognise(tmpl.s, tmpl.n) : NULL;
    m->has_chat_source = tmpl.n > 0;
    m->chat_exact = m->chat != NULL && chat_exact(tmpl.s, tmpl.n);
    return WEFT_OK;
}

static weft_status collect_ends(struct model *m, weft_error *err)
{
    size_t n = tokenizer_n_vocab(m->tokenizer);
    for (size_t i = 0; i < n; i++) {
        m->n_ends += tokenizer_is_end(m->tokenizer, (int32_t)i);
    }
    m->ends = mem_array(m->n_ends, sizeof *m->ends);
    if (m->ends == NULL) {
        return error_nomem(err, "the list of end tokens", m->n_ends * sizeof *m->ends);
    }
    for (size_t i = 0, j = 0; i < n; i++) {
        if (tokenizer_is_end(m->tokenizer, (int32_t)i)) {
            m->ends[j++] = (int32_t)i;
        }
    }
    return WEFT_OK;
}

/* "llama, phi3, qwen2, qwen3" */
static void list_archs(char *buf, size_t cap)
{
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; arch_at(i) != NULL && n < cap; i++) {
        n += (size_t)snprintf(buf + n, cap - n, "%s%s", i ? ", " : "", arch_at(i)->name);
    }
}

/* What cannot be run is said before anything is read for it. */
static weft_status check_runnable(struct model *m, weft_error *err)
{
    m->config.arch = arch_find(m->arch_name, strlen(m->arch_name));
    if (m->config.arch == NULL) {
        char names[128];
        list_archs(names, sizeof names);
        return error_set(err, WEFT_E_UNSUPPORTED, "architecture '%.64s' is not known; Weft runs %s",
                         m->arch_name, names);
    }
    if (m->file->n_tensors == 0) {
        return error_set(err, WEFT_E_FORMAT,
                         "the file has no tensors, it is only a vocabulary: good for tokenizing "
                         "(vocab_only), not for running");
    }
    return WEFT_OK;
}

static weft_status load_weights(struct model *m, weft_error *err)
{
    TRY(config_read(m->file, m->config.arch, &m->config, err));
    TRY(config_check_keys(m->file, &m->config, err));
    struct binder b = { .file = m->file,
                        .prefix = m->config.arch->name,
                        .bound = mem_array(m->file->n_tensors, sizeof(bool)),
                        .err = err };
    if (b.bound == NULL) {
        return error_nomem(err, "the list of bound tensors", m->file->n_tensors);
    }
    weft_status status = bind_weights(&b, m);
    free(b.bound);
    return status;
}

static weft_status load(struct model *m, weft_error *err)
{
    TRY(read_names(m, err));
    if (!m->vocab_only) {
        TRY(check_runnable(m, err));
    }
    TRY(tokenizer_open(m->file, &m->tokenizer, err));
    TRY(collect_ends(m, err));
    for (size_t i = 0; i < m->file->n_tensors; i++) {
        m->n_params += m->file->tensors[i].n_elements;
        m->n_bytes += m->file->tensors[i].n_bytes;
    }
    return m->vocab_only ? config_check_keys(m->file, NULL, err) : load_weights(m, err);
}

weft_status model_open(const char *path, const weft_model_params *params, struct model **out,
                       weft_error *err)
{
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return error_nomem(err, "the model", sizeof *m);
    }
    m->vocab_only = params->vocab_only;
    m->packed = malloc(sizeof *m->packed);
    if (m->packed == NULL || !once_open(m->packed)) {
        free(m->packed);
        free(m);
        return error_nomem(err, "the model", sizeof *m->packed);
    }
    weft_status status = gguf_open(path, !params->no_mmap, &m->file, err);
    if (status == WEFT_OK) {
        status = load(m, err);
        if (status != WEFT_OK && status != WEFT_E_NOMEM) {
            error_prefix(err, status, path);
        }
    }
    if (status != WEFT_OK) {
        model_close(m);
        return status;
    }
    *out = m;
    return WEFT_OK;
}

void model_close(struct model *m)
{
    if (m == NULL) {
        return;
    }
    tokenizer_close(m->tokenizer);
    gguf_close(m->file);
    once_close(m->packed);
    free(m->packed);
    free(m->weights.layers);
    free(m->ends);
    free(m->name);
    free(m->arch_name);
    free(m);
}

void model_rope(const struct model *m, size_t n_ctx, double *freq)
{
    const struct config *c = &m->config;
    const struct weights *w = &m->weights;
    const struct tensor *factors = &w->rope_freqs;
    if (w->rope_long.name != NULL) {
        factors = n_ctx > c->n_ctx_orig ? &w->rope_long : &w->rope_short;
    }
    for (size_t i = 0; i < c->n_rot / 2; i++) {
        freq[i] =
            pow((double)c->rope_base, -2.0 * (double)i / (double)c->n_rot) * (double)c->rope_scale;
        if (factors->name != NULL) {
            float f;
            memcpy(&f, factors->data + i * sizeof f, sizeof f);
            freq[i] /= (double)f;
        }
    }
}
