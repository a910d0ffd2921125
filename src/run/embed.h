/* The vectors of many texts in one call, for weft_embed() and weft_rank(). */
#ifndef WEFT_EMBED_H
#define WEFT_EMBED_H

#include "run/engine.h"

/* Texts, one behind the other. */
struct texts {
    const int32_t *tokens;
    const size_t *lengths; /* [n] tokens of each text */
    size_t n;
    const char *what; /* what messages call one of them; NULL = there is only one */
};

/* What becomes of the states of a text. */
struct pooling {
    weft_pooling how; /* WEFT_POOL_MEAN, _LAST or _RANK */
    bool raw;
    size_t n_values; /* of a vector */
};

/* Computes the vectors dst[texts->n, n_values]. The texts and the room in dst have been checked. If
 * it fails, nothing is written. */
weft_status embed_texts(struct weft_engine *e, const struct texts *texts, const struct pooling *p,
                        float *dst, weft_error *err);
/* Checks the lengths and the ids of the texts. */
weft_status embed_check(const struct weft_engine *e, const struct texts *texts, weft_error *err);

#endif
