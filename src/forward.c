/* The transformer, on one screen: for one token or a whole prompt, one sequence or many, every
 * architecture and every backend. The differences between models are in their layers (layer.h). A
 * backend may compute a step in a shorter way, which it builds from these stages (cuda/graph.c). */
#include "forward.h"

/* A layer is a mixer, which brings positions together, followed by a feed-forward network. */
const struct stage_list mixer_stages[N_MIXERS] = {
    [MIX_ATTENTION] = { 3, { STAGE_ATTN_IN, STAGE_ATTEND, STAGE_ATTN_OUT } },
};
const struct stage_list ffn_stages[N_FFNS] = {
    [FFN_DENSE] = { 2, { STAGE_FFN_IN, STAGE_FFN_OUT } },
};
const struct stage_list embed_stages = { 1, { STAGE_EMBED } };
const struct stage_list head_stages = { 2, { STAGE_HEAD_NORM, STAGE_HEAD } };

/* Returns true if nobody wants the result any more. This is checked between layers, because a step
 * of a long prompt takes seconds. */
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

static weft_status run_list(struct backend *b, const struct stage_list *list, const struct step *s,
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
    const size_t n_layers = b->model->config.n_layers;
    TRY(run_list(b, &embed_stages, s, 0, err));
    for (size_t l = 0; l < n_layers; l++) {
        const struct layer *layer = &b->model->layers[l];
        if (abandoned(s)) {
            return WEFT_E_CANCELLED;
        }
        TRY(run_list(b, &mixer_stages[layer->mixer], s, l, err));
        TRY(run_list(b, &ffn_stages[layer->ffn], s, l, err));
    }
    return s->n_out > 0 ? run_list(b, &head_stages, s, n_layers, err) : WEFT_OK;
}

weft_status forward(struct backend *b, const struct step *s, weft_error *err)
{
    bool done = false;
    if (b->ops->step != NULL && b->watcher == NULL) {
        TRY(b->ops->step(b, s, &done, err));
    }
    return done ? WEFT_OK : forward_stages(b, s, err);
}
