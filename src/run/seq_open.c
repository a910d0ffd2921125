/* The life of a sequence: open, fork, release. */
#include <string.h>

#include "run/room.h"
#include "run/seq.h"

static void seq_free(struct weft_seq *seq)
{
    sampler_close(seq->sampler);
    constraint_close(seq->constraint);
    stream_free(&seq->stream);
    logits_drop(&seq->logits);
    free(seq->sched.tokens.data);
    free(seq->sched.kv.pages);
    free(seq);
}

/* Makes a sequence with its own memory that the engine does not know yet. */
static weft_status seq_new(struct weft_engine *engine, struct weft_seq **out, weft_error *err)
{
    struct weft_seq *seq = calloc(1, sizeof *seq);
    if (seq == NULL) {
        return error_nomem(err, "a sequence", sizeof *seq);
    }
    atomic_flag_clear(&seq->busy);
    stream_init(&seq->stream);
    seq->magic = SEQ_MAGIC;
    seq->engine = engine;
    seq->picked = -1;
    *out = seq;
    return WEFT_OK;
}

weft_status weft_seq_open(weft_engine *engine, const weft_sampling *sampling, weft_seq **out,
                          weft_error *err)
{
    weft_sampling p = WEFT_SAMPLING_INIT;
    struct weft_seq *seq = NULL;
    TRY(engine_check(engine, err));
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(params_copy(&p, sizeof p, sampling, "weft_sampling", err));
    TRY(seq_new(engine, &seq, err));
    weft_status status = sampler_open(&p, engine->model->config.n_vocab, &seq->sampler, err);
    if (status == WEFT_OK) {
        seq_measure(seq);
        lock_take(&engine->lock);
        status = sched_add(&engine->sched, &seq->sched, err);
        engine->n_opened += status == WEFT_OK;
        lock_give(&engine->lock);
    }
    if (status != WEFT_OK) {
        seq_free(seq);
        return status;
    }
    engine_retain(engine);
    *out = seq;
    return WEFT_OK;
}

/* Copies everything of src except its pages. */
static weft_status copy_state(struct weft_seq *dst, const struct weft_seq *src, weft_error *err)
{
    const struct tokens *t = &src->sched.tokens;
    TRY(seq_grow(dst, t->n, err));
    if (t->n > 0) {
        memcpy(dst->sched.tokens.data, t->data, t->n * sizeof *t->data);
    }
    dst->sched.tokens.n = t->n;
    dst->sched.n_done = src->sched.n_done;
    dst->sched.parked = src->sched.parked;
    dst->picked = src->picked;
    dst->drawn = src->drawn;
    seq_set_finish(dst, (weft_finish)atomic_load(&src->sched.finish));
    dst->logprobs = src->logprobs;
    TRY(logits_copy(&dst->logits, &src->logits, src->engine->model->config.n_vocab, err));
    stream_free(&dst->stream);
    TRY(stream_copy(&dst->stream, &src->stream, err));
    if (src->constraint != NULL) {
        TRY(constraint_copy(src->constraint, &dst->constraint, err));
    }
    return sampler_copy(src->sampler, &dst->sampler, err);
}

/* Gives the copy the pages of the sequence. */
static weft_status share_pages(struct weft_seq *seq, struct weft_seq *copy, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    if (seq->sched.parked) {
        copy->sched.kv.rope_set = seq->sched.kv.rope_set;
        return WEFT_OK;
    }
    TRY(kv_share(&e->pool, &seq->sched.kv, seq->sched.tokens.n, &copy->sched.kv, err));
    /* Both sequences will compute the waiting tokens, each into pages of its own. If the sequence
     * has memory set aside for more tokens, the copy must not share the page to which it will write
     * them either. */
    const size_t n = seq->sched.tokens.n, from = room_crosses(seq) ? 0 : seq->sched.n_done;
    weft_status status = WEFT_OK;
    if (from < n || (seq->n_room > n && n % KV_PAGE != 0)) {
        status = room_reserve(e, &copy->sched.kv, from, n, err);
    }
    return status;
}

static weft_status fork_locked(struct weft_seq *seq, struct weft_seq *copy, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    TRY(copy_state(copy, seq, err));
    weft_status status = share_pages(seq, copy, err);
    if (status == WEFT_OK) {
        status = sched_add(&e->sched, &copy->sched, err);
    }
    if (status != WEFT_OK) {
        kv_release(&e->pool, &copy->sched.kv);
    }
    return status;
}

weft_status weft_seq_fork(weft_seq *seq, weft_seq **out, weft_error *err)
{
    struct weft_seq *copy = NULL;
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(seq_enter(seq, err));
    weft_status status = seq_new(seq->engine, &copy, err);
    if (status == WEFT_OK) {
        status = fork_locked(seq, copy, err);
        if (status == WEFT_OK) {
            engine_retain(seq->engine);
            seq_measure(copy);
            seq->engine->n_opened++;
            *out = copy;
        } else {
            seq_free(copy);
        }
    }
    const bool rows = status == WEFT_OK && sched_waiting(&copy->sched) > 0;
    struct weft_engine *e = seq->engine;
    seq_leave(seq, status);
    if (rows) {
        bell_ring(&e->bell); /* the copy runs even if the sequence was cancelled */
    }
    return status;
}

void weft_seq_release(weft_seq **seq)
{
    if (seq == NULL || *seq == NULL || (*seq)->magic != SEQ_MAGIC) {
        return;
    }
    struct weft_seq *s = *seq;
    struct weft_engine *engine = s->engine;
    *seq = NULL;
    lock_take(&engine->lock);
    s->magic = 0;
    sched_remove(&engine->sched, &s->sched);
    kv_learn(&engine->pool, &s->sched.kv, s->sched.tokens.data, s->sched.n_done);
    kv_release(&engine->pool, &s->sched.kv);
    engine->n_released++;
    engine_unlock(engine);
    engine_wake(engine);
    seq_free(s);
    weft_engine_release(&engine);
}
