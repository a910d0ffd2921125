/* Tensor types: one table row each. Block layouts are those of GGUF files; block_* structs are
 * byte-exact (little-endian, no padding). Source: ggml's public format, checked against the gguf
 * Python package. */
#ifndef WEFT_QUANT_H
#define WEFT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Type ids as they stand in GGUF files. */
enum quant_id {
    QUANT_F32 = 0,
    QUANT_F16 = 1,
    QUANT_Q4_0 = 2,
    QUANT_Q4_1 = 3,
    QUANT_Q5_0 = 6,
    QUANT_Q5_1 = 7,
    QUANT_Q8_0 = 8,
    QUANT_Q2_K = 10,
    QUANT_Q3_K = 11,
    QUANT_Q4_K = 12,
    QUANT_Q5_K = 13,
    QUANT_Q6_K = 14,
    QUANT_IQ4_NL = 20,
    QUANT_IQ4_XS = 23,
    QUANT_BF16 = 30,
};

typedef uint16_t f16_bits; /* IEEE half precision, as stored */

/* Behind each block: the number of its elements and, for blocks of 32, the value of an element. */
struct block_q4_0 {
    f16_bits d;
    uint8_t qs[16];
}; /* 32: d * (q - 8) */
struct block_q4_1 {
    f16_bits d, m;
    uint8_t qs[16];
}; /* 32: d * q + m */
struct block_q5_0 {
    f16_bits d;
    uint8_t qh[4];
    uint8_t qs[16];
}; /* 32: d * (q - 16) */
struct block_q5_1 {
    f16_bits d, m;
    uint8_t qh[4];
    uint8_t qs[16];
}; /* 32: d * q + m */
struct block_q8_0 {
    f16_bits d;
    int8_t qs[32];
}; /* 32: d * q */
struct block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    f16_bits d, dmin;
}; /* 256 */
struct block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    f16_bits d;
}; /* 256 */
struct block_q4_k {
    f16_bits d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
}; /* 256 */
struct block_q5_k {
    f16_bits d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
}; /* 256 */
struct block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    f16_bits d;
}; /* 256 */
struct block_iq4_nl {
    f16_bits d;
    uint8_t qs[16];
}; /* 32: d * table[q] */
struct block_iq4_xs {
    f16_bits d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
}; /* 256 */

extern const int8_t quant_iq4_values[16]; /* the non-linear code book of IQ4_NL and IQ4_XS */

struct quant_type {
    const char *name; /* "Q4_K" */
    uint32_t id;      /* as in GGUF files */
    uint32_t block;   /* elements of a block */
    uint32_t bytes;   /* bytes of a block */
    /* Decodes n elements, a multiple of `block`. src need not be aligned. */
    void (*decode)(const void *src, float *dst, size_t n);
    /* NULL if this type can only be read. NaN and Inf in src give a block that is defined but not
     * specified. */
    void (*encode)(const float *src, void *dst, size_t n);
};

/* Returns the row of a type id, or NULL if Weft cannot read the type. */
const struct quant_type *quant_find(uint32_t id);
/* Finds a row by name, case-insensitively ("q4_k"), for tools. */
const struct quant_type *quant_find_name(const char *name);
/* Returns the i-th row of the table, NULL past the last. Tests, tools and docs go through all types
 * with it. */
const struct quant_type *quant_at(size_t i);
/* Returns the name of any type id that the format defines ("IQ2_XXS"), even if Weft cannot read the
 * type; NULL if there is no such id. */
const char *quant_name(uint32_t id);
/* Writes the bytes of n elements (n a multiple of block) to *out. Returns false if that would
 * wrap. */
bool quant_bytes(const struct quant_type *t, uint64_t n, uint64_t *out);

float f16_to_f32(f16_bits h);
/* Rounds to nearest even; overflow gives Inf; NaN stays NaN. */
f16_bits f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
/* Rounds to nearest even; NaN stays NaN. */
uint16_t f32_to_bf16(float f);

#endif
