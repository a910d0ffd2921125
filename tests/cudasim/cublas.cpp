// The few cuBLAS functions that an engine needs, as plain loops: C = alpha op(A) op(B) + beta C,
// column-major, sums in float in the order of k, rounded once if C is halves.
#include "runtime.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector>

using namespace cudasim;

struct cublasContext {
    cudaStream_t stream;
    cublasMath_t math;
};

namespace
{

const char HANDLE[] = "cuBLAS handle";

struct Matrix {
    void *p;
    cudaDataType type;
    int ld;

    static size_t size(cudaDataType t) { return t == CUDA_R_32F ? 4 : 2; }
    bool known() const { return type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF; }
    size_t span(int rows, int cols) const // bytes from the first to the last element
    {
        return ((size_t)ld * (size_t)(cols - 1) + (size_t)rows) * size(type);
    }
    Matrix at(long long elements) const
    {
        return { (char *)p + elements * (long long)size(type), type, ld };
    }
    float get(int row, int col) const
    {
        const size_t i = (size_t)row + (size_t)col * (size_t)ld;
        return type == CUDA_R_32F   ? ((const float *)p)[i]
               : type == CUDA_R_16F ? __half2float(((const __half *)p)[i])
                                    : __bfloat162float(((const __nv_bfloat16 *)p)[i]);
    }
    void set(int row, int col, float v) const
    {
        const size_t i = (size_t)row + (size_t)col * (size_t)ld;
        if (type == CUDA_R_32F)
            ((float *)p)[i] = v;
        else if (type == CUDA_R_16F)
            ((__half *)p)[i] = __float2half(v);
        else
            ((__nv_bfloat16 *)p)[i] = __float2bfloat16(v);
    }
};

struct Gemm {
    bool trans_a, trans_b;
    int m, n, k;
    float alpha, beta;
    Matrix a, b, c;

    bool in_bounds() const
    {
        return in_device(a.p) && in_device(b.p) && in_device(c.p) &&
               range_ok("cublasGemm A", a.p, a.span(trans_a ? k : m, trans_a ? m : k)) &&
               range_ok("cublasGemm B", b.p, b.span(trans_b ? n : k, trans_b ? k : n)) &&
               range_ok("cublasGemm C", c.p, c.span(m, n));
    }
    void run() const
    {
        if (!in_bounds())
            die("a cuBLAS call in a stream or graph uses memory that is gone");
        if (cudasim_settings()->dry)
            return;
        std::vector<float> rows((size_t)m * (size_t)k), col((size_t)k);
        for (int i = 0; i < m; i++)
            for (int e = 0; e < k; e++)
                rows[(size_t)i * (size_t)k + (size_t)e] = trans_a ? a.get(e, i) : a.get(i, e);
        for (int j = 0; j < n; j++) {
            for (int e = 0; e < k; e++)
                col[(size_t)e] = trans_b ? b.get(j, e) : b.get(e, j);
            for (int i = 0; i < m; i++) {
                float sum = 0;
                for (size_t e = 0; e < (size_t)k; e++)
                    sum += rows[(size_t)i * (size_t)k + e] * col[e];
                // with beta = 0, C is not read and may hold NaN
                c.set(i, j, alpha * sum + (beta != 0.0f ? beta * c.get(i, j) : 0.0f));
            }
        }
    }
};

// Returns a product with its sizes and matrices; gemm() fills in the rest.
Gemm described(int m, int n, int k, Matrix a, Matrix b, Matrix c)
{
    return { false, false, m, n, k, 0, 0, a, b, c };
}

Work work_of_gemm(const Gemm &g)
{
    Work w = work_of(
        Work::KERNEL, [=] { g.run(); }, CUDASIM_GEMM, 0);
    w.told.m = g.m;
    w.told.n = g.n;
    w.told.k = g.k;
    w.told.types[0] = g.a.type;
    w.told.types[1] = g.b.type;
    w.told.types[2] = g.c.type;
    return w;
}

// Batch i lies at i times the stride of each matrix.
cublasStatus_t gemm(cublasHandle_t handle, Gemm g, cublasOperation_t ta, cublasOperation_t tb,
                    const void *alpha, const void *beta, cublasComputeType_t compute, int n_batch,
                    long long stride_a, long long stride_b, long long stride_c)
{
    // cuBLAS multiplies two matrices of one type into floats or into that type
    if (!g.a.known() || !g.b.known() || g.a.type != g.b.type ||
        (g.c.type != CUDA_R_32F && g.c.type != g.a.type) ||
        (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) ||
        ta == CUBLAS_OP_C || tb == CUBLAS_OP_C)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    g.trans_a = ta == CUBLAS_OP_T;
    g.trans_b = tb == CUBLAS_OP_T;
    if (g.m < 0 || g.n < 0 || g.k < 0 || n_batch < 0 || g.a.ld < (g.trans_a ? g.k : g.m) ||
        g.b.ld < (g.trans_b ? g.n : g.k) || g.c.ld < g.m)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (g.m == 0 || g.n == 0)
        return CUBLAS_STATUS_SUCCESS;
    g.alpha = *(const float *)alpha;
    g.beta = *(const float *)beta;
    for (int i = 0; i < n_batch; i++) {
        Gemm one = g;
        one.a = g.a.at(i * stride_a);
        one.b = g.b.at(i * stride_b);
        one.c = g.c.at(i * stride_c);
        if (!one.in_bounds())
            return CUBLAS_STATUS_INVALID_VALUE;
        if (submit(handle->stream, work_of_gemm(one)))
            return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    return CUBLAS_STATUS_SUCCESS;
}

#define CUBLAS_ENTER(handle)                                                                       \
    Lock lock_(big_lock);                                                                          \
    if (fault_now(__func__))                                                                       \
        return CUBLAS_STATUS_EXECUTION_FAILED;                                                     \
    if (object_check(HANDLE, handle))                                                              \
    return CUBLAS_STATUS_NOT_INITIALIZED

} // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    Lock lock(big_lock);
    *handle = nullptr;
    if (fault_now(__func__))
        return CUBLAS_STATUS_ALLOC_FAILED;
    if (cudasim_settings()->device_error)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasContext{ nullptr, CUBLAS_DEFAULT_MATH };
    object_made(HANDLE, *handle);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    Lock lock(big_lock);
    const bool planned = fault_now(__func__);
    if (object_check(HANDLE, handle))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!break_captures()) // because it waits for the device
        run_all();
    object_gone(handle);
    delete handle;
    return planned ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    CUBLAS_ENTER(handle);
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    CUBLAS_ENTER(handle);
    handle->math = mode;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t n)
{
    CUBLAS_ENTER(handle);
    return in_device(workspace) && range_ok("cublasSetWorkspace", workspace, n)
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_INVALID_VALUE;
}
const char *cublasGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE: return "an invalid value was passed";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality is not supported";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    default: return "unknown status";
    }
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb,
                            int m, int n, int k, const void *alpha, const void *a,
                            cudaDataType a_type, int lda, const void *b, cudaDataType b_type,
                            int ldb, const void *beta, void *c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t)
{
    CUBLAS_ENTER(handle);
    Gemm g = described(m, n, k, { const_cast<void *>(a), a_type, lda },
                       { const_cast<void *>(b), b_type, ldb }, { c, c_type, ldc });
    return gemm(handle, g, ta, tb, alpha, beta, compute, 1, 0, 0, 0);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta,
                                          cublasOperation_t tb, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType a_type,
                                          int lda, long long stride_a, const void *b,
                                          cudaDataType b_type, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType c_type, int ldc,
                                          long long stride_c, int n_batch,
                                          cublasComputeType_t compute, cublasGemmAlgo_t)
{
    CUBLAS_ENTER(handle);
    Gemm g = described(m, n, k, { const_cast<void *>(a), a_type, lda },
                       { const_cast<void *>(b), b_type, ldb }, { c, c_type, ldc });
    return gemm(handle, g, ta, tb, alpha, beta, compute, n_batch, stride_a, stride_b, stride_c);
}

} // extern "C"
