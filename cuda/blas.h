/* The few functions of cuBLAS that steps of many rows need. A thread looks for cuBLAS at run time,
 * beside the upload of the weights, and the first step of many rows waits for that thread. So
 * everything runs on a machine without cuBLAS too, and steps of few rows need not wait. */
#ifndef WEFT_CUDA_BLAS_H
#define WEFT_CUDA_BLAS_H

#include <cublas_v2.h>

#include "base/error.h"
#include "kernels/kernels.h"

struct blas {
    cublasHandle_t handle;
    __typeof__(&cublasCreate_v2) create;
    __typeof__(&cublasDestroy_v2) destroy;
    __typeof__(&cublasSetStream_v2) set_stream;
    __typeof__(&cublasSetWorkspace_v2) set_workspace;
    __typeof__(&cublasSetMathMode) set_math_mode;
    __typeof__(&cublasGemmEx) gemm;
};

enum { BLAS_WORKSPACE = 32 << 20 }; /* bytes, what NVIDIA advises for Hopper */

/* Fills the functions; returns false if there is no cuBLAS. A library that the process has already
 * loaded is preferred. */
bool blas_find(struct blas *b);
cublasStatus_t blas_open(struct blas *b, cudaStream_t stream, struct dptr workspace,
                         size_t workspace_bytes);
/* out [n, ld_out] (+)= a [n, n_cols] * w [n_w, n_cols]^T, with sums in float. a and w are halves,
 * or floats if `floats` is set. out is floats; if a and w are halves, `halves_out` makes it halves.
 * All ld_ are in elements. */
struct product {
    struct dptr w, a, out;
    size_t n_w, n, n_cols, ld_w, ld_a, ld_out;
    bool floats, halves_out, add;
};
cublasStatus_t blas_multiply(const struct blas *b, const struct product *p);
void blas_close(struct blas *b);

#endif
