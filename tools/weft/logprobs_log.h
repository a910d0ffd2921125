/* `weft run --logprobs K`: writes a line of JSON for every generated token. */
#ifndef LOGPROBS_LOG_H
#define LOGPROBS_LOG_H

#include "weft.h"
#include "weft/io.h"

/* Appends the line of the token that weft_seq_next() gave last, which is number `token` of text
 * number `text`. Prints errors and returns an EXIT_ code. */
int logprobs_line(const weft_model *model, weft_seq *seq, size_t text, size_t token,
                  struct bytes *out);

#endif
