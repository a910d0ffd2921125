/* What the files of the thread that steps share: it admits requests, steps the engine, draws, and
 * parks answers when the KV pool is full. */
#ifndef WEFT_SERVE_STEPPER_H
#define WEFT_SERVE_STEPPER_H

#include "base/mem.h"
#include "serve/sequence.h"

struct stepper {
    struct core *core;
    struct job *oldest, *newest; /* the running jobs, by their admission */
    struct job *next;            /* the one that is to run next, when there is room for it */
    bool more;                   /* the next prompt to start is one of a running job */
    size_t n_seqs;               /* answers with a sequence, without the parked ones */
    size_t n_parked;
    size_t n_max;    /* sequences that may run at once */
    bool posted;     /* news that core_drain() was not yet called for */
    uint64_t n_rows; /* of the engine, at the last look */
    uint64_t n_parkings;
    struct histogram step_tokens;
    struct bytes text;      /* of the token just drawn */
    weft_logprob *logprobs; /* [1 + WEFT_TOP_MAX] */
};

/* Posts news; fails the job if there is no memory (news == NULL). */
void stepper_post(struct stepper *s, struct job *job, struct news *news);
/* Ends a job: with its fault, or because all its choices are finished. */
void stepper_end(struct stepper *s, struct job *job);

/* ---- admit.c */

/* Starts what there is room for: first what was parked, then jobs that wait and more prompts of
 * running jobs, in turns. */
void stepper_admit(struct stepper *s);
/* A sequence needs a page. Parks the youngest answer of a client that reads slowly, or else the
 * youngest of all, perhaps this one itself. Returns false if no other answer has pages that it
 * could give away. */
bool stepper_make_room(struct stepper *s, struct job *job, size_t i);

/* ---- draw.c */

/* Draws the next tokens of all answers that are ready. */
void stepper_draw(struct stepper *s);

#endif
