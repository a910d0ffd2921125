/* The text of a sequence, as its tokens are drawn. */
#ifndef WEFT_SEQ_TEXT_H
#define WEFT_SEQ_TEXT_H

#include "run/seq.h"

/* Adds the bytes of a token, which the sequence does not hold yet, to the text. A call that fails
 * changes nothing. */
weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_error *err);

#endif
