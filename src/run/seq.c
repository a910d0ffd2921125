/* The public functions on a sequence. Each enters it (one thread at a time), takes the engine's
 * lock where it touches what the scheduler sees, and leaves everything as it was when it fails. */
#include <string.h>

#include "base/utf8.h"
#include "run/ahead.h"
#include "run/seq.h"

weft_status seq_claim(struct weft_seq *seq, weft_error *err)
{
    TRY(handle_check(seq, seq ? &seq->magic : NULL, SEQ_MAGIC, "sequence", err));
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

weft_status seq_leave(struct weft_seq *seq, weft_status status)
{
    engine_note(seq->engine, status);
    lock_give(&seq->engine->lock);
    atomic_flag_clear(&seq->busy);
    return status;
}

static void set_finish(struct weft_seq *seq, weft_finish finish)
{
    seq->sched.idle = finish != WEFT_RUNNING;
    atomic_store(&seq->finish, (int)finish);
}

static weft_status take_cancel(struct weft_seq *seq, weft_error *err)
{
    if (atomic_exchange(&seq->sched.cancelled, false)) {
        return error_set(err, WEFT_E_CANCELLED,
                         "the sequence was cancelled; this call clears that");
    }
    return WEFT_OK;
}

/* Makes positions [from, to) of the sequence writable. */
static weft_status reserve(struct weft_seq *seq, size_t from, size_t to, weft_error *err)
{
    struct kv_pool *pool = &seq->engine->pool;
    weft_status status = kv_reserve(pool, &seq->sched.kv, from, to, err);
    bool retry = status == WEFT_E_KV_FULL && ahead_yield(seq->engine);
    return retry ? kv_reserve(pool, &seq->sched.kv, from, to, err) : status;
}

/* ---------------------------------------------------------------- open, fork, release */

static void seq_free(struct weft_seq *seq)
{
    sampler_close(seq->sampler);
    constraint_close(seq->constraint);
    stream_free(&seq->stream);
    free(seq->outcome.logits);
    free(seq->sched.tokens.data);
    free(seq->sched.kv.pages);
    free(seq);
}

/* A sequence with its own memory, not yet known to the engine. */
static weft_status seq_new(struct weft_engine *engine, struct weft_seq **out, weft_error *err)
{
    struct weft_seq *seq = calloc(1, sizeof *seq);
    size_t n_vocab = engine->model->config.n_vocab;
    if (seq == NULL) {
        return error_nomem(err, "a sequence", sizeof *seq);
    }
    atomic_flag_clear(&seq->busy);
    stream_init(&seq->stream);
    seq->magic = SEQ_MAGIC;
    seq->engine = engine;
    seq->picked = -1;
    seq->drawn = SIZE_MAX;
    seq->outcome.logits = mem_array(n_vocab, sizeof *seq->outcome.logits);
    if (seq->outcome.logits == NULL) {
        seq_free(seq);
        return error_nomem(err, "the logits of a sequence", n_vocab * sizeof *seq->outcome.logits);
    }
    *out = seq;
    return WEFT_OK;
}

weft_status weft_seq_open(weft_engine *engine, const weft_sampling *sampling, weft_seq **out,
                          weft_error *err)
{
    weft_sampling p = WEFT_SAMPLING_INIT;
    struct weft_seq *seq;
    TRY(engine_check(engine, err));
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(params_copy(&p, sizeof p, sampling, "weft_sampling", err));
    TRY(seq_new(engine, &seq, err));
    weft_status status = sampler_open(&p, engine->model->config.n_vocab, &seq->sampler, err);
    if (status == WEFT_OK) {
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

/* Everything of src but its pages. */
static weft_status copy_state(struct weft_seq *dst, const struct weft_seq *src, weft_error *err)
{
    const struct tokens *t = &src->sched.tokens;
    if (!mem_reserve(&dst->sched.tokens.data, &dst->sched.tokens.cap, t->n, sizeof *t->data)) {
        return error_nomem(err, "the tokens of a sequence", t->n * sizeof *t->data);
    }
    if (t->n > 0) {
        memcpy(dst->sched.tokens.data, t->data, t->n * sizeof *t->data);
    }
    dst->sched.tokens.n = t->n;
    dst->sched.n_done = src->sched.n_done;
    dst->picked = src->picked;
    dst->drawn = src->drawn;
    set_finish(dst, (weft_finish)atomic_load(&src->finish));
    dst->logprobs = src->logprobs;
    dst->text_begun = src->text_begun;
    outcome_copy(dst, src);
    stream_free(&dst->stream);
    TRY(stream_copy(&dst->stream, &src->stream, err));
    if (src->constraint != NULL) {
        TRY(constraint_copy(src->constraint, &dst->constraint, err));
    }
    return sampler_copy(src->sampler, &dst->sampler, err);
}

static weft_status fork_locked(struct weft_seq *seq, struct weft_seq *copy, weft_error *err)
{
    struct weft_engine *e = seq->engine;
    TRY(copy_state(copy, seq, err));
    TRY(kv_share(&e->pool, &seq->sched.kv, seq->sched.tokens.n, &copy->sched.kv, err));
    /* the waiting tokens will be computed by both: each into pages of its own */
    weft_status status = WEFT_OK;
    if (seq->sched.n_done < seq->sched.tokens.n) {
        status = reserve(copy, seq->sched.n_done, seq->sched.tokens.n, err);
    }
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
    struct weft_seq *copy;
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(seq_enter(seq, err));
    weft_status status = seq_new(seq->engine, &copy, err);
    if (status == WEFT_OK) {
        status = fork_locked(seq, copy, err);
        if (status == WEFT_OK) {
            engine_retain(seq->engine);
            seq->engine->n_opened++;
            *out = copy;
        } else {
            seq_free(copy);
        }
    }
    return seq_leave(seq, status);
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
    lock_give(&engine->lock);
    seq_free(s);
    weft_engine_release(&engine);
}

/* ---------------------------------------------------------------- settings */

weft_status weft_seq_set_sampling(weft_seq *seq, const weft_sampling *sampling, weft_error *err)
{
    weft_sampling p = WEFT_SAMPLING_INIT;
    struct sampler *fresh;
    TRY(params_copy(&p, sizeof p, sampling, "weft_sampling", err));
    TRY(seq_enter(seq, err));
    weft_status status = sampler_open(&p, seq->engine->model->config.n_vocab, &fresh, err);
    if (status == WEFT_OK) {
        sampler_close(seq->sampler);
        seq->sampler = fresh;
        seq->picked = -1;
    }
    return seq_leave(seq, status);
}

weft_status weft_seq_set_stops(weft_seq *seq, const char *const *stops, size_t n, weft_error *err)
{
    if (stops == NULL && n > 0) {
        return error_set(err, WEFT_E_ARG, "stops is NULL, but n is %zu", n);
    }
    TRY(seq_enter(seq, err));
    return seq_leave(seq, stream_set_stops(&seq->stream, stops, n, err));
}

/* ---------------------------------------------------------------- tokens in, tokens out */

static weft_status check_context(const struct weft_seq *seq, size_t n, weft_error *err)
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

/* Room for n more tokens: in the list, and pages for the K and V of all but the first n_cached. */
static weft_status make_room(struct weft_seq *seq, size_t n, size_t n_cached, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    if (!mem_reserve(&q->tokens.data, &q->tokens.cap, q->tokens.n + n, sizeof *q->tokens.data)) {
        return error_nomem(err, "the tokens of a sequence",
                           (q->tokens.n + n) * sizeof *q->tokens.data);
    }
    TRY(constraint_reserve(seq->constraint, n, err));
    return reserve(seq, q->tokens.n + n_cached, q->tokens.n + n, err);
}

/* Pages that are known to hold what tokens[n] begin with, all but the last token, whose logits are
 * wanted. Returns the number of positions. */
static size_t adopt(struct weft_seq *seq, const int32_t *tokens, size_t n)
{
    struct sched_seq *q = &seq->sched;
    bool at_page = q->n_done == q->tokens.n && q->kv.n * KV_PAGE == q->tokens.n;
    return at_page && !q->observed ? kv_adopt(&seq->engine->pool, &q->kv, tokens, n - 1) : 0;
}

static weft_status append_locked(struct weft_seq *seq, const int32_t *tokens, size_t n,
                                 weft_error *err)
{
    size_t n_vocab = seq->engine->model->config.n_vocab;
    TRY(take_cancel(seq, err));
    TRY(check_context(seq, n, err)); /* before the tokens are looked at: n may be beyond them */
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= n_vocab) {
            return error_set(err, WEFT_E_ARG, "token %zu is %d, expected 0 to %zu (the vocabulary)",
                             i, tokens[i], n_vocab - 1);
        }
    }
    if (n == 0) {
        return WEFT_OK;
    }
    struct tokens *t = &seq->sched.tokens;
    size_t n_cached = adopt(seq, tokens, n);
    weft_status status = make_room(seq, n, n_cached, err);
    if (status != WEFT_OK) {
        kv_trim(&seq->engine->pool, &seq->sched.kv, t->n + ahead_beyond(seq));
        return status;
    }
    seq->sched.n_done += n_cached;
    seq->n_cached += n_cached;
    seq->engine->n_cached += n_cached;
    memcpy(t->data + t->n, tokens, n * sizeof *tokens);
    t->n += n;
    constraint_add(seq->constraint, n, false);
    if (utf8_partial(seq->stream.in.data, seq->stream.in.n) > 0) {
        /* what follows may begin with this character; stream_push() has reserved what this needs */
        TRY(stream_cut(&seq->stream, err));
    }
    seq->text_begun = false;
    seq->fresh = false;
    seq->picked = -1;
    ahead_trim(seq);
    if (atomic_load(&seq->finish) != WEFT_RUNNING) {
        set_finish(seq, WEFT_RUNNING);
        seq->stream.stopped = false;
    }
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

/* No token may follow. */
static weft_status finish_by_grammar(struct weft_seq *seq, weft_error *err)
{
    weft_status status = stream_cut(&seq->stream, err);
    if (status == WEFT_OK) {
        set_finish(seq, WEFT_FINISH_GRAMMAR);
    }
    ahead_trim(seq);
    return status;
}

static weft_status next_locked(struct weft_seq *seq, int32_t *token, weft_error *err)
{
    const struct model *m = seq->engine->model;
    struct tokens *t = &seq->sched.tokens;
    TRY(take_cancel(seq, err));
    if (atomic_load(&seq->finish) != WEFT_RUNNING) {
        return error_set(err, WEFT_E_STATE,
                         "the sequence has finished; append tokens or rewind to go on");
    }
    if (!seq->fresh) {
        return error_set(
            err, WEFT_E_STATE,
            "no fresh logits: %zu of %zu tokens wait to be computed; call weft_engine_step() first",
            t->n - seq->sched.n_done, t->n);
    }
    TRY(check_context(seq, 1, err));
    TRY(make_room(seq, 1, 0, err));
    weft_status status = WEFT_OK;
    if (seq->picked < 0) {
        status = outcome_draw(seq, &seq->picked, err);
    }
    if (status == WEFT_OK && seq->picked < 0) {
        *token = -1;
        return finish_by_grammar(seq, err);
    }
    bool end = status == WEFT_OK && tokenizer_is_end(m->tokenizer, seq->picked);
    if (status == WEFT_OK) {
        /* an end token finishes the text */
        status = end ? stream_finish(&seq->stream, err) : seq_text_add(seq, seq->picked, err);
    }
    if (status != WEFT_OK) {
        ahead_trim(seq);
        return status;
    }
    bool full = t->n + 1 == seq->engine->n_ctx;
    if (full && !end && !seq->stream.stopped) {
        /* stream_push() has reserved what this needs: it cannot fail behind the text just taken */
        TRY(stream_cut(&seq->stream, err));
    }
    seq->drawn = t->n;
    t->data[t->n++] = *token = seq->picked;
    constraint_add(seq->constraint, 1, true);
    seq->picked = -1;
    set_finish(seq, end                   ? WEFT_FINISH_END
                    : seq->stream.stopped ? WEFT_FINISH_STOP
                    : full                ? WEFT_FINISH_LENGTH
                                          : WEFT_RUNNING);
    seq->fresh = ahead_advance(seq) && !seq->sched.idle;
    ahead_trim(seq);
    return WEFT_OK;
}

weft_status weft_seq_end(weft_seq *seq, weft_error *err)
{
    TRY(seq_enter(seq, err));
    weft_status status = WEFT_OK;
    if (atomic_load(&seq->finish) == WEFT_RUNNING) {
        status = stream_cut(&seq->stream, err);
        if (status == WEFT_OK) {
            set_finish(seq, WEFT_FINISH_LENGTH);
            ahead_drop(seq);
        }
    }
    return seq_leave(seq, status);
}

weft_status weft_seq_next(weft_seq *seq, int32_t *token, weft_error *err)
{
    if (token == NULL) {
        return error_set(err, WEFT_E_ARG, "token is NULL");
    }
    TRY(seq_enter(seq, err));
    return seq_leave(seq, next_locked(seq, token, err));
}

void seq_restart(struct weft_seq *seq, size_t n, size_t n_done)
{
    seq->sched.tokens.n = n;
    seq->sched.n_done = n_done;
    constraint_rewind(seq->constraint, n);
    seq->fresh = false;
    seq->picked = -1;
    seq->drawn = SIZE_MAX;
    stream_reset(&seq->stream);
    seq->text_begun = false;
    set_finish(seq, WEFT_RUNNING);
}

static weft_status rewind_locked(struct weft_seq *seq, size_t n, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    struct kv_pool *pool = &seq->engine->pool;
    if (n > q->tokens.n) {
        return error_set(err, WEFT_E_ARG, "cannot rewind to %zu tokens, the sequence holds %zu", n,
                         q->tokens.n);
    }
    size_t done = n == 0 ? 0 : n - 1 < q->n_done ? n - 1 : q->n_done;
    /* the last page kept may be shared, and is written next */
    weft_status status = kv_rewind(pool, &q->kv, done, n, err);
    if (status == WEFT_E_KV_FULL && ahead_yield(seq->engine)) {
        status = kv_rewind(pool, &q->kv, done, n, err);
    }
    TRY(status);
    seq_restart(seq, n, done);
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
    }
}
