/* Private to quant*.c: the decode and encode functions of the rows of the type table. Each handles
 * n elements, a multiple of its block; packed data need not be aligned. */
#ifndef WEFT_QUANT_TYPES_H
#define WEFT_QUANT_TYPES_H

#include <string.h>

#include "format/quant.h"

typedef void quant_decode_fn(const void *src, float *dst, size_t n);
typedef void quant_encode_fn(const float *src, void *dst, size_t n);

quant_decode_fn quant_q4_0_decode, quant_q4_1_decode, quant_q5_0_decode, quant_q5_1_decode;
quant_decode_fn quant_q8_0_decode, quant_iq4_nl_decode;
quant_encode_fn quant_q4_0_encode, quant_q4_1_encode, quant_q5_0_encode, quant_q5_1_encode;
quant_encode_fn quant_q8_0_encode;

quant_decode_fn quant_q2_k_decode, quant_q3_k_decode, quant_q4_k_decode, quant_q5_k_decode;
quant_decode_fn quant_q6_k_decode, quant_iq4_xs_decode;
quant_encode_fn quant_q4_k_encode, quant_q5_k_encode, quant_q6_k_encode;

/* Defines quant_<type>_decode from <type>_unpack, which decodes one block. */
#define QUANT_DECODER(type, n_block)                                                               \
    void quant_##type##_decode(const void *src, float *dst, size_t n)                              \
    {                                                                                              \
        for (size_t i = 0; i < n / n_block; i++) {                                                 \
            struct block_##type b;                                                                 \
            memcpy(&b, (const char *)src + i * sizeof(b), sizeof(b));                              \
            type##_unpack(&b, dst + i * n_block);                                                  \
        }                                                                                          \
    }

/* Defines quant_<type>_encode from <type>_pack, which encodes one block and sets every byte of
 * it. */
#define QUANT_ENCODER(type, n_block)                                                               \
    void quant_##type##_encode(const float *src, void *dst, size_t n)                              \
    {                                                                                              \
        for (size_t i = 0; i < n / n_block; i++) {                                                 \
            struct block_##type b;                                                                 \
            type##_pack(src + i * n_block, &b);                                                    \
            memcpy((char *)dst + i * sizeof(b), &b, sizeof(b));                                    \
        }                                                                                          \
    }

/* Returns v as an integer in 0..top; NaN gives 0. The range is cut while v is a float, because
 * converting a float that does not fit an int is undefined. */
static inline int quant_cut(float v, float top)
{
    v = v > 0.0f ? v : 0.0f;
    return (int)(v < top ? v : top);
}

static inline float quant_inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

#endif
