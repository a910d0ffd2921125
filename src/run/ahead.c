#include "run/ahead.h"

/* ---------------------------------------------------------------- computing */

/* Returns how many tokens may be computed ahead of a sequence of n tokens: up to the context's end,
 * or up to the length at which all positions need other RoPE factors. The K and V of the last token
 * are not computed. */
static size_t most_ahead(const struct weft_engine *e, size_t n)
{
    const size_t border = e->model->rope_border, ctx = e->n_ctx - n;
    return n > border || border - n >= ctx ? ctx : border - n + 1;
}

/* Returns how many of k steps this sequence lets the engine compute in one call; 1 if more steps
 * would keep it waiting. */
static size_t steps_for(const struct weft_engine *e, const struct sched_seq *q, size_t k)
{
    struct weft_seq *seq = seq_of((struct sched_seq *)(uintptr_t)q);
    if (q->in_step) {
        bool greedy = !q->observed && seq_greedy(seq);
        return greedy ? size_min(k, most_ahead(e, q->tokens.n)) : 1;
    }
    if (!sched_runs(q)) {
        return k;
    }
    if (q->n_done < q->tokens.n || seq->drawing) {
        return 1;
    }
    /* The packed sequences get no more tokens than this one has, so that all run out at the same
     * time and are in one step again. */
    return ahead_beyond(seq) > 0 ? size_min(k, ahead_beyond(seq) + 1) : k;
}

void ahead_undo(struct weft_engine *e)
{
    for (size_t i = 0; i < e->sched.step.n_seqs; i++) {
        ahead_trim(seq_of(e->sched.packed[i]));
    }
}

/* Reserves pages for k - 1 positions behind the packed sequences. If the pool lacks them, it
 * returns false and reserves none. */
static bool ahead_reserve(struct weft_engine *e, size_t k)
{
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < e->sched.step.n_seqs && status == WEFT_OK; i++) {
        struct sched_seq *q = e->sched.packed[i];
        status = kv_reserve(&e->pool, &q->kv, q->tokens.n, q->tokens.n + k - 1, NULL);
        e->sched.step_seqs[i].pages[0] = q->kv.pages;
    }
    if (status != WEFT_OK) {
        ahead_undo(e);
    }
    return status == WEFT_OK;
}

size_t ahead_plan(struct weft_engine *e)
{
    const struct step *step = &e->sched.step;
    const struct backend_ops *ops = e->backend->ops;
    bool decode = step->n_rows == step->n_seqs && step->n_rows == step->n_out;
    /* A watcher wants to see every stage. */
    bool able = ops->ahead != NULL && e->backend->watcher == NULL;
    size_t k = able && decode && step->n_rows <= ops->ahead_rows ? e->n_ahead : 1;
    for (size_t i = 0; i < e->sched.n_seqs && k > 1; i++) {
        k = steps_for(e, e->sched.seqs[i], k);
    }
    while (k > 1 && !ahead_reserve(e, k)) {
        k /= 2;
    }
    return k > 1 ? k : 1;
}

void ahead_take(struct weft_engine *e, size_t k)
{
    const struct step *step = &e->sched.step;
    for (size_t i = 0; i < step->n_seqs; i++) {
        logits_set_ahead(&seq_of(e->sched.packed[i])->logits, k, e->ids + i, step->n_rows);
    }
}

/* ---------------------------------------------------------------- tokens known ahead */

size_t ahead_beyond(const struct weft_seq *seq)
{
    return seq_fresh(seq) && seq->logits.place == LOGITS_AHEAD ? seq->logits.n - 1 : 0;
}

/* Returns the number of positions whose pages the sequence keeps: those of its tokens, of the
 * tokens known ahead and of the token that is being drawn, or those that weft_seq_reserve() has set
 * aside if they are more. */
static size_t held(const struct weft_seq *seq)
{
    size_t n = seq->sched.tokens.n + ahead_beyond(seq) + (seq->drawing ? 1 : 0);
    return size_max(n, seq->n_room);
}

void ahead_trim(struct weft_seq *seq) { kv_trim(&seq->engine->pool, &seq->sched.kv, held(seq)); }

void ahead_drop(struct weft_seq *seq)
{
    if (ahead_beyond(seq) > 0) {
        seq->logits.n = 1;
        ahead_trim(seq);
    }
}

bool ahead_yield(struct weft_engine *e)
{
    size_t before = e->pool.n_free;
    for (size_t i = 0; i < e->sched.n_seqs; i++) {
        ahead_drop(seq_of(e->sched.seqs[i]));
    }
    return e->pool.n_free > before;
}
