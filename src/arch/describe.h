/* What the files of this folder share: the descriptors, and words to describe layers with. */
#ifndef WEFT_ARCH_DESCRIBE_H
#define WEFT_ARCH_DESCRIBE_H

#include "arch.h"

extern const struct arch arch_llama, arch_phi3, arch_qwen2, arch_qwen3;

/* What most layers have: attention and a gated feed-forward network, each behind a norm. */
#define ARCH_DENSE                                                                                 \
    [ATTN_NORM] = REQUIRED, [ATTN_Q] = REQUIRED, [ATTN_K] = REQUIRED, [ATTN_V] = REQUIRED,         \
    [ATTN_OUTPUT] = REQUIRED, [FFN_NORM] = REQUIRED, [FFN_GATE] = REQUIRED, [FFN_UP] = REQUIRED,   \
    [FFN_DOWN] = REQUIRED
#define ARCH_QKV_BIAS(presence)                                                                    \
    [ATTN_Q_BIAS] = presence, [ATTN_K_BIAS] = presence, [ATTN_V_BIAS] = presence
#define ARCH_FFN_BIAS(presence)                                                                    \
    [FFN_GATE_BIAS] = presence, [FFN_UP_BIAS] = presence, [FFN_DOWN_BIAS] = presence

/* A row of struct arch's fused: q, k and v as one tensor, in models converted with --fuse-qkv, and
 * in those whose makers keep them so. */
#define ARCH_FUSED_QKV(when)                                                                       \
    {                                                                                              \
        "attn_qkv", when, 3, { ATTN_Q, ATTN_K, ATTN_V }, true,                                     \
        {                                                                                          \
            ATTN_Q_BIAS, ATTN_K_BIAS, ATTN_V_BIAS                                                  \
        }                                                                                          \
    }
extern const struct fused arch_fused_qkv[];

/* Adds a kind of rotary embedding to the model: of this base, and for the rest as the keys and the
 * tensors of factors say. WEFT_E_UNSUPPORTED beyond MAX_ROPES of them. */
weft_status arch_add_rope(struct model *m, bool neox, float base, struct rope **out,
                          weft_error *err);
/* Every layer is what the keys say: attention with the rope and the window, a store of K and V of
 * its own, and a feed-forward network gated by silu. A file of this folder changes what differs
 * afterwards. */
void arch_describe_dense(struct model *m, const struct rope *rope);
/* That, with one rope whose pairs are halves of a head, and with one whose pairs are neighbours. */
weft_status arch_describe_neox(struct model *m, weft_error *err);
weft_status arch_describe_neighbours(struct model *m, weft_error *err);

#endif
