/* Synthetic models: complete, valid GGUF files of any supported architecture, size and tensor
 * type, with seeded random weights whose activations stay sane and a vocabulary that really
 * tokenizes. Same spec, same bytes. synth.c lays the model out, weights.c makes the numbers,
 * vocab.c the vocabulary, keys.c the caller's own keys, writer.c the file. */
#ifndef SYNTH_SYNTH_H
#define SYNTH_SYNTH_H

#include "base/error.h"

enum synth_vocab {
    SYNTH_BPE, /* byte-level BPE; control tokens of ChatML, or of Llama 3 if `pre` is "llama-bpe" */
    SYNTH_SPM /* SentencePiece with byte fallback; with the added tokens of Phi-3 if arch is phi3 */
};

struct synth_spec {
    const char *arch; /* "qwen2", "qwen3", "phi3", "llama" */
    const char *name; /* general.name */
    size_t n_layers, dim, n_heads, n_kv_heads, n_ff;
    size_t head_dim; /* 0 = dim / n_heads */
    size_t n_ctx;
    float norm_eps;
    bool tied;   /* the embedding table is the output matrix too */
    bool biases; /* on every product where a file of this architecture may have one; qwen2 has those
                    of q, k and v anyway */
    bool fused_qkv; /* q, k and v are one tensor, as phi3 always has them */

    enum synth_vocab vocab;
    const char *pre; /* tokenizer.ggml.pre, "qwen2" */
    size_t n_vocab;  /* at least 512 */
    size_t n_merges; /* BPE: at most this many; 0 = one for every token of several bytes */
    const char *chat_template; /* NULL = one that fits the vocabulary, "" = none */

    float rope_base;
    size_t n_rot;                  /* rotated dimensions; 0 = head_dim */
    size_t sliding_window;         /* 0 = none */
    const char *rope_scaling_type; /* NULL = no such key */
    float rope_scaling_factor;
    bool rope_freqs;      /* llama: rope_freqs.weight, as Llama 3.1 computes it */
    bool rope_long_short; /* phi3: rope_factors_{long,short}.weight */
    size_t n_ctx_orig;    /* rope.scaling.original_context_length; 0 = no such key */
    float attn_factor;    /* rope.scaling.attn_factor; 0 = no such key */

    const char *type_mix; /* a tensor type ("q8_0"), several that matrices take in turn
                             ("q8_0+f16"), or "q4_k_m": the mix of llama.cpp's quantiser */
    uint64_t seed;
    bool sparse; /* matrices are holes in the file, which read as zeros and take no disk */

    /* [n_keys] "NAME=TYPE:VALUE", TYPE as GGUF calls it, of numbers also "u32[]:1,2": added, or in
     * place of the model's own */
    const char *const *keys;
    size_t n_keys;
};

/* Shapes of real models ("qwen2.5-0.5b" ...) and tiny ones for tests ("tiny-qwen2",
 * "tiny-qwen3", "tiny-phi3", "tiny-llama"). The type is F32 for tiny ones, else Q4_K_M. False if
 * there is none of that name. */
bool synth_preset(const char *name, struct synth_spec *out);
const char *synth_preset_name(size_t i); /* NULL past the last */

/* Writes the model to `path`: streaming, into path.part, which becomes `path` when it is complete.
 * WEFT_E_ARG names the field of the spec that cannot be; WEFT_E_IO the write that failed. */
weft_status synth_write(const struct synth_spec *spec, const char *path, weft_error *err);

#endif
