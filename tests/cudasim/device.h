// The device side of CUDA for a host compiler: builtin variables, barriers, and (in the two headers
// that it includes) warp collectives, atomics, arithmetic. include/cuda_runtime.h includes it after
// NVIDIA's header. What is missing here is a compile error, not a silent pass.
#pragma once
#ifdef __cplusplus
#include "cudasim.h"

// They are written at every switch from one simulated thread to another.
extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
#undef __shared__
#define __shared__ static_assert(false, "use SHARED(T, name), so that the simulator sees it too");
#undef __constant__
#define __constant__ static_assert(false, "pass parameters by value instead of __constant__ data");
#define CUDASIM_INLINE static inline __attribute__((always_inline, unused))

CUDASIM_INLINE void __syncthreads(CUDASIM_SITE)
{
    ::cudasim::block_barrier(::cudasim::BARRIER_SYNC, 0, site);
}
CUDASIM_INLINE int __syncthreads_and(int p, CUDASIM_SITE)
{
    return ::cudasim::block_barrier(::cudasim::BARRIER_AND, p, site);
}
CUDASIM_INLINE int __syncthreads_or(int p, CUDASIM_SITE)
{
    return ::cudasim::block_barrier(::cudasim::BARRIER_OR, p, site);
}
CUDASIM_INLINE int __syncthreads_count(int p, CUDASIM_SITE)
{
    return ::cudasim::block_barrier(::cudasim::BARRIER_COUNT, p, site);
}
CUDASIM_INLINE void __syncwarp(unsigned mask = ~0u, CUDASIM_SITE)
{
    ::cudasim::warp_collective(mask, nullptr, nullptr, "__syncwarp", site);
}
CUDASIM_INLINE void __threadfence() { ::cudasim::memory_fence(); }
CUDASIM_INLINE void __threadfence_block() { ::cudasim::memory_fence(); }
CUDASIM_INLINE void __threadfence_system() { ::cudasim::memory_fence(); }
CUDASIM_INLINE void __nanosleep(unsigned, CUDASIM_SITE) { ::cudasim::yield(site); }

#include "device_math.h"
#include "device_warp.h"
#endif
