/* Teacher forcing, for `logits` and `perplexity`: the text is there, and the model says what it
 * would have expected. */
#ifndef SCORE_H
#define SCORE_H

#include "weft/session.h"

/* These return EXIT_ codes, having said what is wrong. */

/* The ids that the options name: of a text, or as they are in a file. Needs s->model. */
int score_read(const struct session *s, const struct options *o, int n_args, char **args,
               const char *command, struct ids *out);
/* A sequence that holds tokens[n] and will hand the logits of every position to fn. */
int score_open(weft_engine *engine, const int32_t *tokens, size_t n, weft_logits_fn fn, void *user,
               weft_seq **out);
/* Computes it. Ctrl-C ends this with EXIT_INTERRUPTED. */
int score_run(weft_engine *engine, weft_seq *seq);

/* log(sum(exp(logits[n]))), in double. */
double score_lse(const float *logits, size_t n);
/* The ids of the k best logits, the greatest first, the lower id first among equals; NaNs last.
 * Returns how many there are, at most n. */
size_t score_top(const float *logits, size_t n, size_t k, int32_t *ids);

#endif
