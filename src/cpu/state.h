/* The memory of the CPU backend: activations of a step, KV pages, scratch of each thread. */
#ifndef WEFT_CPU_STATE_H
#define WEFT_CPU_STATE_H

#include "backend.h"
#include "cpu/kernels/ops.h"
#include "cpu/weights.h"

/* The most queries that a task of attention takes, unless more query heads than that share a KV
 * head. */
enum { ATTEND_QUERIES = 128 };

/* Columns of the feed-forward network that are computed together: one block of struct acts. */
enum { GATED_COLS = 32 };

/* The working memory of one thread. */
struct scratch {
    void *dot;        /* MATMUL_SCRATCH bytes */
    uint8_t *tile;    /* one tile, if tiles are packed only when needed; else NULL */
    float *norm;      /* [dim] */
    float *gate, *up; /* [MATMUL_ROWS, GATED_COLS] */
    void *attend;     /* attend_scratch_bytes(queries of a task, head_dim) */
};

/* A rotary embedding of the model: the angles, and their cosines and sines. */
struct turns {
    double *angles;   /* [ROPE_SETS, n_rot / 2] per position */
    float *cos, *sin; /* [n_batch, n_rot / 2] for the rows of the step */
};

struct cpu {
    struct backend base;
    const struct model *model;
    const struct cpu_ops *ops;
    struct cpu_weights *weights;
    struct threads *threads;
    size_t n_threads;
    struct backend_params params;
    struct turns turns[MAX_ROPES];
    /* The activations of a step, n = n_batch rows. A row is as long as the current layer needs. */
    float *x;                        /* [n, dim] residual stream */
    float *q, *k, *v, *o;            /* [n, SIZE_Q], [n, SIZE_K], [n, SIZE_V], [n, SIZE_O] */
    float *norm;                     /* [n_out, dim] results of HEAD_NORM */
    float *logits;                   /* [n_out, n_vocab] */
    size_t n_logits;                 /* rows of logits from the last step */
    struct best *best;               /* cpu_top_bytes() */
    size_t *row_pos;                 /* [n] */
    const struct step_seq **row_seq; /* [n] */
    struct acts in, mid, ff;         /* quantised x, o and h */
    struct scratch *scratch;         /* [n_threads] */
    /* The memory of the arrays above, from x to scratch, and of cos and sin in `turns`. */
    void *arena;
    size_t arena_bytes;
    /* K and V: n_pages pages. A page holds the blocks (kv_block.h) of all KV heads of all
     * stores. */
    uint8_t *kv[2];
    /* [n_stores] Where the blocks of a store begin in a page. */
    size_t *store_at[2];
    size_t page_bytes[2];
    size_t kv_bytes; /* bytes of K and V together */
};

/* Returns the number of values in a head. which: KV_K or KV_V. */
static inline size_t cpu_kv_dim(const struct cpu *c, size_t which, size_t store)
{
    const struct kv *kv = &c->model->kv[store];
    return which == KV_K ? kv->k_dim : kv->v_dim;
}

static inline struct kv_shape cpu_kv_shape(const struct cpu *c, size_t which, size_t store)
{
    return (struct kv_shape){ .type = c->params.kv_type[which],
                              .which = (enum kv_which)which,
                              .head_dim = cpu_kv_dim(c, which, store) };
}

static inline uint8_t *cpu_kv_block(const struct cpu *c, size_t which, size_t store, uint32_t page,
                                    size_t head)
{
    return c->kv[which] + page * c->page_bytes[which] + c->store_at[which][store] +
           head * kv_block_bytes(c->params.kv_type[which], cpu_kv_dim(c, which, store));
}

/* Chooses the kernels of an instruction set; AUTO means the best set that this processor has.
 * Errors: WEFT_E_UNSUPPORTED (it lacks the instructions), WEFT_E_ARG (there is no such set). */
weft_status cpu_ops_choose(weft_cpu_isa isa, const struct cpu_ops **out, weft_error *err);

/* Allocates the activations and the scratch, in one piece. c->threads and c->params must be set. */
weft_status state_alloc(struct cpu *c, weft_error *err);
/* Allocates the angles of the model's rotary embeddings, and computes them. */
weft_status state_alloc_angles(struct cpu *c, weft_error *err);
/* Allocates the KV pool. */
weft_status state_alloc_kv(struct cpu *c, weft_error *err);
void state_free(struct cpu *c);

/* In pages.c: whole pages, as in backend_ops. */
weft_status cpu_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err);
weft_status cpu_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err);
weft_status cpu_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                         weft_error *err);

/* In top.c: backend_ops.top. */
weft_status cpu_top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err);
size_t cpu_top_bytes(size_t n_out, size_t n_threads);

/* backend_ops.limits. Errors: WEFT_E_NOMEM (no room for the memory that is read). */
weft_status cpu_limits(struct backend *b, struct backend_limits *out, weft_error *err);

#endif
