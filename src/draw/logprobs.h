/* Log-probabilities of the token that was drawn, and of the tokens that the model found most
 * probable. */
#ifndef WEFT_LOGPROBS_H
#define WEFT_LOGPROBS_H

#include "draw/sampler.h"

struct logprobs {
    bool on;
    size_t n_top; /* at most SAMPLER_TOP */
    size_t n;     /* in `list`; 0 = no token was drawn since `on` was set */
    /* The token that was drawn, then the best tokens, the best one first. */
    weft_logprob list[1 + SAMPLER_TOP];
};

/* Keeps the log-probabilities for `token`, which was drawn from logits[n_vocab]. */
void logprobs_take(struct logprobs *l, const float *logits, size_t n_vocab, int32_t token);

#endif
