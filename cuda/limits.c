/* Measures what the device can do at best: reading memory, and products of halves on tensor cores.
 * Events on the engine's stream measure the time. The memory is allocated only for this. The
 * data is random: zeros switch few wires, take little power, and let the clocks rise higher than
 * any model does. */
#include "base/mem.h"
#include "cuda.h"

enum {
    PASSES = 3,
    MOST_RUNS = 1 << 16, /* runs of a pass */
    READ_BLOCKS = 8,
    TILE = 128,
    WAVES = 8,
    /* The halves that the host makes; the memory holds copies of them. */
    RANDOM_HALVES = 1 << 19
};
/* Seconds until an idle device has raised its clocks. */
#define BUSY_SECONDS 0.2
#define PASS_SECONDS 0.02

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

typedef weft_status run_once(struct cuda *c, const struct limits_job *j, weft_error *err);

/* Returns the seconds that n runs take. */
static weft_status timed(struct cuda *c, const struct limits_job *j, run_once *once, size_t n,
                         double *seconds, weft_error *err)
{
    float ms = 0;
    CU(c, cudaEventRecord, j->begin, c->queue.stream);
    for (size_t i = 0; i < n; i++) {
        TRY(once(c, j, err));
    }
    CU(c, cudaEventRecord, j->end, c->queue.stream);
    CU(c, cudaEventSynchronize, j->end);
    CU(c, cudaEventElapsedTime, &ms, j->begin, j->end);
    *seconds = (double)ms / 1000;
    return WEFT_OK;
}

/* Returns the seconds of one run: the fastest pass, on a device that the same work has kept busy
 * before. */
static weft_status fastest(struct cuda *c, const struct limits_job *j, run_once *once,
                           double *seconds, weft_error *err)
{
    double pass = 0, busy = 0, best = 0;
    size_t n = 1;
    for (; busy < BUSY_SECONDS && n < MOST_RUNS; n *= 2) {
        TRY(timed(c, j, once, n, &pass, err));
        busy += pass;
    }
    double most = pass > 0 ? PASS_SECONDS / pass * (double)(n / 2) : 1;
    n = most < 1 ? 1 : most > (double)MOST_RUNS ? MOST_RUNS : (size_t)most;
    for (int i = 0; i < PASSES; i++) {
        TRY(timed(c, j, once, n, &pass, err));
        best = i == 0 || pass < best ? pass : best;
    }
    *seconds = best / (double)n;
    return WEFT_OK;
}

/* Returns random halves in [-1, 1). */
static f16_bits *random_halves(void)
{
    uint64_t state = 1;
    f16_bits *halves = mem_array(RANDOM_HALVES, sizeof *halves);
    for (size_t i = 0; halves != NULL && i < RANDOM_HALVES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        halves[i] = f32_to_f16((float)(state >> 40) / (1 << 23) - 1.0f);
    }
    return halves;
}

/* Fills all of the memory with copies of `halves`. The caller may free `halves` afterwards. */
static weft_status spread(struct cuda *c, const struct limits_job *j, const f16_bits *halves,
                          weft_error *err)
{
    size_t done = RANDOM_HALVES * sizeof *halves;
    done = size_min(done, j->bytes);
    CU(c, cudaMemcpyAsync, (void *)j->memory.at, halves, done, cudaMemcpyHostToDevice,
       c->queue.stream);
    for (size_t n; done < j->bytes; done += n) {
        n = size_min(done, j->bytes - done);
        CU(c, cudaMemcpyAsync, (void *)dptr_at(j->memory, done).at, (void *)j->memory.at, n,
           cudaMemcpyDeviceToDevice, c->queue.stream);
    }
    return cuda_wait(c, err);
}

static weft_status fill(struct cuda *c, const struct limits_job *j, weft_error *err)
{
    f16_bits *halves = random_halves();
    if (halves == NULL) {
        return error_nomem(err, "random numbers", RANDOM_HALVES * sizeof *halves);
    }
    weft_status status = spread(c, j, halves, err);
    free(halves);
    return status;
}

/* There may be no room beside the model. That does not count as a failure of the device. */
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
    TRY(fill(c, j, err));
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
    /* There are so many tiles that every multiprocessor has several, and so many bytes that no
     * cache holds them. */
    while ((j.n / TILE) * (j.n / TILE) < (size_t)WAVES * c->queue.n_sms) {
        j.n += TILE;
    }
    size_t matrices = j.n * j.n * (2 * sizeof(f16_bits) + sizeof(float));
    j.bytes = size_max((size_t)l2 * 16, matrices);
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
