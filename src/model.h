/* A model: config and weights, bound to the tensors of a GGUF file and validated once. Nobody looks
 * up a name later. */
#ifndef WEFT_MODEL_H
#define WEFT_MODEL_H

#include "base/error.h"
#include "base/once.h"
#include "config.h"
#include "format/gguf.h"
#include "layer.h"
#include "text/tokenizer.h"

/* The tensors that belong to no layer. */
struct weights {
    struct tensor token_embd;  /* [n_vocab, dim] */
    struct tensor output_norm; /* [dim] */
    /* [n_vocab, dim]. Tied models use the data of token_embd. */
    struct tensor output;
    struct tensor output_bias;           /* [n_vocab], may be absent */
    struct tensor rope_freqs;            /* [n_rot / 2], may be absent */
    struct tensor rope_long, rope_short; /* [n_rot / 2], may be absent */
    struct tensor cls_output;            /* [n_labels, dim], only in rerankers */
};

/* What a reranker computes from the state of a text's last token: its product with a row for each
 * label. */
struct classifier {
    size_t n_labels; /* 0 = the model is no reranker */
    size_t yes;      /* the label whose probability is the score of a document */
    /* The model's prompt for reranking is not that of rank_prompt(). */
    bool other_prompt;
    float *rows; /* [n_labels, dim] */
};

/* The largest sizes of any layer, for scratch. Lengths are in values. */
struct maxima {
    size_t q_dim, k_dim, v_dim, o_dim; /* of all heads */
    size_t head;                       /* one head of K or V */
    size_t group;                      /* query heads that share a KV head */
    size_t n_ff;
};

enum {
    /* The kinds of rotary embedding in one model. */
    MAX_ROPES = 2,
    /* The kinds of page numbers. So far there is one, which all stores of K and V use. */
    MAX_POOLS = 1
};

struct model {
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct config config; /* zero when opened as vocabulary only */
    struct weights weights;
    struct layer *layers; /* [config.n_layers] */
    struct kv *kv;        /* [n_stores] K and V */
    size_t n_stores;
    struct classifier classifier;
    struct rope ropes[MAX_ROPES];
    size_t n_ropes;
    /* Texts of more tokens than this use the second set of factors of each rope; SIZE_MAX if the
     * sets are the same. */
    size_t rope_border;
    struct maxima max;
    int32_t *ends; /* [n_ends] tokens that end a text or turn */
    size_t n_ends;
    uint64_t n_params, n_bytes; /* of all tensors */
    /* Weights as a backend has packed them, shared by all its engines. */
    struct once *packed;
    char *name, *arch_name; /* general.name and general.architecture, "" when absent */
    bool vocab_only;
};

/* Errors name the file. WEFT_E_IO, WEFT_E_FORMAT, WEFT_E_UNSUPPORTED, WEFT_E_NOMEM. */
weft_status model_open(const char *path, const weft_model_params *params, struct model **out,
                       weft_error *err);
/* Accepts NULL. */
void model_close(struct model *m);

static inline const struct kv *layer_kv(const struct model *m, const struct layer *layer)
{
    return &m->kv[layer->attn.kv];
}

/* Returns the set of RoPE factors with which all positions of a text of n tokens are computed. As
 * the authors of LongRoPE use them, the factors follow from the length of the text alone, so that a
 * text has the same bits in every engine. */
static inline uint8_t model_rope_set(const struct model *m, size_t n) { return n > m->rope_border; }

size_t layer_size(const struct model *m, const struct layer *layer, enum layer_size size);

#endif
