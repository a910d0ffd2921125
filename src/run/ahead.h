/* Greedy tokens computed ahead of weft_seq_next(), in one call of the backend. They wait in the
 * sequence's logits; nothing ever fails because of them: the pages that they take are given back
 * when somebody else needs them (room.h). */
#ifndef WEFT_AHEAD_H
#define WEFT_AHEAD_H

#include "run/seq.h"

/* How many steps the backend may take with the packed step, 1 if only that one. If more: the pages
 * are reserved. */
size_t ahead_plan(struct weft_engine *e);
/* The packed sequences take what these k > 1 steps left in e->ids. */
void ahead_take(struct weft_engine *e, size_t k);
/* These steps failed: the pages are given back. */
void ahead_undo(struct weft_engine *e);

/* How many tokens are known beyond the next one. K and V of all known ones but the last are in
 * pages. */
size_t ahead_beyond(const struct weft_seq *seq);
/* Gives back the pages that the sequence has no use for: behind its tokens, those known ahead, and
 * what was set aside for it. */
void ahead_trim(struct weft_seq *seq);
/* Forgets all but the next token. */
void ahead_drop(struct weft_seq *seq);
/* ahead_drop() on all sequences of the engine. True if that freed a page. */
bool ahead_yield(struct weft_engine *e);

#endif
