/* Tells a caller of every stage: how long it took, and the values that it left behind. */
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#include "forward.h"

struct watch;

/* *out watches the backend from now on, if the parameters name a function to tell; else it is
 * NULL. */
weft_status watch_open(const weft_engine_params *p, struct backend *b, struct watch **out,
                       weft_error *err);
void watch_close(struct watch *w); /* NULL is fine */

#endif
