/* All that computes: weft_engine_step(), and a step for those who need one besides (embed.c,
 * seq_next.c). A step overwrites the logits that the backend holds, so those that sequences still
 * need are copied to the host before. The caller holds the engine's lock. */
#ifndef WEFT_STEP_H
#define WEFT_STEP_H

#include "run/seq.h"

/* Has the engine's backend compute this step, and counts it. x gets the residual stream behind the
 * last layer, [n_rows, dim], unless it is NULL. */
weft_status step_run(struct weft_engine *e, const struct step *s, float *x, weft_error *err);
/* Computes the last token of a fresh sequence once more, for its logits, and forgets what was
 * computed ahead. The K and V that this writes are those already there. */
weft_status step_again(struct weft_seq *seq, weft_error *err);

#endif
