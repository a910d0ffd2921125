// Planted bugs in how kernels and the host use device and shared memory.
#include "bugs.h"

#include <cstring>

__global__ void k_write(float *y, int i) { y[i] = 1; }
__global__ void k_copy(float *y, const float *x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i] = x[i];
}
__global__ void k_null(float *y) { y[threadIdx.x] = 1; }

static void write(float *p, int i)
{
    OK(launch(k_write, { .block = 1 }, p, i));
    OK(cudaDeviceSynchronize());
}
static float *ten_floats()
{
    float *p;
    OK(cudaMalloc((void **)&p, 40));
    return p;
}

static void bounds_far() { write(Bench().y, 256); }
static void bounds_by_one() { write(ten_floats(), 10); }
static void bounds_negative() { write(Bench().y, -1); }

static void host_reads()
{
    volatile float v = Bench().y[3];
    printf("%g\n", v);
}
static void host_writes() { *(volatile float *)Bench().y = 1; }
static void host_memcpy()
{
    float v[4];
    memcpy(v, Bench().y, sizeof v);
    printf("%g\n", v[0]);
}

static void host_pointer_to_kernel()
{
    Bench b;
    std::vector<float> v(256);
    OK(launch(k_copy, { .block = 256 }, b.y, v.data(), 256));
    OK(cudaDeviceSynchronize());
}
static void freed_to_kernel()
{
    float *z = ten_floats();
    OK(cudaFree(z));
    write(z, 0);
}
static void freed_before_run() // correct, because cudaFree waits
{
    Bench b;
    float *z = ten_floats();
    OK(launch(k_write, { .block = 1, .stream = b.s }, z, 0));
    OK(cudaFree(z));
    OK(cudaDeviceSynchronize());
}
static void double_free()
{
    float *z = ten_floats();
    OK(cudaFree(z));
    refused(cudaFree(z));
}
static void uninitialised_global()
{
    Bench b;
    OK(launch(k_copy, { .block = 32 }, b.y, ten_floats(), 10));
    b.expect(10, 0);
}

__global__ void k_shared_uninitialised(float *y)
{
    SHARED(float[32], a);
    y[threadIdx.x] = a[threadIdx.x];
}
static void uninitialised_shared()
{
    Bench b;
    OK(launch(k_shared_uninitialised, { .block = 32 }, b.y));
    b.expect(32, 0);
}

__global__ void k_shared_bounds(float *y, int i)
{
    SHARED(float[32], a);
    SHARED(float[32], b);
    a[threadIdx.x] = 1;
    b[threadIdx.x] = 2;
    a[i] = 3;
    __syncwarp();
    y[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x];
}
static void shared_bounds(int i)
{
    Bench b;
    OK(launch(k_shared_bounds, { .block = 32 }, b.y, i));
    OK(cudaDeviceSynchronize());
}
static void shared_by_one() { shared_bounds(32); }
static void shared_into_next() { shared_bounds(50); }

__global__ void k_dynamic_bounds(float *y, int i)
{
    SHARED_DYNAMIC(float, a);
    a[threadIdx.x] = 1;
    a[i] = 3;
    y[threadIdx.x] = a[threadIdx.x];
}
static void dynamic_by_one_unrounded()
{
    OK(launch(k_dynamic_bounds, { .block = 31, .shared = 124 }, Bench().y, 31));
    OK(cudaDeviceSynchronize());
}
static void dynamic_by_one()
{
    OK(launch(k_dynamic_bounds, { .block = 32, .shared = 128 }, Bench().y, 32));
    OK(cudaDeviceSynchronize());
}
static void too_much_shared()
{
    refused(launch(k_dynamic_bounds, { .block = 32, .shared = 60000 }, Bench().y, 0));
}

__global__ void k_much_shared(float *y)
{
    SHARED(float[10000], a);
    SHARED_DYNAMIC(float, b);
    a[threadIdx.x] = b[threadIdx.x] = 1;
    y[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x];
}
static void too_much_together()
{
    const int n = 64000;
    OK(cudaFuncSetAttribute((const void *)k_much_shared,
                            cudaFuncAttributeMaxDynamicSharedMemorySize, n));
    OK(launch(k_much_shared, { .block = 32, .shared = n }, Bench().y));
    OK(cudaDeviceSynchronize());
}

__global__ void k_misaligned(float *y, const float *x)
{
    const float4 v = *(const float4 *)(x + 1);
    y[0] = v.x;
}
static void misaligned()
{
    Bench b;
    OK(launch(k_misaligned, { .block = 1 }, b.y, b.x));
    OK(cudaDeviceSynchronize());
}
static void null_pointer()
{
    OK(launch(k_null, { .block = 32 }, (float *)nullptr));
    OK(cudaDeviceSynchronize());
}

__global__ void k_stack(float *y)
{
    volatile char big[1 << 20];
    for (int i = (1 << 20) - 1; i >= 0; i -= 1024)
        big[i] = 1;
    y[0] = big[1023];
}
static void stack_overflow()
{
    OK(launch(k_stack, { .block = 1 }, Bench().y));
    OK(cudaDeviceSynchronize());
}

__global__ void k_overflow(int *y, int n) { y[0] = n * n; }
static void signed_overflow()
{
    OK(launch(k_overflow, { .block = 1 }, (int *)Bench().y, 70000));
    OK(cudaDeviceSynchronize());
}

const bug memory_bugs[] = {
    { "bounds_far", "adrst", "access outside any allocation|wrote just outside", bounds_far },
    { "bounds_by_one", "adrs", "wrote just outside", bounds_by_one },
    { "bounds_negative", "adrs", "wrote just outside|access outside any allocation",
      bounds_negative },
    { "host_reads", "adrst", "host code used a device pointer", host_reads },
    { "host_writes", "adrst", "host code used a device pointer", host_writes },
    { "host_memcpy", "adrst", "host code used a device pointer", host_memcpy },
    { "host_pointer_to_kernel", "adrst", "is a host pointer", host_pointer_to_kernel },
    { "freed_to_kernel", "adrst", "to freed device memory", freed_to_kernel },
    { "freed_before_run_ok", "", "", freed_before_run },
    { "double_free", "adrst", "freed twice", double_free },
    { "uninitialised_global", "adrst", "wrong result", uninitialised_global },
    { "uninitialised_shared", "adrst", "wrong result", uninitialised_shared },
    { "shared_by_one", "adrs", "wrote beyond shared variable", shared_by_one },
    { "shared_into_next", "s", "", shared_into_next },
    { "dynamic_by_one", "adrst", "beyond shared memory", dynamic_by_one },
    { "dynamic_by_one_unrounded", "adrs", "of dynamic shared memory", dynamic_by_one_unrounded },
    { "too_much_shared", "adrst", "refused", too_much_shared },
    { "too_much_together", "adrst", "too much shared memory", too_much_together },
    { "misaligned", "s", "", misaligned },
    { "null_pointer", "adrst", "null pointer", null_pointer },
    { "stack_overflow", "adrst", "stack of a simulated thread", stack_overflow },
    { "signed_overflow", "s", "", signed_overflow },
    {},
};
