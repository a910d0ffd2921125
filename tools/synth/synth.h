/* Synthetic models: complete, valid GGUF files of any supported architecture, size and tensor type.
 * Their seeded random weights keep activations in a sane range, and their vocabulary really
 * tokenizes. The same spec gives the same bytes. synth.c lays the model out, weights.c makes the
 * numbers, vocab.c the vocabulary, keys.c the caller's own keys, writer.c the file. */
#ifndef SYNTH_SYNTH_H
#define SYNTH_SYNTH_H

#include "base/error.h"

enum synth_vocab {
    /* Byte-level BPE, with the control tokens of ChatML, or of Llama 3 if `pre` is "llama-bpe". */
    SYNTH_BPE,
    /* SentencePiece with byte fallback, and with the added tokens of Phi-3 if arch is phi3. */
    SYNTH_SPM
};

struct synth_spec {
    const char *arch; /* "qwen2", "qwen2vl", "qwen3", "qwen3vl", "phi3", "llama" */
    const char *name; /* general.name */
    size_t n_layers, dim, n_heads, n_kv_heads, n_ff;
    size_t head_dim; /* 0 = dim / n_heads */
    size_t n_ctx;
    float norm_eps;
    bool tied; /* the embedding table is the output matrix too */
    /* Every product where a file of this architecture may have a bias has one. In qwen2 q, k and v
     * always have one. */
    bool biases;
    /* q, k and v are one tensor, as they always are in phi3. */
    bool fused_qkv;

    enum synth_vocab vocab;
    const char *pre; /* tokenizer.ggml.pre, "qwen2" */
    size_t n_vocab;  /* at least 512 */
    /* BPE: the most merges; 0 = one for every token of several bytes. */
    size_t n_merges;
    /* NULL = one that fits the vocabulary; "" = none. */
    const char *chat_template;

    float rope_base;
    size_t n_rot;                  /* rotated dimensions; 0 = head_dim */
    size_t sliding_window;         /* 0 = none */
    const char *rope_scaling_type; /* NULL = no such key */
    float rope_scaling_factor;
    /* For llama: rope_freqs.weight, as Llama 3.1 computes it. */
    bool rope_freqs;
    /* For phi3: rope_factors_{long,short}.weight. */
    bool rope_long_short;
    size_t n_ctx_orig; /* rope.scaling.original_context_length; 0 = no such key */
    float attn_factor; /* rope.scaling.attn_factor; 0 = no such key */
    /* For qwen3 and qwen3vl: rows of cls.output.weight, the classifier of rerankers, with its keys;
     * 0 = none.
     */
    size_t n_labels;

    /* A tensor type ("q8_0"), several types that matrices take in turn ("q8_0+f16"), or "q4_k_m",
     * the mix of llama.cpp's quantiser. */
    const char *type_mix;
    uint64_t seed;
    /* Matrices are holes in the file, which read as zeros and take no disk. */
    bool sparse;

    /* [n_keys] "NAME=TYPE:VALUE" keys that are added, or that replace the model's own. TYPE is as
     * in GGUF; for numbers it may be an array: "u32[]:1,2". */
    const char *const *keys;
    size_t n_keys;
};

/* Finds the shape of a real model ("qwen2.5-0.5b" ...) or a tiny one for tests ("tiny-" and an
 * architecture). The type is F32 for the tiny ones, else Q4_K_M. Returns
 * false if there is none of that name. */
bool synth_preset(const char *name, struct synth_spec *out);
/* Returns NULL past the last. */
const char *synth_preset_name(size_t i);

/* Writes the model to `path`. It streams into path.part, which becomes `path` when it is complete.
 * WEFT_E_ARG names the impossible field of the spec, WEFT_E_IO the write that failed. */
weft_status synth_write(const struct synth_spec *spec, const char *path, weft_error *err);

#endif
