/* A sequence that gives its pages away for a while, because others need them more. */
#include "run/ahead.h"
#include "run/room.h"

/* What is on the host stays: tokens, text, the state of sampler and grammar, and a token that was
 * drawn but not yet added. */
static void park_locked(struct weft_seq *seq)
{
    struct sched_seq *q = &seq->sched;
    struct kv_pool *pool = &seq->engine->pool;
    ahead_drop(seq);
    kv_learn(pool, &q->kv, q->tokens.data, q->n_done);
    kv_trim(pool, &q->kv, 0);
    q->kv.given = false;
    q->n_done = 0;
    q->parked = true;
    seq->n_room = 0;
    logits_drop(&seq->logits);
}

weft_status weft_seq_park(weft_seq *seq, weft_error *err)
{
    TRY(seq_enter(seq, err));
    park_locked(seq);
    return seq_leave(seq, WEFT_OK);
}

static weft_status unpark_locked(struct weft_seq *seq, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    struct weft_engine *e = seq->engine;
    if (!q->parked) {
        return WEFT_OK;
    }
    const size_t n = q->tokens.n, first = n > 0 ? n - 1 : 0;
    const size_t n_cached = q->observed ? 0 : kv_adopt(&e->pool, &q->kv, 0, q->tokens.data, first);
    weft_status status = room_reserve(e, &q->kv, n_cached, n, err);
    if (status != WEFT_OK) {
        kv_trim(&e->pool, &q->kv, 0);
        return status;
    }
    q->parked = false;
    q->n_done = n_cached;
    seq->n_cached += n_cached;
    e->n_cached += n_cached;
    return WEFT_OK;
}

weft_status weft_seq_unpark(weft_seq *seq, weft_error *err)
{
    TRY(seq_enter(seq, err));
    return seq_leave(seq, unpark_locked(seq, err));
}
