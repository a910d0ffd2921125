/* What a sequence can draw its next token from after a step: its logits, on the host or still on
 * the device, the best of them, or tokens that were computed ahead. The engine's lock guards all of
 * this. */
#ifndef WEFT_LOGITS_H
#define WEFT_LOGITS_H

#include "backend.h"

enum logits_place {
    LOGITS_NONE, /* there are no logits */
    /* The logits were not kept, but the tokens drawn from them were. */
    LOGITS_AHEAD,
    /* A later step has overwritten the logits. They were not copied to the host before, because
     * nobody seemed to need them or memory was out. step_again() computes them once more. */
    LOGITS_LOST,
    /* The backend holds them until its next step. */
    LOGITS_DEVICE,
    LOGITS_HOST
};

/* What the next token is drawn from. It is valid only while all tokens of the sequence are
 * computed. */
struct logits {
    enum logits_place place;
    /* LOGITS_DEVICE: the number of their row among the wanted rows of the last step. */
    size_t row;
    /* [n_vocab] LOGITS_HOST: the logits. NULL = no memory is needed for them now. */
    float *all;
    /* LOGITS_AHEAD: ids[n] are the next n tokens, n > 0; K and V of all except the last are in the
     * pages behind the tokens of the sequence. Otherwise ids[n] and values[n] are the n best
     * logits, the best first. */
    size_t n;
    int32_t ids[BACKEND_TOP];
    float values[BACKEND_TOP];
    /* True if the best token of the last draw was an end token that sampler_bans(). */
    bool banned;
};

/* Notes that the logits are the wanted row `row` of the step just computed, and what its n best
 * logits are. */
void logits_set(struct logits *l, size_t row, size_t n, const int32_t *ids, const float *values);
/* Notes that the next k tokens are ids[0], ids[stride], ids[2 * stride], ... */
void logits_set_ahead(struct logits *l, size_t k, const int32_t *ids, size_t stride);
/* Notes that the first of several tokens computed ahead was taken. */
void logits_advance(struct logits *l);
/* Reserves memory for the logits on the host, so that logits_keep() needs none. */
weft_status logits_reserve(struct logits *l, size_t n_vocab, weft_error *err);
/* Copies logits that are on the device to the host, where they then stay. */
weft_status logits_keep(struct logits *l, struct backend *b, weft_error *err);
/* Copies the logits, which are on the host or the device, to dst[n_vocab], and leaves them where
 * they are. */
weft_status logits_read(const struct logits *l, struct backend *b, float *dst, weft_error *err);
/* Notes that there are no logits any more, and frees their memory. */
void logits_drop(struct logits *l);
/* Copies src to dst, which is empty. Of tokens computed ahead, dst gets only the next one. */
weft_status logits_copy(struct logits *dst, const struct logits *src, size_t n_vocab,
                        weft_error *err);

#endif
