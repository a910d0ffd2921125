/* The stage that the CPU backend computes at the moment, shared by its threads. */
#ifndef WEFT_CPU_JOB_H
#define WEFT_CPU_JOB_H

#include <stdatomic.h>

#include "cpu/state.h"

enum { N_COUNTERS = 3 };

struct job {
    struct cpu *c;
    const struct step *step;
    const struct layer *what; /* the layer, in a stage of a layer */
    const struct cpu_layer *w;
    atomic_size_t next[N_COUNTERS]; /* claimed tasks, one counter for each part of the stage */
};

/* Claims the next task. Returns true if *task is in [0, n), so that this thread must do it. */
static inline bool claim(atomic_size_t *next, size_t n, size_t *task)
{
    *task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
    return *task < n;
}

/* Runs part(job, thread) on all threads. */
void cpu_run(struct backend *b, const struct step *step, size_t layer,
             void (*part)(void *, size_t));

/* A product of rows of activations with weights, a * w^T, and what is done with the result. */
struct product {
    const struct packed *w; /* [n_rows, a->n_cols] */
    const float *bias;      /* NULL, or [w->n_rows], added to each row of the result */
    bool add;               /* add the result to out instead of overwriting out */
    float *out;             /* [rows, w->n_rows], unused if there is a gate */
    /* NULL, or a matrix of the shape of w. Then act(a * gate^T) * (a * w^T) is kept in `gated`. */
    const struct packed *gate;
    enum act act;
    const float *gate_bias; /* NULL, or [gate->n_rows] */
    struct acts *gated;
};

/* In product.c: computes all the products over the first n_rows rows of a. */
void cpu_multiply(struct job *j, size_t counter, size_t thread, const struct product *products,
                  size_t n_products, const struct acts *a, size_t n_rows);

/* In attend.c: store k and v of a row of the step into its page, and compute the attention of all
 * rows. */
void cpu_store_kv(const struct job *j, size_t row);
void cpu_attend_part(void *job, size_t thread);

#endif
