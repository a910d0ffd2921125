// Every .cu file includes this file. It offers CUDA in a form that both nvcc and the simulator
// (tests/cudasim) understand:
//
//   SHARED(float[32], partial);      a variable in the block's shared memory
//   SHARED_DYNAMIC(float, scores);   float *scores: the dynamic shared memory of the launch
//   launch(k, {.grid = n, .block = 256, .stream = s}, arguments...);   returns cudaError_t
//
// Rules for kernels: there is no <<<>>>, no raw __shared__, no inline asm (see ptx.cuh), no
// __device__ or __constant__ variable, and no branch on __CUDA_ARCH__ outside ptx.cuh. Only *_sync
// collectives are used, with the mask of the lanes that arrive. All threads of a block reach the
// same __syncthreads(), and none returns before it. A kernel template is launched only from the
// file that defines it. Spin loops contain load_acquire or spin_pause and run only in cooperative
// launches.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

template <class T> using cu_type = T; // lets SHARED take array types

#ifdef CUDASIM
#include "cudasim/launch.h" // what the simulator must know of a kernel
#define SHARED(T, name)                                                                            \
    static ::cudasim::SharedVar name##_var = {                                                     \
        sizeof(cu_type<T>), alignof(cu_type<T>), #name, { __FILE__, __LINE__ }, 0                  \
    };                                                                                             \
    cu_type<T> &name = *(cu_type<T> *)::cudasim::shared_var(&name##_var)
#define SHARED_DYNAMIC(T, name) T *name = (T *)::cudasim::shared_dynamic(alignof(T))
#else
#define SHARED(T, name) __shared__ cu_type<T> name
#define SHARED_DYNAMIC(T, name)                                                                    \
    extern __shared__ __align__(16) unsigned char cu_dynamic_shared[];                             \
    T *name = reinterpret_cast<T *>(cu_dynamic_shared)
#endif

struct LaunchConfig {
    dim3 grid = 1;
    dim3 block = 1;
    size_t shared = 0; // dynamic shared memory, bytes
    cudaStream_t stream = nullptr;
    // All blocks are resident at once.
    bool cooperative = false;
    // The kernel may start before the previous kernel of the stream has ended.
    bool programmatic = false;
};

template <class... P, class... A>
static inline cudaError_t launch(void (*kernel)(P...), const LaunchConfig &c, A &&...args)
{
#ifdef CUDASIM
    cudasim::register_typed(kernel);
#endif
    cudaLaunchAttribute attrs[2] = {};
    cudaLaunchConfig_t config = {};
    config.gridDim = c.grid;
    config.blockDim = c.block;
    config.dynamicSmemBytes = c.shared;
    config.stream = c.stream;
    config.attrs = attrs;
    if (c.cooperative) {
        attrs[config.numAttrs].id = cudaLaunchAttributeCooperative;
        attrs[config.numAttrs++].val.cooperative = 1;
    }
    if (c.programmatic) {
        attrs[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attrs[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    return cudaLaunchKernelEx(&config, kernel, static_cast<A &&>(args)...);
}
