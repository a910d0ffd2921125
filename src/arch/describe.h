/* What the files of this folder describe layers with. */
#ifndef WEFT_ARCH_DESCRIBE_H
#define WEFT_ARCH_DESCRIBE_H

#include "arch.h"

extern const struct arch arch_llama, arch_phi3, arch_qwen2, arch_qwen3;

/* A row of struct arch's fused: q, k and v as one tensor, in models converted with --fuse-qkv, and
 * in those whose makers keep them so. */
#define ARCH_FUSED_QKV(when)                                                                       \
    {                                                                                              \
        "attn_qkv", when, 3, { ATTN_Q, ATTN_K, ATTN_V }, { ATTN_Q_BIAS, ATTN_K_BIAS, ATTN_V_BIAS } \
    }
extern const struct fused arch_fused_qkv[];

/* Adds a kind of rotary embedding to the model, as the keys and the tensors of factors say. */
const struct rope *arch_add_rope(struct model *m, bool neox);
/* Every layer is what the keys say: attention with the rope, a store of K and V of its own, and a
 * feed-forward network gated by silu. A file of this folder changes what differs afterwards. */
void arch_describe_dense(struct model *m, const struct rope *rope);
/* That, with one rope whose pairs are halves of a head, and with one whose pairs are neighbours. */
void arch_describe_neox(struct model *m);
void arch_describe_neighbours(struct model *m);

#endif
