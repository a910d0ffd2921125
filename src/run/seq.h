/* What the files behind the public functions on a sequence share. */
#ifndef WEFT_SEQ_H
#define WEFT_SEQ_H

#include "run/handles.h"

/* Claims the sequence for this thread. Enough for what only this sequence's own calls touch: its
 * text. */
weft_status seq_claim(struct weft_seq *seq, weft_error *err);
/* The same, and takes the engine's lock. */
weft_status seq_enter(struct weft_seq *seq, weft_error *err);
/* Gives both back; returns status, and remembers a lost device. */
weft_status seq_leave(struct weft_seq *seq, weft_status status);

/* Adds the bytes of a token, which the sequence does not hold yet, to the text. A call that fails
 * changes nothing. */
weft_status seq_text_add(struct weft_seq *seq, int32_t token, weft_error *err);

/* The sequence, whose tokens and pages are in place, now holds n tokens, n_done of them computed.
 * It has no logits, drops the text not yet taken, and runs. */
void seq_restart(struct weft_seq *seq, size_t n, size_t n_done);

#endif
