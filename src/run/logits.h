/* What a step left for a sequence: its logits, on the host or still on the device, the best of
 * them, or tokens that were computed ahead. All of this is guarded by the engine's lock. */
#ifndef WEFT_LOGITS_H
#define WEFT_LOGITS_H

#include "backend.h"

enum logits_place {
    LOGITS_NONE,   /* there are none */
    LOGITS_AHEAD,  /* they were not kept, but the tokens that they led to */
    LOGITS_DEVICE, /* with the backend, until its next step */
    LOGITS_HOST
};

/* From what the next token is drawn. Means something only while all tokens of the sequence are
 * computed. */
struct logits {
    enum logits_place place;
    size_t row; /* LOGITS_DEVICE: which wanted row of the last step they are */
    float *all; /* [n_vocab] LOGITS_HOST */
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
/* Brings them to the host. WEFT_E_STATE if they were not kept. */
weft_status logits_read(struct logits *l, struct backend *b, weft_error *err);
/* dst, which has memory of its own, becomes what src is; of tokens computed ahead it gets the next
 * one. */
void logits_copy(struct logits *dst, const struct logits *src, size_t n_vocab);

#endif
