/* The transformer, on one screen. Decode and prefill, one sequence or many, every architecture and
 * every backend go through here; what differs between architectures was settled when the tensors
 * were bound (model.c). */
#include "backend.h"

static weft_status forward_stages(struct backend *b, size_t n_layers, const struct step *s,
                                  weft_error *err)
{
    const struct backend_ops *ops = b->ops;
    TRY(ops->embed(b, s, err));
    for (size_t l = 0; l < n_layers; l++) {
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
    return b->ops->step != NULL ? b->ops->step(b, s, err) : forward_stages(b, n_layers, s, err);
}
