/* Phi-3 and 3.5 mini and medium, Phi-4-mini. q, k, v and gate, up are fused; the 128k models carry
 * two sets of frequency factors, for contexts within and beyond the original one; Phi-4-mini
 * rotates a part of each head.
 *
 * Beside the factors llama.cpp takes attn_qkv.bias, and q, k and v apart with biases of their own;
 * the converter writes them where a model of the family has them. Biases of other products, and of
 * norms, are refused here and there. */
#include "arch.h"

const struct arch arch_phi3 = {
    .name = "phi3",
    .rope_neox = true,
    .fused = true,
    .qkv_bias = OPTIONAL,
    .rope_long_short = OPTIONAL,
};
