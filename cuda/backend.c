/* Opening and closing the CUDA backend. */
#include <stdio.h>

#include "cuda.h"

void cuda_info(const struct backend *b, struct backend_info *out)
{
    const struct cuda *c = (const struct cuda *)b;
    *out = (struct backend_info){ .kernels = c->kernels,
                                  .n_batch = c->params.n_batch,
                                  .n_out = c->params.n_out,
                                  .process_lost = c->process_lost,
                                  .weight_bytes = c->memory.bytes[MEMORY_WEIGHTS],
                                  .kv_bytes = c->memory.bytes[MEMORY_KV],
                                  .scratch_bytes = c->memory.bytes[MEMORY_SCRATCH] };
}

void cuda_close(struct backend *b)
{
    struct cuda *c = (struct cuda *)b;
    (void)cudaSetDevice(c->params.device);
    cuda_join_blas(c);
    if (c->queue.stream != NULL) {
        (void)cudaStreamSynchronize(c->queue.stream);
    }
    graph_close(c);
    state_close(c);
    if (c->queue.stream != NULL) {
        (void)cudaStreamDestroy(c->queue.stream);
    }
    (void)cudaGetLastError();
    free(c);
}

/* Refuses shapes that kernels cannot run, and names them. */
static weft_status check_shape(const struct cuda *c, weft_error *err)
{
    const size_t dim = c->model->config.dim;
    for (size_t i = 0; i < c->model->n_stores; i++) {
        const size_t head = c->model->kv[i].k_dim;
        if (head % 8 != 0 || head > 256) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "cuda: heads of %zu values, expected a multiple of 8 up to 256; the "
                             "CPU runs this model (device cpu)",
                             head);
        }
    }
    /* A thread block holds one normalised row, as floats and as codes with their scales. */
    size_t row = ceil_div(dim, 32) * (32 * (sizeof(float) + 1) + sizeof(struct act_block));
    if (row + SHARED_SPARE > c->queue.shared_bytes) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "cuda: an embedding of %zu values needs %zu bytes of shared memory, the "
                         "device has %u; the CPU runs this model (device cpu)",
                         dim, row + SHARED_SPARE, c->queue.shared_bytes);
    }
    return WEFT_OK;
}

/* Logs that there will be no graphs: before CUDA 12.3, a kernel that is launched for the first time
 * in a capture may break it. */
static void say_no_graphs(struct cuda *c)
{
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    log_line(c->params.log, WEFT_LOG_WARN,
             "cuda:%d: the driver is of CUDA %d.%d and Weft was built with %d.%d: without graphs, "
             "which need 12.3 of both, decoding is slower",
             c->params.device, driver / 1000, driver % 1000 / 10, runtime / 1000,
             runtime % 1000 / 10);
}

static weft_status open_device(struct cuda *c, weft_error *err)
{
    int device = c->params.device;
    c->stage = "opening";
    CU(c, kernel_queue, device, &c->queue);
    CU(c, cudaDeviceGetAttribute, &c->major, cudaDevAttrComputeCapabilityMajor, device);
    CU(c, cudaDeviceGetAttribute, &c->minor, cudaDevAttrComputeCapabilityMinor, device);
    snprintf(c->kernels, sizeof c->kernels, "sm_%d%d", c->major, c->minor);
    c->queue.programmatic = c->queue.programmatic && !c->params.no_pdl;
    if (!c->queue.graphs && !c->params.no_graphs) {
        say_no_graphs(c);
        c->params.no_graphs = true;
    }
    CU(c, cudaStreamCreateWithFlags, &c->queue.stream, cudaStreamNonBlocking);
    return WEFT_OK;
}

static weft_status cuda_init(struct cuda *c, weft_error *err)
{
    TRY(open_device(c, err));
    TRY(check_shape(c, err));
    c->tensor_cores = !c->params.deterministic;
    TRY(state_open(c, err));
    cuda_start_blas(c);
    TRY(upload_weights(c, err));
    return cuda_reach(c, err);
}

weft_status cuda_backend_open(const struct model *m, const struct backend_params *p,
                              struct backend **out, weft_error *err)
{
    TRY(backend_check(&cuda_backend, m, err));
    struct cuda *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_nomem(err, "the CUDA backend", sizeof *c);
    }
    c->base = (struct backend){ .ops = &cuda_backend, .model = m };
    c->model = m;
    c->params = *p;
    weft_status status = cuda_init(c, err);
    if (status != WEFT_OK) {
        cuda_close(&c->base);
        return status;
    }
    *out = &c->base;
    return WEFT_OK;
}
