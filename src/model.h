/* A model: config and weights, bound to the tensors of a GGUF file and validated once. Nothing
 * looks a name up later. */
#ifndef WEFT_MODEL_H
#define WEFT_MODEL_H

#include "base/error.h"
#include "base/log.h"
#include "base/once.h"
#include "config.h"
#include "format/gguf.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* A matrix [n_rows, n_cols] or, with n_rows == 1, a vector [n_cols], in the file's memory. Fused
 * tensors are bound as ranges of rows, so several of these may point into one tensor of the file.
 */
struct tensor {
    const char *name; /* of the file's tensor; NULL = this model has no such tensor */
    const struct quant_type *type;
    size_t n_rows, n_cols;
    const uint8_t *data;
    size_t n_bytes;
};

struct layer {
    struct tensor attn_norm;                  /* [dim] */
    struct tensor attn_q;                     /* [n_heads * head_dim, dim] */
    struct tensor attn_k, attn_v;             /* [n_kv_heads * head_dim, dim] */
    struct tensor attn_q_bias;                /* [n_heads * head_dim], may be absent */
    struct tensor attn_k_bias, attn_v_bias;   /* [n_kv_heads * head_dim], may be absent */
    struct tensor attn_q_norm, attn_k_norm;   /* [head_dim], may be absent */
    struct tensor attn_output;                /* [dim, n_heads * head_dim] */
    struct tensor attn_output_bias;           /* [dim], may be absent */
    struct tensor ffn_norm;                   /* [dim] */
    struct tensor ffn_gate, ffn_up;           /* [n_ff, dim] */
    struct tensor ffn_gate_bias, ffn_up_bias; /* [n_ff], may be absent */
    struct tensor ffn_down;                   /* [dim, n_ff] */
    struct tensor ffn_down_bias;              /* [dim], may be absent */
};

struct weights {
    struct tensor token_embd;            /* [n_vocab, dim] */
    struct tensor output_norm;           /* [dim] */
    struct tensor output;                /* [n_vocab, dim]; token_embd's data when tied */
    struct tensor output_bias;           /* [n_vocab], may be absent */
    struct tensor rope_freqs;            /* [n_rot / 2], may be absent */
    struct tensor rope_long, rope_short; /* [n_rot / 2], may be absent */
    struct layer *layers;                /* [n_layers] */
};

struct model {
    struct gguf *file;
    struct tokenizer *tokenizer;
    const struct chat_template *chat; /* NULL if unknown */
    bool has_chat_source, chat_exact; /* the file has a template; `chat` is just what it says */
    struct config config;             /* zero when opened as vocabulary only */
    struct weights weights;
    int32_t *ends; /* [n_ends] tokens that end a text or turn */
    size_t n_ends;
    uint64_t n_params, n_bytes; /* of all tensors */
    struct once *packed;        /* weights as a backend has packed them, for all its engines */
    char *name, *arch_name;     /* general.name and general.architecture, "" when absent */
    bool vocab_only;
};

/* Errors name the file. WEFT_E_IO, WEFT_E_FORMAT, WEFT_E_UNSUPPORTED, WEFT_E_NOMEM. */
weft_status model_open(const char *path, const weft_model_params *params, struct model **out,
                       weft_error *err);
void model_close(struct model *m); /* NULL is fine */

/* Angle per position of each rotated pair, freq[n_rot / 2], for an engine whose sequences hold up
 * to n_ctx tokens (which decides between Phi-3's short and long factors). */
void model_rope(const struct model *m, size_t n_ctx, double *freq);

#endif
