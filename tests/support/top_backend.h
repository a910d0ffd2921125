/* The CPU backend with two operations that only a GPU has: `top`, and steps computed ahead. Both
 * are built from the stages, so an engine that uses them must give the same bits as one that does
 * not. */
#ifndef TESTS_TOP_BACKEND_H
#define TESTS_TOP_BACKEND_H

#include "run/engine.h"

enum top_backend_what {
    TOP_BEST = 1,  /* has top */
    TOP_AHEAD = 2, /* has ahead, for up to ahead_rows rows */
    /* About one row of logits in 30 holds a NaN; the row decides which one. */
    TOP_NAN = 4
};

enum { TOP_MAX_VOCAB = 4096 };

/* The backend's operations and counters, in the caller's memory: wrapping allocates nothing. */
struct top_backend {
    const struct backend_ops *cpu; /* the backend that it wraps */
    struct backend_ops ops;
    const struct model *model;
    unsigned what;
    size_t n_out; /* wanted rows of the last step */
    /* The calls so far, and the rows that were read whole. */
    size_t n_top, n_ahead, n_read;
    /* The k-th call from now on of top, ahead or read_logits fails with this status; 0 = none. */
    size_t fail;
    weft_status failure;
    /* Called in the middle of steps ahead. */
    void (*interrupt)(void *user);
    void *user;
    float row[TOP_MAX_VOCAB];
    bool taken[TOP_MAX_VOCAB];
};

/* Replaces the operations of an engine that was just opened on the CPU. *t must outlive the engine;
 * a program has few of them at a time. */
void top_backend_wrap(struct top_backend *t, weft_engine *engine, unsigned what, size_t ahead_rows);

#endif
