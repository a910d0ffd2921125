#include "run/seq.h"

/* ---------------------------------------------------------------- the state of a sequence */

void seq_restart(struct weft_seq *seq, size_t n, size_t n_done)
{
    seq->sched.tokens.n = n;
    seq->sched.n_done = n_done;
    seq->sched.parked = false;
    constraint_rewind(seq->constraint, n);
    logits_drop(&seq->logits);
    seq->n_room = 0;
    seq->picked = -1;
    seq->drawn = 0;
    stream_reset(&seq->stream);
    seq_set_finish(seq, WEFT_RUNNING);
}

void seq_set_rope(struct weft_seq *seq)
{
    struct sched_seq *q = &seq->sched;
    struct weft_engine *e = seq->engine;
    const uint8_t set = model_rope_set(e->model, q->tokens.n);
    if (set == q->kv.rope_set) {
        return;
    }
    e->n_again += q->n_done;
    q->kv.rope_set = set;
    q->kv.given = false; /* nobody reads what the pages hold now */
    q->n_done = 0;
    if (!q->observed && q->tokens.n > 0) {
        q->n_done = kv_adopt(&e->pool, &q->kv, 0, q->tokens.data, q->tokens.n - 1);
    }
    seq->n_cached += q->n_done;
    e->n_cached += q->n_done;
}

/* Returns true if the next draw needs only the best logits, unless one of them is that of a token
 * which a trigger forbids. */
static bool best_only(const struct weft_seq *seq)
{
    return (seq->constraint == NULL || constraint_free(seq->constraint)) && !seq->logprobs.on;
}

bool seq_top(const struct weft_seq *seq, size_t *k)
{
    return best_only(seq) && sampler_top(seq->sampler, seq->engine->model->n_ends, k);
}

bool seq_greedy(const struct weft_seq *seq)
{
    return best_only(seq) && sampler_greedy(seq->sampler) && !seq->logits.banned;
}

/* ---------------------------------------------------------------- entering and leaving */

weft_status seq_check(const weft_seq *seq, weft_error *err)
{
    return handle_check(seq, seq ? &seq->magic : NULL, SEQ_MAGIC, "sequence", err);
}

weft_status seq_claim(struct weft_seq *seq, weft_error *err)
{
    TRY(seq_check(seq, err));
    if (atomic_flag_test_and_set(&seq->busy)) {
        return error_set(err, WEFT_E_BUSY,
                         "another thread is inside this sequence; use one thread per sequence");
    }
    return WEFT_OK;
}

weft_status seq_enter(struct weft_seq *seq, weft_error *err)
{
    TRY(seq_claim(seq, err));
    lock_take(&seq->engine->lock);
    return WEFT_OK;
}

void seq_measure(struct weft_seq *seq)
{
    seq->own_bytes = sampler_bytes(seq->sampler) + constraint_bytes(seq->constraint) +
                     stream_bytes(&seq->stream);
}

weft_status seq_leave(struct weft_seq *seq, weft_status status)
{
    struct weft_engine *e = seq->engine;
    seq_measure(seq);
    engine_note(e, status);
    const bool rows = sched_waiting(&seq->sched) > 0;
    engine_unlock(e);
    atomic_flag_clear(&seq->busy);
    if (rows) {
        bell_ring(&e->bell);
    }
    return status;
}

weft_status seq_take_cancel(struct weft_seq *seq, weft_error *err)
{
    if (atomic_exchange(&seq->sched.cancelled, false)) {
        return error_set(err, WEFT_E_CANCELLED,
                         "the sequence was cancelled; this call clears that");
    }
    return WEFT_OK;
}

weft_status seq_fits(const struct weft_seq *seq, size_t n, weft_error *err)
{
    size_t n_tokens = seq->sched.tokens.n, n_ctx = seq->engine->n_ctx;
    if (n > n_ctx - n_tokens) {
        return error_set(err, WEFT_E_CTX_FULL,
                         "%zu tokens do not fit: the sequence holds %zu and its context is %zu; "
                         "open the engine with a larger n_ctx or shorten the text",
                         n, n_tokens, n_ctx);
    }
    return WEFT_OK;
}

weft_status seq_has_pages(const struct weft_seq *seq, weft_error *err)
{
    return !seq->sched.parked
               ? WEFT_OK
               : error_set(err, WEFT_E_STATE,
                           "the sequence is parked and has no pages; call weft_seq_unpark() first");
}

weft_status seq_grow(struct weft_seq *seq, size_t n, weft_error *err)
{
    struct tokens *t = &seq->sched.tokens;
    if (!mem_reserve(&t->data, &t->cap, n, sizeof *t->data)) {
        return error_nomem(err, "the tokens of a sequence", n * sizeof *t->data);
    }
    return WEFT_OK;
}
