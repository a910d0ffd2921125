/* Finds memory for a sequence that needs it now. If the pool has too few pages, they are taken from
 * what was computed ahead. The first three functions are those of memory.h, on the engine's
 * pool. */
#ifndef WEFT_ROOM_H
#define WEFT_ROOM_H

#include "run/seq.h"

weft_status room_reserve(struct weft_engine *e, struct kv_table *t, size_t from, size_t to,
                         weft_error *err);
weft_status room_rewind(struct weft_engine *e, struct kv_table *t, size_t from, size_t n,
                        weft_error *err);
weft_status room_replace(struct weft_engine *e, struct kv_table *t, size_t n, weft_error *err);

/* Reserves host memory for n more tokens of a sequence. */
weft_status room_lists(struct weft_seq *seq, size_t n, weft_error *err);
/* Reserves everything that n more tokens need, so that adding them cannot fail. The first n_cached
 * of them have their K and V already. Pages that weft_seq_reserve() had set aside, and that were
 * given back meanwhile, are set aside again. */
weft_status room_tokens(struct weft_seq *seq, size_t n, size_t n_cached, weft_error *err);
/* Returns true if some of the tokens for which memory is set aside need other RoPE factors. Then all
 * pages are the sequence's own and must stay so, because every position will be written again. */
bool room_crosses(const struct weft_seq *seq);
/* Gives back the pages behind n positions of a sequence, then takes again as many as were set
 * aside. They are free, because they were given back a moment ago. */
void room_restore(struct weft_seq *seq, size_t n);

#endif
