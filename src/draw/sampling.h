/* Whether sampling values make sense: ranges, contradictions. */
#ifndef WEFT_SAMPLING_H
#define WEFT_SAMPLING_H

#include "base/error.h"

/* WEFT_E_ARG names the field. */
weft_status sampling_check(const weft_sampling *p, weft_error *err);
/* WEFT_E_ARG: a token outside the vocabulary, a token biased twice, a bias that is no number. */
weft_status sampling_check_bias(const weft_logit_bias *bias, size_t n, size_t n_vocab,
                                weft_error *err);
bool sampling_has_penalties(const weft_sampling *p);

#endif
