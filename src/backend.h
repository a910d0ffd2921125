/* What a backend must do: eight stages over a step of rows, and the plumbing around them. forward.c
 * calls the stages in order; a backend sees nothing of files, vocabularies or sequences. src/cpu
 * and cuda implement this. */
#ifndef WEFT_BACKEND_H
#define WEFT_BACKEND_H

#include <stdatomic.h>

#include "error.h"
#include "model.h"

enum { KV_PAGE = 64 }; /* positions of a page; one page number addresses the pool of every layer */

/* The rows of one sequence in a step: consecutive positions, consecutive rows. */
struct step_seq {
    const uint32_t *pages; /* pages[p / KV_PAGE] holds position p, for all p < pos + n_rows */
    size_t pos;            /* position of the first row */
    size_t row, n_rows;    /* rows [row, row + n_rows) of the step */
    const atomic_bool *cancelled; /* another thread may set it during the step; NULL = nobody */
};

/* One pass of the transformer over the packed tokens of any number of sequences. A row attends to
 * all positions of its own sequence up to itself: earlier steps' (in the pages) and those of its
 * own step. */
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
    size_t n_batch;   /* most rows of a step */
    size_t n_out;     /* most rows of a step with logits */
    size_t n_threads; /* 0 = the backend's choice */
    weft_cpu_isa isa;
};

struct backend_info {
    const char *kernels; /* which set of kernels runs */
    size_t n_threads;
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
};

struct backend; /* each backend's own struct begins with `const struct backend_ops *ops` */

struct backend_ops {
    const char *name;

    /* Stages. Each returns after its results are usable by the next stage; x [n_rows, dim] is the
     * residual stream. */

    /* x = rows of the embedding table */
    weft_status (*embed)(struct backend *, const struct step *, weft_error *);
    /* rmsnorm(x) -> q, k, v (+ bias) -> per-head norm -> RoPE -> k, v into the rows' pages */
    weft_status (*attn_in)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* o [n_rows, n_heads * head_dim] = causal attention of q over the pages */
    weft_status (*attend)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* x += o * attn_output^T */
    weft_status (*attn_out)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* rmsnorm(x) -> gate, up -> h [n_rows, n_ff] = silu(gate) * up */
    weft_status (*ffn_in)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* x += h * ffn_down^T */
    weft_status (*ffn_out)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* logits [n_out, n_vocab] = rmsnorm(x) * output^T, for the rows that want them */
    weft_status (*head)(struct backend *, const struct step *, weft_error *);
    /* (optional) tokens[n_out] = argmax of the logits, so that 4 bytes come back instead of the
     * vocabulary */
    weft_status (*pick)(struct backend *, const struct step *, int32_t *tokens, weft_error *);

    /* (optional) the whole step at once, in place of the stages up to head */
    weft_status (*step)(struct backend *, const struct step *, weft_error *);

    /* Copies the logits of the i-th wanted row of the last step to dst[n_vocab] in host memory. */
    weft_status (*read_logits)(struct backend *, size_t i, float *dst, weft_error *);
    /* Copies a page of the KV pool, in every layer. Fails only with WEFT_E_DEVICE_LOST. */
    weft_status (*copy_page)(struct backend *, uint32_t dst, uint32_t src, weft_error *);
    void (*info)(const struct backend *, struct backend_info *);
    void (*close)(struct backend *);
};

struct backend {
    const struct backend_ops *ops;
};

/* The model outlives the backend. */
weft_status cpu_backend_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err);

/* Runs one step on the backend: the only description of the transformer (forward.c).
 * WEFT_E_CANCELLED, with err untouched, when all sequences of the step were cancelled under way. */
weft_status forward(struct backend *b, size_t n_layers, const struct step *s, weft_error *err);

#endif
