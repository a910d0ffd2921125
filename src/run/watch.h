/* A backend around another one that tells a caller of every stage: how long it took, and the values
 * that it left behind. */
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#include "backend.h"

/* True if the parameters name a function to tell. */
bool probe_wanted(const weft_engine_params *p);
/* *b becomes the probe, which owns what *b was. Nothing changes when it fails. */
weft_status probe_open(const struct model *m, const weft_engine_params *p, struct backend **b,
                       weft_error *err);

#endif
