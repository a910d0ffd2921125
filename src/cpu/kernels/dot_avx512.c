/* The vocabulary of 16-lane vectors in AVX-512 with VNNI. Only this file is compiled with these
 * flags, and nothing in it runs before cpu_ops_avx512 has asked the processor. */
#include "cpu/kernels/ops.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) &&                      \
    defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__FMA__) && defined(__F16C__)

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define OPS_NAME "avx512-vnni"
#define REG_SUMS 16
#define REG_QUERIES 4
#define WIDE false
#define REG_ROWS 8

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
static inline v16 v_from_i32(i32x16 x) { return _mm512_cvtepi32_ps(x); }
static inline v16 v_load_f32(const void *p) { return _mm512_castsi512_ps(_mm512_loadu_si512(p)); }
static inline v16 v_load_bf16(const void *p)
{
    __m512i h = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(h, 16));
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

static inline v16 v_shl23(v16 x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23));
}

static inline void v_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
static inline void v_store_n(float *p, size_t n, v16 x) { _mm512_mask_storeu_ps(p, first(n), x); }
static inline void v_store_f16_n(f16_bits *p, size_t n, v16 x)
{
    __m256i h = _mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_NEAREST_INT);
    _mm256_mask_storeu_epi16(p, first(n), h);
}

/* Absolute values have the order of their bits, in which Inf and NaN are the largest. */
static inline float v_top_abs(v16 x, v16 y)
{
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    __m512i m = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x), mask),
                                 _mm512_and_si512(_mm512_castps_si512(y), mask));
    int top = _mm512_reduce_max_epi32(m);
    float f;
    memcpy(&f, &top, sizeof f);
    return f;
}

static inline int v_store_codes(int8_t *q, v16 x)
{
    __m512i i = _mm512_cvtps_epi32(x);
    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(i));
    return _mm512_reduce_add_epi32(i);
}

static inline float v_fold(v16 x)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_permute_ps(q, 0x4e));
    return _mm_cvtss_f32(_mm_add_ps(q, _mm_permute_ps(q, 0xb1)));
}

static inline float v_top(v16 x) { return _mm512_reduce_max_ps(x); }

static inline float f16_one(f16_bits h) { return _cvtsh_ss(h); }

static inline c64 c_load(const uint8_t *u) { return _mm512_loadu_si512(u); }
static inline void c_store(uint8_t *u, c64 x) { _mm512_storeu_si512(u, x); }
static inline c64 c_or(c64 x, c64 y) { return _mm512_or_si512(x, y); }

/* Without optimisation, the shifts of GCC 14 are macros with a conversion that it warns of. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"

/* Shifts bytes by shifts of words. The mask removes the bits that come from a neighbouring byte. */
static inline c64 c_field(c64 x, int at, int to, int bits)
{
    __m512i mask = _mm512_set1_epi8((char)(((1 << bits) - 1) << to));
    x = at >= to ? _mm512_srli_epi32(x, (unsigned)(at - to))
                 : _mm512_slli_epi32(x, (unsigned)(to - at));
    return _mm512_and_si512(x, mask);
}

#pragma GCC diagnostic pop

static inline c64 c_lookup(const uint8_t table[16], c64 x)
{
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
    return _mm512_shuffle_epi8(t, x);
}

static inline i32x16 i_zero(void) { return _mm512_setzero_si512(); }
static inline i32x16 i_add(i32x16 x, i32x16 y) { return _mm512_add_epi32(x, y); }
static inline void i_store(int32_t *p, i32x16 x) { _mm512_storeu_si512(p, x); }

#include "cpu/kernels/dot_tile.inc"

INLINE void i_dots(const uint8_t *block, struct codes codes, int g0, const struct acts *a,
                   size_t row, size_t col, size_t n, int n_groups, i32x16 *out)
{
    const int8_t *q = a->q + row * a->stride + col;
    for (size_t r = 0; r < n; r++) {
        out[r] = i_zero();
    }
#pragma GCC unroll 8
    for (int g = 0; g < n_groups; g++) {
        c64 w = group_of(block, g0 + g, codes);
        for (size_t r = 0; r < n; r++) {
            int four;
            memcpy(&four, q + r * a->stride + 4 * g, sizeof four);
            out[r] = _mm512_dpbusd_epi32(out[r], w, _mm512_set1_epi32(four));
        }
    }
}

/* Does nothing, because i_dots reads bytes. */
static inline void q_widen(const int8_t *q, size_t n, int16_t *q16)
{
    (void)q;
    (void)n;
    (void)q16;
}

#include "cpu/kernels/dot_body.inc"

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
