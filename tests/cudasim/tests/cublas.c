/* Samples: cublasGemmEx as an engine calls it. Row-major y [n, rows] = x [n, k] * w [rows, k]^T is
 * column-major (rows, n) = op_T(w: k x rows) * (x: k x n). All values are small integers, so that
 * half and float hold every product and sum exactly. */
#include "check.h"
#include "cudasim/testing.h"

#include <cublas_v2.h>
#include <string.h>

enum { N = 3, ROWS = 5, K = 7, BATCH = 2 };

/* Returns a small integer, 0 to 15, as a half. */
static unsigned short half_of(int v)
{
    int e = 0;
    while (v >> (e + 1))
        e++;
    return (unsigned short)(v ? (e + 15) << 10 | (v << (10 - e) & 0x3ff) : 0);
}
static int wv(int b, int r, int k) { return (r * 3 + k * 5 + b) % 11; }
static int xv(int b, int i, int k) { return (i * 7 + k + b * 2) % 6; }

static int sum_of(int b, int i, int r)
{
    int sum = 0;
    for (int k = 0; k < K; k++)
        sum += wv(b, r, k) * xv(b, i, k);
    return sum;
}

/* These products are refused: results that go beyond their buffer, as halves and as floats; types
 * of C that do not fit those of A and B; A and B of different types. */
static void refuses(cublasHandle_t h, const void *dw, const void *dx, void *dy)
{
    const float one = 1, zero = 0;
    CHECK(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, ROWS, N, K, &one, dw, CUDA_R_16F, K, dx,
                       CUDA_R_16F, K, &zero, (unsigned short *)dy + 3 * N * ROWS + 1, CUDA_R_16F,
                       ROWS, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, ROWS, N, K, &one, dw, CUDA_R_16F, K, dx,
                       CUDA_R_16F, K, &zero, dy, CUDA_R_16BF, ROWS, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 1, &one, dw, CUDA_R_32F, K, dx,
                       CUDA_R_32F, K, &zero, dy, CUDA_R_16F, ROWS, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, ROWS, BATCH * N + 1, K, &one, dw, CUDA_R_16F, K,
                       dx, CUDA_R_16F, K, &zero, dy, CUDA_R_32F, ROWS, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 1, &one, dw, CUDA_R_32F, K, dx,
                       CUDA_R_16F, K, &zero, dy, CUDA_R_32F, ROWS, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
}

static void gemm(void)
{
    unsigned short w[BATCH][ROWS][K], x[BATCH][N][K], yh[BATCH][N][ROWS];
    float y[BATCH][N][ROWS], one = 1, zero = 0, half = 0.5f;
    void *dw, *dx, *dy;
    cublasHandle_t h;
    cudaStream_t s;

    for (int b = 0; b < BATCH; b++)
        for (int k = 0; k < K; k++) {
            for (int r = 0; r < ROWS; r++)
                w[b][r][k] = half_of(wv(b, r, k));
            for (int i = 0; i < N; i++)
                x[b][i][k] = half_of(xv(b, i, k));
        }
    OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    OK(cudaMalloc(&dw, sizeof w));
    OK(cudaMalloc(&dx, sizeof x));
    OK(cudaMalloc(&dy, sizeof y));
    OK(cudaMemcpy(dw, w, sizeof w, cudaMemcpyHostToDevice));
    OK(cudaMemcpy(dx, x, sizeof x, cudaMemcpyHostToDevice));
    CHECK(cublasCreate(&h) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasSetStream(h, s) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasSetMathMode(h, CUBLAS_DEFAULT_MATH) == CUBLAS_STATUS_SUCCESS);

    CHECK(cublasGemmStridedBatchedEx(h, CUBLAS_OP_T, CUBLAS_OP_N, ROWS, N, K, &one, dw, CUDA_R_16F,
                                     K, ROWS * K, dx, CUDA_R_16F, K, N * K, &zero, dy, CUDA_R_32F,
                                     ROWS, N * ROWS, BATCH, CUBLAS_COMPUTE_32F,
                                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    /* Batch 0 again: half of the product is added to what is there. */
    CHECK(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, ROWS, N, K, &half, dw, CUDA_R_16F, K, dx,
                       CUDA_R_16F, K, &one, dy, CUDA_R_32F, ROWS, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    OK(cudaStreamSynchronize(s));
    OK(cudaMemcpy(y, dy, sizeof y, cudaMemcpyDeviceToHost));
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < N; i++)
            for (int r = 0; r < ROWS; r++)
                CHECK(y[b][i][r] == (b ? 1.0f : 1.5f) * (float)sum_of(b, i, r));

    /* The results are halves, in two batches. They hold the sums exactly, as all integers up to
     * 2048. */
    CHECK(cublasGemmStridedBatchedEx(h, CUBLAS_OP_T, CUBLAS_OP_N, ROWS, N, K, &one, dw, CUDA_R_16F,
                                     K, ROWS * K, dx, CUDA_R_16F, K, N * K, &zero, dy, CUDA_R_16F,
                                     ROWS, N * ROWS, BATCH, CUBLAS_COMPUTE_32F,
                                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    OK(cudaStreamSynchronize(s));
    OK(cudaMemcpy(yh, dy, sizeof yh, cudaMemcpyDeviceToHost));
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < N; i++)
            for (int r = 0; r < ROWS; r++)
                CHECK(yh[b][i][r] == half_of(sum_of(b, i, r)));

    refuses(h, dw, dx, dy);
    CHECK(cublasDestroy(h) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasDestroy(h) == CUBLAS_STATUS_NOT_INITIALIZED);
    CHECK(strlen(cublasGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED)) > 0);
    OK(cudaFree(dw));
    OK(cudaFree(dx));
    OK(cudaFree(dy));
    OK(cudaStreamDestroy(s));
}

const struct sample cublas_samples[] = { { "cublas_gemm", gemm }, { NULL, NULL } };
