/* Qwen2 and Qwen2.5: grouped-query attention with biases on q, k and v.
 *
 * The converter writes other models as qwen2, too (KORMo, text parts of several vision models),
 * and llama.cpp takes what may differ in them: no biases on q, k and v; output.bias, of a head that
 * has one (lm_head.bias); q, k and v as one tensor, attn_qkv, where converted with --fuse-qkv.
 * Biases of attn_output and of the feed-forward are refused here and there. */
#include "arch/describe.h"

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .tensors = { ARCH_DENSE, ARCH_QKV_BIAS(OPTIONAL) },
    .fused = arch_fused_qkv,
    .output_bias = OPTIONAL,
    .describe = arch_describe_neox,
};
