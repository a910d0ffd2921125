/* What the CUDA backend says when a call fails. */
#include <stdio.h>

#include "cuda.h"

static weft_status failed(struct cuda *c, const char *call, const char *name, const char *text,
                          bool memory, weft_error *err)
{
    c->lost = true;
    return error_set(err, memory ? WEFT_E_DEVMEM : WEFT_E_DEVICE_LOST,
                     "cuda:%d: %s failed in %s, layer %zu: %s (%s); this engine computes no more, "
                     "open a new one",
                     c->params.device, call, c->stage, c->layer, name, text);
}

weft_status cuda_check(struct cuda *c, cudaError_t e, const char *call, weft_error *err)
{
    if (e == cudaSuccess) {
        return WEFT_OK;
    }
    (void)cudaGetLastError(); /* or another engine's next call would find it */
    return failed(c, call, cudaGetErrorName(e), cudaGetErrorString(e),
                  e == cudaErrorMemoryAllocation, err);
}

weft_status cuda_check_blas(struct cuda *c, cublasStatus_t s, const char *call, weft_error *err)
{
    if (s == CUBLAS_STATUS_SUCCESS) {
        return WEFT_OK;
    }
    char name[32];
    snprintf(name, sizeof name, "cublasStatus_t %d", (int)s);
    return failed(c, call, name, "see cublas_api.h", s == CUBLAS_STATUS_ALLOC_FAILED, err);
}

weft_status cuda_enter(struct cuda *c, const char *stage, size_t layer, weft_error *err)
{
    if (c->lost) {
        return error_set(err, WEFT_E_DEVICE_LOST,
                         "cuda:%d: an earlier call on this engine failed; open a new one",
                         c->params.device);
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
