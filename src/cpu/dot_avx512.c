/* The 16-lane vector vocabulary in AVX-512 with VNNI. Compiled with those flags for this file only;
 * nothing here runs before cpu_ops_avx512 has asked the processor. */
#include "cpu/dot.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) &&                      \
    defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__FMA__) && defined(__F16C__)

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define OPS_NAME "avx512-vnni"
#define TILE 16
#define QUERIES 4
#define ROWS 4
#define CHAINS 12

typedef __m512 v16;
typedef __m512i c64;
typedef __m512i i32x16;

static inline __mmask16 first(size_t n) { return (__mmask16)((1u << n) - 1); }

static inline v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline v16 v_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
static inline v16 v_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
static inline v16 v_load_f16_n(const void *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}
static inline v16 v_from_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline v16 v_from_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline v16 v_set1(float x) { return _mm512_set1_ps(x); }
static inline v16 v_add(v16 x, v16 y) { return _mm512_add_ps(x, y); }
static inline v16 v_sub(v16 x, v16 y) { return _mm512_sub_ps(x, y); }
static inline v16 v_mul(v16 x, v16 y) { return _mm512_mul_ps(x, y); }
static inline v16 v_div(v16 x, v16 y) { return _mm512_div_ps(x, y); }
static inline v16 v_max(v16 x, v16 y) { return _mm512_max_ps(x, y); }
static inline v16 v_fma(v16 x, v16 y, v16 z) { return _mm512_fmadd_ps(x, y, z); }

static inline v16 v_zero_below(v16 x, float limit, v16 y)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_NLT_UQ), y);
}

static inline v16 v_spread2(const float *p)
{
    __m128 two = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)p));
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return _mm512_permutevar_ps(_mm512_broadcast_f32x2(two), lanes);
}

static inline v16 v_spread4(const float *p)
{
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(p)), lanes);
}

static inline v16 v_shl23(v16 x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23));
}

static inline void v_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
static inline void v_store_n(float *p, size_t n, v16 x) { _mm512_mask_storeu_ps(p, first(n), x); }
static inline void v_store_halves(float *low, float *high, v16 x)
{
    _mm256_storeu_ps(low, _mm512_castps512_ps256(x));
    _mm256_storeu_ps(high, _mm512_extractf32x8_ps(x, 1));
}
static inline void v_store_f16_n(f16_bits *p, size_t n, v16 x)
{
    __m256i h = _mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_NEAREST_INT);
    _mm256_mask_storeu_epi16(p, first(n), h);
}

/* Folds four vectors at once; 128-bit quarter k of the result holds four copies of the sum of the
 * k-th. */
static inline __m512 fold4(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    __m512 x =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0x4e));
    return _mm512_add_ps(x, _mm512_permute_ps(x, 0xb1));
}

static inline float v_fold(v16 x) { return _mm512_cvtss_f32(fold4(x, x, x, x)); }

static inline void v_fold4(v16 a, v16 b, v16 c, v16 d, float *out)
{
    __m512 sums = _mm512_maskz_compress_ps(0x1111, fold4(a, b, c, d));
    _mm_storeu_ps(out, _mm512_castps512_ps128(sums));
}

static inline float v_top(v16 x) { return _mm512_reduce_max_ps(x); }

static inline float f16_one(f16_bits h) { return _cvtsh_ss(h); }

static inline c64 c_load(const uint8_t *u) { return _mm512_loadu_si512(u); }

static inline v16 c_dot(c64 w, const int8_t *q, bool wide)
{
    (void)wide;
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, _mm512_loadu_si512(q));
    return _mm512_cvtepi32_ps(sum);
}

static inline i32x16 i_mac(i32x16 sum, c64 u, const int8_t *q)
{
    return _mm512_dpbusd_epi32(sum, u, _mm512_loadu_si512(q));
}
static inline i32x16 i_zero(void) { return _mm512_setzero_si512(); }
static inline void i_store(int32_t *p, i32x16 x) { _mm512_storeu_si512(p, x); }

/* Low nibbles of 16 bytes, then their high nibbles. */
static inline __m256i nibbles(const uint8_t *qs)
{
    __m128i x = _mm_loadu_si128((const __m128i *)qs);
    __m256i both = _mm256_set_m128i(_mm_srli_epi16(x, 4), x);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

static inline void c_nibbles(const uint8_t *qs, uint8_t *u)
{
    _mm256_storeu_si256((__m256i *)u, nibbles(qs));
}

static inline void c_lookup(const uint8_t table[16], const uint8_t *qs, uint8_t *u)
{
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    _mm256_storeu_si256((__m256i *)u, _mm256_shuffle_epi8(t, nibbles(qs)));
}

static inline void c_nibbles_bits(const uint8_t *qs, const uint8_t *qh, uint8_t *u)
{
    uint32_t bits;
    memcpy(&bits, qh, sizeof bits);
    __m256i high = _mm256_maskz_mov_epi8(bits, _mm256_set1_epi8(16));
    _mm256_storeu_si256((__m256i *)u, _mm256_or_si256(nibbles(qs), high));
}

#include "cpu/dot_body.h"

const struct cpu_ops *cpu_ops_avx512(void)
{
    unsigned a, b, c = 0, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vnni");
    return f16c && avx512 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &ops
                                                                                             : NULL;
}

#else

const struct cpu_ops *cpu_ops_avx512(void) { return NULL; }

#endif
