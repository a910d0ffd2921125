/* The functions that add tokens to a sequence, set room aside for them or drop them, and those that
 * end or cancel a sequence. */
#include <string.h>

#include "run/ahead.h"
#include "run/room.h"
#include "run/seq_text.h"

/* Adopts known pages that hold the beginning of tokens[n], except the last token, whose logits are
 * wanted. They take the place of pages that were set aside. Returns the number of positions. If all
 * positions will wait, seq_set_rope() finds the known pages. */
static size_t adopt(struct weft_seq *seq, const int32_t *tokens, size_t n)
{
    struct sched_seq *q = &seq->sched;
    bool at_page = q->n_done == q->tokens.n && q->tokens.n % KV_PAGE == 0;
    if (!at_page || q->observed || ahead_beyond(seq) > 0 || seq_crosses(seq, q->tokens.n + n)) {
        return 0;
    }
    kv_trim(&seq->engine->pool, &q->kv, q->tokens.n);
    return kv_adopt(&seq->engine->pool, &q->kv, q->tokens.n, tokens, n - 1);
}

static weft_status append_locked(struct weft_seq *seq, const int32_t *tokens, size_t n,
                                 weft_error *err)
{
    TRY(seq_take_cancel(seq, err));
    TRY(seq_fits(seq, n, err)); /* the tokens are looked at later, because n may exceed the array */
    TRY(tokenizer_check(seq->engine->model->tokenizer, tokens, n, err));
    if (n == 0) {
        return WEFT_OK;
    }
    TRY(seq_has_pages(seq, err));
    struct tokens *t = &seq->sched.tokens;
    if (t->n == 0) {
        seq->sched.kv.rope_set = model_rope_set(seq->engine->model, n);
    }
    TRY(room_lists(seq, n, err)); /* this can fail, so it comes before pages are given back */
    size_t n_cached = adopt(seq, tokens, n);
    weft_status status = room_tokens(seq, n, n_cached, err);
    if (status != WEFT_OK) {
        room_restore(seq, t->n + ahead_beyond(seq));
        return status;
    }
    seq->sched.n_done += n_cached;
    seq->n_cached += n_cached;
    seq->engine->n_cached += n_cached;
    memcpy(t->data + t->n, tokens, n * sizeof *tokens);
    t->n += n;
    constraint_add(seq->constraint, n, false);
    TRY(seq_text_resume(seq, err));
    seq->picked = -1;
    logits_drop(&seq->logits);
    seq_set_rope(seq);
    ahead_trim(seq);
    seq_set_finish(seq, WEFT_RUNNING);
    return WEFT_OK;
}

weft_status weft_seq_append(weft_seq *seq, const int32_t *tokens, size_t n, weft_error *err)
{
    if (tokens == NULL && n > 0) {
        return error_set(err, WEFT_E_ARG, "tokens is NULL, but n is %zu", n);
    }
    TRY(seq_enter(seq, err));
    return seq_leave(seq, append_locked(seq, tokens, n, err));
}

static weft_status reserve_locked(struct weft_seq *seq, size_t n, weft_error *err)
{
    TRY(seq_has_pages(seq, err));
    TRY(seq_fits(seq, n, err));
    const size_t before = seq->n_room;
    seq->n_room = n > 0 ? seq->sched.tokens.n + n : 0;
    weft_status status = n > 0 ? room_tokens(seq, n, 0, err) : WEFT_OK;
    if (status != WEFT_OK) {
        seq->n_room = before;
    }
    ahead_trim(seq);
    return status;
}

weft_status weft_seq_reserve(weft_seq *seq, size_t n, weft_error *err)
{
    TRY(seq_enter(seq, err));
    return seq_leave(seq, reserve_locked(seq, n, err));
}

weft_status weft_seq_end(weft_seq *seq, weft_error *err)
{
    TRY(seq_enter(seq, err));
    weft_status status = WEFT_OK;
    if (seq_running(seq)) {
        status = stream_cut(&seq->stream, err);
        if (status == WEFT_OK) {
            seq_set_finish(seq, WEFT_FINISH_LENGTH);
            ahead_drop(seq);
        }
    }
    return seq_leave(seq, status);
}

static weft_status rewind_locked(struct weft_seq *seq, size_t n, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    if (n > q->tokens.n) {
        return error_set(err, WEFT_E_ARG, "cannot rewind to %zu tokens, the sequence holds %zu", n,
                         q->tokens.n);
    }
    const size_t done = n == 0 ? 0 : size_min(n - 1, q->n_done);
    /* The last kept page may be shared, and the next step writes to it; if other RoPE factors are
     * needed, the next steps write to all pages. */
    TRY(room_rewind(seq->engine, &q->kv, seq_crosses(seq, n) ? 0 : done, n, err));
    seq_restart(seq, n, done);
    seq_set_rope(seq);
    return WEFT_OK;
}

weft_status weft_seq_rewind(weft_seq *seq, size_t n, weft_error *err)
{
    TRY(seq_enter(seq, err));
    return seq_leave(seq, rewind_locked(seq, n, err));
}

void weft_seq_cancel(weft_seq *seq)
{
    if (seq != NULL && seq->magic == SEQ_MAGIC) {
        atomic_store(&seq->sched.cancelled, true);
        engine_wake(seq->engine);
    }
}
