/* Describes the CUDA devices of this machine, in words that a user can act on. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cuda.h"
#include "platform.h"

/* The least compute capability: the kernels use mma.sync on halves, and cp.async. */
enum { MIN_MAJOR = 8 };

#define VERSION(v) (v) / 1000, (v) % 1000 / 10

/* Explains that a kernel of some engine of this process has failed before. */
static void explain_lost(char *dst, size_t cap, cudaError_t e)
{
    snprintf(dst, cap,
             "a kernel failed earlier in this process, and CUDA with it (%s: %.80s); restart the "
             "program",
             cudaGetErrorName(e), cudaGetErrorString(e));
}

static void explain(struct cuda_platform *p, cudaError_t e)
{
    char *dst = p->problem;
    const size_t cap = sizeof p->problem;
    p->lost = cuda_process_lost(e);
    if (p->lost) {
        explain_lost(dst, cap, e);
    } else if (p->driver == 0) {
        snprintf(dst, cap,
                 "no NVIDIA driver was found (%s); install one for CUDA %d.%d or later, or let "
                 "this container see its GPUs (docker run --gpus all)",
                 cudaGetErrorName(e), VERSION(p->runtime));
    } else if (e == cudaErrorInsufficientDriver) {
        snprintf(dst, cap,
                 "the NVIDIA driver runs CUDA up to %d.%d, and Weft was built with %d.%d (%s); "
                 "update the driver, or build Weft with an older CUDA toolkit",
                 VERSION(p->driver), VERSION(p->runtime), cudaGetErrorName(e));
    } else if (e == cudaErrorNoDevice || e == cudaSuccess) {
        snprintf(dst, cap,
                 "the NVIDIA driver (CUDA %d.%d) shows no GPU (%s); see whether nvidia-smi lists "
                 "one, and whether CUDA_VISIBLE_DEVICES hides it",
                 VERSION(p->driver), cudaGetErrorName(cudaErrorNoDevice));
    } else {
        snprintf(dst, cap,
                 "the NVIDIA driver (CUDA %d.%d) does not start (%s: %.80s); see whether "
                 "nvidia-smi works",
                 VERSION(p->driver), cudaGetErrorName(e), cudaGetErrorString(e));
    }
}

void cuda_platform_get(struct cuda_platform *p)
{
    int n = 0;
    *p = (struct cuda_platform){ .built = true };
    (void)cudaDriverGetVersion(&p->driver); /* 0 without a driver */
    (void)cudaRuntimeGetVersion(&p->runtime);
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess && n > 0) {
        p->n_devices = (size_t)n;
    } else {
        explain(p, e);
    }
    (void)cudaGetLastError(); /* the error is reported here; a later call must not see it */
}

/* Asking for the free memory and for the code of kernels needs a context on the current device.
 * Every thread has its own current device, so another thread asks: the caller's device stays as it
 * is, and the caller's thread gets no context that nobody asked for. */
struct device_query {
    int device;
    cudaError_t error;
    size_t free_bytes, total_bytes; /* 0 = unknown */
};

static void *ask_device(void *arg)
{
    struct device_query *q = arg;
    struct dqueue queue = { .stream = NULL };
    size_t available, total;
    q->error = cudaSetDevice(q->device);
    if (q->error == cudaSuccess) {
        q->error = cudaMemGetInfo(&available, &total);
    }
    if (q->error == cudaSuccess) {
        q->free_bytes = available;
        q->total_bytes = total;
        q->error = kernel_queue(q->device, &queue);
    }
    (void)cudaGetLastError();
    return NULL;
}

static void explain_silence(struct cuda_device *d, cudaError_t e)
{
    d->lost = cuda_process_lost(e);
    if (d->lost) {
        explain_lost(d->problem, sizeof d->problem, e);
    } else {
        snprintf(d->problem, sizeof d->problem,
                 "it does not answer (%s: %.80s); see whether nvidia-smi shows it in use or failed",
                 cudaGetErrorName(e), cudaGetErrorString(e));
    }
}

static void explain_code(struct cuda_device *d, cudaError_t e)
{
    snprintf(d->problem, sizeof d->problem,
             "this build has no kernels that run on it (%s); build Weft on this machine, or with "
             "make CUDA_ARCH=sm_%d%d",
             cudaGetErrorName(e), d->major, d->minor);
}

/* Returns true for the errors of a driver that finds no code for the device in this program, or
 * cannot compile it. */
static bool no_code(cudaError_t e)
{
    return e == cudaErrorNoKernelImageForDevice || e == cudaErrorInvalidKernelImage ||
           e == cudaErrorInvalidDeviceFunction || e == cudaErrorInvalidPtx ||
           e == cudaErrorUnsupportedPtxVersion || e == cudaErrorJitCompilerNotFound ||
           e == cudaErrorJitCompilationDisabled;
}

static void read_device(size_t i, struct cuda_device *d)
{
    struct device_query q = { .device = (int)i };
    pthread_t thread;
    if (pthread_create(&thread, NULL, ask_device, &q) != 0) {
        return; /* the answers stay unknown */
    }
    pthread_join(thread, NULL);
    if (q.total_bytes > 0) {
        d->free_bytes = q.free_bytes;
        d->total_bytes = q.total_bytes;
    }
    if (no_code(q.error)) {
        explain_code(d, q.error);
    } else if (q.error != cudaSuccess && q.error != cudaErrorMemoryAllocation) {
        /* A GPU that others have filled can still be used by a smaller model. Opening an engine
         * will fail, with WEFT_E_DEVMEM, if the model is too large. */
        explain_silence(d, q.error);
    }
}

void cuda_device_get(size_t i, struct cuda_device *d)
{
    struct cudaDeviceProp properties;
    *d = (struct cuda_device){ .major = 0 };
    cudaError_t e = cudaGetDeviceProperties(&properties, (int)i);
    (void)cudaGetLastError();
    if (cuda_process_lost(e)) {
        explain_silence(d, e);
        return;
    }
    if (e != cudaSuccess) {
        snprintf(d->problem, sizeof d->problem, "it does not say what it is (%s: %.80s)",
                 cudaGetErrorName(e), cudaGetErrorString(e));
        return;
    }
    snprintf(d->description, sizeof d->description, "%.127s", properties.name);
    d->major = properties.major;
    d->minor = properties.minor;
    d->n_sms = (size_t)properties.multiProcessorCount;
    d->total_bytes = properties.totalGlobalMem;
    if (d->major < MIN_MAJOR) {
        snprintf(d->problem, sizeof d->problem,
                 "it has compute capability %d.%d, and Weft needs %d.0 or later (Ampere, 2020)",
                 d->major, d->minor, MIN_MAJOR);
    } else {
        read_device(i, d);
    }
}
