/* Everything that computes: weft_engine_step(), and single steps for embed.c, seq_next.c and
 * seq_read.c. A step overwrites the logits in the backend, so logits that sequences still need are
 * copied to the host before. The caller holds the engine's lock. */
#ifndef WEFT_STEP_H
#define WEFT_STEP_H

#include "run/seq.h"

/* Lets the engine's backend compute this step, and counts it. x [n_rows, dim] gets the residual
 * stream behind the last layer; it may be NULL. */
weft_status step_run(struct weft_engine *e, const struct step *s, float *x, weft_error *err);
/* Computes the last token of a fresh sequence once more, for its logits, and forgets what was
 * computed ahead. It writes the same K and V that are already there. */
weft_status step_again(struct weft_seq *seq, weft_error *err);

#endif
