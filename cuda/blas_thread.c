/* Opens cuBLAS while the weights are uploaded: to load the library and make a handle takes longer
 * than to upload a small model. */
#include "base/thread.h"
#include "cuda.h"

static void open_blas(struct cuda *c)
{
    struct blas_thread *t = &c->blas_thread;
    t->tried = true;
    t->found = blas_find(&c->blas);
    if (t->found) {
        t->opened = blas_open(&c->blas, c->queue.stream, c->blas_workspace, BLAS_WORKSPACE);
    }
}

static void *run(void *arg)
{
    struct cuda *c = arg;
    /* Every thread has its own current device. */
    c->blas_thread.device = cudaSetDevice(c->params.device);
    if (c->blas_thread.device == cudaSuccess) {
        open_blas(c);
    }
    return NULL;
}

void cuda_start_blas(struct cuda *c)
{
    struct blas_thread *t = &c->blas_thread;
    if (c->tensor_cores) {
        t->running = thread_start(&t->thread, run, c);
    }
}

void cuda_join_blas(struct cuda *c)
{
    if (c->blas_thread.running) {
        pthread_join(c->blas_thread.thread, NULL);
        c->blas_thread.running = false;
    }
}

weft_status cuda_open_blas(struct cuda *c, weft_error *err)
{
    struct blas_thread *t = &c->blas_thread;
    if (!c->tensor_cores) {
        return WEFT_OK;
    }
    cuda_join_blas(c);
    TRY(cuda_check(c, t->device, "cudaSetDevice", err));
    if (!t->tried) { /* the system had no thread for it */
        open_blas(c);
    }
    if (!t->found) {
        c->tensor_cores = false;
        log_line(c->params.log, WEFT_LOG_WARN,
                 "cuda:%d: libcublas.so.13 or .12 was not found; long prompts will be slow",
                 c->params.device);
        return WEFT_OK;
    }
    return cuda_check_blas(c, t->opened, "cublasCreate", err);
}
