// NVIDIA's header, and the fused operations that it keeps for device code. A product of two bf16 is
// exact in double.
#pragma once
#include_next <cuda_bf16.h>
#include <cuda_runtime.h>
#ifdef __cplusplus
static inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c)
{
    return __double2bfloat16((double)__bfloat162float(a) * __bfloat162float(b) +
                             __bfloat162float(c));
}
static inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c)
{
    return __halves2bfloat162(__hfma(__low2bfloat16(a), __low2bfloat16(b), __low2bfloat16(c)),
                              __hfma(__high2bfloat16(a), __high2bfloat16(b), __high2bfloat16(c)));
}
#endif
