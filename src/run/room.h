/* Room for those who need it now: pages of the pool, taken from what was computed ahead if there is
 * no other way. The first three are those of memory.h, on the engine's pool. */
#ifndef WEFT_ROOM_H
#define WEFT_ROOM_H

#include "run/seq.h"

weft_status room_reserve(struct weft_engine *e, struct kv_table *t, size_t from, size_t to,
                         weft_error *err);
weft_status room_rewind(struct weft_engine *e, struct kv_table *t, size_t from, size_t n,
                        weft_error *err);
weft_status room_replace(struct weft_engine *e, struct kv_table *t, size_t n, weft_error *err);

/* Host memory for n more tokens of a sequence. */
weft_status room_lists(struct weft_seq *seq, size_t n, weft_error *err);
/* All that n more tokens need, so that adding them cannot fail; the first n_cached of them have
 * their K and V already. Also the pages that were set aside, if they were given back meanwhile. */
weft_status room_tokens(struct weft_seq *seq, size_t n, size_t n_cached, weft_error *err);
/* Gives back the pages behind n positions of a sequence, but takes those again that are set aside:
 * they were there a moment ago. */
void room_restore(struct weft_seq *seq, size_t n);

#endif
