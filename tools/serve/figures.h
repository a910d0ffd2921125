/* What the server counts: of one request, and of all. Times are in seconds. */
#ifndef WEFT_SERVE_FIGURES_H
#define WEFT_SERVE_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft.h"

/* Of one request; of several prompts or choices, the sums. */
struct job_figures {
    uint64_t number; /* counts requests from 1 */
    size_t n_prompt; /* tokens of the prompts */
    size_t n_cached; /* of these, found in the KV pool */
    size_t n_generated;
    size_t n_max;    /* tokens that may be generated; SIZE_MAX = no limit */
    double arrived;  /* the clock of figures_now() at each event; 0 = not yet */
    double admitted; /* the first row may be computed now */
    double first;    /* the first token was drawn */
    double last;     /* the latest token was drawn */
    double done;
};

/* Returns the seconds of a clock that nobody sets. */
double figures_now(void);

enum { HISTOGRAM_BOUNDS = 24 };
struct histogram {
    const double *bounds;                  /* upper bounds, ascending */
    size_t n_bounds;                       /* at most HISTOGRAM_BOUNDS */
    uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* not cumulated; the last one is above all bounds */
    double sum;
};
void histogram_add(struct histogram *h, double value);

enum finish_reason {
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_TOOL_CALLS,
    FINISH_ABORT,
    FINISH_ERROR,
    N_FINISH
};

struct core_figures {
    size_t n_running, n_waiting;              /* requests */
    uint64_t n_prompt, n_cached, n_generated; /* tokens of all requests that have ended */
    uint64_t finished[N_FINISH];              /* requests */
    uint64_t n_parked;                        /* times that a sequence gave its pages to others */
    double prompt_seconds, generated_seconds; /* sums over requests */
    size_t n_tokens_most;                     /* the longest sequence so far */
    weft_engine_stats engine;                 /* after the latest step */
    double last_step;                         /* figures_now() at its end; 0 = none yet */
    struct histogram first_token, next_token, whole, queued, prefill, decode, inference,
        prompt_tokens, generated_tokens, max_tokens, step_tokens;
};

/* Sets all counters to 0, and the bounds of the histograms. Those of tokens end at n_ctx. */
void figures_init(struct core_figures *figures, size_t n_ctx);

#endif
