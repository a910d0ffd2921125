/* Llama 2 and 3, Mistral, TinyLlama, Vicuna. The converter permutes q and k, so that RoPE turns
 * neighbouring pairs. Llama 3.1 and later store their frequency scaling as rope_freqs.weight.
 *
 * A file may also have these tensors, which llama.cpp accepts (0.3.36 of llama-cpp-python):
 *   attn_{q,k,v}.bias, attn_output.bias: attention_bias of the model's config: Bielik 4.5B v3,
 *     Granite Code 3B and 8B, Qwen models converted to llama (CausalLM).
 *   ffn_{gate,up,down}.bias: mlp_bias of the config: Bielik 4.5B v3, Granite Code 3B and 8B.
 *   attn_qkv.weight, attn_qkv.bias in the place of q, k and v: converted with --fuse-qkv.
 *   output.weight: absent if it is the embedding table.
 * Files with .scale and .input_scale of a matrix (NVFP4 and ternary weights) or with experts
 * (Mixtral) are refused by name. */
#include "arch/describe.h"

const struct arch arch_llama = {
    .name = "llama",
    .tensors = { ARCH_DENSE, ARCH_QKV_BIAS(OPTIONAL), [ATTN_OUTPUT_BIAS] = OPTIONAL,
                 ARCH_FFN_BIAS(OPTIONAL) },
    .fused = arch_fused_qkv,
    .rope_freqs = OPTIONAL,
    .describe = arch_describe_neighbours,
};
