/* The sampling that a model's file recommends: the keys general.sampling.* */
#ifndef WEFT_RECOMMENDED_H
#define WEFT_RECOMMENDED_H

#include "base/log.h"
#include "format/gguf.h"

/* Puts what the file recommends into *s, which holds the defaults, and returns which fields these
 * are (WEFT_SAMPLING_*). Warns of what cannot be followed. */
unsigned recommended_read(const struct gguf *g, const struct log *log, weft_sampling *s);

#endif
