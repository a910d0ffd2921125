/* weft_embed() and weft_embed_texts() compute a vector for each text. The texts run through the
 * backend like any others, several in a step, each in pages of its own, but nobody asks for logits:
 * pool.c reads the residual stream. Between steps the lock is given back, so that other threads
 * wait for one step at most. */
#include "run/embed.h"

#include <stdio.h>
#include <string.h>

#include "run/pool.h"
#include "run/room.h"
#include "run/step.h"

/* If all texts begin with at least so many equal tokens, these tokens are computed once. For fewer
 * tokens, copying the page in which the texts part takes as long as computing them again. */
enum { MIN_SHARED = 16 };

struct batch {
    struct weft_engine *engine;
    const struct texts *texts;
    const struct pooling *pooling;
    /* The beginning that all texts share, and its pages. It is kept until the last text. */
    size_t n_shared;
    struct kv_table shared;
    struct pool_state start; /* of that beginning, for the mean */
    /* The first text that is not finished, its tokens, and how many of them are computed. */
    size_t text, n_done;
    const int32_t *at;
    /* Texts text, text + 1, ... of a step: their pages, and their rows. */
    struct kv_table *kv;    /* [most] */
    struct step_seq *seqs;  /* [most] */
    size_t most;            /* texts in one step */
    int32_t *tokens;        /* [n_batch] */
    float *x;               /* [n_batch, dim] the residual stream of the step */
    struct pool_state pool; /* of text `text` */
    float *dst;             /* [texts, n_values] */
};

static weft_status in_text(const struct batch *m, size_t text, weft_status status, weft_error *err)
{
    if (status == WEFT_OK || m->texts->what == NULL) {
        return status;
    }
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s %zu", m->texts->what, text);
    return error_prefix(err, status, prefix);
}

/* ---------------------------------------------------------------- the beginning of all texts */

/* Returns how many tokens all texts have in common at their beginning. Each keeps at least one of
 * its own. */
static size_t count_shared(const struct texts *t)
{
    const int32_t *at = t->tokens;
    size_t n = t->lengths[0] - 1;
    for (size_t i = 0; i < t->n; i++) {
        size_t same = 0;
        n = size_min(n, t->lengths[i] - 1);
        while (same < n && at[same] == t->tokens[same]) {
            same++;
        }
        n = same;
        at += t->lengths[i];
    }
    return n;
}

static void drop_shared(struct batch *m)
{
    kv_release(&m->engine->pool, &m->shared);
    m->n_shared = 0;
}

/* Returns how many tokens of a text are in the pages of the common beginning: all tokens of the
 * beginning, or none if the text has the other set of RoPE factors. */
static size_t shared_by(const struct batch *m, size_t text)
{
    const uint8_t set = model_rope_set(m->engine->model, m->texts->lengths[text]);
    return set == m->shared.rope_set ? m->n_shared : 0;
}

static bool is_mean(const struct batch *m) { return m->pooling->how == WEFT_POOL_MEAN; }

/* Computes rows [first, first + n) of the common beginning in one step. */
static weft_status share_step(struct batch *m, size_t first, size_t n, weft_error *err)
{
    const struct step_seq seq = {
        .pages = { m->shared.pages }, .rope_set = m->shared.rope_set, .pos = first, .n_rows = n
    };
    const struct step s = {
        .n_rows = n, .tokens = m->texts->tokens + first, .n_seqs = 1, .seqs = &seq
    };
    return step_run(m->engine, &s, is_mean(m) ? m->x : NULL, err);
}

/* Computes the common beginning. If the pool has no room for it, the texts share nothing. */
static weft_status share(struct batch *m, weft_error *err)
{
    struct weft_engine *e = m->engine;
    const size_t n = m->texts->n < 2 ? 0 : count_shared(m->texts);
    if (n < MIN_SHARED) {
        return WEFT_OK;
    }
    m->shared.rope_set = model_rope_set(e->model, m->texts->lengths[0]);
    lock_take(&e->lock);
    weft_status status = room_reserve(e, &m->shared, 0, n, NULL);
    engine_unlock(e);
    if (status != WEFT_OK) {
        return WEFT_OK;
    }
    m->n_shared = n;
    for (size_t done = 0, rows; done < n; done += rows) {
        rows = size_min(n - done, e->n_batch);
        lock_take(&e->lock);
        status = engine_note(e, share_step(m, done, rows, err));
        engine_unlock(e);
        TRY(status);
        for (size_t i = 0; i < rows && is_mean(m); i++) {
            pool_add(&m->start, m->x + i * e->model->config.dim);
        }
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- a step */

/* Takes the pages of a text. */
static weft_status hold(struct batch *m, struct kv_table *kv, size_t text, weft_error *err)
{
    struct kv_pool *pool = &m->engine->pool;
    const size_t length = m->texts->lengths[text], n_shared = shared_by(m, text);
    weft_status status = kv_share(pool, &m->shared, n_shared, kv, err);
    kv->rope_set = model_rope_set(m->engine->model, length);
    if (status == WEFT_OK) {
        status = room_reserve(m->engine, kv, n_shared, length, err);
    }
    if (status != WEFT_OK) {
        kv_release(pool, kv);
    }
    return status;
}

/* Takes the pages of the first text, if it has none yet. The common beginning gives way if there is
 * no room for both. */
static weft_status hold_first(struct batch *m, weft_error *err)
{
    if (m->kv[0].n > 0) {
        return WEFT_OK;
    }
    weft_status status = hold(m, &m->kv[0], m->text, err);
    if (status == WEFT_E_KV_FULL && m->n_shared > 0) {
        drop_shared(m);
        status = hold(m, &m->kv[0], m->text, err);
    }
    m->n_done = shared_by(m, m->text);
    return in_text(m, m->text, status, err);
}

/* Packs rows of the texts from `text` on: as many as the step and the pool have room for, and
 * always some of the first text. */
static weft_status pack(struct batch *m, struct step *s, weft_error *err)
{
    const int32_t *at = m->at;
    const size_t n_left = m->texts->n - m->text, n_batch = m->engine->n_batch;
    TRY(hold_first(m, err));
    *s = (struct step){ .tokens = m->tokens, .seqs = m->seqs };
    for (size_t i = 0; i < size_min(n_left, m->most) && s->n_rows < n_batch; i++) {
        const size_t text = m->text + i, length = m->texts->lengths[text],
                     done = i == 0 ? m->n_done : shared_by(m, text);
        if (i > 0 && hold(m, &m->kv[i], text, NULL) != WEFT_OK) {
            break; /* it is the first of the next step */
        }
        const size_t n = size_min(length - done, n_batch - s->n_rows);
        memcpy(m->tokens + s->n_rows, at + done, n * sizeof *at);
        m->seqs[i] = (struct step_seq){ .pages = { m->kv[i].pages },
                                        .rope_set = m->kv[i].rope_set,
                                        .pos = done,
                                        .row = s->n_rows,
                                        .n_rows = n };
        s->n_rows += n;
        s->n_seqs++;
        at += length;
    }
    return WEFT_OK;
}

/* Returns true if the step computes the last row of its i-th text. */
static bool ends(const struct batch *m, size_t i)
{
    return m->seqs[i].pos + m->seqs[i].n_rows == m->texts->lengths[m->text + i];
}

/* Computes a step, and gives back the pages of the texts that end with it. Only the last text of a
 * step can go on in the next one; its pages then become the pages of the first text there. */
static weft_status compute(struct batch *m, struct step *s, weft_error *err)
{
    struct weft_engine *e = m->engine;
    lock_take(&e->lock);
    weft_status status = pack(m, s, err);
    if (status == WEFT_OK) {
        status = step_run(e, s, m->x, err);
    }
    engine_note(e, status);
    for (size_t i = 0; i < s->n_seqs && status == WEFT_OK; i++) {
        if (ends(m, i)) {
            kv_release(&e->pool, &m->kv[i]);
        } else if (i > 0) {
            m->kv[0] = m->kv[i];
            m->kv[i] = (struct kv_table){ 0 };
        }
    }
    engine_unlock(e);
    return status;
}

/* Pools the rows of a step, and goes on to the first text that it has not finished. */
static weft_status take(struct batch *m, const struct step *s, weft_error *err)
{
    const size_t dim = m->engine->model->config.dim;
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct step_seq *q = &m->seqs[i];
        const size_t length = m->texts->lengths[m->text];
        if (q->pos > 0 && q->pos == shared_by(m, m->text)) {
            pool_copy(&m->pool, &m->start);
        }
        for (size_t j = 0; j < q->n_rows; j++) {
            if (is_mean(m) || q->pos + j + 1 == length) {
                pool_add(&m->pool, m->x + (q->row + j) * dim);
            }
        }
        m->n_done = q->pos + q->n_rows;
        if (m->n_done == length) {
            float *vector = m->dst + m->text * m->pooling->n_values;
            TRY(in_text(m, m->text, pool_finish(&m->pool, m->pooling, vector, err), err));
            m->at += length;
            m->text++;
        }
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- a call */

static weft_status run(struct batch *m, weft_error *err)
{
    TRY(share(m, err));
    while (m->text < m->texts->n) {
        struct step s = { 0 };
        TRY(compute(m, &s, err));
        TRY(take(m, &s, err));
    }
    return WEFT_OK;
}

static weft_status batch_open(struct batch *m, size_t n_tokens, weft_error *err)
{
    const struct weft_engine *e = m->engine;
    const size_t dim = e->model->config.dim, n_rows = size_min(n_tokens, e->n_batch);
    m->most = size_min(m->texts->n, n_rows);
    m->kv = mem_array(m->most, sizeof *m->kv);
    m->seqs = mem_array(m->most, sizeof *m->seqs);
    m->tokens = mem_array(n_rows, sizeof *m->tokens);
    m->x = mem_array(n_rows * dim, sizeof *m->x);
    m->dst = mem_array(m->texts->n * m->pooling->n_values, sizeof *m->dst);
    if (m->kv == NULL || m->seqs == NULL || m->tokens == NULL || m->x == NULL || m->dst == NULL) {
        return error_nomem(err, "embeddings", n_rows * dim * sizeof *m->x);
    }
    TRY(pool_open(&m->start, e->model, err));
    return pool_open(&m->pool, e->model, err);
}

static void batch_close(struct batch *m)
{
    lock_take(&m->engine->lock);
    kv_release(&m->engine->pool, &m->shared);
    for (size_t i = 0; m->kv != NULL && i < m->most; i++) {
        kv_release(&m->engine->pool, &m->kv[i]);
    }
    engine_unlock(m->engine);
    free(m->kv);
    free(m->seqs);
    free(m->tokens);
    free(m->x);
    free(m->dst);
    pool_close(&m->pool);
    pool_close(&m->start);
}

static size_t count_tokens(const struct texts *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        n += t->lengths[i];
    }
    return n;
}

weft_status embed_texts(struct weft_engine *e, const struct texts *texts, const struct pooling *p,
                        float *dst, weft_error *err)
{
    struct batch m = { .engine = e, .texts = texts, .pooling = p, .at = texts->tokens };
    if (texts->n == 0) {
        return WEFT_OK;
    }
    weft_status status = batch_open(&m, count_tokens(texts), err);
    if (status == WEFT_OK) {
        status = run(&m, err);
    }
    if (status == WEFT_OK) {
        memcpy(dst, m.dst, texts->n * p->n_values * sizeof *dst);
    }
    batch_close(&m);
    return status;
}

static weft_status check_text(const struct weft_engine *e, const int32_t *tokens, size_t n,
                              weft_error *err)
{
    if (n == 0) {
        return error_set(err, WEFT_E_ARG, "a text without tokens has no embedding");
    }
    if (n > e->n_ctx) {
        return error_set(err, WEFT_E_CTX_FULL,
                         "%zu tokens do not fit into the context of %zu; open the engine with a "
                         "larger n_ctx or shorten the text",
                         n, e->n_ctx);
    }
    return tokens != NULL ? tokenizer_check(e->model->tokenizer, tokens, n, err)
                          : error_set(err, WEFT_E_ARG, "tokens is NULL, but n is %zu", n);
}

weft_status embed_check(const struct weft_engine *e, const struct texts *texts, weft_error *err)
{
    const struct batch m = { .texts = texts };
    const int32_t *at = texts->tokens;
    for (size_t i = 0; i < texts->n; i++) {
        TRY(in_text(&m, i, check_text(e, at, texts->lengths[i], err), err));
        at = at != NULL ? at + texts->lengths[i] : NULL;
    }
    return WEFT_OK;
}

/* Computes the vectors of these texts for the public functions. */
static weft_status embed(weft_engine *engine, const struct texts *texts,
                         const weft_embed_params *params, float *dst, size_t cap, size_t *needed,
                         weft_error *err)
{
    weft_embed_params asked = WEFT_EMBED_PARAMS_INIT;
    struct pooling p;
    size_t n;
    TRY(engine_check(engine, err));
    TRY(params_copy(&asked, sizeof asked, params, "weft_embed_params", err));
    TRY(pool_choose(engine->model, &asked, &p, err));
    TRY(array_check(texts->lengths, texts->n, sizeof *texts->lengths, "lengths", err));
    TRY(embed_check(engine, texts, err));
    if (!mul_ok(texts->n, p.n_values, &n)) {
        return error_nomem(err, "embeddings", SIZE_MAX);
    }
    TRY(copy_check(n, dst, cap, needed, err));
    return embed_texts(engine, texts, &p, dst, err);
}

weft_status weft_embed(weft_engine *engine, const int32_t *tokens, size_t n,
                       const weft_embed_params *params, float *dst, size_t cap, size_t *needed,
                       weft_error *err)
{
    const struct texts texts = { .tokens = tokens, .lengths = &n, .n = 1 };
    return embed(engine, &texts, params, dst, cap, needed, err);
}

weft_status weft_embed_texts(weft_engine *engine, const int32_t *tokens, const size_t *lengths,
                             size_t n_texts, const weft_embed_params *params, float *dst,
                             size_t cap, size_t *needed, weft_error *err)
{
    const struct texts texts = {
        .tokens = tokens, .lengths = lengths, .n = n_texts, .what = n_texts > 1 ? "text" : NULL
    };
    return embed(engine, &texts, params, dst, cap, needed, err);
}
