/* Llama 2 and 3, Mistral, TinyLlama, Vicuna. The converter permutes q and k, so that RoPE turns
 * neighbouring pairs. Llama 3.1 and later carry their frequency scaling as rope_freqs.weight. */
#include "arch/arch.h"

const struct arch arch_llama = {
    .name = "llama",
    .qkv_bias = OPTIONAL,
    .rope_freqs = OPTIONAL,
};
