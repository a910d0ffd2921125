/* Checks whether sampling values make sense: ranges and contradictions. */
#ifndef WEFT_SAMPLING_H
#define WEFT_SAMPLING_H

#include "base/error.h"

/* Returns WEFT_E_ARG and names the field if a value is wrong. */
weft_status sampling_check(const weft_sampling *p, weft_error *err);
/* Refuses tokens outside the vocabulary, tokens that are biased twice, and biases that are not
 * numbers. */
weft_status sampling_check_bias(const weft_logit_bias *bias, size_t n, size_t n_vocab,
                                weft_error *err);
bool sampling_has_penalties(const weft_sampling *p);

#endif
