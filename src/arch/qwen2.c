/* Qwen2 and Qwen2.5: grouped-query attention with biases on q, k and v.
 *
 * The converter also writes other models as qwen2 (KORMo, the text parts of several vision models).
 * llama.cpp accepts what may differ in them: no biases on q, k and v; output.bias, if the head has
 * a bias (lm_head.bias); q, k and v as one tensor, attn_qkv, if converted with --fuse-qkv. Both
 * engines refuse biases of attn_output and of the feed-forward network. */
#include "arch/describe.h"

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .tensors = { ARCH_DENSE, ARCH_QKV_BIAS(OPTIONAL) },
    .fused = arch_fused_qkv,
    .output_bias = OPTIONAL,
    .describe = arch_describe_neox,
};

/* The text part of Qwen2-VL and Qwen2.5-VL, whose images are in a file of their own. A pair of a
 * head turns with the position in time, height or width; in a text the three are equal, so RoPE is
 * that of Qwen2. */
const struct arch arch_qwen2vl = {
    .name = "qwen2vl",
    .tensors = { ARCH_DENSE, ARCH_QKV_BIAS(OPTIONAL) },
    .fused = arch_fused_qkv,
    .unread = "images",
    .describe = arch_describe_neox,
};
