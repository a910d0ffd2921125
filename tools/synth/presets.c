/* The shapes that weft-synth and the tests know by name. The real ones come from the config.json of
 * each model. */
#include <string.h>

#include "synth/synth.h"

#define TINY .n_layers = 2, .n_ctx = 256, .n_vocab = 640, .norm_eps = 1e-5f, .type_mix = "f32"
/* Rows are whole blocks of 256, for every tensor type; the context has several pages of KV. */
#define SMALL                                                                                      \
    .n_layers = 2, .dim = 256, .n_heads = 4, .n_kv_heads = 2, .n_ff = 512, .n_ctx = 1024,          \
    .n_vocab = 1024, .norm_eps = 1e-5f, .type_mix = "q8_0"
#define REAL .type_mix = "q4_k_m"
#define QWEN25                                                                                     \
    .arch = "qwen2", .n_ctx = 32768, .norm_eps = 1e-6f, .rope_base = 1e6f, .pre = "qwen2", REAL

static const struct {
    const char *name;
    struct synth_spec spec;
} presets[] = {
    { "qwen2.5-0.5b",
      { QWEN25, .name = "Synthetic Qwen2.5 0.5B", .dim = 896, .n_layers = 24, .n_heads = 14,
        .n_kv_heads = 2, .n_ff = 4864, .n_vocab = 151936, .tied = true } },
    { "qwen2.5-1.5b",
      { QWEN25, .name = "Synthetic Qwen2.5 1.5B", .dim = 1536, .n_layers = 28, .n_heads = 12,
        .n_kv_heads = 2, .n_ff = 8960, .n_vocab = 151936, .tied = true } },
    { "qwen2.5-7b",
      { QWEN25, .name = "Synthetic Qwen2.5 7B", .dim = 3584, .n_layers = 28, .n_heads = 28,
        .n_kv_heads = 4, .n_ff = 18944, .n_vocab = 152064 } },
    { "qwen3-embedding-0.6b",
      { REAL, .arch = "qwen3", .name = "Synthetic Qwen3 Embedding 0.6B", .dim = 1024,
        .n_layers = 28, .n_heads = 16, .n_kv_heads = 8, .head_dim = 128, .n_ff = 3072,
        .n_ctx = 32768, .norm_eps = 1e-6f, .rope_base = 1e6f, .pre = "qwen2", .n_vocab = 151669,
        .tied = true } },
    { "phi-3-mini",
      { REAL, .arch = "phi3", .name = "Synthetic Phi-3 mini 4k", .dim = 3072, .n_layers = 32,
        .n_heads = 32, .n_kv_heads = 32, .n_ff = 8192, .n_ctx = 4096, .n_ctx_orig = 4096,
        .norm_eps = 1e-5f, .rope_base = 1e4f, .sliding_window = 2047, .vocab = SYNTH_SPM,
        .pre = "default", .n_vocab = 32064 } },
    { "llama-3.2-1b",
      { REAL, .arch = "llama", .name = "Synthetic Llama 3.2 1B", .dim = 2048, .n_layers = 16,
        .n_heads = 32, .n_kv_heads = 8, .n_ff = 8192, .n_ctx = 131072, .norm_eps = 1e-5f,
        .rope_base = 5e5f, .rope_freqs = true, .pre = "llama-bpe", .n_vocab = 128256,
        .tied = true } },
    { "tiny-qwen2",
      { TINY, .arch = "qwen2", .name = "Tiny Qwen2", .dim = 64, .n_heads = 4, .n_kv_heads = 2,
        .n_ff = 96, .rope_base = 1e6f, .pre = "qwen2", .tied = true } },
    { "tiny-qwen2vl",
      { TINY, .arch = "qwen2vl", .name = "Tiny Qwen2-VL", .dim = 64, .n_heads = 4, .n_kv_heads = 2,
        .n_ff = 96, .rope_base = 1e6f, .pre = "qwen2", .tied = true } },
    { "tiny-qwen3",
      { TINY, .arch = "qwen3", .name = "Tiny Qwen3", .dim = 64, .n_heads = 4, .n_kv_heads = 2,
        .head_dim = 32, .n_ff = 96, .rope_base = 1e6f, .pre = "qwen2", .tied = true } },
    { "tiny-qwen3vl",
      { TINY, .arch = "qwen3vl", .name = "Tiny Qwen3-VL", .dim = 64, .n_heads = 4, .n_kv_heads = 2,
        .head_dim = 32, .n_ff = 96, .rope_base = 1e6f, .pre = "qwen2", .tied = true } },
    { "tiny-phi3",
      { TINY, .arch = "phi3", .name = "Tiny Phi-3", .dim = 96, .n_heads = 3, .n_kv_heads = 1,
        .n_ff = 128, .n_ctx_orig = 256, .rope_base = 1e4f, .vocab = SYNTH_SPM, .pre = "default" } },
    { "tiny-llama",
      { TINY, .arch = "llama", .name = "Tiny Llama", .dim = 64, .n_heads = 4, .n_kv_heads = 4,
        .n_ff = 96, .rope_base = 5e5f, .rope_freqs = true, .pre = "llama-bpe" } },
    { "small-qwen2",
      { SMALL, .arch = "qwen2", .name = "Small Qwen2", .rope_base = 1e6f, .pre = "qwen2",
        .tied = true } },
    { "small-qwen2vl",
      { SMALL, .arch = "qwen2vl", .name = "Small Qwen2-VL", .rope_base = 1e6f, .pre = "qwen2",
        .tied = true } },
    { "small-qwen3",
      { SMALL, .arch = "qwen3", .name = "Small Qwen3", .head_dim = 128, .rope_base = 1e6f,
        .pre = "qwen2", .tied = true } },
    { "small-qwen3vl",
      { SMALL, .arch = "qwen3vl", .name = "Small Qwen3-VL", .head_dim = 128, .rope_base = 1e6f,
        .pre = "qwen2", .tied = true } },
    { "small-phi3",
      { SMALL, .arch = "phi3", .name = "Small Phi-3", .rope_base = 1e4f, .n_rot = 48,
        .rope_long_short = true, .n_ctx_orig = 512, .attn_factor = 1.19f, .vocab = SYNTH_SPM,
        .pre = "default" } },
    { "small-llama",
      { SMALL, .arch = "llama", .name = "Small Llama", .rope_base = 5e5f, .rope_freqs = true,
        .pre = "llama-bpe" } },
};

bool synth_preset(const char *name, struct synth_spec *out)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            *out = presets[i].spec;
            out->seed = 1;
            return true;
        }
    }
    return false;
}

const char *synth_preset_name(size_t i)
{
    return i < sizeof presets / sizeof presets[0] ? presets[i].name : NULL;
}
