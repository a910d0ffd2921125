/* Qwen3 (dense): each head of q and k is normalised before RoPE; the head size is its own key. */
#include "arch/arch.h"

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .rope_neox = true,
    .qk_norm = REQUIRED,
};
