/* Opens a model: reads its names and config, and lets the architecture describe the layers and bind
 * every tensor. */
#include "model.h"

#include <stdio.h>
#include <string.h>

#include "arch.h"
#include "format/keys.h"

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
    struct gguf_str name = { "", 0 }, arch = { "", 0 };
    TRY(gguf_opt_str(m->file, "general.name", &name, err));
    TRY(gguf_opt_str(m->file, "general.architecture", &arch, err));
    TRY(copy_str(name, &m->name, err));
    return copy_str(arch, &m->arch_name, err);
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

/* Writes the names of all architectures, such as "llama, phi3, qwen2, qwen3". */
static void list_archs(char *buf, size_t cap)
{
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; arch_at(i) != NULL && n < cap; i++) {
        n += (size_t)snprintf(buf + n, cap - n, "%s%s", i ? ", " : "", arch_at(i)->name);
    }
}

/* Refuses a model that cannot be run, before anything else is read. */
static weft_status check_runnable(const struct model *m, const struct arch *arch, weft_error *err)
{
    if (arch == NULL) {
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

static weft_status alloc_layers(struct model *m, weft_error *err)
{
    const size_t n = m->config.n_layers;
    /* every layer has tensors, so a count beyond the number of tensors is a lie */
    if (n > m->file->n_tensors) {
        return error_set(err, WEFT_E_FORMAT,
                         "key %s.block_count is %zu, but the file has only %zu tensors",
                         m->arch_name, n, m->file->n_tensors);
    }
    m->layers = mem_array(n, sizeof *m->layers);
    m->kv = mem_array(n, sizeof *m->kv);
    if (m->layers == NULL || m->kv == NULL) {
        return error_nomem(err, "the layer table", n * (sizeof *m->layers + sizeof *m->kv));
    }
    return WEFT_OK;
}

static void find_maxima(struct model *m)
{
    struct maxima *max = &m->max;
    for (size_t l = 0; l < m->config.n_layers; l++) {
        const struct layer *layer = &m->layers[l];
        const struct kv *kv = layer_kv(m, layer);
        max->q_dim = size_max(max->q_dim, layer_size(m, layer, SIZE_Q));
        max->k_dim = size_max(max->k_dim, layer_size(m, layer, SIZE_K));
        max->v_dim = size_max(max->v_dim, layer_size(m, layer, SIZE_V));
        max->o_dim = size_max(max->o_dim, layer_size(m, layer, SIZE_O));
        max->head = size_max(max->head, size_max(kv->k_dim, kv->v_dim));
        max->group = size_max(max->group, layer->attn.n_heads / kv->n_heads);
        max->n_ff = size_max(max->n_ff, layer->n_ff);
    }
}

static weft_status load_weights(struct model *m, const struct arch *arch, weft_error *err)
{
    TRY(config_read(m->file, arch->name, &m->config, err));
    const struct config *c = &m->config;
    const struct key_facts facts = { .dim = c->dim,
                                     .head_dim = c->head_dim,
                                     .n_rot = c->n_rot,
                                     .window = c->sliding_window,
                                     .rope_base = c->rope_base,
                                     .yarn_factor = c->yarn.magnitude };
    TRY(keys_check(m->file, &facts, err));
    m->config.n_vocab = tokenizer_n_vocab(m->tokenizer);
    TRY(alloc_layers(m, err));
    TRY(arch_fill(arch, m, err));
    find_maxima(m);
    return WEFT_OK;
}

static weft_status load(struct model *m, weft_error *err)
{
    TRY(read_names(m, err));
    const struct arch *arch = arch_find(m->arch_name, strlen(m->arch_name));
    if (!m->vocab_only) {
        TRY(check_runnable(m, arch, err));
    }
    TRY(tokenizer_open(m->file, &m->tokenizer, err));
    TRY(collect_ends(m, err));
    for (size_t i = 0; i < m->file->n_tensors; i++) {
        m->n_params += m->file->tensors[i].n_elements;
        m->n_bytes += m->file->tensors[i].n_bytes;
    }
    return m->vocab_only ? keys_check(m->file, NULL, err) : load_weights(m, arch, err);
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
    free(m->layers);
    free(m->kv);
    free(m->ends);
    free(m->classifier.rows);
    free(m->name);
    free(m->arch_name);
    free(m);
}

size_t layer_size(const struct model *m, const struct layer *layer, enum layer_size size)
{
    const struct kv *kv = layer_kv(m, layer);
    switch (size) {
    case SIZE_ONE: return 1;
    case SIZE_DIM: return m->config.dim;
    case SIZE_Q: return layer->attn.n_heads * kv->k_dim;
    case SIZE_K: return kv->n_heads * kv->k_dim;
    case SIZE_V: return kv->n_heads * kv->v_dim;
    case SIZE_O: return layer->attn.n_heads * kv->v_dim;
    case SIZE_HEAD: return kv->k_dim;
    case SIZE_FF: return layer->n_ff;
    }
    return 0;
}
