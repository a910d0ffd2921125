/* The table of tensor types, the look-ups in it, and the types that are not packed in blocks: F32,
 * F16, BF16. The packed types are in quant_legacy.c (blocks of 32) and quant_k.c (blocks of
 * 256). */
#include "format/quant.h"

#include <strings.h>

#include "format/quant_types.h"

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    return u;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof(f));
    return f;
}

/* Exponents are biased by 127 in a float and by 15 in a half. */
#define REBIAS (112u << 23)

float f16_to_f32(f16_bits h)
{
    const uint32_t magnitude = h & 0x7fffu;
    const float subnormal = (float)magnitude * 0x1p-24f;
    uint32_t u = (magnitude << 13) + REBIAS;
    u += magnitude >= 0x7c00 ? REBIAS : 0;
    u = magnitude < 0x0400 ? bits_of(subnormal) : u;
    return from_bits(u | (h & 0x8000u) << 16);
}

f16_bits f32_to_f16(float f)
{
    const uint32_t sign = bits_of(f) >> 16 & 0x8000, u = bits_of(f) & 0x7fffffff;
    /* Rounds by adding half an ulp less one, plus the last kept bit: ties go to even, and carries
     * run on, up to Inf. */
    const uint32_t normal = (u - REBIAS + 0xfff + (u >> 13 & 1)) >> 13;
    /* The last bit of a float from 0.5 on weighs 2^-24, as the last bit of a subnormal half does:
     * so the addition rounds. */
    const uint32_t subnormal = bits_of(from_bits(u) + 0.5f) - bits_of(0.5f);
    const uint32_t special = u > 0x7f800000 ? 0x7e00 | (u >> 13 & 0x1ff) : 0x7c00;
    uint32_t h = u < 0x38800000 ? subnormal : normal;
    h = u >= 0x47800000 ? special : h;
    return (f16_bits)(sign | h);
}

float bf16_to_f32(uint16_t h) { return from_bits((uint32_t)h << 16); }

uint16_t f32_to_bf16(float f)
{
    const uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000) {
        /* The payload of a NaN may be in the low half only. Without the quiet bit the result would
         * then become Inf. */
        return (uint16_t)(u >> 16 | 0x40);
    }
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static void f32_decode(const void *src, float *dst, size_t n)
{
    memcpy(dst, src, n * sizeof(*dst));
}

static void f32_encode(const float *src, void *dst, size_t n)
{
    memcpy(dst, src, n * sizeof(*src));
}

static void f16_decode(const void *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        f16_bits h;
        memcpy(&h, (const char *)src + i * sizeof(h), sizeof(h));
        dst[i] = f16_to_f32(h);
    }
}

static void f16_encode(const float *src, void *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const f16_bits h = f32_to_f16(src[i]);
        memcpy((char *)dst + i * sizeof(h), &h, sizeof(h));
    }
}

static void bf16_decode(const void *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, (const char *)src + i * sizeof(h), sizeof(h));
        dst[i] = bf16_to_f32(h);
    }
}

static void bf16_encode(const float *src, void *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = f32_to_bf16(src[i]);
        memcpy((char *)dst + i * sizeof(h), &h, sizeof(h));
    }
}

#define BLOCK_BYTES(type) (uint32_t)sizeof(struct block_##type)

static const struct quant_type table[] = {
    { "F32", QUANT_F32, 1, 4, f32_decode, f32_encode },
    { "F16", QUANT_F16, 1, 2, f16_decode, f16_encode },
    { "BF16", QUANT_BF16, 1, 2, bf16_decode, bf16_encode },
    { "Q4_0", QUANT_Q4_0, 32, BLOCK_BYTES(q4_0), quant_q4_0_decode, quant_q4_0_encode },
    { "Q4_1", QUANT_Q4_1, 32, BLOCK_BYTES(q4_1), quant_q4_1_decode, quant_q4_1_encode },
    { "Q5_0", QUANT_Q5_0, 32, BLOCK_BYTES(q5_0), quant_q5_0_decode, quant_q5_0_encode },
    { "Q5_1", QUANT_Q5_1, 32, BLOCK_BYTES(q5_1), quant_q5_1_decode, quant_q5_1_encode },
    { "Q8_0", QUANT_Q8_0, 32, BLOCK_BYTES(q8_0), quant_q8_0_decode, quant_q8_0_encode },
    { "Q2_K", QUANT_Q2_K, 256, BLOCK_BYTES(q2_k), quant_q2_k_decode, NULL },
    { "Q3_K", QUANT_Q3_K, 256, BLOCK_BYTES(q3_k), quant_q3_k_decode, NULL },
    { "Q4_K", QUANT_Q4_K, 256, BLOCK_BYTES(q4_k), quant_q4_k_decode, quant_q4_k_encode },
    { "Q5_K", QUANT_Q5_K, 256, BLOCK_BYTES(q5_k), quant_q5_k_decode, quant_q5_k_encode },
    { "Q6_K", QUANT_Q6_K, 256, BLOCK_BYTES(q6_k), quant_q6_k_decode, quant_q6_k_encode },
    { "IQ4_NL", QUANT_IQ4_NL, 32, BLOCK_BYTES(iq4_nl), quant_iq4_nl_decode, NULL },
    { "IQ4_XS", QUANT_IQ4_XS, 256, BLOCK_BYTES(iq4_xs), quant_iq4_xs_decode, NULL },
};

/* The structs are read straight from files, so they must have no padding. */
_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0 block");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1 block");
_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(struct block_q2_k) == 84, "Q2_K block");
_Static_assert(sizeof(struct block_q3_k) == 110, "Q3_K block");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K block");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K block");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K block");
_Static_assert(sizeof(struct block_iq4_nl) == 18, "IQ4_NL block");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "IQ4_XS block");

/* All ids that the format has ever defined. Nobody writes 4, 5, 31..33 and 36..38 any more. */
static const char *const names[] = {
    "F32",   "F16",        "Q4_0",       "Q4_1",       "Q4_2",     "Q4_3",     "Q5_0",
    "Q5_1",  "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",     "Q4_K",     "Q5_K",
    "Q6_K",  "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "IQ4_NL",
    "IQ3_S", "IQ2_S",      "IQ4_XS",     "I8",         "I16",      "I32",      "I64",
    "F64",   "IQ1_M",      "BF16",       "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
    "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",    "NVFP4",    "Q1_0",
    "Q2_0",
};

const struct quant_type *quant_at(size_t i)
{
    return i < sizeof(table) / sizeof(table[0]) ? &table[i] : NULL;
}

const struct quant_type *quant_find(uint32_t id)
{
    const struct quant_type *t;
    for (size_t i = 0; (t = quant_at(i)) != NULL; i++) {
        if (t->id == id) {
            return t;
        }
    }
    return NULL;
}

const struct quant_type *quant_find_name(const char *name)
{
    const struct quant_type *t;
    for (size_t i = 0; (t = quant_at(i)) != NULL; i++) {
        if (strcasecmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

const char *quant_name(uint32_t id)
{
    return id < sizeof(names) / sizeof(names[0]) ? names[id] : NULL;
}

bool quant_bytes(const struct quant_type *t, uint64_t n, uint64_t *out)
{
    return !__builtin_mul_overflow(n / t->block, (uint64_t)t->bytes, out);
}
