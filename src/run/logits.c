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
    l->values[0] = 0; /* not known, and a single candidate's is of no importance */
    for (size_t i = 0; i < k; i++) {
        l->ids[i] = ids[i * stride];
    }
}

void logits_advance(struct logits *l) { memmove(l->ids, l->ids + 1, --l->n * sizeof *l->ids); }

weft_status logits_read(struct logits *l, struct backend *b, weft_error *err)
{
    if (l->place == LOGITS_AHEAD) {
        return error_set(err, WEFT_E_STATE,
                         "the last token was computed ahead, and its logits were not kept; open "
                         "the engine with n_ahead 0, or rewind to compute the token again");
    }
    if (l->place == LOGITS_DEVICE) {
        TRY(b->ops->read_logits(b, l->row, l->all, err));
        l->place = LOGITS_HOST;
    }
    return WEFT_OK;
}

void logits_copy(struct logits *dst, const struct logits *src, size_t n_vocab)
{
    float *all = dst->all;
    *dst = *src;
    dst->all = all;
    if (src->place == LOGITS_AHEAD) {
        dst->n = 1;
    }
    if (src->place == LOGITS_HOST) {
        memcpy(all, src->all, n_vocab * sizeof *all);
    }
}
