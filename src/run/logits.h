/* What a step leaves for a sequence: its logits, on the host or still on the device, the best of
 * them, or tokens that were computed ahead. All of this is guarded by the engine's lock. */
#ifndef WEFT_LOGITS_H
#define WEFT_LOGITS_H

#include "backend.h"

enum logits_place {
    LOGITS_NONE,   /* nowhere: tokens were computed ahead */
    LOGITS_DEVICE, /* with the backend, until its next step */
    LOGITS_HOST
};

/* From what the next token is drawn. Means something only while the sequence is fresh. */
struct outcome {
    enum logits_place place;
    size_t row;    /* LOGITS_DEVICE: which wanted row of the last step they are */
    float *logits; /* [n_vocab] LOGITS_HOST */
    /* ahead: the next n tokens, n > 0; K and V of all but the last are in the pages behind the
     * tokens of the sequence. Otherwise the n best logits, best first, with their values. */
    bool ahead;
    size_t n;
    int32_t ids[BACKEND_TOP];
    float values[BACKEND_TOP];
    bool banned; /* the best token of the last draw was an end token that is never drawn */
};

struct weft_engine;
struct weft_seq;

/* Copies to the host what the next step would overwrite. */
weft_status outcome_keep_all(struct weft_engine *e, weft_error *err);
/* Takes the results of the packed step from the backend: no more than each sampler looks at. */
weft_status outcome_take_all(struct weft_engine *e, weft_error *err);

/* True if the next draw takes the best token, whatever it is, and so does the one after it: greedy,
 * no grammar, no log-probabilities, and no end token that was banned just now. */
bool outcome_greedy(const struct weft_seq *seq);
/* Brings the logits of a fresh sequence to the host. WEFT_E_STATE if there are none. */
weft_status outcome_logits(struct weft_seq *seq, weft_error *err);
/* Draws the next token of a fresh sequence, from no more than its sampler looks at. Logits that
 * were not kept, and that other sampling values or a grammar now ask for, are computed again.
 * *token = -1: the grammar allows none. */
weft_status outcome_draw(struct weft_seq *seq, int32_t *token, weft_error *err);
/* dst as fresh as src; of tokens computed ahead it gets the next one. */
void outcome_copy(struct weft_seq *dst, const struct weft_seq *src);

#endif
