/* Scoring for `logits` and `perplexity`: the text is given, and the model says what it would have
 * expected at each position. */
#ifndef SCORE_H
#define SCORE_H

#include "weft/session.h"

/* These functions print errors and return EXIT_ codes. */

/* Reads the ids that the options name: the ids of a text, or the ids in a file. Needs s->model. */
int score_read(const struct session *s, const struct options *o, int n_args, char **args,
               const char *command, struct ids *out);
/* Opens a sequence that holds tokens[n] and hands the logits of every position to fn. */
int score_open(weft_engine *engine, const int32_t *tokens, size_t n, weft_logits_fn fn, void *user,
               weft_seq **out);
/* Computes the sequence. Returns EXIT_INTERRUPTED after Ctrl-C. */
int score_run(weft_engine *engine, weft_seq *seq);

/* Returns log(sum(exp(logits[n]))), in double. */
double score_lse(const float *logits, size_t n);
/* Finds the ids of the k best logits: the greatest first, the lower id first among equals, NaNs
 * last. Returns how many there are: k, or n if that is less. */
size_t score_top(const float *logits, size_t n, size_t k, int32_t *ids);

#endif
