/* The transformer, on one screen. Decode and prefill, one sequence or many, every architecture and
 * every backend go through here; what differs between architectures was settled when the tensors
 * were bound (model.c). */
#include "backend.h"

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

static weft_status forward_stages(struct backend *b, size_t n_layers, const struct step *s,
                                  weft_error *err)
{
    const struct backend_ops *ops = b->ops;
    TRY(ops->embed(b, s, err));
    for (size_t l = 0; l < n_layers; l++) {
        if (abandoned(s)) {
            return WEFT_E_CANCELLED;
        }
        TRY(ops->attn_in(b, s, l, err));
        TRY(ops->attend(b, s, l, err));
        TRY(ops->attn_out(b, s, l, err));
        TRY(ops->ffn_in(b, s, l, err));
        TRY(ops->ffn_out(b, s, l, err));
    }
    return s->n_out > 0 ? ops->head(b, s, err) : WEFT_OK;
}

weft_status forward(struct backend *b, size_t n_layers, const struct step *s, weft_error *err)
{
    bool done = false;
    if (b->ops->step != NULL) {
        TRY(b->ops->step(b, s, &done, err));
    }
    return done ? WEFT_OK : forward_stages(b, n_layers, s, err);
}
