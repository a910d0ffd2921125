/* The transformer, on one screen. Decode and prefill, one sequence or many, every architecture and
 * every backend go through here. What differs between models stands in their layers (layer.h). */
#include "forward.h"

const char *const stage_names[N_STAGES] = {
#define STAGE(id, name) [STAGE_##id] = name,
    STAGES(STAGE)
#undef STAGE
};

const enum stage tensor_stages[N_LAYER_TENSORS] = {
#define LAYER_TENSOR(id, name, rows, cols, stage) [id] = STAGE_##stage,
    LAYER_TENSORS(LAYER_TENSOR)
#undef LAYER_TENSOR
};

struct list {
    size_t n;
    enum stage stages[4];
};

/* A layer is a mixer, which brings positions together, and behind it a feed-forward network. */
static const struct list mixers[] = {
    [MIX_ATTENTION] = { 3, { STAGE_ATTN_IN, STAGE_ATTEND, STAGE_ATTN_OUT } },
};
static const struct list ffns[] = {
    [FFN_DENSE] = { 2, { STAGE_FFN_IN, STAGE_FFN_OUT } },
};
static const struct list head = { 2, { STAGE_HEAD_NORM, STAGE_HEAD } };

/* Nobody wants the result any more. Looked at between layers: a step of a long prompt takes
 * seconds. */
static bool abandoned(const struct step *s)
{
    for (size_t i = 0; i < s->n_seqs; i++) {
        const atomic_bool *cancelled = s->seqs[i].cancelled;
        if (cancelled == NULL || !atomic_load_explicit(cancelled, memory_order_relaxed)) {
            return false;
        }
    }
    return true;
}

static weft_status run(struct backend *b, const struct list *list, const struct step *s,
                       size_t layer, weft_error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        if (b->watcher != NULL) {
            b->watcher->begin(b->watcher);
        }
        TRY(b->ops->stage(b, list->stages[i], s, layer, err));
        if (b->watcher != NULL) {
            TRY(b->watcher->end(b->watcher, b, list->stages[i], s, layer, err));
        }
    }
    return WEFT_OK;
}

weft_status forward_stages(struct backend *b, const struct step *s, weft_error *err)
{
    static const struct list embed = { 1, { STAGE_EMBED } };
    const size_t n_layers = b->model->config.n_layers;
    TRY(run(b, &embed, s, 0, err));
    for (size_t l = 0; l < n_layers; l++) {
        const struct layer *layer = &b->model->layers[l];
        if (abandoned(s)) {
            return WEFT_E_CANCELLED;
        }
        TRY(run(b, &mixers[layer->mixer], s, l, err));
        TRY(run(b, &ffns[layer->ffn], s, l, err));
    }
    return s->n_out > 0 ? run(b, &head, s, n_layers, err) : WEFT_OK;
}

weft_status forward(struct backend *b, const struct step *s, weft_error *err)
{
    bool done = false;
    if (b->ops->step != NULL && b->watcher == NULL) {
        TRY(b->ops->step(b, s, &done, err));
    }
    return done ? WEFT_OK : forward_stages(b, s, err);
}

static weft_status check(const struct backend_ops *ops, const struct list *list, const char *what,
                         weft_error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        if ((ops->stages >> list->stages[i] & 1) == 0) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "the model needs the stage %s for its %s, and backend %s lacks it",
                             stage_names[list->stages[i]], what, ops->name);
        }
    }
    return WEFT_OK;
}

weft_status backend_check(const struct backend_ops *ops, const struct model *m, weft_error *err)
{
    for (size_t l = 0; l < m->config.n_layers; l++) {
        TRY(check(ops, &mixers[m->layers[l].mixer], "mixers", err));
        TRY(check(ops, &ffns[m->layers[l].ffn], "feed-forward networks", err));
    }
    return check(ops, &head, "head", err);
}

size_t backend_value_cols(const struct model *m, enum backend_value value, size_t layer)
{
    static const enum layer_size sizes[] = {
        [VALUE_X] = SIZE_DIM,    [VALUE_Q] = SIZE_Q,         [VALUE_K] = SIZE_K,
        [VALUE_V] = SIZE_V,      [VALUE_ATTENTION] = SIZE_O, [VALUE_FFN_ACT] = SIZE_FF,
        [VALUE_NORM] = SIZE_DIM,
    };
    const enum layer_size size = sizes[value];
    return size == SIZE_DIM ? m->config.dim : layer_size(m, &m->layers[layer], size);
}
