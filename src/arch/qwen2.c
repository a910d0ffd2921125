/* Qwen2 and Qwen2.5: grouped-query attention with biases on q, k and v. */
#include "arch/arch.h"

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .rope_neox = true,
    .qkv_bias = REQUIRED,
};
