#include "run/logits.h"

#include <string.h>

#include "forward.h"
#include "run/seq.h"

_Static_assert((int)BACKEND_TOP == (int)SAMPLER_TOP, "what samplers ask for, backends give");

/* Whether the next draw wants none but the best logits. */
static bool best_only(const struct weft_seq *seq)
{
    return seq->constraint == NULL && !seq->logprobs.on;
}

bool outcome_greedy(const struct weft_seq *seq)
{
    return best_only(seq) && sampler_greedy(seq->sampler) && !seq->outcome.banned;
}

static bool outcome_top(const struct weft_seq *seq, size_t *k)
{
    return best_only(seq) && sampler_top(seq->sampler, seq->engine->model->n_ends, k);
}

/* Whether the next draw can be made from what is kept of the best. */
static bool enough(const struct weft_seq *seq)
{
    const struct outcome *o = &seq->outcome;
    size_t k;
    if (o->ahead) {
        return outcome_greedy(seq);
    }
    return outcome_top(seq, &k) && k <= o->n;
}

weft_status outcome_logits(struct weft_seq *seq, weft_error *err)
{
    struct outcome *o = &seq->outcome;
    struct backend *b = seq->engine->backend;
    if (o->place == LOGITS_NONE) {
        return error_set(err, WEFT_E_STATE,
                         "the last token was computed ahead, and its logits were not kept; open "
                         "the engine with n_ahead 0, or rewind to compute the token again");
    }
    if (o->place == LOGITS_DEVICE) {
        TRY(b->ops->read_logits(b, o->row, o->logits, err));
        o->place = LOGITS_HOST;
    }
    return WEFT_OK;
}

weft_status outcome_keep_all(struct weft_engine *e, weft_error *err)
{
    for (size_t i = 0; i < e->sched.n_seqs; i++) {
        struct weft_seq *seq = seq_of(e->sched.seqs[i]);
        if (seq->fresh && seq->outcome.place == LOGITS_DEVICE) {
            TRY(outcome_logits(seq, err));
        }
    }
    return WEFT_OK;
}

/* Reads the n_rows wanted rows from `row` on and shows them to the sequence's observer. The last of
 * them stays, as the sequence's logits. */
static weft_status show(struct weft_seq *seq, size_t row, size_t n_rows, weft_error *err)
{
    struct backend *b = seq->engine->backend;
    for (size_t i = 0; i < n_rows; i++) {
        TRY(b->ops->read_logits(b, row + i, seq->outcome.logits, err));
        seq->observer(seq->observer_user, seq->sched.n_done + i, seq->outcome.logits,
                      seq->engine->model->config.n_vocab);
    }
    return WEFT_OK;
}

/* The sequence of the i-th part of the packed step if it ends in this step, with logits. */
static struct weft_seq *ending(const struct weft_engine *e, size_t i)
{
    struct sched_seq *q = e->sched.packed[i];
    return q->n_done + e->sched.step.seqs[i].n_rows == q->tokens.n ? seq_of(q) : NULL;
}

weft_status outcome_take_all(struct weft_engine *e, weft_error *err)
{
    const struct backend_ops *ops = e->backend->ops;
    const struct step *step = &e->sched.step;
    size_t most = 0, k, row = 0;
    for (size_t i = 0; ops->top != NULL && i < step->n_seqs; i++) {
        struct weft_seq *seq = ending(e, i);
        if (seq != NULL && outcome_top(seq, &k) && k > most) {
            most = k;
        }
    }
    if (most > 0) {
        TRY(ops->top(e->backend, most, e->ids, e->values, err));
    }
    for (size_t i = 0; i < step->n_seqs; i++) {
        struct weft_seq *seq = ending(e, i), *all = seq_of(e->sched.packed[i]);
        size_t n_out = all->sched.observed ? step->seqs[i].n_rows : seq != NULL;
        row += n_out;
        if (all->sched.observed) {
            TRY(show(all, row - n_out, n_out, err));
        }
        if (seq == NULL) {
            continue;
        }
        struct outcome *o = &seq->outcome;
        o->place = seq->sched.observed ? LOGITS_HOST : LOGITS_DEVICE;
        o->row = row - 1;
        o->ahead = false;
        o->n = most;
        memcpy(o->ids, e->ids + o->row * most, most * sizeof *o->ids);
        memcpy(o->values, e->values + o->row * most, most * sizeof *o->values);
        if (most == 0 || !outcome_top(seq, &k)) {
            TRY(outcome_logits(seq, err));
        }
    }
    return WEFT_OK;
}

/* Computes the row of the last token once more, for its logits, and forgets what was computed
 * ahead. The K and V that this writes are those already there. */
static weft_status compute_again(struct weft_seq *seq, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    const struct tokens *t = &seq->sched.tokens;
    const uint32_t out = 0;
    const struct step_seq one = { .pages = { seq->sched.kv.pages }, .pos = t->n - 1, .n_rows = 1 };
    const struct step step = { .n_rows = 1,
                               .tokens = t->data + t->n - 1,
                               .n_seqs = 1,
                               .seqs = &one,
                               .n_out = 1,
                               .out_rows = &out };
    TRY(engine_usable(e, err));
    TRY(outcome_keep_all(e, err));
    TRY(forward(e->backend, &step, err));
    seq->outcome.place = LOGITS_DEVICE;
    seq->outcome.row = 0;
    seq->outcome.ahead = false;
    seq->outcome.n = 0;
    e->n_steps++;
    e->n_rows++;
    e->n_decode_rows += seq->drawn == t->n - 1;
    return WEFT_OK;
}

weft_status outcome_draw(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    struct outcome *o = &seq->outcome;
    const struct model *m = seq->engine->model;
    const struct tokens *t = &seq->sched.tokens;
    o->banned = o->n > 0 && sampler_bans(seq->sampler, m->ends, m->n_ends, o->ids[0]);
    if (enough(seq)) {
        return sampler_pick_top(seq->sampler, o->ids, o->values, o->ahead ? 1 : o->n, m->ends,
                                m->n_ends, token, err);
    }
    if (o->place == LOGITS_NONE) {
        TRY(compute_again(seq, err));
    }
    TRY(outcome_logits(seq, err));
    const uint64_t *allowed = NULL;
    if (seq->constraint != NULL) {
        TRY(constraint_mask(seq->constraint, t, &allowed, err));
    }
    TRY(sampler_pick(seq->sampler, o->logits, t->data, t->n, m->ends, m->n_ends, allowed, token,
                     err));
    if (seq->logprobs.on && *token >= 0) {
        logprobs_take(&seq->logprobs, o->logits, m->config.n_vocab, *token);
    }
    return WEFT_OK;
}

void outcome_copy(struct weft_seq *dst, const struct weft_seq *src)
{
    float *logits = dst->outcome.logits;
    dst->fresh = src->fresh;
    dst->outcome = src->outcome;
    dst->outcome.logits = logits;
    if (src->outcome.ahead) {
        dst->outcome.n = 1;
    }
    if (src->fresh && src->outcome.place == LOGITS_HOST) {
        memcpy(logits, src->outcome.logits, src->engine->model->config.n_vocab * sizeof *logits);
    }
}
