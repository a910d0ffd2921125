/* What a layer of the transformer is: what it computes, its sizes and its tensors. The architecture
 * of the file (src/arch/) says that once, when a model is opened; forward.c and the backends read
 * it here. What concerns the model as a whole (n_vocab, dim, n_layers, norm_eps) is in config.h. */
#ifndef WEFT_LAYER_H
#define WEFT_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/quant.h"

/* A matrix [n_rows, n_cols] or, with n_rows == 1, a vector [n_cols], in the file's memory. The
 * parts of a fused tensor are ranges of its rows, so several struct tensor may point into one
 * tensor of the file. */
struct tensor {
    /* The name of the file's tensor; NULL = this model has no such tensor. */
    const char *name;
    const struct quant_type *type;
    size_t n_rows, n_cols;
    const uint8_t *data;
    size_t n_bytes;
};

/* The sizes that the shapes of a layer's tensors are made of. layer_size() of model.h gives the
 * numbers. */
enum layer_size {
    SIZE_ONE,  /* the rows of a vector */
    SIZE_DIM,  /* of the residual stream */
    SIZE_Q,    /* all query heads */
    SIZE_K,    /* K of all KV heads */
    SIZE_V,    /* V of all KV heads */
    SIZE_O,    /* the result of attention, all query heads */
    SIZE_HEAD, /* one head of q or k */
    SIZE_FF    /* the feed-forward network */
};

/* Every tensor that a layer may have: its name in the file behind "blk.N.", its rows and columns,
 * and the stage that reads it. All code that handles every tensor (binding, packing, uploading,
 * costs) walks this list. Matrices stand in the order in which a step reads them. */
#define LAYER_TENSORS(X)                                                                           \
    X(ATTN_NORM, "attn_norm.weight", SIZE_ONE, SIZE_DIM, ATTN_IN)                                  \
    X(ATTN_Q, "attn_q.weight", SIZE_Q, SIZE_DIM, ATTN_IN)                                          \
    X(ATTN_K, "attn_k.weight", SIZE_K, SIZE_DIM, ATTN_IN)                                          \
    X(ATTN_V, "attn_v.weight", SIZE_V, SIZE_DIM, ATTN_IN)                                          \
    X(ATTN_Q_BIAS, "attn_q.bias", SIZE_ONE, SIZE_Q, ATTN_IN)                                       \
    X(ATTN_K_BIAS, "attn_k.bias", SIZE_ONE, SIZE_K, ATTN_IN)                                       \
    X(ATTN_V_BIAS, "attn_v.bias", SIZE_ONE, SIZE_V, ATTN_IN)                                       \
    X(ATTN_Q_NORM, "attn_q_norm.weight", SIZE_ONE, SIZE_HEAD, ATTN_IN)                             \
    X(ATTN_K_NORM, "attn_k_norm.weight", SIZE_ONE, SIZE_HEAD, ATTN_IN)                             \
    X(ATTN_OUTPUT, "attn_output.weight", SIZE_DIM, SIZE_O, ATTN_OUT)                               \
    X(ATTN_OUTPUT_BIAS, "attn_output.bias", SIZE_ONE, SIZE_DIM, ATTN_OUT)                          \
    X(FFN_NORM, "ffn_norm.weight", SIZE_ONE, SIZE_DIM, FFN_IN)                                     \
    X(FFN_GATE, "ffn_gate.weight", SIZE_FF, SIZE_DIM, FFN_IN)                                      \
    X(FFN_UP, "ffn_up.weight", SIZE_FF, SIZE_DIM, FFN_IN)                                          \
    X(FFN_GATE_BIAS, "ffn_gate.bias", SIZE_ONE, SIZE_FF, FFN_IN)                                   \
    X(FFN_UP_BIAS, "ffn_up.bias", SIZE_ONE, SIZE_FF, FFN_IN)                                       \
    X(FFN_DOWN, "ffn_down.weight", SIZE_DIM, SIZE_FF, FFN_OUT)                                     \
    X(FFN_DOWN_BIAS, "ffn_down.bias", SIZE_ONE, SIZE_DIM, FFN_OUT)

enum layer_tensor {
#define LAYER_TENSOR(id, name, rows, cols, stage) id,
    LAYER_TENSORS(LAYER_TENSOR)
#undef LAYER_TENSOR
        N_LAYER_TENSORS
};

/* The name and shape of each tensor; tensor_stages of backend.h has the stages. */
struct layer_tensor_info {
    const char *name;
    enum layer_size rows, cols;
};
extern const struct layer_tensor_info layer_tensors[N_LAYER_TENSORS];

static inline bool layer_tensor_is_matrix(enum layer_tensor t)
{
    return layer_tensors[t].rows != SIZE_ONE;
}

/* The size of K and V of one position in one store. So far every layer has a store of its own, and
 * backends need k_dim and v_dim to be equal. */
struct kv {
    size_t n_heads, k_dim, v_dim; /* k_dim, v_dim: values of a head */
    /* The pool whose page numbers address the store, below MAX_POOLS. */
    uint8_t pool;
};

/* The sets of factors that a rope has: for short texts and for long ones. */
enum { ROPE_SETS = 2 };

/* How YaRN (Peng et al. 2023, arXiv 2309.00071) stretches a context: pairs that make more than
 * beta_fast turns within the original context keep their angles, pairs that make fewer than
 * beta_slow get angles that are scaled, and between them is a ramp. */
struct yarn {
    /* How much of its own angle a pair before the ramp keeps: 1 in the paper. 0 = no YaRN: all
     * pairs are scaled. */
    float mix;
    float beta_fast, beta_slow;
    float magnitude; /* by which the paper multiplies sine and cosine */
    size_t n_ctx;    /* the original context */
};

/* A kind of rotary position embedding: pair i of a head is turned by the angle position *
 * angles[i]. */
struct rope {
    size_t n_rot; /* leading values of a head that are turned */
    bool neox;    /* pairs are (i, i + n_rot / 2); otherwise (2i, 2i + 1) */
    float base;
    float scale;      /* positions are multiplied by it; 1 = none */
    float factor;     /* multiplies sine and cosine */
    struct yarn yarn; /* which pairs `scale` is for */
    /* [n_rot / 2]: the angles are divided by them. The length of a text says which set is for it,
     * see model_rope_set(). Both sets may be absent, or equal. */
    struct tensor factors[ROPE_SETS];
    /* This is ropes[at] of the model. A backend finds its table of angles by this number. */
    size_t at;
};

enum mixer { MIX_ATTENTION, N_MIXERS };
enum ffn { FFN_DENSE, N_FFNS };
enum act { ACT_SILU };

/* The attention of a layer: n_heads query heads over the store `kv`. */
struct attn {
    size_t n_heads;
    size_t kv; /* index into kv of the model */
    /* The number of positions that a position sees, its own included; 0 = all up to its own. */
    size_t window;
    /* Multiplies q . k. */
    float scale;
    const struct rope *rope; /* not NULL */
};

struct layer {
    enum mixer mixer;
    struct attn attn; /* for MIX_ATTENTION */
    enum ffn ffn;
    enum act act; /* of the gate */
    size_t n_ff;
    struct tensor t[N_LAYER_TENSORS];
};

/* Computes the angle per position of each turned pair, [n_rot / 2], with one set of factors. */
void rope_angles(const struct rope *r, size_t set, double *angles);

#endif
