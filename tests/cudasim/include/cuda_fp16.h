// NVIDIA's header gives conversions, + - * / and comparisons to host compilers too; this file adds
// those operations that NVIDIA gives only to device code and that our kernels use. Each result is
// rounded once: from float, or for the fused operations from double, in which a product of two
// halves is exact.
#pragma once
#include_next <cuda_fp16.h>
#include <cuda_runtime.h>
#ifdef __cplusplus
static inline __half __hfma(__half a, __half b, __half c)
{
    return __double2half((double)__half2float(a) * __half2float(b) + __half2float(c));
}
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c)
{
    return __halves2half2(__hfma(__low2half(a), __low2half(b), __low2half(c)),
                          __hfma(__high2half(a), __high2half(b), __high2half(c)));
}
#define CUDASIM_HALF(f, expr)                                                                      \
    static inline __half h##f(__half a)                                                            \
    {                                                                                              \
        float x = __half2float(a);                                                                 \
        return __float2half(expr);                                                                 \
    }                                                                                              \
    static inline __half2 h2##f(__half2 a)                                                         \
    {                                                                                              \
        return __halves2half2(h##f(__low2half(a)), h##f(__high2half(a)));                          \
    }
CUDASIM_HALF(exp, expf(x))
CUDASIM_HALF(exp2, exp2f(x))
CUDASIM_HALF(log, logf(x))
CUDASIM_HALF(sqrt, sqrtf(x))
CUDASIM_HALF(rsqrt, 1.0f / sqrtf(x))
CUDASIM_HALF(rcp, 1.0f / x)
CUDASIM_HALF(tanh, tanhf(x))
#undef CUDASIM_HALF
#endif
