/* The text of a sequence: what its tokens are as text, and where the text ends. */
#ifndef WEFT_SEQ_TEXT_H
#define WEFT_SEQ_TEXT_H

#include "run/seq.h"

/* Adds the bytes of a token to the text, before the sequence holds the token; token -1 means that
 * the grammar allows none. *finish says whether and how the sequence finishes with it. A call that
 * fails changes nothing. */
weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_finish *finish, weft_error *err);
/* Continues the text behind tokens that were not drawn, also if the sequence has finished. Needs no
 * memory. */
weft_status seq_text_resume(struct weft_seq *seq, weft_error *err);

#endif
