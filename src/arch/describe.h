/* What the files of this folder share: the descriptors, and macros and functions that describe
 * layers. */
#ifndef WEFT_ARCH_DESCRIBE_H
#define WEFT_ARCH_DESCRIBE_H

#include "arch.h"

extern const struct arch arch_llama, arch_phi3, arch_qwen2, arch_qwen2vl, arch_qwen3, arch_qwen3vl;

/* The tensors that most layers have: attention and a gated feed-forward network, each with a norm
 * before it. */
#define ARCH_DENSE                                                                                 \
    [ATTN_NORM] = REQUIRED, [ATTN_Q] = REQUIRED, [ATTN_K] = REQUIRED, [ATTN_V] = REQUIRED,         \
    [ATTN_OUTPUT] = REQUIRED, [FFN_NORM] = REQUIRED, [FFN_GATE] = REQUIRED, [FFN_UP] = REQUIRED,   \
    [FFN_DOWN] = REQUIRED
#define ARCH_QKV_BIAS(presence)                                                                    \
    [ATTN_Q_BIAS] = presence, [ATTN_K_BIAS] = presence, [ATTN_V_BIAS] = presence
#define ARCH_FFN_BIAS(presence)                                                                    \
    [FFN_GATE_BIAS] = presence, [FFN_UP_BIAS] = presence, [FFN_DOWN_BIAS] = presence

/* An entry of `fused` in struct arch: q, k and v as one tensor. Models that were converted with
 * --fuse-qkv have it, and models whose makers publish q, k and v in this form. */
#define ARCH_FUSED_QKV(when)                                                                       \
    {                                                                                              \
        "attn_qkv", when, 3, { ATTN_Q, ATTN_K, ATTN_V }, true,                                     \
        {                                                                                          \
            ATTN_Q_BIAS, ATTN_K_BIAS, ATTN_V_BIAS                                                  \
        }                                                                                          \
    }
extern const struct fused arch_fused_qkv[];

/* Adds a kind of rotary embedding with this base to the model; the rest of it comes from the keys
 * and the tensors of factors. Returns WEFT_E_UNSUPPORTED if there are more than MAX_ROPES. */
weft_status arch_add_rope(struct model *m, bool neox, float base, struct rope **out,
                          weft_error *err);
/* Makes every layer what the keys say: attention with the rope and the window, a store of K and V
 * of its own, and a feed-forward network gated by silu. A file of this folder then changes what
 * differs. */
void arch_describe_dense(struct model *m, const struct rope *rope);
/* These call arch_describe_dense() with one rope. Its pairs are one value from each half of a head,
 * or two neighbouring values. */
weft_status arch_describe_neox(struct model *m, weft_error *err);
weft_status arch_describe_neighbours(struct model *m, weft_error *err);

/* Fills m->classifier from cls.output.weight, or from the output matrix of a reranker whose file
 * lacks that tensor. The tensors of the whole model must have been bound. */
weft_status arch_classifier(const struct arch *arch, struct model *m, weft_error *err);

#endif
