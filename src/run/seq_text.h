/* The text of a sequence: what its tokens are as text, and where that ends. */
#ifndef WEFT_SEQ_TEXT_H
#define WEFT_SEQ_TEXT_H

#include "run/seq.h"

/* Adds the bytes of a token, which the sequence does not hold yet, to the text; token -1: none may
 * follow. *finish = how the sequence stands then. A call that fails changes nothing. */
weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_finish *finish, weft_error *err);
/* Tokens follow that were not drawn: the text goes on behind them, also of one that has finished.
 * Needs no memory. */
weft_status seq_text_resume(struct weft_seq *seq, weft_error *err);

#endif
