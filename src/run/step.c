/* A step: waiting tokens are packed and computed, and each sequence gets its results. */
#include "run/step.h"

#include "forward.h"
#include "run/ahead.h"
#include "run/room.h"

/* ---------------------------------------------------------------- computing */

/* Returns whether somebody is likely to ask for the logits of a fresh sequence: not if a thread
 * that draws has copied them already, or if the text has finished. */
static bool worth_keeping(const struct weft_seq *seq) { return !seq->drawing && seq_running(seq); }

/* Copies to the host the logits that a step would overwrite. Logits that nobody will ask for are
 * not copied, nor are those for which there is no memory; step_again() computes them once more if
 * somebody does ask. */
static weft_status keep_logits(struct weft_engine *e, weft_error *err)
{
    for (size_t i = 0; i < e->sched.n_seqs; i++) {
        struct weft_seq *seq = seq_of(e->sched.seqs[i]);
        if (!seq_fresh(seq) || seq->logits.place != LOGITS_DEVICE) {
            continue;
        }
        if (worth_keeping(seq) &&
            logits_reserve(&seq->logits, e->model->config.n_vocab, NULL) == WEFT_OK) {
            TRY(logits_keep(&seq->logits, e->backend, err));
        } else {
            seq->logits.place = LOGITS_LOST;
        }
    }
    return WEFT_OK;
}

/* Reserves the memory for the logits of observers, before anything is computed. */
static weft_status reserve_shown(struct weft_engine *e, weft_error *err)
{
    for (size_t i = 0; i < e->sched.step.n_seqs; i++) {
        struct weft_seq *seq = seq_of(e->sched.packed[i]);
        if (seq->sched.observed) {
            TRY(logits_reserve(&seq->logits, e->model->config.n_vocab, err));
        }
    }
    return WEFT_OK;
}

/* Computes the step, or k > 1 steps, each with the tokens that the step before it leads to. These
 * tokens are then in e->ids. */
static weft_status step_compute(struct weft_engine *e, const struct step *s, size_t k,
                                weft_error *err)
{
    struct backend *b = e->backend;
    return k > 1 ? b->ops->ahead(b, s, k, e->ids, err) : forward(b, s, err);
}

weft_status step_run(struct weft_engine *e, const struct step *s, float *x, weft_error *err)
{
    TRY(engine_usable(e, err));
    TRY(keep_logits(e, err));
    TRY(step_compute(e, s, 1, err));
    if (x != NULL) {
        TRY(e->backend->ops->read_values(e->backend, s, VALUE_X, 0, x, err));
    }
    e->n_steps++;
    e->n_rows += s->n_rows;
    return WEFT_OK;
}

weft_status step_again(struct weft_seq *seq, weft_error *err)
{
    const struct tokens *t = &seq->sched.tokens;
    const uint32_t out = 0;
    const struct kv_table *kv = &seq->sched.kv;
    const struct step_seq one = {
        .pages = { kv->pages }, .rope_set = kv->rope_set, .pos = t->n - 1, .n_rows = 1
    };
    const struct step step = { .n_rows = 1,
                               .tokens = t->data + t->n - 1,
                               .n_seqs = 1,
                               .seqs = &one,
                               .n_out = 1,
                               .out_rows = &out };
    TRY(step_run(seq->engine, &step, NULL, err));
    logits_set(&seq->logits, 0, 0, NULL, NULL);
    seq->engine->n_decode_rows += seq->drawn == t->n;
    return WEFT_OK;
}

/* ---------------------------------------------------------------- the results of a step */

/* Returns true if the i-th part of the packed step reaches the end of its sequence, which then has
 * logits. */
static bool step_ends(const struct weft_engine *e, size_t i)
{
    const struct sched_seq *q = e->sched.packed[i];
    return q->n_done + e->sched.step.seqs[i].n_rows == q->tokens.n;
}

/* Returns how many of the best logits the packed sequences look at. */
static size_t most_wanted(const struct weft_engine *e)
{
    size_t most = 0, k;
    for (size_t i = 0; e->backend->ops->top != NULL && i < e->sched.step.n_seqs; i++) {
        if (step_ends(e, i) && seq_top(seq_of(e->sched.packed[i]), &k) && k > most) {
            most = k;
        }
    }
    return most;
}

/* Reads n_rows wanted rows from `row` on and shows them to the sequence's observer. The last row
 * stays in the sequence's memory. */
static weft_status show(struct weft_seq *seq, size_t row, size_t n_rows, weft_error *err)
{
    struct backend *b = seq->engine->backend;
    for (size_t i = 0; i < n_rows; i++) {
        TRY(b->ops->read_logits(b, row + i, seq->logits.all, err));
        seq->observer(seq->observer_user, seq->sched.n_done + i, seq->logits.all,
                      seq->engine->model->config.n_vocab);
    }
    return WEFT_OK;
}

/* Takes from the backend the best logits of the packed step, as many as the samplers look at. All
 * logits stay in the backend until a draw needs them. */
static weft_status take_logits(struct weft_engine *e, weft_error *err)
{
    struct backend *b = e->backend;
    size_t most = most_wanted(e), row = 0;
    if (most > 0) {
        TRY(b->ops->top(b, most, e->ids, e->values, err));
    }
    for (size_t i = 0; i < e->sched.step.n_seqs; i++) {
        struct weft_seq *seq = seq_of(e->sched.packed[i]);
        struct logits *l = &seq->logits;
        size_t n_out = seq->sched.observed ? e->sched.step.seqs[i].n_rows : step_ends(e, i);
        row += n_out;
        if (seq->sched.observed) {
            TRY(show(seq, row - n_out, n_out, err));
        }
        if (!step_ends(e, i)) {
            continue;
        }
        logits_set(l, row - 1, most, e->ids + (row - 1) * most, e->values + (row - 1) * most);
        if (seq->sched.observed) {
            l->place = LOGITS_HOST; /* they were just shown to the observer */
        }
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- the public function */

/* Updates the sequences and the counts after the packed step and k - 1 more were computed. */
static void step_commit(struct weft_engine *e, size_t k)
{
    const struct step *step = &e->sched.step;
    for (size_t i = 0; i < step->n_seqs; i++) {
        struct sched_seq *q = e->sched.packed[i];
        const struct weft_seq *seq = seq_of(q);
        size_t before = q->n_done;
        q->n_done += step->seqs[i].n_rows;
        if (q->n_done / KV_PAGE != before / KV_PAGE && !room_crosses(seq)) {
            kv_learn(&e->pool, &q->kv, q->tokens.data, q->n_done);
        }
        e->n_decode_rows += seq->drawn > before && seq->drawn <= q->n_done;
    }
    e->n_steps += k;
    e->n_rows += k * step->n_rows;
    e->n_decode_rows += (k - 1) * step->n_rows;
}

/* If it fails, no sequence has advanced, but logits may have been copied to the host. */
static weft_status step_locked(struct weft_engine *e, weft_error *err)
{
    TRY(engine_usable(e, err));
    sched_pack(&e->sched);
    if (e->sched.step.n_rows == 0) {
        return WEFT_OK;
    }
    TRY(keep_logits(e, err));
    TRY(reserve_shown(e, err));
    size_t k = ahead_plan(e);
    weft_status status = step_compute(e, &e->sched.step, k, err);
    if (k > 1 && status != WEFT_OK) {
        ahead_undo(e);
    }
    TRY(status);
    if (k > 1) {
        ahead_take(e, k);
    } else {
        TRY(take_logits(e, err));
    }
    step_commit(e, k);
    return WEFT_OK;
}

static size_t count_ready(const struct weft_engine *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->sched.n_seqs; i++) {
        const struct weft_seq *seq = seq_of(e->sched.seqs[i]);
        n += seq_fresh(seq) && seq_running(seq) && !seq->drawing;
    }
    return n;
}

weft_status weft_engine_step(weft_engine *engine, size_t *ready, weft_error *err)
{
    TRY(engine_check(engine, err));
    lock_take(&engine->lock);
    weft_status status = step_locked(engine, err);
    /* A cancelled sequence keeps its waiting tokens, and its next call reports the cancel. */
    status = engine_note(engine, status == WEFT_E_CANCELLED ? WEFT_OK : status);
    if (status == WEFT_OK && ready != NULL) {
        *ready = count_ready(engine);
    }
    engine_unlock(engine);
    return status;
}
