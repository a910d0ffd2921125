// Loads and stores with cache hints, integer and floating-point intrinsics. Results are those of
// the CUDA manual, except that the fast approximations (__expf, ...) are libm's more exact
// functions.
#pragma once
#include "cudasim.h"
#include <cmath>
#include <cstdio>
#include <cstring>

#define CUDASIM_LOAD(name)                                                                         \
    template <class T> CUDASIM_INLINE T name(const T *p) { return *p; }
CUDASIM_LOAD(__ldg)
CUDASIM_LOAD(__ldca)
CUDASIM_LOAD(__ldcg)
CUDASIM_LOAD(__ldcs)
CUDASIM_LOAD(__ldlu)
#undef CUDASIM_LOAD
#define CUDASIM_STORE(name)                                                                        \
    template <class T> CUDASIM_INLINE void name(T *p, T v) { *p = v; }
CUDASIM_STORE(__stcg)
CUDASIM_STORE(__stcs)
CUDASIM_STORE(__stwb)
CUDASIM_STORE(__stwt)
#undef CUDASIM_STORE

// ---- integer

CUDASIM_INLINE int __dp4a(int a, int b, int c)
{
    unsigned sum = (unsigned)c;
    for (int i = 0; i < 4; i++)
        sum += (unsigned)((int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i));
    return (int)sum;
}
CUDASIM_INLINE unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 4; i++)
        c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
    return c;
}
CUDASIM_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
CUDASIM_INLINE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
CUDASIM_INLINE int __ffs(int x) { return __builtin_ffs(x); }
CUDASIM_INLINE unsigned __brev(unsigned x)
{
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        r |= (x >> i & 1) << (31 - i);
    return r;
}
CUDASIM_INLINE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
    const uint64_t v = (uint64_t)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        unsigned s = selector >> 4 * i & 15, byte = (unsigned)(v >> 8 * (s & 7)) & 255;
        if (s & 8) // all eight bits become the sign of the byte
            byte = byte & 128 ? 255 : 0;
        r |= byte << 8 * i;
    }
    return r;
}
CUDASIM_INLINE unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n)
{
    return (unsigned)((((uint64_t)hi << 32 | lo) << (n & 31)) >> 32);
}
CUDASIM_INLINE unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n)
{
    return (unsigned)(((uint64_t)hi << 32 | lo) >> (n & 31));
}
CUDASIM_INLINE int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
CUDASIM_INLINE unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
// Four bytes at once: x and y are the bytes of a and b.
#define CUDASIM_BYTES(name, expr)                                                                  \
    CUDASIM_INLINE unsigned name(unsigned a, unsigned b)                                           \
    {                                                                                              \
        unsigned r = 0;                                                                            \
        for (int i = 0; i < 4; i++) {                                                              \
            const int x = (int)(a >> 8 * i & 255), y = (int)(b >> 8 * i & 255);                    \
            r |= ((unsigned)(expr)&255) << 8 * i;                                                  \
        }                                                                                          \
        return r;                                                                                  \
    }
CUDASIM_BYTES(__vadd4, x + y)
CUDASIM_BYTES(__vsub4, x - y)
CUDASIM_BYTES(__vcmpeq4, x == y ? 255 : 0)
CUDASIM_BYTES(__vcmpne4, x != y ? 255 : 0)
CUDASIM_BYTES(__vsubss4, fmin(127, fmax(-128, (int8_t)x - (int8_t)y)) + 256)
#undef CUDASIM_BYTES

// ---- floating point

#define CUDASIM_MINMAX(T)                                                                          \
    CUDASIM_INLINE T min(T a, T b) { return b < a ? b : a; }                                       \
    CUDASIM_INLINE T max(T a, T b) { return a < b ? b : a; }
CUDASIM_MINMAX(int)
CUDASIM_MINMAX(unsigned)
CUDASIM_MINMAX(long)
CUDASIM_MINMAX(unsigned long)
CUDASIM_MINMAX(long long)
CUDASIM_MINMAX(unsigned long long)
#undef CUDASIM_MINMAX
CUDASIM_INLINE float min(float a, float b) { return fminf(a, b); }
CUDASIM_INLINE float max(float a, float b) { return fmaxf(a, b); }
CUDASIM_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
CUDASIM_INLINE void sincospif(float x, float *s, float *c)
{
    *s = (float)sin(M_PI * (double)x);
    *c = (float)cos(M_PI * (double)x);
}
// Macros, because glibc declares functions of these names.
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __powf powf
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __sincosf sincosf
CUDASIM_INLINE float __fdividef(float a, float b) { return a / b; }
CUDASIM_INLINE float __frcp_rn(float a) { return 1.0f / a; }
CUDASIM_INLINE float __fsqrt_rn(float a) { return sqrtf(a); }
CUDASIM_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
CUDASIM_INLINE float __fadd_rn(float a, float b) { return a + b; }
CUDASIM_INLINE float __fmul_rn(float a, float b) { return a * b; }
CUDASIM_INLINE float __fdiv_rn(float a, float b) { return a / b; }
CUDASIM_INLINE float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1) : 0; }
CUDASIM_INLINE int __float2int_rn(float a) { return (int)lrintf(a); }
CUDASIM_INLINE int __float2int_rz(float a) { return (int)a; }
CUDASIM_INLINE float __int2float_rn(int a) { return (float)a; }

namespace cudasim
{
template <class To, class From> static inline To bits(From v)
{
    static_assert(sizeof(To) == sizeof(From), "same size");
    To r;
    memcpy(&r, &v, sizeof r);
    return r;
}
} // namespace cudasim
CUDASIM_INLINE int __float_as_int(float a) { return cudasim::bits<int>(a); }
CUDASIM_INLINE unsigned __float_as_uint(float a) { return cudasim::bits<unsigned>(a); }
CUDASIM_INLINE float __int_as_float(int a) { return cudasim::bits<float>(a); }
CUDASIM_INLINE float __uint_as_float(unsigned a) { return cudasim::bits<float>(a); }
CUDASIM_INLINE long long clock64() { return 0; }
