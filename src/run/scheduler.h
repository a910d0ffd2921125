/* Packs the waiting tokens of all sequences into one step of at most n_batch rows. */
#ifndef WEFT_SCHEDULER_H
#define WEFT_SCHEDULER_H

#include <stdatomic.h>

#include "backend.h"
#include "run/memory.h"

/* What the scheduler knows of a sequence. Tokens [n_done, tokens.n) wait to be computed, and their
 * pages are reserved unless it is parked. */
struct sched_seq {
    struct tokens tokens;
    size_t n_done;
    struct kv_table kv;
    atomic_int finish; /* a weft_finish */
    /* True if all its rows want logits, not only the row of its last token. */
    bool observed;
    bool in_step; /* it has rows in the step that is being packed */
    atomic_bool cancelled;
    /* It has given all its pages away, see weft_seq_park(). No token is computed, and none has a
     * page. */
    bool parked;
};

/* Returns false for a sequence that has finished, is cancelled or is parked. Its waiting tokens are
 * computed only after more tokens are appended, after a call has reported the cancel, or once it
 * has pages again. */
static inline bool sched_runs(const struct sched_seq *q)
{
    return atomic_load_explicit(&q->finish, memory_order_relaxed) == WEFT_RUNNING &&
           !atomic_load_explicit(&q->cancelled, memory_order_relaxed) && !q->parked;
}

/* How many tokens of the sequence wait for the next step. */
static inline size_t sched_waiting(const struct sched_seq *q)
{
    return sched_runs(q) ? q->tokens.n - q->n_done : 0;
}

struct scheduler {
    size_t n_batch, n_out;
    struct sched_seq **seqs; /* [n_seqs] all open sequences */
    size_t n_seqs, cap_seqs;
    /* The sequence that the next step serves first. */
    size_t turn;
    /* The step that is being packed. */
    int32_t *tokens;            /* [n_batch] */
    uint32_t *out_rows;         /* [n_out] */
    struct step_seq *step_seqs; /* [n_batch] */
    struct sched_seq **packed;  /* [n_batch] the sequence of each step_seq */
    struct step step;
};

weft_status sched_open(struct scheduler *s, size_t n_batch, size_t n_out, weft_error *err);
void sched_close(struct scheduler *s);
weft_status sched_add(struct scheduler *s, struct sched_seq *seq, weft_error *err);
void sched_remove(struct scheduler *s, const struct sched_seq *seq);

/* Returns true if sched_pack() would make a step with rows. */
bool sched_waits(const struct scheduler *s);
/* Fills s->step and s->packed. Sequences with one waiting token (decode) are served first, but
 * while a longer prompt waits they get at most three quarters of the rows. Prompts share the other
 * rows evenly. The next step begins with the first sequence that got nothing in this one, so nobody
 * waits longer than one round through all sequences. n_rows == 0 means that nothing waits. */
void sched_pack(struct scheduler *s);

#endif
