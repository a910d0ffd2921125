/* Identifies a model by 64 bits. */
#ifndef WEFT_FINGERPRINT_H
#define WEFT_FINGERPRINT_H

#include "run/model_api.h"

/* Returns a hash of everything that a token's K and V depend on, never 0: the hyper-parameters, the
 * texts of all tokens, and of every tensor its name, type, shape, first and last 4 KiB. Files with
 * equal weights have the same hash, however they are split. Any thread. The first call computes the
 * hash and touches the mapped file, so the caller must call gguf_check() before. */
uint64_t fingerprint_of(struct weft_model *m);

#endif
