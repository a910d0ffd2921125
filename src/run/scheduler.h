/* Packs the waiting tokens of all sequences into one step of at most n_batch rows. */
#ifndef WEFT_SCHEDULER_H
#define WEFT_SCHEDULER_H

#include <stdatomic.h>

#include "backend.h"
#include "run/memory.h"

/* What the scheduler knows of a sequence. Tokens [n_done, tokens.n) wait to be computed; their
 * pages are reserved. */
struct sched_seq {
    struct tokens tokens;
    size_t n_done;
    struct kv_table kv;
    atomic_int finish; /* weft_finish */
    bool observed;     /* all its rows give logits, not only that of its last token */
    bool in_step;      /* has rows in the step under construction */
    atomic_bool cancelled;
};

/* False for one that has finished or is cancelled: what waits of it is computed only when more is
 * appended, or when somebody has learnt of the cancel. */
static inline bool sched_runs(const struct sched_seq *q)
{
    return atomic_load_explicit(&q->finish, memory_order_relaxed) == WEFT_RUNNING &&
           !atomic_load_explicit(&q->cancelled, memory_order_relaxed);
}

struct scheduler {
    size_t n_batch, n_out;
    struct sched_seq **seqs; /* [n_seqs] all open sequences */
    size_t n_seqs, cap_seqs;
    size_t turn; /* the sequence that is first served in the next step */
    /* the step under construction */
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

/* Whether sched_pack() would give a step with rows. */
bool sched_waits(const struct scheduler *s);
/* Fills s->step and s->packed. Sequences with one waiting token (decode) are served first, but
 * while a longer prompt waits they get at most three quarters of the rows; prompts share what is
 * left evenly. The next step begins with the first sequence that got nothing in this one, so nobody
 * waits longer than one round through all. n_rows == 0: nothing waits. */
void sched_pack(struct scheduler *s);

#endif
