/* Samples: planned failures of every call of a piece of host code, and the leak report. */
#include "check.h"
#include "cudasim/testing.h"

#include <cublas_v2.h>
#include <string.h>

struct holder {
    cudaStream_t stream;
    cudaEvent_t event;
    cublasHandle_t blas;
    void *device, *pinned;
};

static int holder_open(struct holder *h)
{
    int n;
    memset(h, 0, sizeof *h);
    return cudaGetDeviceCount(&n) || cudaStreamCreateWithFlags(&h->stream, cudaStreamNonBlocking) ||
           cudaEventCreateWithFlags(&h->event, cudaEventDisableTiming) || cublasCreate(&h->blas) ||
           cublasSetStream(h->blas, h->stream) || cudaMalloc(&h->device, 64) ||
           cudaMallocHost(&h->pinned, 64);
}
static int holder_use(struct holder *h)
{
    return cudaMemsetAsync(h->device, 0, 64, h->stream) ||
           cudaMemcpyAsync(h->pinned, h->device, 64, cudaMemcpyDeviceToHost, h->stream) ||
           cudaEventRecord(h->event, h->stream) || cudaStreamSynchronize(h->stream);
}
static int holder_close(struct holder *h)
{
    int failed = 0;
    failed |= h->pinned && cudaFreeHost(h->pinned);
    failed |= h->device && cudaFree(h->device);
    failed |= h->blas && cublasDestroy(h->blas);
    failed |= h->event && cudaEventDestroy(h->event);
    failed |= h->stream && cudaStreamDestroy(h->stream);
    return failed;
}

static int whole_life(struct holder *h)
{
    int failed = holder_open(h) || holder_use(h);
    return holder_close(h) || failed;
}

static void each_call_fails(void)
{
    struct holder h;
    cudasim_fail_call(0, false);
    CHECK(whole_life(&h) == 0);
    const uint64_t n = cudasim_calls();
    CHECK(n == 16);
    for (int sticky = 0; sticky < 2; sticky++)
        for (uint64_t k = 1; k <= n; k++) {
            cudasim_fail_call(k, sticky);
            CHECK(whole_life(&h) != 0);
            CHECK(cudasim_failed_call());
            CHECK(cudasim_leaks(stdout) == 0);
        }
    /* After all these failures, a run in which nothing fails works. */
    cudasim_fail_call(0, false);
    CHECK(whole_life(&h) == 0 && !cudasim_failed_call());
}

static void sticky(void)
{
    void *p;
    cudasim_fail_call(2, true);
    OK(cudaMalloc(&p, 16));
    CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    CHECK(!strcmp(cudasim_failed_call(), "cudaDeviceSynchronize"));
    CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
    /* The error stays, whatever is called. */
    CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
    CHECK(cudaMemset(p, 0, 16) == cudaErrorIllegalAddress);
    /* The memory is freed nevertheless. */
    CHECK(cudaFree(p) == cudaErrorIllegalAddress);
    CHECK(cudasim_leaks(stdout) == 0);
}

static void leaks(void)
{
    struct holder h;
    cudaGraph_t g;
    CHECK(cudasim_leaks(NULL) == 0);
    CHECK(holder_open(&h) == 0);
    OK(cudaStreamBeginCapture(h.stream, cudaStreamCaptureModeGlobal));
    OK(cudaStreamEndCapture(h.stream, &g));
    CHECK(cudasim_leaks(NULL) == 6);
    OK(cudaGraphDestroy(g));
    CHECK(holder_close(&h) == 0);
}

const struct sample fault_samples[] = {
    { "each_call_fails", each_call_fails }, { "sticky", sticky }, { "leaks", leaks }, { NULL, NULL }
};
