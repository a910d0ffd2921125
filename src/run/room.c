#include "run/room.h"

#include "run/ahead.h"

/* Returns true if a call that ended with this status is worth another try. */
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

weft_status room_lists(struct weft_seq *seq, size_t n, weft_error *err)
{
    TRY(seq_grow(seq, seq->sched.tokens.n + n, err));
    return constraint_reserve(seq->constraint, n, err);
}

weft_status room_tokens(struct weft_seq *seq, size_t n, size_t n_cached, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    const size_t to = size_max(q->tokens.n + n, seq->n_room);
    /* Where other RoPE factors are needed, all positions are written again. */
    const bool others = model_rope_set(seq->engine->model, to) != q->kv.rope_set;
    const size_t from = others ? 0 : q->tokens.n + n_cached;
    TRY(room_lists(seq, n, err));
    return room_reserve(seq->engine, &q->kv, from, to, err);
}

bool room_crosses(const struct weft_seq *seq)
{
    return seq->n_room > seq->sched.tokens.n && seq_crosses(seq, seq->n_room);
}

void room_restore(struct weft_seq *seq, size_t n)
{
    struct kv_pool *pool = &seq->engine->pool;
    kv_trim(pool, &seq->sched.kv, n);
    if (seq->n_room > n) {
        /* This cannot fail: the pages are free, and the table has had this length before. */
        kv_reserve(pool, &seq->sched.kv, n, seq->n_room, NULL);
    }
}
