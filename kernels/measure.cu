// Asks a device what it offers to kernels, and measures the best that it can do, for
// tools/gpu-bench: how fast it reads memory, and what a kernel costs that does nothing.
//
//   read_all  *sum += all 32-bit words of from[n], so that no load can be left out
//   nothing   takes its place in the chain of dependent kernels, and no more
//
// Bytes: each is read once, 16 by each load. The loads of a warp are contiguous, and every thread
// has LOADS of them under way. Blocks of 256 threads; the caller says how many there are for each
// SM. Tests: tests/cuda/test_measure.c, and tests/cuda/sim_launch.c for kernel_queue().
#include "device.cuh"

enum { THREADS = 256, LOADS = 4 };

// Code that was compiled for 9.0 or later waits for the kernel before it (grid_dependency_wait).
// Other code does not, whatever the device: PTX for 8.0 that the driver compiles for a later GPU
// must not start early.
enum { WAITS_SINCE = 90 };

// From CUDA 12.3 on, a graph keeps the dependency of a programmatic launch, and a kernel can be
// loaded while a stream is captured.
enum { GRAPHS_SINCE = 12030 };

__device__ __forceinline__ unsigned add_words(unsigned sum, uint4 v)
{
    return sum + v.x + v.y + v.z + v.w;
}

__global__ void __launch_bounds__(THREADS) read_all(const uint4 *from, size_t n, unsigned *sum)
{
    grid_dependency_release();
    grid_dependency_wait();
    const size_t stride = (size_t)gridDim.x * THREADS;
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    unsigned words = 0;
    for (; i + (LOADS - 1) * stride < n; i += LOADS * stride) {
        uint4 v[LOADS];
#pragma unroll
        for (int k = 0; k < LOADS; k++) {
            v[k] = load_weights16(from + i + k * stride);
        }
#pragma unroll
        for (int k = 0; k < LOADS; k++) {
            words = add_words(words, v[k]);
        }
    }
    for (; i < n; i += stride) {
        words = add_words(words, load_weights16(from + i));
    }
    words = __reduce_add_sync(ALL_LANES, words);
    if (threadIdx.x % WARP == 0) {
        atomicAdd(sum, words);
    }
}

__global__ void nothing()
{
    grid_dependency_release();
    grid_dependency_wait();
}

// Asks the runtime about the device and the kernels' code. Returns the first error.
static cudaError_t ask_device(int device, int *n_sms, int *shared, int *l2,
                              struct cudaFuncAttributes *code)
{
    cudaError_t e = cudaSetDevice(device);
    if (e == cudaSuccess) {
        e = cudaDeviceGetAttribute(n_sms, cudaDevAttrMultiProcessorCount, device);
    }
    if (e == cudaSuccess) {
        e = cudaDeviceGetAttribute(shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    }
    if (e == cudaSuccess) {
        e = cudaDeviceGetAttribute(l2, cudaDevAttrL2CacheSize, device);
    }
    return e == cudaSuccess ? cudaFuncGetAttributes(code, (const void *)nothing) : e;
}

cudaError_t kernel_queue(int device, struct dqueue *on)
{
    int n_sms, shared, l2, driver = 0, runtime = 0;
    struct cudaFuncAttributes code;
    const cudaError_t e = ask_device(device, &n_sms, &shared, &l2, &code);
    if (e != cudaSuccess) {
        return e;
    }
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    on->n_sms = (uint32_t)n_sms;
    on->shared_bytes = (uint32_t)shared;
    on->l2_bytes = (uint32_t)l2;
    on->graphs = driver >= GRAPHS_SINCE && runtime >= GRAPHS_SINCE;
    on->programmatic = on->graphs && code.ptxVersion >= WAITS_SINCE;
    return cudaSuccess;
}

cudaError_t kernel_measure_read(struct dptr from, size_t bytes, struct dptr sum,
                                uint32_t blocks_per_sm, const struct dqueue *on)
{
    return launch(read_all,
                  { .grid = on->n_sms * blocks_per_sm,
                    .block = THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  ptr<const uint4>(from), bytes / sizeof(uint4), ptr<unsigned>(sum));
}

cudaError_t kernel_measure_nothing(uint32_t n_blocks, const struct dqueue *on)
{
    return launch(nothing, { .grid = n_blocks,
                             .block = THREADS,
                             .stream = on->stream,
                             .programmatic = on->programmatic });
}
