/* The CPU backend with what only a GPU has: `top`, and steps computed ahead. Both are made of the
 * stages, so that an engine that uses them must give the bits of one that does not. */
#ifndef TESTS_TOP_BACKEND_H
#define TESTS_TOP_BACKEND_H

#include "run/engine.h"

enum top_backend_what {
    TOP_BEST = 1,  /* has top */
    TOP_AHEAD = 2, /* has ahead, for up to ahead_rows rows */
    TOP_NAN = 4    /* about one row of logits in 30 holds a NaN; which one depends on the row */
};

enum { TOP_MAX_VOCAB = 4096 };

/* Allocates nothing. */
struct top_backend {
    const struct backend_ops *cpu; /* what it wraps */
    struct backend_ops ops;
    const struct model *model;
    unsigned what;
    size_t n_out; /* wanted rows of the last step */
    /* calls so far, and rows that were read whole */
    size_t n_top, n_ahead, n_read;
    /* the k-th call from now on of top, ahead or read_logits fails with this; 0 = none */
    size_t fail;
    weft_status failure;
    /* called in the middle of steps ahead */
    void (*interrupt)(void *user);
    void *user;
    float row[TOP_MAX_VOCAB];
    bool taken[TOP_MAX_VOCAB];
};

/* Replaces the operations of an engine just opened on the CPU. *t outlives the engine; a program
 * has few of them at a time. */
void top_backend_wrap(struct top_backend *t, weft_engine *engine, unsigned what, size_t ahead_rows);

#endif
