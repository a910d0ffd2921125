#include "run/logits.h"

#include <string.h>

void logits_set(struct logits *l, size_t row, size_t n, const int32_t *ids, const float *values)
{
    l->place = LOGITS_DEVICE;
    l->row = row;
    l->n = n;
    if (n > 0) {
        memcpy(l->ids, ids, n * sizeof *ids);
        memcpy(l->values, values, n * sizeof *values);
    }
}

void logits_set_ahead(struct logits *l, size_t k, const int32_t *ids, size_t stride)
{
    l->place = LOGITS_AHEAD;
    l->n = k;
    l->values[0] = 0; /* the value is unknown; the value of a single candidate does not matter */
    for (size_t i = 0; i < k; i++) {
        l->ids[i] = ids[i * stride];
    }
}

void logits_advance(struct logits *l) { memmove(l->ids, l->ids + 1, --l->n * sizeof *l->ids); }

weft_status logits_reserve(struct logits *l, size_t n_vocab, weft_error *err)
{
    if (l->all == NULL) {
        l->all = malloc(n_vocab * sizeof *l->all);
    }
    return l->all != NULL ? WEFT_OK
                          : error_nomem(err, "the logits of a sequence", n_vocab * sizeof *l->all);
}

weft_status logits_keep(struct logits *l, struct backend *b, weft_error *err)
{
    if (l->place == LOGITS_DEVICE) {
        TRY(logits_reserve(l, b->model->config.n_vocab, err));
        TRY(b->ops->read_logits(b, l->row, l->all, err));
        l->place = LOGITS_HOST;
    }
    return WEFT_OK;
}

weft_status logits_read(const struct logits *l, struct backend *b, float *dst, weft_error *err)
{
    if (l->place == LOGITS_DEVICE) {
        return b->ops->read_logits(b, l->row, dst, err);
    }
    memcpy(dst, l->all, b->model->config.n_vocab * sizeof *dst);
    return WEFT_OK;
}

void logits_drop(struct logits *l)
{
    free(l->all);
    l->all = NULL;
    l->place = LOGITS_NONE;
}

weft_status logits_copy(struct logits *dst, const struct logits *src, size_t n_vocab,
                        weft_error *err)
{
    *dst = *src;
    dst->all = NULL;
    if (src->place == LOGITS_AHEAD) {
        dst->n = 1;
    }
    if (src->place == LOGITS_HOST) {
        TRY(logits_reserve(dst, n_vocab, err));
        memcpy(dst->all, src->all, n_vocab * sizeof *dst->all);
    }
    return WEFT_OK;
}
