#include "blas.h"

#include <dlfcn.h>

#include "alone.h"

/* ISO C has no conversion from an object to a function pointer; POSIX promises that this works. */
static bool take(void *from, const char *name, void *fn)
{
    void *symbol = dlsym(from, name);
    *(void **)fn = symbol;
    return symbol != NULL;
}

static bool take_all(struct blas *b, void *from)
{
    return take(from, "cublasCreate_v2", &b->create) &&
           take(from, "cublasDestroy_v2", &b->destroy) &&
           take(from, "cublasSetStream_v2", &b->set_stream) &&
           take(from, "cublasSetWorkspace_v2", &b->set_workspace) &&
           take(from, "cublasSetMathMode", &b->set_math_mode) &&
           take(from, "cublasGemmEx", &b->gemm);
}

bool blas_find(struct blas *b)
{
    static const char *const names[] = { "libcublas.so.13", "libcublas.so.12", "libcublas.so" };
    if (take_all(b, RTLD_DEFAULT)) {
        return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library != NULL && take_all(b, library)) {
            return true;
        }
    }
    return false;
}

cublasStatus_t blas_open(struct blas *b, cudaStream_t stream, struct dptr workspace,
                         size_t workspace_bytes)
{
    alone_begin(); /* held to the end: the engine may be capturing on this very stream */
    cublasStatus_t s = b->create(&b->handle);
    if (s == CUBLAS_STATUS_SUCCESS) {
        s = b->set_stream(b->handle, stream);
    }
    if (s == CUBLAS_STATUS_SUCCESS) {
        /* The handle gets a workspace of its own, so that equal calls always have the same memory,
         * choose the same algorithm and give the same bits. */
        s = b->set_workspace(b->handle, (void *)workspace.at, workspace_bytes);
    }
    if (s == CUBLAS_STATUS_SUCCESS) {
        /* Partial sums over the columns stay floats, even if the product is halves. */
        s = b->set_math_mode(
            b->handle,
            (cublasMath_t)(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
    }
    alone_end();
    return s;
}

/* cuBLAS stores matrices column by column, so it is asked for out^T = w * a^T. */
cublasStatus_t blas_multiply(const struct blas *b, const struct product *p)
{
    const float one = 1.0f, beta = p->add ? 1.0f : 0.0f;
    cudaDataType type = p->floats ? CUDA_R_32F : CUDA_R_16F;
    cudaDataType out = p->halves_out ? CUDA_R_16F : CUDA_R_32F;
    return b->gemm(b->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int)p->n_w, (int)p->n, (int)p->n_cols,
                   &one, (void *)p->w.at, type, (int)p->ld_w, (void *)p->a.at, type, (int)p->ld_a,
                   &beta, (void *)p->out.at, out, (int)p->ld_out, CUBLAS_COMPUTE_32F,
                   CUBLAS_GEMM_DEFAULT);
}

/* The library stays loaded, because the libraries of CUDA have threads and exit handlers of their
 * own. */
void blas_close(struct blas *b)
{
    if (b->handle != NULL) {
        alone_begin();
        (void)b->destroy(b->handle);
        alone_end();
    }
    *b = (struct blas){ 0 };
}
