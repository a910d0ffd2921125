/* Greedy tokens that are computed ahead of weft_seq_next(), in one call of the backend. They wait
 * in the sequence's logits. Nothing ever fails because of them: if another sequence needs their
 * pages, they are given back (room.h). */
#ifndef WEFT_AHEAD_H
#define WEFT_AHEAD_H

#include "run/seq.h"

/* Returns how many steps the backend may take in one call, the packed step included; 1 = only the
 * packed step. If the result is more than 1, the pages for the further steps are reserved. */
size_t ahead_plan(struct weft_engine *e);
/* Gives the packed sequences the tokens that k > 1 steps have left in e->ids. */
void ahead_take(struct weft_engine *e, size_t k);
/* Gives the reserved pages back, because the steps failed. */
void ahead_undo(struct weft_engine *e);

/* Returns how many tokens are known beyond the next one. K and V of all known tokens except the
 * last are in pages. */
size_t ahead_beyond(const struct weft_seq *seq);
/* Gives back the pages that the sequence does not need: those behind its tokens, the tokens known
 * ahead, and the positions set aside for it. */
void ahead_trim(struct weft_seq *seq);
/* Forgets the tokens known ahead, except the next one. */
void ahead_drop(struct weft_seq *seq);
/* Calls ahead_drop() on all sequences of the engine. Returns true if that freed a page. */
bool ahead_yield(struct weft_engine *e);

#endif
