/* Qwen3 (dense): each head of q and k is normalised before RoPE; the head size has its own key.
 *
 * As in llama.cpp, these are optional: biases on q, k and v (attention_bias of the model's config),
 * attn_qkv in place of q, k and v (--fuse-qkv), and cls.output.weight, the classifier of
 * rerankers. */
#include "arch/describe.h"

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .tensors = { ARCH_DENSE,
                 ARCH_QKV_BIAS(OPTIONAL), [ATTN_Q_NORM] = REQUIRED, [ATTN_K_NORM] = REQUIRED },
    .fused = arch_fused_qkv,
    .classifier = OPTIONAL,
    .describe = arch_describe_neox,
};

/* The text part of Qwen3-VL: Qwen3, with positions as in qwen2vl. Only images add to what leaves
 * the first layers (n_deepstack_layers). */
const struct arch arch_qwen3vl = {
    .name = "qwen3vl",
    .tensors = { ARCH_DENSE,
                 ARCH_QKV_BIAS(OPTIONAL), [ATTN_Q_NORM] = REQUIRED, [ATTN_K_NORM] = REQUIRED },
    .fused = arch_fused_qkv,
    .unread = "images",
    .classifier = OPTIONAL,
    .describe = arch_describe_neox,
};
