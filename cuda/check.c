/* What the CUDA backend says when a call fails. */
#include <stdio.h>

#include "cuda.h"

bool cuda_process_lost(cudaError_t e)
{
    switch (e) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
    }
}

/* Returns true if CUDA no longer works in this process. After the fault of a kernel every call
 * returns an error, in all engines. */
static bool process_lost(const struct cuda *c, cudaError_t e)
{
    if (c->queue.stream == NULL) {
        /* There is no stream yet. Asking CUDA could create a context on a device that is not
         * needed. */
        return cuda_process_lost(e);
    }
    e = cudaStreamSynchronize(c->queue.stream);
    if (e == cudaSuccess) {
        e = cudaFree(NULL);
    }
    (void)cudaGetLastError();
    return e != cudaSuccess;
}

static const char *remedy(const struct cuda *c)
{
    return c->process_lost ? "CUDA is lost for all engines of this process, restart the program"
                           : "open a new one";
}

static weft_status failed(struct cuda *c, const char *call, const char *name, const char *text,
                          cudaError_t e, weft_error *err)
{
    weft_status status = e == cudaErrorMemoryAllocation ? WEFT_E_DEVMEM : WEFT_E_DEVICE_LOST;
    if (c->capturing) {
        return error_set(err, status, "cuda:%d: %s failed in %s, layer %zu: %s (%s)",
                         c->params.device, call, c->stage, c->layer, name, text);
    }
    c->lost = true;
    c->process_lost = process_lost(c, e);
    return error_set(err, status,
                     "cuda:%d: %s failed in %s, layer %zu: %s (%s); this engine computes no more, "
                     "%s",
                     c->params.device, call, c->stage, c->layer, name, text, remedy(c));
}

weft_status cuda_check(struct cuda *c, cudaError_t e, const char *call, weft_error *err)
{
    if (e == cudaSuccess) {
        return WEFT_OK;
    }
    (void)cudaGetLastError(); /* otherwise the next call of another engine would find the error */
    return failed(c, call, cudaGetErrorName(e), cudaGetErrorString(e), e, err);
}

weft_status cuda_check_blas(struct cuda *c, cublasStatus_t s, const char *call, weft_error *err)
{
    if (s == CUBLAS_STATUS_SUCCESS) {
        return WEFT_OK;
    }
    char name[32];
    snprintf(name, sizeof name, "cublasStatus_t %d", (int)s);
    return failed(c, call, name, "see cublas_api.h",
                  s == CUBLAS_STATUS_ALLOC_FAILED ? cudaErrorMemoryAllocation : cudaErrorUnknown,
                  err);
}

weft_status cuda_enter(struct cuda *c, const char *stage, size_t layer, weft_error *err)
{
    if (c->lost) {
        return error_set(err, WEFT_E_DEVICE_LOST,
                         "cuda:%d: an earlier call on this engine failed; %s", c->params.device,
                         remedy(c));
    }
    c->stage = stage;
    c->layer = layer;
    CU(c, cudaSetDevice, c->params.device);
    return WEFT_OK;
}

weft_status cuda_wait(struct cuda *c, weft_error *err)
{
    CU(c, cudaStreamSynchronize, c->queue.stream);
    return WEFT_OK;
}
