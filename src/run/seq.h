/* The struct behind the public handle of a sequence, and what the files behind the public functions
 * on one share. */
#ifndef WEFT_SEQ_H
#define WEFT_SEQ_H

#include "draw/constraint.h"
#include "draw/logprobs.h"
#include "draw/sampler.h"
#include "run/engine.h"
#include "run/logits.h"
#include "text/stream.h"

struct weft_seq {
    uint32_t magic; /* first, as in every handle: a handle of another type may be shorter than this
                       one */
    struct sched_seq sched;     /* what the scheduler hands back, see seq_of() */
    struct weft_engine *engine; /* holds a reference */
    atomic_flag busy;           /* a thread is inside */
    atomic_int finish;          /* weft_finish */
    size_t n_cached;            /* positions that were found computed */
    size_t drawn;               /* the last token drawn; SIZE_MAX = none since a rewind */
    bool fresh;                 /* the outcome is that of the last token */
    struct outcome outcome;
    weft_logits_fn observer; /* sched.observed: gets the logits of every position */
    void *observer_user;
    struct logprobs logprobs;
    struct sampler *sampler;
    struct constraint *constraint; /* NULL = no grammar */
    struct stream stream;
    bool text_begun; /* tokens were drawn since others were appended, kept or loaded */
    int32_t picked;  /* drawn by a weft_seq_next() that then failed for memory; -1 = none */
};

static inline struct weft_seq *seq_of(struct sched_seq *q)
{
    return (struct weft_seq *)(void *)((char *)q - offsetof(struct weft_seq, sched));
}

/* Claims the sequence for this thread. Enough for what only this sequence's own calls touch: its
 * text. */
weft_status seq_claim(struct weft_seq *seq, weft_error *err);
/* The same, and takes the engine's lock. */
weft_status seq_enter(struct weft_seq *seq, weft_error *err);
/* Gives both back; returns status, and remembers a lost device. */
weft_status seq_leave(struct weft_seq *seq, weft_status status);

/* Adds the bytes of a token, which the sequence does not hold yet, to the text. A call that fails
 * changes nothing. */
weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_error *err);

/* The sequence, whose tokens and pages are in place, now holds n tokens, n_done of them computed.
 * It has no logits, drops the text not yet taken, and runs. */
void seq_restart(struct weft_seq *seq, size_t n, size_t n_done);

#endif
