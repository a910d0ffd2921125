/* The sampling that a model's file recommends: the keys general.sampling.* */
#ifndef WEFT_RECOMMENDED_H
#define WEFT_RECOMMENDED_H

#include "base/log.h"
#include "format/gguf.h"

/* Puts the file's recommendations into *s, which holds the defaults, and returns which fields they
 * are (WEFT_SAMPLING_*). Logs a warning about recommendations that cannot be followed. */
unsigned recommended_read(const struct gguf *g, const struct log *log, weft_sampling *s);

#endif
