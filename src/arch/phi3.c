/* Phi-3 and 3.5 mini and medium, Phi-4-mini. q, k, v and gate, up are fused; the 128k models carry
 * two sets of frequency factors, for contexts within and beyond the original one; Phi-4-mini
 * rotates a part of each head.
 *
 * Beside the factors llama.cpp takes attn_qkv.bias, and q, k and v apart with biases of their own;
 * the converter writes them where a model of the family has them. Biases of other products, and of
 * norms, are refused here and there. */
#include "arch/describe.h"

static const struct fused fused[] = {
    ARCH_FUSED_QKV(FUSED_UNLESS_APART),
    { "ffn_up", FUSED_ALWAYS, 2, { FFN_GATE, FFN_UP }, false, { 0 } },
    { 0 },
};

const struct arch arch_phi3 = {
    .name = "phi3",
    .tensors = { ARCH_DENSE, ARCH_QKV_BIAS(OPTIONAL) },
    .fused = fused,
    .rope_long_short = OPTIONAL,
    .describe = arch_describe_neox,
};
