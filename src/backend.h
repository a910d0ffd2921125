/* What a backend must do: the stages of a step of rows, and the plumbing around them. forward.c
 * calls the stages in order; a backend sees nothing of text, sampling or handles. src/cpu and cuda
 * implement this. */
#ifndef WEFT_BACKEND_H
#define WEFT_BACKEND_H

#include <stdatomic.h>

#include "base/log.h"
#include "model.h"

enum {
    KV_PAGE = WEFT_KV_PAGE,    /* positions of a page; its number addresses every store of a pool */
    BACKEND_TOP = WEFT_TOP_MAX /* most candidates that `top` gives */
};

/* The rows of one sequence in a step: consecutive positions, consecutive rows. */
struct step_seq {
    /* of each pool: pages[pool][p / KV_PAGE] holds position p, for all p < pos + n_rows */
    const uint32_t *pages[MAX_POOLS];
    /* where the state of recurrent layers is read and left; no layer has any yet */
    uint32_t slot_from, slot_to;
    size_t pos;                   /* position of the first row */
    size_t row, n_rows;           /* rows [row, row + n_rows) of the step */
    const atomic_bool *cancelled; /* another thread may set it during the step; NULL = nobody */
};

/* One pass of the transformer over the packed tokens of any number of sequences. A row attends to
 * the positions of its own sequence up to itself, as far as the layer's window reaches: earlier
 * steps' (in the pages) and those of its own step. */
struct step {
    size_t n_rows;         /* at most n_batch */
    const int32_t *tokens; /* [n_rows] */
    size_t n_seqs;
    const struct step_seq *seqs; /* [n_seqs], ascending rows, covering all */
    size_t n_out;                /* at most n_out of backend_params */
    const uint32_t *out_rows;    /* [n_out] rows whose logits are wanted, ascending */
};

struct backend_params {
    size_t n_ctx;     /* longest sequence */
    size_t n_pages;   /* of the KV pool */
    size_t n_batch;   /* most rows of a step; 0 = the backend's choice, at least n_out */
    size_t n_out;     /* most rows of a step with logits */
    size_t n_threads; /* 0 = the backend's choice */
    weft_cpu_isa isa;
    weft_kv_type kv_type[2]; /* of K and of V; head_dim is a multiple of their blocks */
    int device;              /* which of the backend's devices */
    bool pin_threads;        /* threads but the caller's stay on a core each */
    bool no_repack;          /* weights are read as they are in the file */
    bool deterministic;      /* a row's logits do not depend on the other rows of its step */
    bool no_graphs;          /* kernels are launched one by one */
    bool no_pdl;             /* kernels do not overlap */
    bool no_arena;           /* each buffer of the device is an allocation of its own */
    bool values;             /* values that no later stage needs as floats will be read */
    const struct log *log;
    weft_progress_fn progress; /* of the upload of weights; NULL = nobody listens */
    void *progress_user;
};

struct backend_info {
    const char *kernels; /* which set of kernels runs */
    size_t n_batch;      /* most rows of a step */
    size_t n_threads;
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
    bool process_lost; /* after WEFT_E_DEVICE_LOST: another backend on the device will fail too */
};

/* The parts of a step, in the order in which a layer runs through them; forward.c says which
 * layers have which. x [n_rows, dim] is the residual stream. A stage returns after its results are
 * usable by the next one. Values are defined at the borders; kernels may compute across them. */
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
    /* norm(x) [n_out, dim] of the rows whose logits are wanted */                                 \
    X(HEAD_NORM, "head_norm")                                                                      \
    /* logits [n_out, n_vocab] = that * output^T (+ bias) */                                       \
    X(HEAD, "head")

enum stage {
#define STAGE(id, name) STAGE_##id,
    STAGES(STAGE)
#undef STAGE
        N_STAGES
};
extern const char *const stage_names[N_STAGES];
/* The stage that reads a tensor of a layer. Matrices of one stage are multiplied by the same rows.
 */
extern const enum stage tensor_stages[N_LAYER_TENSORS];

/* Stages that follow one another; forward.c says which the kinds of layers run through. */
struct stage_list {
    size_t n;
    enum stage stages[N_STAGES];
};
extern const struct stage_list embed_stages, mixer_stages[N_MIXERS], ffn_stages[N_FFNS],
    head_stages;

/* What stages leave behind for the next one, a row of floats for each row of the step. */
enum backend_value {
    VALUE_X,         /* [dim] the residual stream, after EMBED, ATTN_OUT and FFN_OUT */
    VALUE_Q,         /* [SIZE_Q] after ATTN_IN */
    VALUE_K,         /* [SIZE_K] after ATTN_IN */
    VALUE_V,         /* [SIZE_V] after ATTN_IN */
    VALUE_ATTENTION, /* [SIZE_O] o, after ATTEND */
    VALUE_FFN_ACT,   /* [n_ff] h, after FFN_IN */
    VALUE_NORM       /* [dim] after HEAD_NORM, a row for each of the step's out_rows */
};

/* Columns of a value. */
size_t backend_value_cols(const struct model *m, enum backend_value value, size_t layer);

/* What the device can do at best. */
struct backend_limits {
    double read_bytes_per_s, macs_per_s;
};

struct backend; /* each backend's own struct begins with it */

struct backend_ops {
    const char *name;

    /* what there are bodies for, see backend_check(); acts: bits 1 << enum act */
    bool (*has)(enum stage);
    uint32_t acts;
    /* layer: of the stages of a layer; 0 of EMBED, n_layers of HEAD_NORM and HEAD */
    weft_status (*stage)(struct backend *, enum stage, const struct step *, size_t layer,
                         weft_error *);
    /* (optional) The k best logits of each wanted row of the last step, best first, equal ones by
     * ascending id: ids and values [n_out, k], so that 8 k bytes come back instead of the
     * vocabulary. A row with a NaN among its logits gives id -1 first. k <= BACKEND_TOP. */
    weft_status (*top)(struct backend *, size_t k, int32_t *ids, float *values, weft_error *);

    /* (optional) The whole step at once, in place of the stages up to head. *done = false: this
     * step goes through the stages. */
    weft_status (*step)(struct backend *, const struct step *, bool *done, weft_error *);
    /* (optional) k steps: the given one, in which every sequence has one row and wants its logits,
     * and k - 1 more, each with the best token of the one before. The pages cover them all.
     * ids [k, n_rows]: the best token after each step; -1 where a logit was NaN, and after that.
     * Logits are left of the last step. At most ahead_rows rows. */
    weft_status (*ahead)(struct backend *, const struct step *, size_t k, int32_t *ids,
                         weft_error *);
    size_t ahead_rows;

    /* Copies the logits of the i-th wanted row of the last step to dst[n_vocab] in host memory. */
    weft_status (*read_logits)(struct backend *, size_t i, float *dst, weft_error *);
    /* Copies what the last stage left of the rows of its step to dst [rows, cols]; all values but
     * VALUE_X need `values` of the parameters. layer: the one that the stage belonged to; VALUE_X
     * and VALUE_NORM belong to none. */
    weft_status (*read_values)(struct backend *, const struct step *, enum backend_value,
                               size_t layer, float *dst, weft_error *);
    /* (optional) Waits until what was asked for is computed. */
    weft_status (*wait)(struct backend *, weft_error *);
    /* Measures the device, with the threads that compute. */
    weft_status (*limits)(struct backend *, struct backend_limits *, weft_error *);
    /* Copies a page of the KV pool, in every store. Fails only with WEFT_E_DEVICE_LOST. */
    weft_status (*copy_page)(struct backend *, uint32_t dst, uint32_t src, weft_error *);
    /* Copy the first n positions of a page, in every store, to and from host memory of any
     * alignment: [n_stores of the model, 2 (K, V), n_heads, n, kv_type_bytes() of a head], whatever
     * the pages look like; K of q8_0 is rotated by kv_rotate(). As copy_page, they fail only with
     * WEFT_E_DEVICE_LOST. */
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
    struct watcher *watcher; /* told of every stage, see forward.h; NULL = nobody */
};

/* WEFT_E_UNSUPPORTED names what the model needs and the backend lacks: a stage, an activation,
 * heads of V that are not as long as those of K. */
weft_status backend_check(const struct backend_ops *ops, const struct model *m, weft_error *err);

/* The model outlives the backend. */
weft_status cpu_backend_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err);
/* WEFT_E_UNSUPPORTED when the build has no CUDA or the model a shape that kernels do not run;
 * WEFT_E_DEVMEM with the plan's numbers when it does not fit. */
weft_status cuda_backend_open(const struct model *m, const struct backend_params *p,
                              struct backend **out, weft_error *err);

#endif
