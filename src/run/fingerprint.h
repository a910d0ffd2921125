/* Which model it is, in 64 bits. */
#ifndef WEFT_FINGERPRINT_H
#define WEFT_FINGERPRINT_H

#include "run/model_api.h"

/* A hash of all that a token's K and V depend on, never 0: hyper-parameters, the texts of all
 * tokens, and of every tensor name, type, shape, and the first and last 4 KiB. Files of equal
 * weights have the same one, however they are split. Any thread; computed at the first call, which
 * touches the mapped file: gguf_check() it before. */
uint64_t fingerprint_of(struct weft_model *m);

#endif
