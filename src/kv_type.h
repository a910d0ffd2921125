/* The types in which K and V are kept: weft_kv_type. */
#ifndef WEFT_KV_TYPE_H
#define WEFT_KV_TYPE_H

#include "weft.h"

/* The name that users write: "f16"; NULL past the last. */
const char *kv_type_name(weft_kv_type type);
/* Values that share a scale, so that n of them must be a multiple; 1 for f16. */
size_t kv_type_block(weft_kv_type type);
/* Bytes of n values of one position and head as a block of GGUF stores them: 2 n for f16, 34 for
 * each 32 of q8_0. */
size_t kv_type_bytes(weft_kv_type type, size_t n);

#endif
