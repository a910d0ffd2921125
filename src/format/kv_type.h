/* The types in which K and V are kept: weft_kv_type. */
#ifndef WEFT_KV_TYPE_H
#define WEFT_KV_TYPE_H

#include <stdbool.h>

#include "weft.h"

/* The name that users write: "f16"; NULL past the last. */
const char *kv_type_name(weft_kv_type type);
/* Values that share a scale, so that n of them must be a multiple; 1 for f16. */
size_t kv_type_block(weft_kv_type type);
/* Bytes of n values of one position and head as a block of GGUF stores them: 2 n for f16, 34 for
 * each 32 of q8_0. */
size_t kv_type_bytes(weft_kv_type type, size_t n);
/* Whether K of this type is kept rotated by kv_rotate(). */
bool kv_type_rotates(weft_kv_type type);
/* Rotates a head: x[head_dim] by the Walsh-Hadamard matrix of order n over sqrt(n), in blocks of n,
 * the largest power of two that divides head_dim, at most KV_ROTATE_MOST. Scores do not change when
 * q and k are both rotated, but the few large values that heads of some models have are spread over
 * their block, and no longer cost the others their bits. Rotating again gives x. */
enum { KV_ROTATE_MOST = 256 };
void kv_rotate(float *x, size_t head_dim);
size_t kv_rotate_block(size_t head_dim); /* n */

#endif
