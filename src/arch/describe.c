#include "arch/describe.h"

#include <math.h>

const struct fused arch_fused_qkv[] = { ARCH_FUSED_QKV(FUSED_IF_THERE), { 0 } };

weft_status arch_add_rope(struct model *m, bool neox, float base, struct rope **out,
                          weft_error *err)
{
    const struct config *c = &m->config;
    const struct weights *w = &m->weights;
    const bool two = w->rope_long.name != NULL;
    if (m->n_ropes == MAX_ROPES) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the layers have more than %d kinds of rotary embedding", MAX_ROPES);
    }
    m->rope_border = two ? c->n_ctx_orig : SIZE_MAX;
    *out = &m->ropes[m->n_ropes];
    **out = (struct rope){ .n_rot = c->n_rot,
                           .neox = neox,
                           .base = base,
                           .scale = c->rope_scale,
                           .factor = c->rope_attn_factor,
                           .yarn = c->yarn,
                           .factors = { two ? w->rope_short : w->rope_freqs,
                                        two ? w->rope_long : w->rope_freqs },
                           .at = m->n_ropes++ };
    return WEFT_OK;
}

void arch_describe_dense(struct model *m, const struct rope *rope)
{
    const struct config *c = &m->config;
    m->n_stores = c->n_layers;
    for (size_t l = 0; l < c->n_layers; l++) {
        m->kv[l] = (struct kv){ c->n_kv_heads, c->head_dim, c->head_dim, 0 };
        m->layers[l] = (struct layer){ .mixer = MIX_ATTENTION,
                                       .attn = { .n_heads = c->n_heads,
                                                 .kv = l,
                                                 .window = c->sliding_window,
                                                 .scale = 1.0f / sqrtf((float)c->head_dim),
                                                 .rope = rope },
                                       .ffn = FFN_DENSE,
                                       .act = ACT_SILU,
                                       .n_ff = c->n_ff };
    }
}

static weft_status describe_alike(struct model *m, bool neox, weft_error *err)
{
    struct rope *rope;
    TRY(arch_add_rope(m, neox, m->config.rope_base, &rope, err));
    arch_describe_dense(m, rope);
    return WEFT_OK;
}

weft_status arch_describe_neox(struct model *m, weft_error *err)
{
    return describe_alike(m, true, err);
}

weft_status arch_describe_neighbours(struct model *m, weft_error *err)
{
    return describe_alike(m, false, err);
}
