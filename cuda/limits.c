/* What the device can do at best: reading memory, and half products on tensor cores. Timed by
 * events on the engine's stream, in memory that is taken for this alone. */
#include "cuda.h"

enum { PASSES = 4, READ_BLOCKS = 8, TILE = 128, WAVES = 8 };

struct limits_job {
    cudaEvent_t begin, end;
    struct dptr memory; /* [bytes] */
    size_t bytes;
    size_t n; /* rows and columns of the matrices that are multiplied */
};

static weft_status read_once(struct cuda *c, const struct limits_job *j, weft_error *err)
{
    CU(c, kernel_measure_read, j->memory, j->bytes - 16, dptr_at(j->memory, j->bytes - 16),
       READ_BLOCKS, &c->queue);
    return WEFT_OK;
}

static weft_status multiply_once(struct cuda *c, const struct limits_job *j, weft_error *err)
{
    size_t half = j->n * j->n * sizeof(f16_bits);
    const struct product p = { .w = j->memory,
                               .a = dptr_at(j->memory, half),
                               .out = dptr_at(j->memory, 2 * half),
                               .n_w = j->n,
                               .n = j->n,
                               .n_cols = j->n,
                               .ld_w = j->n,
                               .ld_a = j->n,
                               .ld_out = j->n };
    return cuda_check_blas(c, blas_multiply(&c->blas, &p), "cublasGemmEx", err);
}

/* Seconds of the fastest pass but the first. */
static weft_status fastest(struct cuda *c, const struct limits_job *j,
                           weft_status (*once)(struct cuda *, const struct limits_job *,
                                               weft_error *),
                           double *seconds, weft_error *err)
{
    float best = 0, ms;
    for (int i = 0; i < PASSES; i++) {
        CU(c, cudaEventRecord, j->begin, c->queue.stream);
        TRY(once(c, j, err));
        CU(c, cudaEventRecord, j->end, c->queue.stream);
        CU(c, cudaEventSynchronize, j->end);
        CU(c, cudaEventElapsedTime, &ms, j->begin, j->end);
        best = i == 1 || (i > 1 && ms < best) ? ms : best;
    }
    *seconds = (double)best / 1000;
    return WEFT_OK;
}

/* There may be no room beside the model; that is no failure of the device. */
static weft_status take_memory(struct cuda *c, struct limits_job *j, weft_error *err)
{
    void *p = NULL;
    cudaError_t e = cudaMalloc(&p, j->bytes);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return error_set(err, WEFT_E_DEVMEM,
                         "cuda:%d: measuring needs %.0f MiB beside the model, which are not free; "
                         "ask for a smaller n_kv",
                         c->params.device, (double)j->bytes / 1048576.0);
    }
    TRY(cuda_check(c, e, "cudaMalloc", err));
    j->memory.at = (uintptr_t)p;
    return WEFT_OK;
}

static weft_status measure(struct cuda *c, struct limits_job *j, struct backend_limits *out,
                           weft_error *err)
{
    double seconds;
    CU(c, cudaEventCreate, &j->begin);
    CU(c, cudaEventCreate, &j->end);
    TRY(take_memory(c, j, err));
    CU(c, cudaMemsetAsync, (void *)j->memory.at, 0, j->bytes, c->queue.stream);
    TRY(fastest(c, j, read_once, &seconds, err));
    out->read_bytes_per_s = seconds > 0 ? (double)j->bytes / seconds : 0;
    out->macs_per_s = 0;
    TRY(cuda_open_blas(c, err));
    if (c->tensor_cores) {
        double n = (double)j->n;
        TRY(fastest(c, j, multiply_once, &seconds, err));
        out->macs_per_s = seconds > 0 ? n * n * n / seconds : 0;
    }
    return WEFT_OK;
}

weft_status cuda_limits(struct backend *b, struct backend_limits *out, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    struct limits_job j = { .n = TILE };
    int l2 = 0;
    TRY(cuda_enter(c, "measure", 0, err));
    CU(c, cudaDeviceGetAttribute, &l2, cudaDevAttrL2CacheSize, c->params.device);
    /* so many tiles that every multiprocessor has several; so many bytes that no cache holds them
     */
    while ((j.n / TILE) * (j.n / TILE) < (size_t)WAVES * c->queue.n_sms) {
        j.n += TILE;
    }
    size_t matrices = j.n * j.n * (2 * sizeof(f16_bits) + sizeof(float));
    j.bytes = (size_t)l2 * 16 > matrices ? (size_t)l2 * 16 : matrices;
    weft_status status = measure(c, &j, out, err);
    if (j.memory.at != 0) {
        (void)cudaFree((void *)j.memory.at);
    }
    if (j.begin != NULL) {
        (void)cudaEventDestroy(j.begin);
    }
    if (j.end != NULL) {
        (void)cudaEventDestroy(j.end);
    }
    return status;
}
