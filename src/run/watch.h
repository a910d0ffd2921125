/* Tells a caller about every stage: how long it took, and which values it computed. */
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#include "forward.h"

struct watch;

/* Begins to watch the backend if the parameters name a function to call; otherwise *out is NULL. */
weft_status watch_open(const weft_engine_params *p, struct backend *b, struct watch **out,
                       weft_error *err);
void watch_close(struct watch *w); /* NULL is fine */

#endif
