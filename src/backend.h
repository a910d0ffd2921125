/* What a backend must do: the stages of a step, and the calls around them. forward.c calls the
 * stages in order. A backend knows nothing of text, sampling or handles. src/cpu and cuda implement
 * this interface. */
#ifndef WEFT_BACKEND_H
#define WEFT_BACKEND_H

#include <stdatomic.h>

#include "base/log.h"
#include "model.h"

enum {
    /* The positions of a page. The number of a page addresses every store of a pool. */
    KV_PAGE = WEFT_KV_PAGE,
    /* The most candidates that `top` gives. */
    BACKEND_TOP = WEFT_TOP_MAX
};

/* The rows of one sequence in a step. They are consecutive rows with consecutive positions. */
struct step_seq {
    /* For each pool: pages[pool][p / KV_PAGE] is the page of position p, for all p < pos +
     * n_rows. */
    const uint32_t *pages[MAX_POOLS];
    /* Where recurrent layers read their state and where they leave it. No layer has a state yet. */
    uint32_t slot_from, slot_to;
    /* The set of RoPE factors with which all positions of the sequence are computed. */
    uint8_t rope_set;
    size_t pos;         /* position of the first row */
    size_t row, n_rows; /* rows [row, row + n_rows) of the step */
    /* Another thread may set it during the step; NULL = nobody does. */
    const atomic_bool *cancelled;
};

/* One pass of the transformer over the packed tokens of any number of sequences. A row attends to
 * the positions of its sequence that lie in the layer's window, the last of which is its own.
 * Earlier steps have stored some of these positions in pages; the others belong to this step. */
struct step {
    size_t n_rows;         /* at most n_batch */
    const int32_t *tokens; /* [n_rows] */
    size_t n_seqs;
    /* [n_seqs], in ascending order of rows; together they cover all rows. */
    const struct step_seq *seqs;
    size_t n_out; /* at most n_out of backend_params */
    /* [n_out], ascending: the rows whose logits are wanted. */
    const uint32_t *out_rows;
};

struct backend_params {
    size_t n_ctx;   /* length of the longest sequence */
    size_t n_pages; /* of the KV pool */
    /* The most rows of a step; 0 = the backend's choice, at least n_out. */
    size_t n_batch;
    /* The most rows of a step whose logits are wanted. */
    size_t n_out;
    size_t n_threads; /* 0 = the backend's choice */
    weft_cpu_isa isa;
    /* The types of K and of V; head_dim is a multiple of their blocks. */
    weft_kv_type kv_type[2];
    int device; /* which of the backend's devices */
    /* Every thread but the caller's stays on one core. */
    bool pin_threads;
    /* Weights are used as they are in the file. */
    bool no_repack;
    /* A row's logits do not depend on the other rows of its step. */
    bool deterministic;
    /* Kernels are launched one by one. */
    bool no_graphs;
    /* Kernels do not overlap. */
    bool no_pdl;
    /* Each buffer of the device is an allocation of its own. */
    bool no_arena;
    /* Somebody will read values that no later stage needs as floats. */
    bool values;
    const struct log *log;
    /* Told of the upload of weights; NULL = nobody listens. */
    weft_progress_fn progress;
    void *progress_user;
};

struct backend_info {
    /* The name of the set of kernels that runs. */
    const char *kernels;
    /* The most rows of a step. */
    size_t n_batch;
    /* The most rows of a step whose logits are wanted; fewer than asked for where there was no room
     * for more. */
    size_t n_out;
    size_t n_threads;
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
    /* Another backend on the device will fail too; known after WEFT_E_DEVICE_LOST. */
    bool process_lost;
};

/* The stages of a step, in the order in which a layer runs through them; forward.c says which
 * layers have which stages. x [n_rows, dim] is the residual stream. When a stage returns, the next
 * one may use its results. Values are defined at the borders between stages; kernels may compute
 * across a border. */
#define STAGES(X)                                                                                  \
    /* x = rows of the embedding table */                                                          \
    X(EMBED, "embed")                                                                              \
    /* norm(x) -> q, k, v (+ bias) -> norm of each head -> rope -> k, v into the rows' pages */    \
    X(ATTN_IN, "attn_in")                                                                          \
    /* o [n_rows, SIZE_O] = attention of q over the pages */                                       \
    X(ATTEND, "attend")                                                                            \
    /* x += o * attn_output^T (+ bias) */                                                          \
    X(ATTN_OUT, "attn_out")                                                                        \
    /* norm(x) -> gate, up (+ bias) -> h [n_rows, n_ff] = act(gate) * up */                        \
    X(FFN_IN, "ffn_in")                                                                            \
    /* x += h * ffn_down^T (+ bias) */                                                             \
    X(FFN_OUT, "ffn_out")                                                                          \
    /* norm(x) [n_out, dim], for the rows whose logits are wanted */                               \
    X(HEAD_NORM, "head_norm")                                                                      \
    /* logits [n_out, n_vocab] = norm(x) * output^T (+ bias) */                                    \
    X(HEAD, "head")

enum stage {
#define STAGE(id, name) STAGE_##id,
    STAGES(STAGE)
#undef STAGE
        N_STAGES
};
extern const char *const stage_names[N_STAGES];
/* The stage that reads each tensor of a layer. All matrices of a stage are multiplied by the same
 * rows. */
extern const enum stage tensor_stages[N_LAYER_TENSORS];

/* Stages that follow one another; forward.c says which list belongs to which kind of layer. */
struct stage_list {
    size_t n;
    enum stage stages[N_STAGES];
};
extern const struct stage_list embed_stages, mixer_stages[N_MIXERS], ffn_stages[N_FFNS],
    head_stages;

/* The values that stages leave for the next stage: a row of floats for each row of the step. */
enum backend_value {
    VALUE_X,         /* [dim] the residual stream, after EMBED, ATTN_OUT and FFN_OUT */
    VALUE_Q,         /* [SIZE_Q] after ATTN_IN */
    VALUE_K,         /* [SIZE_K] after ATTN_IN */
    VALUE_V,         /* [SIZE_V] after ATTN_IN */
    VALUE_ATTENTION, /* [SIZE_O] o, after ATTEND */
    VALUE_FFN_ACT,   /* [n_ff] h, after FFN_IN */
    /* [dim] after HEAD_NORM, one row for each of the step's out_rows. */
    VALUE_NORM
};

/* Returns the columns of a value. */
size_t backend_value_cols(const struct model *m, enum backend_value value, size_t layer);

/* The best speeds that the device can reach. */
struct backend_limits {
    double read_bytes_per_s, macs_per_s;
};

/* The struct of each backend begins with it. */
struct backend;

struct backend_ops {
    const char *name;

    /* What the backend can compute, see backend_check(). `acts` is a set of bits 1 << enum act. */
    bool (*has)(enum stage);
    uint32_t acts;
    /* Runs one stage. `layer` is the layer of the stage; it is 0 for EMBED, and n_layers for
     * HEAD_NORM and HEAD. */
    weft_status (*stage)(struct backend *, enum stage, const struct step *, size_t layer,
                         weft_error *);
    /* (optional) The k best logits of each wanted row of the last step: ids and values [n_out, k].
     * The best comes first; equal logits are ordered by ascending id. So 8 k bytes per row are
     * copied instead of a vocabulary. If a row has a NaN among its logits, its first id is -1. k <=
     * BACKEND_TOP. */
    weft_status (*top)(struct backend *, size_t k, int32_t *ids, float *values, weft_error *);

    /* (optional) Computes the whole step at once, in place of the stages. *done = false means that
     * this step has to go through the stages. */
    weft_status (*step)(struct backend *, const struct step *, bool *done, weft_error *);
    /* (optional) Computes k steps. The first is the given one, in which every sequence has one row
     * and wants its logits. Each of the k - 1 others takes the best token of the step before it.
     * The pages cover them all. ids [k, n_rows] are the best tokens after each step; from the first
     * NaN among a row's logits on, its ids are -1. The logits of the last step can be read. There
     * are at most ahead_rows rows. */
    weft_status (*ahead)(struct backend *, const struct step *, size_t k, int32_t *ids,
                         weft_error *);
    size_t ahead_rows;

    /* Copies the logits of the i-th wanted row of the last step to dst[n_vocab] in host memory. */
    weft_status (*read_logits)(struct backend *, size_t i, float *dst, weft_error *);
    /* Copies a value that the last stage left for the rows of its step to dst [rows, cols]. All
     * values but VALUE_X need `values` of the parameters. `layer` is the layer of that stage;
     * VALUE_X and VALUE_NORM belong to no layer. */
    weft_status (*read_values)(struct backend *, const struct step *, enum backend_value,
                               size_t layer, float *dst, weft_error *);
    /* (optional) Waits until the last call has been computed. */
    weft_status (*wait)(struct backend *, weft_error *);
    /* Measures the device with the threads that compute. */
    weft_status (*limits)(struct backend *, struct backend_limits *, weft_error *);
    /* Copies a page of the KV pool in every store. It can only fail with WEFT_E_DEVICE_LOST. */
    weft_status (*copy_page)(struct backend *, uint32_t dst, uint32_t src, weft_error *);
    /* These copy the first n positions of a page, in every store, to and from host memory of any
     * alignment. The host has [n_stores of the model, 2 (K, V), n_heads, n, kv_type_bytes() of a
     * head], whatever the layout of a page is. K of q8_0 is rotated by kv_rotate(). They can only
     * fail with WEFT_E_DEVICE_LOST. */
    weft_status (*read_kv)(struct backend *, uint32_t page, size_t n, uint8_t *dst, weft_error *);
    weft_status (*write_kv)(struct backend *, uint32_t page, size_t n, const uint8_t *src,
                            weft_error *);
    void (*info)(const struct backend *, struct backend_info *);
    void (*close)(struct backend *);
};

struct watcher;

struct backend {
    const struct backend_ops *ops;
    const struct model *model;
    /* Told of every stage, see forward.h; NULL = nobody. */
    struct watcher *watcher;
};

/* Returns WEFT_E_UNSUPPORTED if the model needs something that the backend lacks, and names it: a
 * stage, an activation, or heads of V whose length differs from the heads of K. */
weft_status backend_check(const struct backend_ops *ops, const struct model *m, weft_error *err);

/* The model must outlive the backend. */
weft_status cpu_backend_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err);
/* Returns WEFT_E_UNSUPPORTED if the build has no CUDA or if kernels cannot run the model's shape,
 * and WEFT_E_DEVMEM with the plan's numbers if the model does not fit. */
weft_status cuda_backend_open(const struct model *m, const struct backend_params *p,
                              struct backend **out, weft_error *err);

#endif
