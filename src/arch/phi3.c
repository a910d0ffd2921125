/* Phi-3 and 3.5 mini and medium, Phi-4-mini. q, k, v and gate, up are fused. The 128k models have
 * two sets of frequency factors, for contexts within and beyond the original one. Phi-4-mini
 * rotates only a part of each head.
 *
 * llama.cpp also accepts attn_qkv.bias, and separate q, k and v with biases of their own; the
 * converter writes them if a model of the family has them. Both engines refuse biases of other
 * products and of norms. */
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
