/* How the limits of a device are measured, on the simulator. A function in cuBLAS's place inspects
 * the product: a product of zeros runs faster than one of real values, and a device that was idle
 * just before runs slower; the test rules out both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cuda/cuda.h"
#include "cudasim/testing.h"
#include "format/quant.h"
#include "support/models.h"

enum { PRODUCT_MS = 20 };
#define BUSY_SECONDS 0.2

static size_t n_products;
static double first, last;    /* when the first product began and when the last one ended */
static f16_bits *matrices[2]; /* those of the first product */
static size_t n_halves[2];

static void check(weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fail_msg("%s", err->message);
    }
}

/* Checks that the numbers are like those of a model: of both signs, below 1, hardly two alike, and
 * zero only by chance. */
static void check_random(const f16_bits *halves, size_t n)
{
    size_t n_zero = 0, n_negative = 0, n_like_the_one_before = 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float v = f16_to_f32(halves[i]);
        assert_true(fabsf(v) <= 1.0f);
        n_zero += v == 0.0f;
        n_negative += v < 0.0f;
        n_like_the_one_before += i > 0 && halves[i] == halves[i - 1];
        sum += fabs((double)v);
    }
    assert_true(n_zero < n / 100 && n_like_the_one_before < n / 100);
    assert_true(n_negative > n / 3 && n_negative < n - n / 3);
    /* The numbers are uniform, so the sum of their magnitudes is half of their count. */
    assert_true(sum > 0.4 * (double)n && sum < 0.6 * (double)n);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void take_time(void *user)
{
    const struct timespec t = { .tv_nsec = PRODUCT_MS * 1000000L };
    (void)user;
    first = first > 0 ? first : seconds();
    nanosleep(&t, NULL);
    last = seconds();
}

static void take_matrix(size_t i, const void *device, size_t n)
{
    n_halves[i] = n;
    matrices[i] = malloc(n * sizeof(f16_bits));
    assert_non_null(matrices[i]);
    assert_int_equal(cudaMemcpy(matrices[i], device, n * sizeof(f16_bits), cudaMemcpyDeviceToHost),
                     0);
}

static cudaStream_t stream;

/* Takes some milliseconds for a product. */
static cublasStatus_t spy(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                          int n, int k, const void *alpha, const void *a, cudaDataType a_type,
                          int lda, const void *b, cudaDataType b_type, int ldb, const void *beta,
                          void *c, cudaDataType c_type, int ldc, cublasComputeType_t compute,
                          cublasGemmAlgo_t algo)
{
    (void)handle, (void)ta, (void)tb, (void)alpha, (void)lda, (void)ldb, (void)beta, (void)c,
        (void)c_type, (void)ldc, (void)compute, (void)algo;
    assert_true(a_type == CUDA_R_16F && b_type == CUDA_R_16F);
    if (n_products == 0) {
        take_matrix(0, a, (size_t)m * (size_t)k);
        take_matrix(1, b, (size_t)n * (size_t)k);
    }
    n_products++;
    return cudaLaunchHostFunc(stream, take_time, NULL) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}

static void test_limits(void **state)
{
    weft_error err;
    struct model *model;
    struct backend *b;
    struct backend_limits limits = { 0 };
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    static const struct log log;
    const struct backend_params bp = {
        .n_ctx = KV_PAGE, .n_pages = 1, .n_batch = 8, .n_out = 1, .log = &log
    };
    (void)state;
    cudasim_catch_faults();
    check(model_open(model_file("tiny-qwen2"), &params, &model, &err), &err);
    check(cuda_backend_open(model, &bp, &b, &err), &err);
    struct cuda *c = (struct cuda *)b;
    c->blas.gemm = spy;
    stream = c->queue.stream;
    check(b->ops->limits(b, &limits, &err), &err);
    assert_true(limits.read_bytes_per_s > 0);
    /* The device was kept busy before the first measurement, and each measurement covers whole
     * products. */
    assert_true(last - first >= BUSY_SECONDS + 2 * (double)PRODUCT_MS * 1e-3);
    double product = 768.0 * 768 * 768 / limits.macs_per_s;
    assert_true(product >= (double)PRODUCT_MS * 1e-3 && product <= last - first);
    for (size_t i = 0; i < 2; i++) {
        check_random(matrices[i], n_halves[i]);
        free(matrices[i]);
    }
    b->ops->close(b);
    model_close(model);
    assert_int_equal(cudasim_leaks(stderr), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_limits) };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
