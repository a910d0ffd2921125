/* The 16-lane vector vocabulary in AVX2 + FMA + F16C: a vector is two halves of 8 lanes. Compiled
 * with those flags for this file only; nothing here runs before cpu_ops_avx2 has asked the
 * processor. */
#include "cpu/dot.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define OPS_NAME "avx2"
#define TILE 4
#define QUERIES 4
#define ROWS 4
#define CHAINS 3

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

static inline v16 v_set1(float x) { return (v16){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }

#define BOTH(op)                                                                                   \
    return (v16) { op(x.a, y.a), op(x.b, y.b) }
static inline v16 v_add(v16 x, v16 y) { BOTH(_mm256_add_ps); }
static inline v16 v_sub(v16 x, v16 y) { BOTH(_mm256_sub_ps); }
static inline v16 v_mul(v16 x, v16 y) { BOTH(_mm256_mul_ps); }
static inline v16 v_div(v16 x, v16 y) { BOTH(_mm256_div_ps); }
static inline v16 v_max(v16 x, v16 y) { BOTH(_mm256_max_ps); }

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

static inline v16 v_spread2(const float *p)
{
    return (v16){ _mm256_broadcast_ss(p), _mm256_broadcast_ss(p + 1) };
}

static inline v16 v_spread4(const float *p)
{
    __m128 v = _mm_loadu_ps(p);
    __m256 w = _mm256_set_m128(v, v);
    const __m256i lo = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i hi = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    return (v16){ _mm256_permutevar_ps(w, lo), _mm256_permutevar_ps(w, hi) };
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

static inline void v_store_halves(float *low, float *high, v16 x)
{
    _mm256_storeu_ps(low, x.a);
    _mm256_storeu_ps(high, x.b);
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

/* Lanes l and l + 4 of x in the low half of the result, of y in the high half. */
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

static inline void v_fold4(v16 a, v16 b, v16 c, v16 d, float *out)
{
    __m256 ab = fold_pair(_mm256_add_ps(a.a, a.b), _mm256_add_ps(b.a, b.b));
    __m256 cd = fold_pair(_mm256_add_ps(c.a, c.b), _mm256_add_ps(d.a, d.b));
    ab = fold_quads(ab);
    cd = fold_quads(cd);
    out[0] = _mm256_cvtss_f32(ab);
    out[1] = _mm_cvtss_f32(_mm256_extractf128_ps(ab, 1));
    out[2] = _mm256_cvtss_f32(cd);
    out[3] = _mm_cvtss_f32(_mm256_extractf128_ps(cd, 1));
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

/* Exact. vpmaddubsw saturates at 32767: two products of u <= 127 and |q| <= 127 fit, larger codes
 * go by 16-bit halves. */
static inline __m256 dot32(__m256i u, const int8_t *p, bool wide)
{
    __m256i q = _mm256_loadu_si256((const __m256i *)p);
    if (!wide) {
        __m256i pairs = _mm256_maddubs_epi16(u, q);
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    __m256i even = _mm256_madd_epi16(_mm256_and_si256(u, _mm256_set1_epi16(0xff)),
                                     _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(q, 8));
    return _mm256_cvtepi32_ps(_mm256_add_epi32(even, odd));
}

static inline v16 c_dot(c64 w, const int8_t *q, bool wide)
{
    return (v16){ dot32(w.a, q, wide), dot32(w.b, q + 32, wide) };
}

static inline __m256i mac32(__m256i sum, __m256i u, const int8_t *q)
{
    __m256i pairs = _mm256_maddubs_epi16(u, _mm256_loadu_si256((const __m256i *)q));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline i32x16 i_mac(i32x16 sum, c64 u, const int8_t *q)
{
    return (i32x16){ mac32(sum.a, u.a, q), mac32(sum.b, u.b, q + 32) };
}

static inline i32x16 i_zero(void)
{
    return (i32x16){ _mm256_setzero_si256(), _mm256_setzero_si256() };
}

static inline void i_store(int32_t *p, i32x16 x)
{
    _mm256_storeu_si256((__m256i *)p, x.a);
    _mm256_storeu_si256((__m256i *)(p + 8), x.b);
}

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
    int bits;
    memcpy(&bits, qh, sizeof bits);
    const __m256i byte_of_lane =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of_lane = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i set =
        _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of_lane), bit_of_lane);
    __m256i high = _mm256_and_si256(_mm256_cmpeq_epi8(set, bit_of_lane), _mm256_set1_epi8(16));
    _mm256_storeu_si256((__m256i *)u, _mm256_or_si256(nibbles(qs), high));
}

#include "cpu/dot_body.h"

const struct cpu_ops *cpu_ops_avx2(void)
{
    unsigned a, b, c = 0, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &ops : NULL;
}

#else

const struct cpu_ops *cpu_ops_avx2(void) { return NULL; }

#endif
