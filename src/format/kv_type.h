/* The types in which K and V are stored: weft_kv_type. */
#ifndef WEFT_KV_TYPE_H
#define WEFT_KV_TYPE_H

#include <stdbool.h>

#include "weft.h"

/* Returns the name that users write, such as "f16"; NULL past the last. */
const char *kv_type_name(weft_kv_type type);
/* Returns the number of values that share a scale, 1 for f16. A head must be a multiple of it. */
size_t kv_type_block(weft_kv_type type);
/* Returns the bytes of n values of one position and head in GGUF's layout: 2 n for f16, 34 for each
 * 32 values of q8_0. */
size_t kv_type_bytes(weft_kv_type type, size_t n);
/* Returns true if K of this type is stored rotated by kv_rotate(). */
bool kv_type_rotates(weft_kv_type type);
/* Rotates a head: multiplies x[head_dim], in blocks of n, by the Walsh-Hadamard matrix of order n
 * divided by sqrt(n). n is the largest power of two that divides head_dim, at most KV_ROTATE_MOST.
 * If q and k are both rotated, scores do not change. But the few large values that the heads of
 * some models have are spread over their block, and no longer cost the other values their bits.
 * Rotating again gives x back. */
enum { KV_ROTATE_MOST = 256 };
void kv_rotate(float *x, size_t head_dim);
/* Returns n. */
size_t kv_rotate_block(size_t head_dim);

#endif
