#include "run/room.h"

#include "run/ahead.h"

/* Whether a call that ended so is worth another try. */
static bool room_again(struct weft_engine *e, weft_status status)
{
    return status == WEFT_E_KV_FULL && ahead_yield(e);
}

weft_status room_reserve(struct weft_engine *e, struct kv_table *t, size_t from, size_t to,
                         weft_error *err)
{
    weft_status status = kv_reserve(&e->pool, t, from, to, err);
    return room_again(e, status) ? kv_reserve(&e->pool, t, from, to, err) : status;
}

weft_status room_rewind(struct weft_engine *e, struct kv_table *t, size_t from, size_t n,
                        weft_error *err)
{
    weft_status status = kv_rewind(&e->pool, t, from, n, err);
    return room_again(e, status) ? kv_rewind(&e->pool, t, from, n, err) : status;
}

weft_status room_replace(struct weft_engine *e, struct kv_table *t, size_t n, weft_error *err)
{
    weft_status status = kv_replace(&e->pool, t, n, err);
    return room_again(e, status) ? kv_replace(&e->pool, t, n, err) : status;
}

weft_status room_tokens(struct weft_seq *seq, size_t n, size_t n_cached, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    size_t n_tokens = q->tokens.n;
    TRY(seq_grow(seq, n_tokens + n, err));
    TRY(constraint_reserve(seq->constraint, n, err));
    return room_reserve(seq->engine, &q->kv, n_tokens + n_cached, n_tokens + n, err);
}
