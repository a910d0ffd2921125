/* The struct behind the public handle of a sequence, and what the files with its public functions
 * share. These are seq_open.c, seq_set.c, seq_tokens.c, seq_next.c, seq_read.c and seq_file.c;
 * seq_text.c keeps the text. */
#ifndef WEFT_SEQ_H
#define WEFT_SEQ_H

#include "draw/constraint.h"
#include "draw/logprobs.h"
#include "draw/sampler.h"
#include "run/engine.h"
#include "run/logits.h"
#include "text/stream.h"

/* The state of a sequence: how many tokens it has and how many of them are computed (sched),
 * whether and how it has finished (sched.finish), what it can draw from (logits), and which of its
 * tokens was drawn last. All other answers about a sequence follow from these. */
struct weft_seq {
    /* The magic is first, as in every handle, because a handle of another type may be shorter than
     * this struct. */
    uint32_t magic;
    /* The part that the scheduler knows and gives back, see seq_of(). */
    struct sched_seq sched;
    struct weft_engine *engine; /* a reference is held */
    atomic_flag busy;           /* a thread is inside the sequence */
    /* Positions whose K and V were found in the pool. */
    size_t n_cached;
    /* The number of tokens up to the last one that was drawn; 0 = none was drawn since a rewind. */
    size_t drawn;
    /* The token that a call of weft_seq_next() drew before it failed for lack of memory; -1 = none.
     */
    int32_t picked;
    struct logits logits; /* logits of the last token, see seq_fresh() */
    /* True while a thread draws from all logits without the engine's lock. During the draw only
     * that thread may use the sampler, the constraint, the log-probabilities and `picked`. */
    bool drawing;
    /* Positions whose pages weft_seq_reserve() has set aside. */
    size_t n_room;
    /* Bytes of sampler, constraint and text at the end of the last call. */
    uint64_t own_bytes;
    /* If sched.observed: gets the logits of every position. */
    weft_logits_fn observer;
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

/* ---------------------------------------------------------------- the state of a sequence */

/* Returns true if all tokens are computed and there is something to draw from. */
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

/* Returns true if a text of n tokens needs other RoPE factors than the sequence has now. An empty
 * sequence has none. */
static inline bool seq_crosses(const struct weft_seq *seq, size_t n)
{
    const struct sched_seq *q = &seq->sched;
    return q->tokens.n > 0 && model_rope_set(seq->engine->model, n) != q->kv.rope_set;
}
/* Called after tokens were added or dropped. All tokens have pages; if seq_crosses() was true, the
 * pages are the sequence's own. Takes the RoPE factors for the new length. If these differ from the
 * factors before, all positions wait to be computed again, except those that the pool knows. */
void seq_set_rope(struct weft_seq *seq);

/* Makes the sequence run with n tokens, n_done of them computed and none of them drawn. The tokens
 * and their pages are already in place. Logits, text that was not taken yet, memory set aside, and
 * what a grammar has seen beyond these tokens are dropped. */
void seq_restart(struct weft_seq *seq, size_t n, size_t n_done);

/* Returns true if the next draw looks at no more than the *k best logits, as long as no grammar
 * forbids one of their tokens. */
bool seq_top(const struct weft_seq *seq, size_t *k);
/* Returns true if each of the next draws takes the best token, so that tokens can be computed
 * ahead. The sequence is then greedy, in free text and without log-probabilities, and the last draw
 * has banned no end token. A grammar may still forbid one of the tokens, see constraint_lets(). */
bool seq_greedy(const struct weft_seq *seq);

/* ---------------------------------------------------------------- entering and leaving */

weft_status seq_check(const weft_seq *seq, weft_error *err);
/* Claims the sequence for this thread. This is enough for the text, which only calls on this
 * sequence touch. */
weft_status seq_claim(struct weft_seq *seq, weft_error *err);
/* Claims the sequence and takes the engine's lock. */
weft_status seq_enter(struct weft_seq *seq, weft_error *err);
/* Gives back the lock and the sequence. Returns status, notes a lost device, and wakes threads that
 * wait for rows. */
weft_status seq_leave(struct weft_seq *seq, weft_status status);
/* Notes the bytes that the sequence holds, for the engine's statistics. */
void seq_measure(struct weft_seq *seq);

/* Returns WEFT_E_CANCELLED if the sequence was cancelled, and ends the cancel. */
weft_status seq_take_cancel(struct weft_seq *seq, weft_error *err);
/* Returns WEFT_E_CTX_FULL unless n more tokens fit into the context. */
weft_status seq_fits(const struct weft_seq *seq, size_t n, weft_error *err);
/* Returns WEFT_E_STATE if the sequence is parked. */
weft_status seq_has_pages(const struct weft_seq *seq, weft_error *err);
/* Makes the list of tokens long enough for n. */
weft_status seq_grow(struct weft_seq *seq, size_t n, weft_error *err);

#endif
