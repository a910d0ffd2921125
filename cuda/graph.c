/* A decode step (one row per sequence, all with logits) is one CUDA graph for each number of rows,
 * captured from the stages the first time. Tokens, positions and pages are read from the step's
 * image on the device, so a replay needs no update; for steps ahead the device itself writes the
 * next token and position there. */
#include <string.h>

#include "cuda.h"

static bool is_decode(const struct step *s)
{
    return s->n_rows == s->n_seqs && s->n_rows == s->n_out && s->n_rows <= MATVEC_ROWS;
}

/* The stages of a decode step of n rows, and with `ahead` the choice of the next tokens. */
static weft_status record(struct cuda *c, size_t n, bool ahead, weft_error *err)
{
    struct step_seq seqs[MATVEC_ROWS];
    const struct step s = { .n_rows = n, .n_seqs = n, .n_out = n, .seqs = seqs };
    for (size_t i = 0; i < n; i++) {
        seqs[i] = (struct step_seq){ .row = i, .n_rows = 1 };
    }
    TRY(forward(&c->base, c->model->config.n_layers, &s, err));
    if (ahead) {
        struct dstep step = image_step(c);
        TRY(cuda_enter(c, "pick", 0, err));
        CU(c, kernel_top, c->logits, n, c->model->config.n_vocab, 1, c->top_ids, c->top_values,
           c->top_scratch, &c->queue);
        CU(c, kernel_advance, &step, c->top_ids, 1, n, c->history, c->count, &c->queue);
    }
    return WEFT_OK;
}

static weft_status capture(struct cuda *c, size_t n, bool ahead, cudaGraphExec_t *exec,
                           weft_error *err)
{
    cudaGraph_t graph = NULL;
    CU(c, cudaStreamBeginCapture, c->queue.stream, cudaStreamCaptureModeThreadLocal);
    c->capturing = true;
    weft_status status = record(c, n, ahead, err);
    c->capturing = false;
    c->stage = "capture";
    /* a capture that has begun must end, also after a failure */
    cudaError_t e = cudaStreamEndCapture(c->queue.stream, &graph);
    if (status == WEFT_OK) {
        status = cuda_check(c, e, "cudaStreamEndCapture", err);
    } else {
        (void)cudaGetLastError(); /* what failed is known, and this follows from it */
    }
    if (status == WEFT_OK) {
        cudaGraphExec_t made = NULL;
        status = cuda_check(c, cudaGraphInstantiate(&made, graph, 0), "cudaGraphInstantiate", err);
        *exec = status == WEFT_OK ? made : NULL;
    }
    if (graph != NULL) {
        (void)cudaGraphDestroy(graph);
    }
    return status;
}

/* Sends the step's image and has the graph of n rows ready. */
static weft_status prepare(struct cuda *c, const struct step *s, size_t n_steps,
                           cudaGraphExec_t *graph, weft_error *err)
{
    bool ahead = n_steps > 1;
    cudaGraphExec_t *exec = &c->graphs[ahead][s->n_rows - 1];
    TRY(image_send(c, s, n_steps, err));
    if (*exec == NULL) {
        TRY(capture(c, s->n_rows, ahead, exec, err));
    }
    *graph = *exec;
    return WEFT_OK;
}

weft_status graph_step(struct backend *b, const struct step *s, bool *done, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    *done = !c->capturing && !c->params.no_graphs && is_decode(s);
    if (!*done) {
        return WEFT_OK;
    }
    cudaGraphExec_t graph;
    TRY(cuda_enter(c, "decode", 0, err));
    TRY(prepare(c, s, 1, &graph, err));
    CU(c, cudaGraphLaunch, graph, c->queue.stream);
    return WEFT_OK;
}

weft_status graph_ahead(struct backend *b, const struct step *s, size_t k, int32_t *ids,
                        weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    size_t bytes = k * s->n_rows * sizeof *ids;
    cudaGraphExec_t graph;
    TRY(cuda_enter(c, "decode ahead", 0, err));
    if (!is_decode(s) || k < 2 || k > BACKEND_TOP) {
        return error_set(err, WEFT_E_INTERNAL, "%zu steps ahead of %zu rows in %zu sequences", k,
                         s->n_rows, s->n_seqs);
    }
    TRY(prepare(c, s, k, &graph, err));
    CU(c, cudaMemsetAsync, (void *)c->count.at, 0, sizeof(uint32_t), c->queue.stream);
    for (size_t i = 0; i < k; i++) {
        CU(c, cudaGraphLaunch, graph, c->queue.stream);
    }
    CU(c, cudaMemcpyAsync, c->host_ids, (void *)c->history.at, bytes, cudaMemcpyDeviceToHost,
       c->queue.stream);
    TRY(cuda_wait(c, err));
    memcpy(ids, c->host_ids, bytes);
    return WEFT_OK;
}

void graph_close(struct cuda *c)
{
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 0; n < MATVEC_ROWS; n++) {
            if (c->graphs[i][n] != NULL) {
                (void)cudaGraphExecDestroy(c->graphs[i][n]);
            }
        }
    }
}
