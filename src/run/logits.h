/* What a step left for a sequence: its logits, on the host or still on the device, the best of
 * them, or tokens that were computed ahead. All of this is guarded by the engine's lock. */
#ifndef WEFT_LOGITS_H
#define WEFT_LOGITS_H

#include "backend.h"

enum logits_place {
    LOGITS_NONE, /* there are none */
    /* they were not kept, but the tokens that they led to */
    LOGITS_AHEAD,
    /* they were overwritten during a draw that then failed; step_again() computes them once more */
    LOGITS_LOST,
    LOGITS_DEVICE, /* with the backend, until its next step */
    LOGITS_HOST
};

/* From what the next token is drawn. Means something only while all tokens of the sequence are
 * computed. */
struct logits {
    enum logits_place place;
    size_t row; /* LOGITS_DEVICE: which wanted row of the last step they are */
    float *all; /* [n_vocab] LOGITS_HOST; NULL = no memory is needed for them now */
    /* LOGITS_AHEAD: the next n tokens, n > 0; K and V of all but the last are in the pages behind
     * the tokens of the sequence. Otherwise the n best logits, best first, with their values. */
    size_t n;
    int32_t ids[BACKEND_TOP];
    float values[BACKEND_TOP];
    bool banned; /* the best token of the last draw was an end token that is never drawn */
};

/* They are the wanted row `row` of the step just computed, and its n best are known. */
void logits_set(struct logits *l, size_t row, size_t n, const int32_t *ids, const float *values);
/* The next k tokens are ids[0], ids[stride], ids[2 * stride], ... */
void logits_set_ahead(struct logits *l, size_t k, const int32_t *ids, size_t stride);
/* The first of several tokens computed ahead is taken. */
void logits_advance(struct logits *l);
/* Memory for them on the host, so that logits_keep() cannot fail for want of it. */
weft_status logits_reserve(struct logits *l, size_t n_vocab, weft_error *err);
/* Brings those that are on the device to the host. */
weft_status logits_keep(struct logits *l, struct backend *b, weft_error *err);
/* Copies those that are on the host or the device to dst[n_vocab], and leaves them where they are.
 */
weft_status logits_read(const struct logits *l, struct backend *b, float *dst, weft_error *err);
/* There are none any more, and they take no memory. */
void logits_drop(struct logits *l);
/* dst, which is empty, becomes what src is; of tokens computed ahead it gets the next one. */
weft_status logits_copy(struct logits *dst, const struct logits *src, size_t n_vocab,
                        weft_error *err);

#endif
