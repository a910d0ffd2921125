/* Stands in for <immintrin.h> when src/cpu/kernels/dot_avx512.c is compiled for the tests without
 * AVX-512: with the instructions of AVX2, SIMDe computes what those of AVX-512 would, so that the
 * source is tested on every machine. What SIMDe 0.7.4 (Debian 12) lacks is below, lane by lane. An
 * intrinsic that neither SIMDe nor this file has is a compile error ("target specific option
 * mismatch") and needs a line here.
 *
 * The command line claims AVX-512, for the #if of the source; SIMDe must see the truth. */
#ifndef WEFT_TESTS_SIMDE_IMMINTRIN_H
#define WEFT_TESTS_SIMDE_IMMINTRIN_H

#undef __AVX512F__
#undef __AVX512BW__
#undef __AVX512VL__
#undef __AVX512DQ__
#undef __AVX512VNNI__
#undef __AVX512VBMI__

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

/* The source asks the processor before it gives out its functions. */
#define __builtin_cpu_supports(feature) 1

union emulated {
    __m512 v;
    __m512i i;
    __m256 v256[2];
    __m256i i256[2];
    __m128 v128[4];
    float f[16];
    int32_t i32[16];
};

/* ---------------------------------------------------------------- masked loads and stores */

#define MASKED_LOAD(name, vector, lane)                                                            \
    static inline vector emulated_maskz_##name(uint64_t mask, const void *p)                       \
    {                                                                                              \
        vector v = { 0 };                                                                          \
        for (size_t i = 0; i < sizeof(vector) / sizeof(lane); i++) {                               \
            if (mask >> i & 1) { /* other lanes are not touched */                                 \
                memcpy((char *)&v + i * sizeof(lane), (const char *)p + i * sizeof(lane),          \
                       sizeof(lane));                                                              \
            }                                                                                      \
        }                                                                                          \
        return v;                                                                                  \
    }
#define MASKED_STORE(name, vector, lane)                                                           \
    static inline void emulated_mask_##name(void *p, uint64_t mask, vector v)                      \
    {                                                                                              \
        for (size_t i = 0; i < sizeof(vector) / sizeof(lane); i++) {                               \
            if (mask >> i & 1) {                                                                   \
                memcpy((char *)p + i * sizeof(lane), (const char *)&v + i * sizeof(lane),          \
                       sizeof(lane));                                                              \
            }                                                                                      \
        }                                                                                          \
    }
MASKED_LOAD(512_loadu_ps, __m512, float)
MASKED_LOAD(512_loadu_epi32, __m512i, int32_t)
MASKED_LOAD(512_loadu_epi16, __m512i, int16_t)
MASKED_LOAD(512_loadu_epi8, __m512i, int8_t)
MASKED_LOAD(256_loadu_ps, __m256, float)
MASKED_LOAD(256_loadu_epi32, __m256i, int32_t)
MASKED_LOAD(256_loadu_epi16, __m256i, int16_t)
MASKED_LOAD(256_loadu_epi8, __m256i, int8_t)
MASKED_LOAD(128_loadu_epi16, __m128i, int16_t)
MASKED_LOAD(128_loadu_epi8, __m128i, int8_t)
MASKED_STORE(512_storeu_ps, __m512, float)
MASKED_STORE(512_storeu_epi32, __m512i, int32_t)
MASKED_STORE(512_storeu_epi16, __m512i, int16_t)
MASKED_STORE(512_storeu_epi8, __m512i, int8_t)
MASKED_STORE(256_storeu_ps, __m256, float)
MASKED_STORE(256_storeu_epi32, __m256i, int32_t)
MASKED_STORE(256_storeu_epi16, __m256i, int16_t)
MASKED_STORE(256_storeu_epi8, __m256i, int8_t)
MASKED_STORE(128_storeu_epi16, __m128i, int16_t)
MASKED_STORE(128_storeu_epi8, __m128i, int8_t)
#define _mm512_maskz_loadu_ps emulated_maskz_512_loadu_ps
#define _mm512_maskz_loadu_epi32 emulated_maskz_512_loadu_epi32
#define _mm512_maskz_loadu_epi16 emulated_maskz_512_loadu_epi16
#define _mm512_maskz_loadu_epi8 emulated_maskz_512_loadu_epi8
#define _mm256_maskz_loadu_ps emulated_maskz_256_loadu_ps
#define _mm256_maskz_loadu_epi32 emulated_maskz_256_loadu_epi32
#define _mm256_maskz_loadu_epi16 emulated_maskz_256_loadu_epi16
#define _mm256_maskz_loadu_epi8 emulated_maskz_256_loadu_epi8
#define _mm_maskz_loadu_epi16 emulated_maskz_128_loadu_epi16
#define _mm_maskz_loadu_epi8 emulated_maskz_128_loadu_epi8
#define _mm512_mask_storeu_ps emulated_mask_512_storeu_ps
#define _mm512_mask_storeu_epi32 emulated_mask_512_storeu_epi32
#define _mm512_mask_storeu_epi16 emulated_mask_512_storeu_epi16
#define _mm512_mask_storeu_epi8 emulated_mask_512_storeu_epi8
#define _mm256_mask_storeu_ps emulated_mask_256_storeu_ps
#define _mm256_mask_storeu_epi32 emulated_mask_256_storeu_epi32
#define _mm256_mask_storeu_epi16 emulated_mask_256_storeu_epi16
#define _mm256_mask_storeu_epi8 emulated_mask_256_storeu_epi8
#define _mm_mask_storeu_epi16 emulated_mask_128_storeu_epi16
#define _mm_mask_storeu_epi8 emulated_mask_128_storeu_epi8

/* ---------------------------------------------------------------- conversions */

#define CONVERT(name, from_vector, from, to_vector, to)                                            \
    static inline to_vector emulated_##name(from_vector x)                                         \
    {                                                                                              \
        from a[sizeof(from_vector) / sizeof(from)];                                                \
        to b[sizeof(to_vector) / sizeof(to)];                                                      \
        to_vector y;                                                                               \
        memcpy(a, &x, sizeof a);                                                                   \
        for (size_t i = 0; i < sizeof b / sizeof b[0]; i++) {                                      \
            b[i] = (to)a[i];                                                                       \
        }                                                                                          \
        memcpy(&y, b, sizeof y);                                                                   \
        return y;                                                                                  \
    }
CONVERT(cvtepu8_epi32, __m128i, uint8_t, __m512i, int32_t)
CONVERT(cvtepi8_epi32, __m128i, int8_t, __m512i, int32_t)
CONVERT(cvtepu16_epi32, __m256i, uint16_t, __m512i, int32_t)
CONVERT(cvtepi16_epi32, __m256i, int16_t, __m512i, int32_t)
CONVERT(cvtepu8_epi16, __m256i, uint8_t, __m512i, int16_t)
CONVERT(cvtepi32_epi16, __m512i, int32_t, __m256i, int16_t)
CONVERT(cvtepi32_epi8, __m512i, int32_t, __m128i, int8_t)
CONVERT(cvtepi32_ps, __m512i, int32_t, __m512, float)
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtepi16_epi32 emulated_cvtepi16_epi32
#define _mm512_cvtepu8_epi16 emulated_cvtepu8_epi16
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 emulated_cvtepi32_epi8
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps

static inline __m512 emulated_join(__m256 low, __m256 high)
{
    return (union emulated){ .v256 = { low, high } }.v;
}
static inline __m512i emulated_join_i(__m256i low, __m256i high)
{
    return (union emulated){ .i256 = { low, high } }.i;
}
static inline __m256 emulated_half(__m512 x, int half)
{
    return (union emulated){ .v = x }.v256[half];
}
static inline __m256i emulated_half_i(__m512i x, int half)
{
    return (union emulated){ .i = x }.i256[half];
}

static inline __m512 emulated_cvtph_ps(__m256i x)
{
    return emulated_join(_mm256_cvtph_ps(_mm256_castsi256_si128(x)),
                         _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)));
}
static inline __m512i emulated_cvtps_epi32(__m512 x)
{
    return emulated_join_i(_mm256_cvtps_epi32(emulated_half(x, 0)),
                           _mm256_cvtps_epi32(emulated_half(x, 1)));
}
static inline __m512i emulated_cvttps_epi32(__m512 x)
{
    return emulated_join_i(_mm256_cvttps_epi32(emulated_half(x, 0)),
                           _mm256_cvttps_epi32(emulated_half(x, 1)));
}
#undef _mm512_cvtps_ph
#undef _mm512_maskz_cvtps_ph
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvttps_epi32 emulated_cvttps_epi32
#define _mm512_cvtps_ph(x, round)                                                                  \
    _mm256_set_m128i(_mm256_cvtps_ph(emulated_half(x, 1), round),                                  \
                     _mm256_cvtps_ph(emulated_half(x, 0), round))
#define _mm512_maskz_cvtps_ph(mask, x, round)                                                      \
    emulated_maskz_mov_epi16(mask, _mm512_cvtps_ph(x, round))

static inline __m256i emulated_maskz_mov_epi16(uint64_t mask, __m256i x)
{
    return emulated_maskz_256_loadu_epi16(mask, &x);
}

/* ---------------------------------------------------------------- lanes from elsewhere */

static inline float emulated_cvtss_f32(__m512 x) { return (union emulated){ .v = x }.f[0]; }

static inline __m512 emulated_permutevar_ps(__m512 x, __m512i lanes)
{
    union emulated a = { .v = x }, k = { .i = lanes }, b;
    for (size_t i = 0; i < 16; i++) {
        b.f[i] = a.f[i / 4 * 4 + (size_t)(k.i32[i] & 3)];
    }
    return b.v;
}
static inline __m512 emulated_permute_ps(__m512 x, unsigned control)
{
    union emulated a = { .v = x }, b;
    for (size_t i = 0; i < 16; i++) {
        b.f[i] = a.f[i / 4 * 4 + (control >> i % 4 * 2 & 3)];
    }
    return b.v;
}
static inline __m512 emulated_shuffle_f32x4(__m512 x, __m512 y, unsigned control)
{
    union emulated a = { .v = x }, b = { .v = y }, c;
    for (size_t i = 0; i < 4; i++) {
        c.v128[i] = (i < 2 ? &a : &b)->v128[control >> i * 2 & 3];
    }
    return c.v;
}
static inline __m512i emulated_srai_epi32(__m512i x, unsigned n)
{
    return emulated_join_i(_mm256_srai_epi32(emulated_half_i(x, 0), (int)n),
                           _mm256_srai_epi32(emulated_half_i(x, 1), (int)n));
}
#undef _mm512_permute_ps
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_i32x4
#undef _mm512_shuffle_epi32
#undef _mm512_extractf32x8_ps
#undef _mm512_extracti32x8_epi32
#undef _mm512_srai_epi32
#define _mm512_cvtss_f32 emulated_cvtss_f32
#define _mm512_permutevar_ps emulated_permutevar_ps
#define _mm512_permute_ps emulated_permute_ps
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4
#define _mm512_shuffle_i32x4(x, y, control)                                                        \
    _mm512_castps_si512(                                                                           \
        emulated_shuffle_f32x4(_mm512_castsi512_ps(x), _mm512_castsi512_ps(y), control))
#define _mm512_shuffle_epi32(x, control)                                                           \
    _mm512_castps_si512(emulated_permute_ps(_mm512_castsi512_ps(x), control))
#define _mm512_extractf32x8_ps emulated_half
#define _mm512_extracti32x8_epi32 emulated_half_i
#define _mm512_srai_epi32 emulated_srai_epi32
#define _mm512_zextsi256_si512(x) emulated_join_i(x, _mm256_setzero_si256())

/* ---------------------------------------------------------------- over all lanes */

/* Adds in the order of the real intrinsics: l + 8, l + 4, l + 2, l + 1. */
#define REDUCE(name, vector, type, expression)                                                     \
    static inline type emulated_reduce_##name(vector x)                                            \
    {                                                                                              \
        type lanes[16];                                                                            \
        memcpy(lanes, &x, sizeof lanes);                                                           \
        for (size_t n = 8; n > 0; n /= 2) {                                                        \
            for (size_t i = 0; i < n; i++) {                                                       \
                type a = lanes[i], b = lanes[i + n];                                               \
                lanes[i] = expression;                                                             \
            }                                                                                      \
        }                                                                                          \
        return lanes[0];                                                                           \
    }
REDUCE(add_ps, __m512, float, a + b)
REDUCE(max_ps, __m512, float, a > b ? a : b)
REDUCE(add_epi32, __m512i, int32_t, (int32_t)((uint32_t)a + (uint32_t)b))
REDUCE(max_epi32, __m512i, int32_t, a > b ? a : b)
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps
#define _mm512_reduce_add_epi32 emulated_reduce_add_epi32
#define _mm512_reduce_max_epi32 emulated_reduce_max_epi32

#endif
