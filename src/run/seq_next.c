/* weft_seq_next() draws the next token from the results of the last step, and adds it to the
 * text. */
#include "run/ahead.h"
#include "run/room.h"
#include "run/seq_text.h"
#include "run/step.h"

_Static_assert((int)BACKEND_TOP == (int)SAMPLER_TOP, "what samplers ask for, backends give");

/* ---------------------------------------------------------------- drawing */

/* *is becomes true if the next draw can use the best logits that were kept, or a token computed
 * ahead. */
static weft_status enough(struct weft_seq *seq, bool *is, weft_error *err)
{
    const struct logits *l = &seq->logits;
    size_t k = 1;
    *is = l->place == LOGITS_AHEAD ? seq_greedy(seq) : seq_top(seq, &k) && k <= l->n;
    return *is && seq->constraint != NULL
               ? constraint_lets(seq->constraint, &seq->sched.tokens, l->ids, k, is, err)
               : WEFT_OK;
}

/* Draws from all logits. It writes nothing that the engine's lock guards. */
static weft_status draw_from(struct weft_seq *seq, struct sampler_scratch *scratch,
                             const float *logits, int32_t *token, weft_error *err)
{
    const struct model *m = seq->engine->model;
    const struct tokens *t = &seq->sched.tokens;
    struct draw_context in = {
        .past = t->data, .n_past = t->n, .end = m->ends, .n_end = m->n_ends
    };
    if (seq->constraint != NULL) {
        TRY(constraint_mask(seq->constraint, t, &in.allowed, err));
    }
    TRY(sampler_pick(seq->sampler, scratch, logits, &in, token, err));
    if (seq->logprobs.on && *token >= 0) {
        logprobs_take(&seq->logprobs, logits, m->config.n_vocab, *token);
    }
    return WEFT_OK;
}

/* Finds the logits for a draw: those on the host, or else a copy in the memory of the draw. If the
 * logits were not kept, but other sampling values or a grammar now need them, they are computed
 * again. */
static weft_status take_all(struct weft_seq *seq, struct sampler_scratch *scratch,
                            const float **logits, weft_error *err)
{
    struct logits *l = &seq->logits;
    if (l->place == LOGITS_AHEAD || l->place == LOGITS_LOST) {
        TRY(step_again(seq, err));
    }
    *logits = l->place == LOGITS_HOST ? l->all : sampler_scratch_logits(scratch);
    return l->place == LOGITS_HOST
               ? WEFT_OK
               : logits_read(l, seq->engine->backend, sampler_scratch_logits(scratch), err);
}

/* Draws from all logits without the engine's lock, because such a draw takes a while, longer with a
 * grammar. Other threads use the engine meanwhile. */
static weft_status draw_aside(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    struct sampler_scratch *scratch;
    const float *logits = NULL;
    size_t n_bytes;
    TRY(engine_take_scratch(e, &scratch, &n_bytes, err));
    weft_status status = take_all(seq, scratch, &logits, err);
    if (status == WEFT_OK) {
        seq->drawing = true;
        engine_unlock(e);
        status = draw_from(seq, scratch, logits, token, err);
        lock_take(&e->lock);
        seq->drawing = false;
    }
    engine_give_scratch(e, scratch, n_bytes);
    return status;
}

/* Draws the next token of a fresh sequence from no more logits than its sampler looks at. A draw
 * from the best logits takes a few microseconds, so it keeps the lock: a thread that gives the lock
 * away may wait for a whole step to get it back. *token = -1 means that the grammar allows none. */
static weft_status seq_draw(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    struct logits *l = &seq->logits;
    const struct model *m = seq->engine->model;
    bool best = false;
    l->banned = l->n > 0 && sampler_bans(seq->sampler, m->ends, m->n_ends, l->ids[0]);
    TRY(enough(seq, &best, err));
    if (!best) {
        return draw_aside(seq, token, err);
    }
    const size_t n = l->place == LOGITS_AHEAD ? 1 : l->n;
    return sampler_pick_top(seq->sampler, l->ids, l->values, n, m->ends, m->n_ends, token, err);
}

/* ---------------------------------------------------------------- the public function */

static weft_status check_ready(struct weft_seq *seq, weft_error *err)
{
    const struct sched_seq *q = &seq->sched;
    TRY(seq_take_cancel(seq, err));
    if (!seq_running(seq)) {
        return error_set(err, WEFT_E_STATE,
                         "the sequence has finished; append tokens or rewind to go on");
    }
    TRY(seq_has_pages(seq, err));
    if (!seq_fresh(seq)) {
        return error_set(
            err, WEFT_E_STATE,
            "no fresh logits: %zu of %zu tokens wait to be computed; call weft_engine_step() first",
            q->tokens.n - q->n_done, q->tokens.n);
    }
    return seq_fits(seq, 1, err);
}

/* Called after seq->picked was added to the tokens. If the token after it is known too and the
 * sequence has not finished, there is something to draw from again. */
static void add_token(struct weft_seq *seq, weft_finish finish)
{
    struct sched_seq *q = &seq->sched;
    bool known = ahead_beyond(seq) > 0;
    q->tokens.data[q->tokens.n++] = seq->picked;
    seq->drawn = q->tokens.n;
    constraint_add(seq->constraint, 1, true);
    /* The next step then knows whether it is still of use to compute ahead. */
    constraint_look(seq->constraint, &q->tokens);
    seq->picked = -1;
    if (known) {
        q->n_done++;
        logits_advance(&seq->logits);
    }
    if (!known || finish != WEFT_RUNNING) {
        logits_drop(&seq->logits);
    }
}

static weft_status next_locked(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    weft_finish finish = WEFT_RUNNING;
    TRY(check_ready(seq, err));
    TRY(room_tokens(seq, 1, 0, err));
    weft_status status = seq->picked < 0 ? seq_draw(seq, &seq->picked, err) : WEFT_OK;
    if (status == WEFT_OK) {
        status = seq_text_add(seq, seq->picked, &finish, err);
    }
    if (status == WEFT_OK) {
        *token = seq->picked;
        if (seq->picked >= 0) {
            add_token(seq, finish);
            seq_set_rope(seq);
        }
        seq_set_finish(seq, finish);
    }
    ahead_trim(seq);
    return status;
}

weft_status weft_seq_next(weft_seq *seq, int32_t *token, weft_error *err)
{
    if (token == NULL) {
        return error_set(err, WEFT_E_ARG, "token is NULL");
    }
    TRY(seq_enter(seq, err));
    return seq_leave(seq, next_locked(seq, token, err));
}
