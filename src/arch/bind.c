/* Binds every tensor of a file to its place, and checks the presence, shape and type of each. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/describe.h"
#include "base/mem.h"

/* What the functions below share. */
struct binder {
    const struct arch *arch;
    struct model *model;
    const struct gguf *file;
    const char *prefix; /* architecture name, the prefix of its keys */
    /* [file->n_tensors]: which tensors of the file have found their place. */
    bool *bound;
    weft_error *err;
};

/* Finds the file's tensor `name` and checks that it is [rows, cols]. `why` says where the expected
 * shape comes from. */
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

/* Finds a vector. Norms, biases and factors are used as they are, so only F32 is accepted. */
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

/* Returns rows [first, first + n_rows) of a fused tensor as a tensor of its own. */
static struct tensor row_range(const struct tensor *t, size_t first, size_t n_rows)
{
    size_t row_bytes = t->n_bytes / t->n_rows;
    struct tensor part = *t;
    part.n_rows = n_rows;
    part.data = t->data + first * row_bytes;
    part.n_bytes = n_rows * row_bytes;
    return part;
}

/* Returns elements [first, first + n) of a fused vector as a tensor of its own. */
static struct tensor vector_range(const struct tensor *t, size_t first, size_t n)
{
    struct tensor part = *t;
    part.n_cols = n;
    part.data = t->data + first * sizeof(float);
    part.n_bytes = n * sizeof(float);
    return part;
}

/* Writes "blk.<layer>.<suffix>". */
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

/* ---------------------------------------------------------------- tensors of a layer */

/* Says where a size comes from, in the words of the keys. */
static const char *size_why(const struct binder *b, const struct layer *l, enum layer_size size,
                            char *buf, size_t cap)
{
    const struct kv *kv = layer_kv(b->model, l);
    switch (size) {
    case SIZE_ONE: break;
    case SIZE_DIM: return "embedding_length";
    case SIZE_HEAD: return "key_length";
    case SIZE_FF: return "feed_forward_length";
    case SIZE_Q:
        snprintf(buf, cap, "head_count %zu x key_length %zu", l->attn.n_heads, kv->k_dim);
        return buf;
    case SIZE_O:
        snprintf(buf, cap, "head_count %zu x value_length %zu", l->attn.n_heads, kv->v_dim);
        return buf;
    case SIZE_K:
        snprintf(buf, cap, "head_count_kv %zu x key_length %zu", kv->n_heads, kv->k_dim);
        return buf;
    case SIZE_V:
        snprintf(buf, cap, "head_count_kv %zu x value_length %zu", kv->n_heads, kv->v_dim);
        return buf;
    }
    return "";
}

/* A layer, and which of its tensors have found their place. */
struct place {
    size_t index;
    struct layer *layer;
    bool done[N_LAYER_TENSORS];
};

static weft_status bind_tensor(struct binder *b, struct place *p, enum layer_tensor t,
                               enum presence presence)
{
    const struct layer_tensor_info *info = &layer_tensors[t];
    const size_t rows = layer_size(b->model, p->layer, info->rows),
                 cols = layer_size(b->model, p->layer, info->cols);
    char name[64], of_rows[64], of_cols[64], why[160];
    layer_name(name, sizeof name, p->index, info->name);
    snprintf(why, sizeof why, "%s%s%s", size_why(b, p->layer, info->rows, of_rows, sizeof of_rows),
             layer_tensor_is_matrix(t) ? ", " : "",
             size_why(b, p->layer, info->cols, of_cols, sizeof of_cols));
    p->done[t] = true;
    return layer_tensor_is_matrix(t) ? find(b, name, presence, rows, cols, why, &p->layer->t[t])
                                     : find_vector(b, name, presence, cols, why, &p->layer->t[t]);
}

/* Binds the rows of a fused matrix, or the elements of a fused vector, as tensors of their own.
 * Does nothing if the file lacks it and it is OPTIONAL. */
static weft_status bind_parts(struct binder *b, struct place *p, const char *name,
                              const enum layer_tensor *parts, size_t n, enum presence presence)
{
    const bool matrix = layer_tensor_is_matrix(parts[0]);
    char full[64], why[256], buf[64];
    const size_t cols = layer_size(b->model, p->layer, layer_tensors[parts[0]].cols);
    size_t sizes[3], all = 0, at = 0;
    struct tensor fused = { 0 };
    for (size_t i = 0; i < n; i++) {
        const struct layer_tensor_info *info = &layer_tensors[parts[i]];
        const enum layer_size size = matrix ? info->rows : info->cols;
        all += sizes[i] = layer_size(b->model, p->layer, size);
        at += (size_t)snprintf(why + at, sizeof why - at, "%s%s", i > 0 ? " + " : "",
                               size_why(b, p->layer, size, buf, sizeof buf));
    }
    layer_name(full, sizeof full, p->index, name);
    TRY(matrix ? find(b, full, presence, all, cols, why, &fused)
               : find_vector(b, full, presence, all, why, &fused));
    for (size_t i = 0, first = 0; fused.name != NULL && i < n; first += sizes[i++]) {
        p->layer->t[parts[i]] =
            matrix ? row_range(&fused, first, sizes[i]) : vector_range(&fused, first, sizes[i]);
        p->done[parts[i]] = true;
    }
    return WEFT_OK;
}

static weft_status bind_fused(struct binder *b, struct place *p, const struct fused *f)
{
    char weight[32], bias[32];
    snprintf(weight, sizeof weight, "%s.weight", f->name);
    snprintf(bias, sizeof bias, "%s.bias", f->name);
    const bool apart = has(b, p->index, layer_tensors[f->parts[0]].name);
    if (f->when != FUSED_ALWAYS && !has(b, p->index, weight) &&
        (f->when == FUSED_IF_THERE || apart)) {
        return WEFT_OK;
    }
    TRY(bind_parts(b, p, weight, f->parts, f->n, REQUIRED));
    return f->has_bias && b->arch->tensors[f->biases[0]] != ABSENT
               ? bind_parts(b, p, bias, f->biases, f->n, OPTIONAL)
               : WEFT_OK;
}

/* Biases come together: if a file has one of a group, it must have the others. */
static enum presence presence_of(const struct binder *b, const struct place *p, enum layer_tensor t)
{
    static const enum layer_tensor together[][3] = {
        { ATTN_Q_BIAS, ATTN_K_BIAS, ATTN_V_BIAS },
        { FFN_GATE_BIAS, FFN_UP_BIAS, FFN_DOWN_BIAS },
    };
    enum presence presence = b->arch->tensors[t];
    for (size_t i = 0; i < sizeof together / sizeof *together; i++) {
        bool member = false, there = false;
        for (size_t k = 0; k < 3; k++) {
            member = member || together[i][k] == t;
            there = there || has(b, p->index, layer_tensors[together[i][k]].name);
        }
        presence = presence == OPTIONAL && member && there ? REQUIRED : presence;
    }
    return presence;
}

static weft_status bind_layer(struct binder *b, size_t index)
{
    struct place p = { .index = index, .layer = &b->model->layers[index] };
    for (const struct fused *f = b->arch->fused; f != NULL && f->name != NULL; f++) {
        TRY(bind_fused(b, &p, f));
    }
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        enum presence presence = presence_of(b, &p, t);
        if (!p.done[t] && presence != ABSENT) {
            TRY(bind_tensor(b, &p, t, presence));
        }
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- tensors of the whole model */

static weft_status bind_rope_factors(struct binder *b, struct model *m)
{
    struct weights *w = &m->weights;
    size_t n = m->config.n_rot / 2;
    const char *why = "half of rope.dimension_count";
    TRY(find_vector(b, "rope_freqs.weight", b->arch->rope_freqs, n, why, &w->rope_freqs));
    enum presence pair = m->config.longrope ? REQUIRED : b->arch->rope_long_short;
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

/* The file says how many labels the classifier has: the tensor has a row for each. */
static weft_status bind_classifier(struct binder *b, struct model *m)
{
    const char *name = "cls.output.weight";
    const struct gguf_tensor *t = gguf_find_tensor(b->file, name);
    if (t == NULL || b->arch->classifier == ABSENT) {
        return WEFT_OK;
    }
    return find(b, name, REQUIRED, (size_t)t->ne[1], m->config.dim, "embedding_length",
                &m->weights.cls_output);
}

/* Refuses a tensor that nobody has bound: ignoring it would change the result of a real model. */
static weft_status refuse_extra(const struct binder *b, size_t n_layers)
{
    for (size_t i = 0; i < b->file->n_tensors; i++) {
        if (!b->bound[i]) {
            return error_set(b->err, WEFT_E_UNSUPPORTED,
                             "tensor %s is not part of a %s model with %zu layers; Weft would "
                             "compute without it, so the file is refused",
                             b->file->tensors[i].name, b->prefix, n_layers);
        }
    }
    return WEFT_OK;
}

static weft_status bind_weights(struct binder *b, struct model *m)
{
    const struct config *c = &m->config;
    struct weights *w = &m->weights;
    const char *why = "tokens in the vocabulary, embedding_length";
    TRY(find(b, "token_embd.weight", REQUIRED, c->n_vocab, c->dim, why, &w->token_embd));
    TRY(find_vector(b, "output_norm.weight", REQUIRED, c->dim, "embedding_length",
                    &w->output_norm));
    TRY(find(b, "output.weight", OPTIONAL, c->n_vocab, c->dim, why, &w->output));
    if (w->output.name == NULL) {
        w->output = w->token_embd;
    }
    TRY(find_vector(b, "output.bias", b->arch->output_bias, c->n_vocab, "tokens in the vocabulary",
                    &w->output_bias));
    TRY(bind_classifier(b, m));
    return bind_rope_factors(b, m);
}

static weft_status fill(struct binder *b, struct model *m)
{
    TRY(bind_weights(b, m));
    TRY(arch_classifier(b->arch, m, b->err));
    TRY(b->arch->describe(m, b->err));
    for (size_t l = 0; l < m->config.n_layers; l++) {
        TRY(bind_layer(b, l));
    }
    return refuse_extra(b, m->config.n_layers);
}

weft_status arch_fill(const struct arch *arch, struct model *m, weft_error *err)
{
    struct binder b = { .arch = arch,
                        .model = m,
                        .file = m->file,
                        .prefix = arch->name,
                        .bound = mem_array(m->file->n_tensors, sizeof(bool)),
                        .err = err };
    if (b.bound == NULL) {
        return error_nomem(err, "the list of bound tensors", m->file->n_tensors);
    }
    weft_status status = fill(&b, m);
    free(b.bound);
    return status;
}
