/* Qwen3 (dense): each head of q and k is normalised before RoPE; the head size is its own key.
 *
 * Optional as in llama.cpp: biases on q, k and v (attention_bias of the model's config), and
 * attn_qkv in their place (--fuse-qkv). Refused by name: cls.output.weight, the head of rerankers,
 * which would compute a score that Weft does not give. */
#include "arch/describe.h"

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .tensors = { ARCH_DENSE,
                 ARCH_QKV_BIAS(OPTIONAL), [ATTN_Q_NORM] = REQUIRED, [ATTN_K_NORM] = REQUIRED },
    .fused = arch_fused_qkv,
    .describe = arch_describe_neox,
};
