/* weft_embed() computes one vector for a text. The text runs through the backend like any other
 * text, in pages of its own, but nobody asks for logits: this file reads the residual stream and
 * pools it. */
#include <math.h>

#include "run/room.h"
#include "run/step.h"

struct embed {
    struct weft_engine *engine;
    const int32_t *tokens;
    size_t n;
    weft_pooling pooling;
    struct kv_table kv;
    float *x;    /* [n_batch, dim] the residual stream of a step */
    double *sum; /* [dim] */
};

enum { POOLING_NONE, POOLING_MEAN, POOLING_CLS, POOLING_LAST }; /* the numbers that files use */

static weft_status choose_pooling(const struct model *m, weft_pooling asked, weft_pooling *out,
                                  weft_error *err)
{
    if (asked == WEFT_POOL_MODEL) {
        switch (m->config.pooling) {
        case POOLING_NONE:
        case POOLING_MEAN: asked = WEFT_POOL_MEAN; break;
        case POOLING_CLS: asked = WEFT_POOL_CLS; break;
        case POOLING_LAST: asked = WEFT_POOL_LAST; break;
        default:
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "the file's pooling_type is %zu; Weft knows 1 (mean) and 3 (last)",
                             m->config.pooling);
        }
    }
    if (asked == WEFT_POOL_CLS) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "cls pooling takes the first token, which has seen no other in a model "
                         "of architecture %s; use mean or last",
                         m->arch_name);
    }
    if (asked != WEFT_POOL_MEAN && asked != WEFT_POOL_LAST) {
        return error_set(err, WEFT_E_ARG, "pooling is %d, expected a WEFT_POOL_* value",
                         (int)asked);
    }
    *out = asked;
    return WEFT_OK;
}

static weft_status embed_check(const struct weft_engine *e, const int32_t *tokens, size_t n,
                               weft_error *err)
{
    if (tokens == NULL || n == 0) {
        return error_set(err, WEFT_E_ARG, "a text without tokens has no embedding");
    }
    if (n > e->n_ctx) {
        return error_set(err, WEFT_E_CTX_FULL,
                         "%zu tokens do not fit into the context of %zu; open the engine with a "
                         "larger n_ctx or shorten the text",
                         n, e->n_ctx);
    }
    return tokenizer_check(e->model->tokenizer, tokens, n, err);
}

/* Adds the state of one row behind the model's last norm. */
static void add_state(struct embed *m, const float *x)
{
    const struct model *model = m->engine->model;
    const float *weight = (const float *)(const void *)model->weights.output_norm.data;
    size_t dim = model->config.dim;
    double squares = 0;
    for (size_t i = 0; i < dim; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    double scale = 1 / sqrt(squares / (double)dim + (double)model->config.norm_eps);
    for (size_t i = 0; i < dim; i++) {
        m->sum[i] += (double)x[i] * scale * (double)weight[i];
    }
}

/* Computes rows [first, first + n) of the text in one step. */
static weft_status embed_step(struct embed *m, size_t first, size_t n, weft_error *err)
{
    const struct step_seq seq = {
        .pages = { m->kv.pages }, .rope_set = m->kv.rope_set, .pos = first, .n_rows = n
    };
    const struct step s = { .n_rows = n, .tokens = m->tokens + first, .n_seqs = 1, .seqs = &seq };
    return step_run(m->engine, &s, m->x, err);
}

/* Gives the lock back between steps, so that other threads wait for one step at most. */
static weft_status embed_compute(struct embed *m, weft_error *err)
{
    struct weft_engine *e = m->engine;
    size_t dim = e->model->config.dim;
    lock_take(&e->lock);
    weft_status status = engine_note(e, room_reserve(e, &m->kv, 0, m->n, err));
    engine_unlock(e);
    for (size_t done = 0; done < m->n && status == WEFT_OK;) {
        size_t n = size_min(m->n - done, e->n_batch);
        lock_take(&e->lock);
        status = engine_note(e, embed_step(m, done, n, err));
        engine_unlock(e);
        done += n;
        for (size_t i = 0; i < n && status == WEFT_OK; i++) {
            if (m->pooling == WEFT_POOL_MEAN || done - n + i + 1 == m->n) {
                add_state(m, m->x + i * dim);
            }
        }
    }
    lock_take(&e->lock);
    kv_release(&e->pool, &m->kv);
    engine_unlock(e);
    return status;
}

static weft_status finish(const struct embed *m, bool raw, float *dst, weft_error *err)
{
    size_t dim = m->engine->model->config.dim;
    double squares = 0, n = m->pooling == WEFT_POOL_MEAN ? (double)m->n : 1;
    for (size_t i = 0; i < dim; i++) {
        squares += m->sum[i] * m->sum[i];
    }
    if (!isfinite(squares) || (!raw && squares == 0)) {
        return error_set(err, WEFT_E_STATE,
                         "the embedding has length %g; a NaN or infinity is among the states of "
                         "the model, or all are zero",
                         sqrt(squares));
    }
    for (size_t i = 0; i < dim; i++) {
        dst[i] = (float)(m->sum[i] / (raw ? n : sqrt(squares)));
    }
    return WEFT_OK;
}

weft_status weft_embed(weft_engine *engine, const int32_t *tokens, size_t n,
                       const weft_embed_params *params, float *dst, size_t cap, size_t *needed,
                       weft_error *err)
{
    weft_embed_params p = WEFT_EMBED_PARAMS_INIT;
    struct embed m = { .engine = engine, .tokens = tokens, .n = n };
    TRY(engine_check(engine, err));
    m.kv.rope_set = model_rope_set(engine->model, n);
    TRY(params_copy(&p, sizeof p, params, "weft_embed_params", err));
    TRY(choose_pooling(engine->model, p.pooling, &m.pooling, err));
    TRY(embed_check(engine, tokens, n, err));
    size_t dim = engine->model->config.dim, n_rows = size_min(n, engine->n_batch);
    if (needed != NULL) {
        *needed = dim;
    }
    if (cap < dim) {
        return error_set(err, WEFT_E_BUFFER, "the embedding has %zu values, dst holds %zu", dim,
                         cap);
    }
    if (dst == NULL) {
        return error_set(err, WEFT_E_ARG, "dst is NULL, but cap is %zu", cap);
    }
    m.x = mem_array(n_rows * dim, sizeof *m.x);
    m.sum = mem_array(dim, sizeof *m.sum);
    weft_status status = m.x == NULL || m.sum == NULL
                             ? error_nomem(err, "an embedding", n_rows * dim * sizeof *m.x)
                             : embed_compute(&m, err);
    if (status == WEFT_OK) {
        status = finish(&m, p.raw, dst, err);
    }
    free(m.x);
    free(m.sum);
    return status;
}
