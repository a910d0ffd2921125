/* Pooling: one vector from the states of a text's tokens. */
#ifndef WEFT_POOL_H
#define WEFT_POOL_H

#include "model.h"
#include "run/embed.h"

/* The sum of the states that count. */
struct pool_state {
    const struct model *model;
    double *sum;    /* [dim] */
    size_t n;       /* states in the sum */
    double *values; /* [n_labels] */
};

/* Finds out what these parameters ask of the model. WEFT_E_ARG, WEFT_E_UNSUPPORTED. */
weft_status pool_choose(const struct model *m, const weft_embed_params *asked, struct pooling *out,
                        weft_error *err);
weft_status pool_open(struct pool_state *s, const struct model *m, weft_error *err);
void pool_close(struct pool_state *s);
/* Takes the sum of another state of the same model. */
void pool_copy(struct pool_state *s, const struct pool_state *from);
/* Adds the state of a token: x[dim] of the residual stream, taken through the model's last norm. */
void pool_add(struct pool_state *s, const float *x);
/* Makes dst[n_values] from the sum, and empties it. WEFT_E_STATE: the values are not finite, or
 * cannot be scaled. */
weft_status pool_finish(struct pool_state *s, const struct pooling *p, float *dst, weft_error *err);

#endif
