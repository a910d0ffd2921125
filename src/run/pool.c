#include "run/pool.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* ---------------------------------------------------------------- what is asked */

static weft_status no_classifier(const struct model *m, weft_error *err)
{
    return error_set(err, WEFT_E_UNSUPPORTED,
                     "the model is no reranker: its file has no classifier (cls.output.weight)%s",
                     m->config.pooling == POOLING_RANK
                         ? ", although its pooling_type is 4 (rank), and none can be made from an "
                           "output matrix with the tokens yes and no; use mean or last"
                         : "; use mean or last");
}

static weft_status choose_how(const struct model *m, weft_pooling asked, weft_pooling *how,
                              weft_error *err)
{
    if (asked == WEFT_POOL_MODEL) {
        switch (m->config.pooling) {
        case POOLING_NONE:
            asked = m->classifier.n_labels > 0 ? WEFT_POOL_RANK : WEFT_POOL_MEAN;
            break;
        case POOLING_MEAN: asked = WEFT_POOL_MEAN; break;
        case POOLING_CLS: asked = WEFT_POOL_CLS; break;
        case POOLING_LAST: asked = WEFT_POOL_LAST; break;
        case POOLING_RANK: asked = WEFT_POOL_RANK; break;
        default:
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "the file's pooling_type is %zu; Weft knows 1 (mean), 3 (last) and 4 "
                             "(rank)",
                             m->config.pooling);
        }
    }
    *how = asked;
    switch ((int)asked) {
    case WEFT_POOL_MEAN:
    case WEFT_POOL_LAST: return WEFT_OK;
    case WEFT_POOL_RANK: return m->classifier.n_labels > 0 ? WEFT_OK : no_classifier(m, err);
    case WEFT_POOL_CLS:
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "cls pooling takes the first token, which has seen no other in a model "
                         "of architecture %s; use mean or last",
                         m->arch_name);
    default:
        return error_set(err, WEFT_E_ARG, "pooling is %d, expected a WEFT_POOL_* value",
                         (int)asked);
    }
}

weft_status pool_choose(const struct model *m, const weft_embed_params *asked, struct pooling *out,
                        weft_error *err)
{
    struct pooling p = { .raw = asked->raw };
    const size_t dim = m->config.dim, n = asked->dimensions;
    TRY(choose_how(m, asked->pooling, &p.how, err));
    if (n > dim) {
        return error_set(err, WEFT_E_ARG,
                         "dimensions is %zu, expected at most %zu (embedding_length); 0 = all", n,
                         dim);
    }
    if (n > 0 && p.how == WEFT_POOL_RANK) {
        return error_set(err, WEFT_E_ARG,
                         "dimensions is %zu, but a reranker gives %zu labels, which are not cut; "
                         "expected 0",
                         n, m->classifier.n_labels);
    }
    p.n_values = p.how == WEFT_POOL_RANK ? m->classifier.n_labels : n > 0 ? n : dim;
    *out = p;
    return WEFT_OK;
}

/* ---------------------------------------------------------------- the states of a text */

weft_status pool_open(struct pool_state *s, const struct model *m, weft_error *err)
{
    *s = (struct pool_state){ .model = m };
    s->sum = mem_array(m->config.dim, sizeof *s->sum);
    s->values = mem_array(m->classifier.n_labels, sizeof *s->values);
    return s->sum != NULL && s->values != NULL
               ? WEFT_OK
               : error_nomem(err, "an embedding", m->config.dim * sizeof *s->sum);
}

void pool_close(struct pool_state *s)
{
    free(s->sum);
    free(s->values);
}

void pool_copy(struct pool_state *s, const struct pool_state *from)
{
    memcpy(s->sum, from->sum, s->model->config.dim * sizeof *s->sum);
    s->n = from->n;
}

void pool_add(struct pool_state *s, const float *x)
{
    const struct model *m = s->model;
    const float *weight = (const float *)(const void *)m->weights.output_norm.data;
    size_t dim = m->config.dim;
    double squares = 0;
    for (size_t i = 0; i < dim; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    double scale = 1 / sqrt(squares / (double)dim + (double)m->config.norm_eps);
    for (size_t i = 0; i < dim; i++) {
        s->sum[i] += (double)x[i] * scale * (double)weight[i];
    }
    s->n++;
}

static weft_status finish_vector(const struct pool_state *s, const struct pooling *p, float *dst,
                                 weft_error *err)
{
    double squares = 0, n = (double)s->n;
    for (size_t i = 0; i < p->n_values; i++) {
        squares += s->sum[i] * s->sum[i];
    }
    if (!isfinite(squares) || (!p->raw && squares == 0)) {
        return error_set(err, WEFT_E_STATE,
                         "the embedding has length %g; a NaN or infinity is among the states of "
                         "the model, or all are zero",
                         sqrt(squares));
    }
    for (size_t i = 0; i < p->n_values; i++) {
        dst[i] = (float)(s->sum[i] / (p->raw ? n : sqrt(squares)));
    }
    return WEFT_OK;
}

/* Turns the sums of all labels into probabilities: the softmax, or the logistic function of a
 * single one. */
static void probabilities(double *sums, size_t n)
{
    double most = sums[0], total = 0;
    if (n == 1) {
        sums[0] = 1 / (1 + exp(-sums[0]));
        return;
    }
    for (size_t i = 1; i < n; i++) {
        most = fmax(most, sums[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sums[i] = exp(sums[i] - most);
        total += sums[i];
    }
    for (size_t i = 0; i < n; i++) {
        sums[i] /= total;
    }
}

static weft_status finish_labels(const struct pool_state *s, const struct pooling *p, float *dst,
                                 weft_error *err)
{
    const struct classifier *c = &s->model->classifier;
    const size_t dim = s->model->config.dim;
    for (size_t i = 0; i < c->n_labels; i++) {
        double sum = 0;
        for (size_t j = 0; j < dim; j++) {
            sum += s->sum[j] * (double)c->rows[i * dim + j];
        }
        if (!isfinite(sum)) {
            return error_set(err, WEFT_E_STATE,
                             "label %zu is %g; a NaN or infinity is among the states of the model "
                             "or the values of its classifier",
                             i, sum);
        }
        s->values[i] = sum;
    }
    if (!p->raw) {
        probabilities(s->values, c->n_labels);
    }
    for (size_t i = 0; i < c->n_labels; i++) {
        dst[i] = (float)s->values[i];
    }
    return WEFT_OK;
}

weft_status pool_finish(struct pool_state *s, const struct pooling *p, float *dst, weft_error *err)
{
    weft_status status =
        p->how == WEFT_POOL_RANK ? finish_labels(s, p, dst, err) : finish_vector(s, p, dst, err);
    memset(s->sum, 0, s->model->config.dim * sizeof *s->sum);
    s->n = 0;
    return status;
}
