/* The vocabulary of 16-lane vectors in AVX2 + FMA + F16C: a vector is two halves of 8 lanes. Only
 * this file is compiled with these flags, and nothing in it runs before cpu_ops_avx2 has asked the
 * processor. */
#include "cpu/kernels/ops.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define OPS_NAME "avx2"
#define REG_SUMS 4
#define REG_QUERIES 6
#define WIDE true
#define REG_ROWS 4

typedef struct {
    __m256 a, b;
} v16;
typedef struct {
    __m256i a, b;
} c64;
typedef c64 i32x16;

static inline v16 v_load(const float *p)
{
    return (v16){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}

static inline v16 v_load_n(const float *p, size_t n)
{
    float t[16] = { 0 };
    memcpy(t, p, n * sizeof *p);
    return v_load(t);
}

static inline v16 v_load_f16(const void *p)
{
    const __m128i *h = p;
    return (v16){ _mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1)) };
}

static inline v16 v_load_f16_n(const void *p, size_t n)
{
    f16_bits t[16] = { 0 };
    memcpy(t, p, n * sizeof *t);
    return v_load_f16(t);
}

static inline v16 v_from_u8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)p);
    return (v16){ _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)),
                  _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))) };
}

static inline v16 v_from_i8(const int8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)p);
    return (v16){ _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
                  _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))) };
}

static inline v16 v_from_i32(i32x16 x)
{
    return (v16){ _mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b) };
}

static inline v16 v_load_f32(const void *p)
{
    const char *b = p;
    return (
        v16){ _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(const void *)b)),
              _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(const void *)(b + 32))) };
}

static inline v16 v_load_bf16(const void *p)
{
    const __m128i *h = p;
    __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128(h));
    __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128(h + 1));
    return (v16){ _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)),
                  _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)) };
}

static inline v16 v_set1(float x) { return (v16){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }

static inline v16 v_add(v16 x, v16 y)
{
    return (v16){ _mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b) };
}

static inline v16 v_sub(v16 x, v16 y)
{
    return (v16){ _mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b) };
}

static inline v16 v_mul(v16 x, v16 y)
{
    return (v16){ _mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b) };
}

static inline v16 v_div(v16 x, v16 y)
{
    return (v16){ _mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b) };
}

static inline v16 v_max(v16 x, v16 y)
{
    return (v16){ _mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b) };
}

static inline v16 v_fma(v16 x, v16 y, v16 z)
{
    return (v16){ _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b) };
}

static inline v16 v_zero_below(v16 x, float limit, v16 y)
{
    __m256 m = _mm256_set1_ps(limit);
    return (v16){ _mm256_andnot_ps(_mm256_cmp_ps(x.a, m, _CMP_LT_OQ), y.a),
                  _mm256_andnot_ps(_mm256_cmp_ps(x.b, m, _CMP_LT_OQ), y.b) };
}

static inline v16 v_shl23(v16 x)
{
    return (v16){ _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.a), 23)),
                  _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.b), 23)) };
}

static inline void v_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

static inline void v_store_n(float *p, size_t n, v16 x)
{
    float t[16];
    v_store(t, x);
    memcpy(p, t, n * sizeof *p);
}

static inline void v_store_f16_n(f16_bits *p, size_t n, v16 x)
{
    f16_bits t[16];
    _mm_storeu_si128((__m128i *)t, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(t + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
    memcpy(p, t, n * sizeof *p);
}

/* Absolute values have the order of their bits, in which Inf and NaN are the largest. */
static inline __m256i abs_bits(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}
static inline float v_top_abs(v16 x, v16 y)
{
    __m256i m = _mm256_max_epi32(_mm256_max_epi32(abs_bits(x.a), abs_bits(x.b)),
                                 _mm256_max_epi32(abs_bits(y.a), abs_bits(y.b)));
    __m128i t = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(t));
}

static inline int v_store_codes(int8_t *q, v16 x)
{
    __m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    w = _mm256_permute4x64_epi64(w, 0xd8);
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)q, b);
    __m128i s = _mm_maddubs_epi16(_mm_set1_epi8(1), b);
    s = _mm_madd_epi16(s, _mm_set1_epi16(1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* Adds lanes l and l + 4: of x into the low half of the result, of y into the high half. */
static inline __m256 fold_pair(__m256 x, __m256 y)
{
    return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}

static inline __m256 fold_quads(__m256 x)
{
    x = _mm256_add_ps(x, _mm256_permute_ps(x, 0x4e));
    return _mm256_add_ps(x, _mm256_permute_ps(x, 0xb1));
}

static inline float v_fold(v16 x)
{
    __m256 h = _mm256_add_ps(x.a, x.b);
    return _mm256_cvtss_f32(fold_quads(fold_pair(h, h)));
}

static inline float v_top(v16 x)
{
    __m256 h = _mm256_max_ps(x.a, x.b);
    h = _mm256_max_ps(h, _mm256_permute2f128_ps(h, h, 1));
    h = _mm256_max_ps(h, _mm256_permute_ps(h, 0x4e));
    return _mm256_cvtss_f32(_mm256_max_ps(h, _mm256_permute_ps(h, 0xb1)));
}

static inline float f16_one(f16_bits h) { return _cvtsh_ss(h); }

static inline c64 c_load(const uint8_t *u)
{
    return (c64){ _mm256_loadu_si256((const __m256i *)u),
                  _mm256_loadu_si256((const __m256i *)(u + 32)) };
}
static inline void c_store(uint8_t *u, c64 x)
{
    _mm256_storeu_si256((__m256i *)u, x.a);
    _mm256_storeu_si256((__m256i *)(u + 32), x.b);
}
static inline c64 c_or(c64 x, c64 y)
{
    return (c64){ _mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b) };
}

/* Shifts bytes by 16-bit shifts. The mask removes the bits that come from a neighbouring byte. */
static inline __m256i field(__m256i x, int at, int to, int bits)
{
    __m256i mask = _mm256_set1_epi8((char)(((1 << bits) - 1) << to));
    x = at >= to ? _mm256_srli_epi16(x, at - to) : _mm256_slli_epi16(x, to - at);
    return _mm256_and_si256(x, mask);
}
static inline c64 c_field(c64 x, int at, int to, int bits)
{
    return (c64){ field(x.a, at, to, bits), field(x.b, at, to, bits) };
}

static inline c64 c_lookup(const uint8_t table[16], c64 x)
{
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return (c64){ _mm256_shuffle_epi8(t, x.a), _mm256_shuffle_epi8(t, x.b) };
}

static inline i32x16 i_zero(void)
{
    return (i32x16){ _mm256_setzero_si256(), _mm256_setzero_si256() };
}
static inline i32x16 i_add(i32x16 x, i32x16 y)
{
    return (i32x16){ _mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b) };
}
static inline void i_store(int32_t *p, i32x16 x)
{
    _mm256_storeu_si256((__m256i *)p, x.a);
    _mm256_storeu_si256((__m256i *)(p + 8), x.b);
}

/* Puts the same four bytes into every lane. */
static inline __m256i four(const void *p)
{
    int bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

/* Makes the compiler compute the value here. GCC would otherwise compute all products first, for
 * which there are not enough registers. */
#define NOW(x) __asm__ volatile("" : "+x"((x).a), "+x"((x).b))

#include "cpu/kernels/dot_tile.inc"

/* Works for codes up to NARROW_TOP. vpmaddubsw adds two products, at most 2 * 127 * top together,
 * in 16 bits. `chain` such sums can be added in 16 bits before they are widened. */
INLINE void dots_narrow(const uint8_t *block, struct codes codes, int g0, const int8_t *q,
                        size_t stride, size_t n, int n_groups, i32x16 *out)
{
    const int most = 32767 / (2 * 127 * codes.top),
              chain = most < n_groups ? most / 2 * 2 : n_groups;
    const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 4
    for (int g = 0; g < n_groups; g += chain) {
        i32x16 sum[REG_ROWS];
#pragma GCC unroll 8
        for (int k = 0; k < chain; k++) {
            c64 w = group_of(block, g0 + g + k, codes);
            NOW(w);
#pragma GCC unroll 4
            for (size_t r = 0; r < n; r++) {
                __m256i x = four(q + r * stride + 4 * (g + k));
                __m256i a = _mm256_maddubs_epi16(w.a, x), b = _mm256_maddubs_epi16(w.b, x);
                sum[r].a = k == 0 ? a : _mm256_add_epi16(sum[r].a, a);
                sum[r].b = k == 0 ? b : _mm256_add_epi16(sum[r].b, b);
                NOW(sum[r]);
            }
        }
#pragma GCC unroll 4
        for (size_t r = 0; r < n; r++) {
            i32x16 s = { _mm256_madd_epi16(sum[r].a, one), _mm256_madd_epi16(sum[r].b, one) };
            out[r] = g == 0 ? s : i_add(out[r], s);
        }
    }
}

/* Works for any codes. It widens them to 16 bits: first the even codes of a group, then the odd
 * ones. */
INLINE void dots_wide(const uint8_t *block, struct codes codes, int g0, const int16_t *q,
                      size_t stride, size_t n, int n_groups, i32x16 *out)
{
    const __m256i low = _mm256_set1_epi16(0xff);
#pragma GCC unroll 16
    for (int k = 0; k < 2 * n_groups; k++) {
        c64 w = group_of(block, g0 + k / 2, codes);
        w.a = k % 2 == 0 ? _mm256_and_si256(w.a, low) : _mm256_srli_epi16(w.a, 8);
        w.b = k % 2 == 0 ? _mm256_and_si256(w.b, low) : _mm256_srli_epi16(w.b, 8);
        NOW(w);
#pragma GCC unroll 4
        for (size_t r = 0; r < n; r++) {
            __m256i x = four(q + r * stride + 2 * k);
            i32x16 s = { _mm256_madd_epi16(w.a, x), _mm256_madd_epi16(w.b, x) };
            out[r] = k == 0 ? s : i_add(out[r], s);
            NOW(out[r]);
        }
    }
}

INLINE void i_dots(const uint8_t *block, struct codes codes, int g0, const struct acts *a,
                   size_t row, size_t col, size_t n, int n_groups, i32x16 *out)
{
    const size_t at = row * a->stride + col;
    if (codes.top <= NARROW_TOP) {
        dots_narrow(block, codes, g0, a->q + at, a->stride, n, n_groups, out);
    } else {
        dots_wide(block, codes, g0, a->q16 + at, a->stride, n, n_groups, out);
    }
}

static inline void q_widen(const int8_t *q, size_t n, int16_t *q16)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0,
                                           1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    for (size_t i = 0; i < n; i += 16) {
        __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(q + i)));
        _mm256_storeu_si256((__m256i *)(q16 + i), _mm256_shuffle_epi8(x, order));
    }
}

#include "cpu/kernels/dot_body.inc"

const struct cpu_ops *cpu_ops_avx2(void)
{
    unsigned a, b, c = 0, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &ops : NULL;
}

#else

const struct cpu_ops *cpu_ops_avx2(void) { return NULL; }

#endif
