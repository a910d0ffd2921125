/* A stage of the CPU backend under way, shared by the threads that compute it. */
#ifndef WEFT_CPU_JOB_H
#define WEFT_CPU_JOB_H

#include <stdatomic.h>

#include "cpu/state.h"

enum { N_COUNTERS = 3 };

struct job {
    struct cpu *c;
    const struct step *step;
    const struct layer *what; /* of a stage of a layer */
    const struct cpu_layer *w;
    atomic_size_t next[N_COUNTERS]; /* tasks claimed, one counter for each part of the stage */
};

/* True while there is a task left in [0, n); *task is then this thread's. */
static inline bool claim(atomic_size_t *next, size_t n, size_t *task)
{
    *task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
    return *task < n;
}

/* Runs part(job, thread) on all threads. */
void cpu_run(struct backend *b, const struct step *step, size_t layer,
             void (*part)(void *, size_t));

/* A product of rows of activations with weights, a * w^T, and what becomes of it. */
struct product {
    const struct packed *w;    /* [n_rows, a->n_cols] */
    const float *bias;         /* NULL, or [w->n_rows], added to each row of the product */
    bool add;                  /* to out, instead of overwriting it */
    float *out;                /* [rows, w->n_rows], unless there is a gate */
    const struct packed *gate; /* NULL, or of the shape of w: act(a * gate^T) * (a * w^T) ... */
    enum act act;
    const float *gate_bias; /* as bias */
    struct acts *gated;     /* ... is kept here */
};

/* product.c: computes all of them over the first n_rows rows of a. */
void cpu_multiply(struct job *j, size_t counter, size_t thread, const struct product *products,
                  size_t n_products, const struct acts *a, size_t n_rows);

/* attend.c: k and v of a row of the step into its page; the attention of all rows. */
void cpu_store_kv(const struct job *j, size_t row);
void cpu_attend_part(void *job, size_t thread);

#endif
