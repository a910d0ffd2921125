/* What the CPU backend keeps: activations of a step, KV pages, scratch of each thread. */
#ifndef WEFT_CPU_STATE_H
#define WEFT_CPU_STATE_H

#include "backend.h"
#include "cpu/kernels/ops.h"
#include "cpu/weights.h"

/* Queries of attention that a task takes, where the query heads that share a KV head are not more.
 */
enum { ATTEND_QUERIES = 128 };

/* Columns of the feed-forward network that are computed together: one block of acts. */
enum { GATED_COLS = 32 };

/* What one thread works in. */
struct scratch {
    void *dot;        /* MATMUL_SCRATCH bytes */
    uint8_t *tile;    /* a tile packed when it is needed; NULL if all are */
    float *norm;      /* [dim] */
    float *gate, *up; /* [MATMUL_ROWS, GATED_COLS] */
    void *attend;     /* attend_scratch_bytes(queries of a task, head_dim) */
};

/* A rotary embedding of the model. */
struct turns {
    double *angles;   /* [n_rot / 2] per position */
    float *cos, *sin; /* [n_batch, n_rot / 2] of the rows of the step */
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
    /* the state: activations of a step, n = n_batch rows, as long as the layer under way has them
     */
    float *x;                        /* [n, dim] residual stream */
    float *q, *k, *v, *o;            /* [n, SIZE_Q], [n, SIZE_K], [n, SIZE_V], [n, SIZE_O] */
    float *norm;                     /* [n_out, dim] what HEAD_NORM leaves */
    float *logits;                   /* [n_out, n_vocab] */
    size_t n_logits;                 /* rows of them that the last step left */
    struct best *best;               /* cpu_top_bytes() */
    size_t *row_pos;                 /* [n] */
    const struct step_seq **row_seq; /* [n] */
    struct acts in, mid, ff;         /* quantised x, o and h */
    struct scratch *scratch;         /* [n_threads] */
    void *arena;                     /* holds all of the above but the angles */
    size_t arena_bytes;
    /* K and V: n_pages pages, each the blocks (kv_block.h) of all KV heads of all stores */
    uint8_t *kv[2];
    size_t *store_at[2]; /* [n_stores] where in a page the blocks of a store begin */
    size_t page_bytes[2];
    size_t kv_bytes; /* of both */
};

/* Values of a head. which: KV_K or KV_V */
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

/* The kernels of an instruction set; AUTO: the best this processor has. WEFT_E_UNSUPPORTED when it
 * lacks the instructions, WEFT_E_ARG when there is no such set. */
weft_status cpu_ops_choose(weft_cpu_isa isa, const struct cpu_ops **out, weft_error *err);

/* Allocates the activations and the scratch, in one piece; c->threads and c->params are set. */
weft_status state_alloc(struct cpu *c, weft_error *err);
/* Allocates the angles of the model's rotary embeddings, and computes them. */
weft_status state_alloc_angles(struct cpu *c, weft_error *err);
/* Allocates the KV pool. */
weft_status state_alloc_kv(struct cpu *c, weft_error *err);
void state_free(struct cpu *c);

/* Whole pages, pages.c: as in backend_ops. */
weft_status cpu_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err);
weft_status cpu_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err);
weft_status cpu_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                         weft_error *err);

/* backend_ops.top, top.c. */
weft_status cpu_top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err);
size_t cpu_top_bytes(size_t n_out, size_t n_threads);

/* backend_ops.limits. WEFT_E_NOMEM when there is no room for the memory that is read. */
weft_status cpu_limits(struct backend *b, struct backend_limits *out, weft_error *err);

#endif
