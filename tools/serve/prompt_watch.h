/* Keeps the log-probabilities of a prompt while it is computed. */
#ifndef WEFT_SERVE_PROMPT_WATCH_H
#define WEFT_SERVE_PROMPT_WATCH_H

#include "weft.h"

struct prompt_watch {
    const int32_t *tokens; /* [n] borrowed */
    size_t n, n_top;
    weft_logprob *at; /* [n * (1 + n_top)] as in struct prompt_logprobs */
};

/* Returns false if there is not enough memory. */
bool prompt_watch_open(struct prompt_watch *w, const int32_t *tokens, size_t n, size_t n_top);
void prompt_watch_free(struct prompt_watch *w);
/* A weft_logits_fn whose user is a struct prompt_watch. */
void prompt_watch_see(void *watch, size_t pos, const float *logits, size_t n_vocab);

#endif
