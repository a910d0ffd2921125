/* The struct behind the public handle of a sequence, and what the files behind the public functions
 * on one share: seq_open.c, seq_set.c, seq_tokens.c, seq_next.c, seq_read.c, seq_file.c; seq_text.c
 * keeps the text. */
#ifndef WEFT_SEQ_H
#define WEFT_SEQ_H

#include "draw/constraint.h"
#include "draw/logprobs.h"
#include "draw/sampler.h"
#include "run/engine.h"
#include "run/logits.h"
#include "text/stream.h"

/* Where a sequence stands: how many tokens it has and how many of them are computed (sched),
 * whether and how it has finished (sched.finish), what there is to draw from (logits), and which of
 * its tokens was the last one drawn. All else that can be asked of it follows from these. */
struct weft_seq {
    uint32_t magic; /* first, as in every handle: a handle of another type may be shorter than this
                       one */
    struct sched_seq sched;     /* what the scheduler hands back, see seq_of() */
    struct weft_engine *engine; /* holds a reference */
    atomic_flag busy;           /* a thread is inside */
    size_t n_cached;            /* positions that were found computed */
    size_t drawn;         /* tokens up to the last one that was drawn; 0 = none since a rewind */
    int32_t picked;       /* drawn by a weft_seq_next() that then failed for memory; -1 = none */
    struct logits logits; /* of the last token, see seq_fresh() */
    /* A thread draws from all logits without the engine's lock. Until it is back, the sampler, the
     * constraint, the log-probabilities and `picked` are that thread's alone. */
    bool drawing;
    size_t n_room;           /* positions whose pages weft_seq_reserve() has set aside */
    uint64_t own_bytes;      /* of sampler, constraint and text, when the last call left */
    weft_logits_fn observer; /* sched.observed: gets the logits of every position */
    void *observer_user;
    struct logprobs logprobs;
    struct sampler *sampler;
    struct constraint *constraint; /* NULL = no grammar */
    struct stream stream;
};

static inline struct weft_seq *seq_of(struct sched_seq *q)
{
    return (struct weft_seq *)(void *)((char *)q - offsetof(struct weft_seq, sched));
}

/* ---------------------------------------------------------------- where it stands */

/* All tokens are computed, and there is something to draw from. */
static inline bool seq_fresh(const struct weft_seq *seq)
{
    return seq->sched.n_done == seq->sched.tokens.n && seq->logits.place != LOGITS_NONE;
}

static inline bool seq_running(const struct weft_seq *seq)
{
    return atomic_load(&seq->sched.finish) == WEFT_RUNNING;
}

static inline void seq_set_finish(struct weft_seq *seq, weft_finish finish)
{
    atomic_store(&seq->sched.finish, (int)finish);
}

/* The sequence, whose tokens and pages are in place, now holds n tokens, n_done of them computed,
 * none of them drawn, and it runs. Logits, the text not yet taken, room set aside, and what a
 * grammar has seen beyond these tokens are dropped. */
void seq_restart(struct weft_seq *seq, size_t n, size_t n_done);

/* True if the next draw looks at no more than the *k best logits. */
bool seq_top(const struct weft_seq *seq, size_t *k);
/* True if the next draws take the best token each, so that they can be computed ahead: greedy, no
 * grammar, no log-probabilities, and no end token that was banned just now. */
bool seq_greedy(const struct weft_seq *seq);

/* ---------------------------------------------------------------- on entry, and on the way out */

weft_status seq_check(const weft_seq *seq, weft_error *err);
/* Claims the sequence for this thread. Enough for what only this sequence's own calls touch: its
 * text. */
weft_status seq_claim(struct weft_seq *seq, weft_error *err);
/* Claims the sequence and takes the engine's lock. */
weft_status seq_enter(struct weft_seq *seq, weft_error *err);
/* Gives both back; returns status, and remembers a lost device. Whoever waits for rows looks again.
 */
weft_status seq_leave(struct weft_seq *seq, weft_status status);
/* Notes what the sequence holds, for the engine's statistics. */
void seq_measure(struct weft_seq *seq);

/* WEFT_E_CANCELLED if the sequence was cancelled, which is over then. */
weft_status seq_take_cancel(struct weft_seq *seq, weft_error *err);
/* WEFT_E_CTX_FULL unless n more tokens fit into the context. */
weft_status seq_fits(const struct weft_seq *seq, size_t n, weft_error *err);
/* Makes the list of tokens long enough for n. */
weft_status seq_grow(struct weft_seq *seq, size_t n, weft_error *err);

#endif
