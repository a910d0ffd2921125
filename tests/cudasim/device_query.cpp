// The description of the simulated device: one device of compute capability 8.6 (a setting), so
// that the paths for mma.sync and cp.async run.
#include "runtime.h"

#include <cstdio>
#include <cstring>

using namespace cudasim;

extern "C" {

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 0;
    CUDASIM_ENTER;
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device)
{
    CUDASIM_ENTER;
    return device ? fail(cudaErrorInvalidDevice) : cudaSuccess;
}
cudaError_t cudaGetDevice(int *device)
{
    CUDASIM_ENTER;
    *device = 0;
    return cudaSuccess;
}

// Without a driver the runtime gives version 0 and no error.
cudaError_t cudaDriverGetVersion(int *v)
{
    const struct cudasim_config *s = cudasim_settings();
    *v = s->device_error ? 0 : s->driver_version ? s->driver_version : CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v)
{
    *v = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *v, cudaDeviceAttr a, int device)
{
    CUDASIM_ENTER;
    const struct cudasim_config *s = cudasim_settings();
    if (device)
        return fail(cudaErrorInvalidDevice);
    switch (a) {
    case cudaDevAttrMultiProcessorCount: *v = s->sm_count; break;
    case cudaDevAttrComputeCapabilityMajor: *v = s->compute_capability / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *v = s->compute_capability % 10; break;
    case cudaDevAttrMaxThreadsPerBlock: *v = 1024; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *v = 48 << 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = (int)s->shared_opt_in; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *v = (int)s->shared_opt_in + 1024; break;
    case cudaDevAttrL2CacheSize: *v = (int)s->l2_bytes; break;
    case cudaDevAttrWarpSize: *v = 32; break;
    case cudaDevAttrCooperativeLaunch: *v = 1; break;
    case cudaDevAttrMemoryPoolsSupported: *v = 0; break;
    default: return fail(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    CUDASIM_ENTER;
    const struct cudasim_config *s = cudasim_settings();
    if (device)
        return fail(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "cudasim");
    p->totalGlobalMem = s->device_memory;
    p->multiProcessorCount = s->sm_count;
    p->major = s->compute_capability / 10;
    p->minor = s->compute_capability % 10;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->sharedMemPerBlock = 48 << 10;
    p->sharedMemPerBlockOptin = s->shared_opt_in;
    p->sharedMemPerMultiprocessor = s->shared_opt_in + 1024;
    p->l2CacheSize = (int)s->l2_bytes;
    p->memoryBusWidth = 128;
    p->maxThreadsPerMultiProcessor = 1536;
    p->regsPerBlock = 65536;
    p->cooperativeLaunch = 1;
    return cudaSuccess;
}

} // extern "C"
