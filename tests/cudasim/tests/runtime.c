/* Samples: the runtime as plain C host code uses it: device queries, memory, copies, the last
 * error, streams and events. */
#include "check.h"
#include "cudasim/testing.h"

#include <string.h>

static void device(void)
{
    struct cudaDeviceProp p;
    int n, major, driver, runtime;
    OK(cudaGetDeviceCount(&n));
    CHECK(n == 1);
    OK(cudaSetDevice(0));
    OK(cudaGetDeviceProperties(&p, 0));
    CHECK(p.major == 8 && p.minor == 6 && p.multiProcessorCount > 0 && p.warpSize == 32);
    OK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    CHECK(major == p.major);
    OK(cudaDriverGetVersion(&driver));
    OK(cudaRuntimeGetVersion(&runtime));
    CHECK(driver >= runtime && runtime == CUDART_VERSION);
    cudasim_settings()->driver_version = 12020;
    OK(cudaDriverGetVersion(&driver));
    CHECK(driver == 12020);
    CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
    CHECK(cudaGetDeviceProperties(&p, 1) == cudaErrorInvalidDevice);
}

/* For which device the code was made, and where it runs. */
static void code(void)
{
    struct cudaFuncAttributes a;
    static const char kernel[1]; /* the runtime does not look at it */
    OK(cudaFuncGetAttributes(&a, kernel));
    CHECK(a.ptxVersion == 86 && a.binaryVersion == 86);
    cudasim_settings()->ptx_version = 80;
    OK(cudaFuncGetAttributes(&a, kernel));
    CHECK(a.ptxVersion == 80 && a.binaryVersion == 86);
    cudasim_settings()->ptx_version = 90;
    CHECK(cudaFuncGetAttributes(&a, kernel) == cudaErrorNoKernelImageForDevice);
}

static void no_device(void)
{
    int n = 7, driver = 7;
    void *p = NULL;
    cudasim_settings()->device_error = cudaErrorNoDevice;
    CHECK(cudaGetDeviceCount(&n) == cudaErrorNoDevice && n == 0);
    CHECK(cudaMalloc(&p, 16) == cudaErrorNoDevice && !p);
    OK(cudaDriverGetVersion(&driver));
    CHECK(driver == 0);
}

static void last_error(void)
{
    void *p;
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaSetDevice(5) == cudaErrorInvalidDevice);
    /* A success does not clear the error. */
    OK(cudaMalloc(&p, 16));
    CHECK(cudaPeekAtLastError() == cudaErrorInvalidDevice);
    CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
    CHECK(cudaGetLastError() == cudaSuccess);
    OK(cudaFree(p));
    CHECK(!strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation"));
    CHECK(!strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory"));
}

static void memory(void)
{
    size_t available, total, left;
    unsigned char host[300];
    void *p, *q = &q;
    cudasim_settings()->device_memory = 1 << 20;
    OK(cudaMemGetInfo(&available, &total));
    CHECK(available == total && total == 1 << 20);
    OK(cudaMalloc(&p, 300));
    CHECK((uintptr_t)p % 256 == 0 && cudasim_is_device(p) && !cudasim_is_device(host));
    OK(cudaMemGetInfo(&left, &total));
    CHECK(left == available - 300);
    CHECK(cudaMalloc(&q, 1 << 20) == cudaErrorMemoryAllocation && !q);
    OK(cudaMemcpy(host, p, 300, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 300; i++)
        CHECK(host[i] == 0xFF);
    OK(cudaMemset(p, 5, 299));
    OK(cudaMemcpy(host, p, 300, cudaMemcpyDefault));
    CHECK(host[298] == 5 && host[299] == 0xFF);
    CHECK(cudaMemset(p, 5, 301) == cudaErrorInvalidValue);
    CHECK(cudaMemset(host, 5, 1) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(p, host, 300, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy((char *)p + 200, host, 101, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaFree((char *)p + 1) == cudaErrorInvalidValue);
    OK(cudaFree(p));
    CHECK(cudaFree(p) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(p, host, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    OK(cudaMemGetInfo(&left, &total));
    CHECK(left == total);
    OK(cudaFree(NULL));
}

static void copies(void)
{
    int host[6] = { 1, 2, 3, 4, 5, 6 }, back[4] = { 0 }, *pinned, *d;
    struct cudaPointerAttributes a;
    OK(cudaMalloc((void **)&d, 4 * sizeof(int)));
    OK(cudaHostAlloc((void **)&pinned, 4 * sizeof(int), cudaHostAllocDefault));
    OK(cudaPointerGetAttributes(&a, pinned));
    CHECK(a.type == cudaMemoryTypeHost);
    OK(cudaPointerGetAttributes(&a, d));
    CHECK(a.type == cudaMemoryTypeDevice);
    OK(cudaPointerGetAttributes(&a, host));
    CHECK(a.type == cudaMemoryTypeUnregistered);
    /* Copies two elements from each of two rows of three. */
    OK(cudaMemcpy2D(d, 8, host, 12, 8, 2, cudaMemcpyHostToDevice));
    OK(cudaMemcpy(back, d, sizeof back, cudaMemcpyDeviceToHost));
    CHECK(back[0] == 1 && back[1] == 2 && back[2] == 4 && back[3] == 5);
    /* The values are not in pinned memory before the wait. A copy that is too long is refused. */
    OK(cudaMemcpyAsync(pinned, d, 16, cudaMemcpyDeviceToHost, NULL));
    CHECK(pinned[0] == -1);
    OK(cudaDeviceSynchronize());
    CHECK(pinned[3] == 5);
    CHECK(cudaMemcpyAsync(pinned + 1, d, 16, cudaMemcpyDeviceToHost, NULL) ==
          cudaErrorInvalidValue);
    /* pageable memory is read at the call */
    OK(cudaMemcpyAsync(d, host, 16, cudaMemcpyHostToDevice, NULL));
    host[0] = 9;
    OK(cudaMemcpy(back, d, 16, cudaMemcpyDeviceToHost));
    CHECK(back[0] == 1);
    OK(cudaFree(d));
    OK(cudaFreeHost(pinned));
}

static void streams(void)
{
    cudaStream_t a, b;
    cudaEvent_t done, start;
    int *d, *p;
    float ms = -1;
    OK(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&done));
    OK(cudaMalloc((void **)&d, 4));
    OK(cudaMallocHost((void **)&p, 4));
    OK(cudaEventRecord(start, a));
    OK(cudaMemsetAsync(d, 0, 4, a));
    OK(cudaMemsetAsync(d, 1, 4, a));
    OK(cudaEventRecord(done, a));
    CHECK(cudaEventQuery(done) == cudaErrorNotReady);
    OK(cudaStreamWaitEvent(b, done, 0));
    OK(cudaMemcpyAsync(p, d, 4, cudaMemcpyDeviceToHost, b));
    OK(cudaStreamSynchronize(b));
    CHECK(*p == 0x01010101);
    OK(cudaEventSynchronize(done));
    OK(cudaEventElapsedTime(&ms, start, done));
    CHECK(ms >= 0);
    OK(cudaEventDestroy(start));
    OK(cudaEventDestroy(done));
    OK(cudaStreamDestroy(a));
    CHECK(cudaStreamSynchronize(a) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(done, b) == cudaErrorInvalidResourceHandle);
    OK(cudaStreamDestroy(b));
    OK(cudaFree(d));
    OK(cudaFreeHost(p));
}

const struct sample runtime_samples[] = { { "device", device },       { "code", code },
                                          { "no_device", no_device }, { "last_error", last_error },
                                          { "memory", memory },       { "copies", copies },
                                          { "streams", streams },     { NULL, NULL } };
