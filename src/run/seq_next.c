/* weft_seq_next(): the next token is drawn from what the last step left, and joins the text. */
#include "run/ahead.h"
#include "run/room.h"
#include "run/seq_text.h"
#include "run/step.h"

_Static_assert((int)BACKEND_TOP == (int)SAMPLER_TOP, "what samplers ask for, backends give");

/* ---------------------------------------------------------------- drawing */

/* Whether the next draw can be made from what is kept of the best, or was computed ahead. */
static bool enough(const struct weft_seq *seq)
{
    const struct logits *l = &seq->logits;
    size_t k;
    return l->place == LOGITS_AHEAD ? seq_greedy(seq) : seq_top(seq, &k) && k <= l->n;
}

/* From all logits, which are on the host. */
static weft_status draw_from_all(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    const struct model *m = seq->engine->model;
    const struct tokens *t = &seq->sched.tokens;
    const uint64_t *allowed = NULL;
    if (seq->constraint != NULL) {
        TRY(constraint_mask(seq->constraint, t, &allowed, err));
    }
    TRY(sampler_pick(seq->sampler, seq->logits.all, t->data, t->n, m->ends, m->n_ends, allowed,
                     token, err));
    if (seq->logprobs.on && *token >= 0) {
        logprobs_take(&seq->logprobs, seq->logits.all, m->config.n_vocab, *token);
    }
    return WEFT_OK;
}

/* Draws the next token of a fresh sequence, from no more than its sampler looks at. Logits that
 * were not kept, and that other sampling values or a grammar now ask for, are computed again.
 * *token = -1: the grammar allows none. */
static weft_status seq_draw(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    struct logits *l = &seq->logits;
    const struct model *m = seq->engine->model;
    l->banned = l->n > 0 && sampler_bans(seq->sampler, m->ends, m->n_ends, l->ids[0]);
    if (enough(seq)) {
        size_t n = l->place == LOGITS_AHEAD ? 1 : l->n;
        return sampler_pick_top(seq->sampler, l->ids, l->values, n, m->ends, m->n_ends, token, err);
    }
    if (l->place == LOGITS_AHEAD) {
        TRY(step_again(seq, err));
    }
    TRY(logits_read(l, seq->engine->backend, err));
    return draw_from_all(seq, token, err);
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
    if (!seq_fresh(seq)) {
        return error_set(
            err, WEFT_E_STATE,
            "no fresh logits: %zu of %zu tokens wait to be computed; call weft_engine_step() first",
            q->tokens.n - q->n_done, q->tokens.n);
    }
    return seq_fits(seq, 1, err);
}

/* The sequence holds seq->picked. If the token after it is known too, there is something to draw
 * from again; not for one that has finished. */
static void add_token(struct weft_seq *seq, weft_finish finish)
{
    struct sched_seq *q = &seq->sched;
    bool known = ahead_beyond(seq) > 0;
    q->tokens.data[q->tokens.n++] = seq->picked;
    seq->drawn = q->tokens.n;
    constraint_add(seq->constraint, 1, true);
    seq->picked = -1;
    if (known) {
        q->n_done++;
        logits_advance(&seq->logits);
    }
    if (finish != WEFT_RUNNING) {
        seq->logits.place = LOGITS_NONE;
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
