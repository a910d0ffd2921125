/* A decode step (one row per sequence, all with logits) is one CUDA graph for each number of rows
 * and each bound of their positions. The graph is captured from the stages the first time; without
 * a graph the same stages run. Tokens, positions and pages are read from the step's image on the
 * device, so a replay needs no update. In steps ahead, the device itself writes the next token and
 * position into the image. */
#include <string.h>

#include "alone.h"
#include "cuda.h"

static bool is_decode(const struct step *s)
{
    return s->n_rows == s->n_seqs && s->n_rows == s->n_out && s->n_rows <= MATVEC_ROWS;
}

static weft_status stages(struct cuda *c, size_t n, bool ahead, weft_error *err)
{
    struct step_seq seqs[MATVEC_ROWS];
    const struct step s = { .n_rows = n, .n_seqs = n, .n_out = n, .seqs = seqs };
    for (size_t i = 0; i < n; i++) {
        seqs[i] = (struct step_seq){ .row = i, .n_rows = 1 };
    }
    TRY(forward_stages(&c->base, &s, err));
    if (ahead) {
        struct dstep step = image_step(c);
        TRY(cuda_enter(c, "pick", 0, err));
        CU(c, kernel_top, c->logits, n, c->model->config.n_vocab, 1, c->top_ids, c->top_values,
           c->top_scratch, &c->queue);
        CU(c, kernel_advance, &step, c->top_ids, 1, n, c->history, c->count, &c->queue);
    }
    return WEFT_OK;
}

/* Runs the stages of a decode step of n rows and, with `ahead`, the choice of the next tokens. The
 * image must have been sent. */
static weft_status record(struct cuda *c, size_t n, bool ahead, weft_error *err)
{
    c->decoding = true;
    weft_status status = stages(c, n, ahead, err);
    c->decoding = false;
    return status;
}

static weft_status capture(struct cuda *c, size_t n, bool ahead, cudaGraph_t *graph,
                           weft_error *err)
{
    CU(c, cudaStreamBeginCapture, c->queue.stream, cudaStreamCaptureModeThreadLocal);
    weft_status status = record(c, n, ahead, err);
    c->stage = "capture";
    /* A capture that has begun must be ended, even after a failure. */
    cudaError_t e = cudaStreamEndCapture(c->queue.stream, graph);
    if (status == WEFT_OK) {
        return cuda_check(c, e, "cudaStreamEndCapture", err);
    }
    (void)cudaGetLastError(); /* the first failure is known, this error only follows from it */
    return status;
}

/* Makes the graph executable and takes its memory on the device now, so that its launch cannot lack
 * it. */
static weft_status instantiate(struct cuda *c, cudaGraph_t graph, cudaGraphExec_t *exec,
                               weft_error *err)
{
    CU(c, cudaGraphInstantiate, exec, graph, 0);
    CU(c, cudaGraphUpload, *exec, c->queue.stream);
    return WEFT_OK;
}

static weft_status make_graph(struct cuda *c, size_t n, bool ahead, cudaGraphExec_t *exec,
                              weft_error *err)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;
    c->capturing = true;
    alone_begin();
    weft_status status = capture(c, n, ahead, &graph, err);
    alone_end();
    if (status == WEFT_OK) {
        status = instantiate(c, graph, &made, err);
    }
    c->capturing = false;
    if (graph != NULL) {
        (void)cudaGraphDestroy(graph);
    }
    if (status == WEFT_OK) {
        *exec = made;
    } else if (made != NULL) {
        (void)cudaGraphExecDestroy(made);
    }
    (void)cudaGetLastError();
    return status;
}

/* Returns the graph of a step of n rows. Returns NULL if there is none, and the reason in *why if
 * making one has failed. The host application may wait for the device and so break a capture, and
 * the device may lack memory for a graph; then the stages run, and the next step tries again. After
 * several failures in a row, more and more steps go by between two attempts. If the device is lost,
 * the stages report that. */
static cudaGraphExec_t graph_of(struct cuda *c, size_t n, bool ahead, weft_error *why)
{
    enum { MOST_DOUBLINGS = 10 };
    cudaGraphExec_t *exec = &c->graphs[ahead][n - 1][c->image.bucket];
    if (*exec != NULL || c->params.no_graphs) {
        return *exec;
    }
    if (c->graph_wait > 0) {
        c->graph_wait--;
        return NULL;
    }
    if (make_graph(c, n, ahead, exec, why) == WEFT_OK) {
        c->graph_failures = 0;
        return *exec;
    }
    c->graph_wait = ((size_t)1 << c->graph_failures) - 1;
    c->graph_failures += c->graph_failures < MOST_DOUBLINGS;
    return NULL;
}

/* Runs a decode step of n rows whose image has been sent. */
static weft_status run(struct cuda *c, size_t n, bool ahead, weft_error *err)
{
    weft_error why = { WEFT_OK, "" };
    cudaGraphExec_t graph = graph_of(c, n, ahead, &why);
    if (graph == NULL) {
        TRY(record(c, n, ahead, err));
        /* only the first of a series of failures is logged */
        if (why.code != WEFT_OK && c->graph_failures == 1) {
            log_line(c->params.log, WEFT_LOG_WARN,
                     "%s; kernels are launched one by one until a graph can be made", why.message);
        }
        return WEFT_OK;
    }
    c->stage = ahead ? "decode ahead" : "decode";
    c->layer = 0;
    CU(c, cudaGraphLaunch, graph, c->queue.stream);
    return WEFT_OK;
}

weft_status graph_step(struct backend *b, const struct step *s, bool *done, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    *done = !c->params.no_graphs && is_decode(s);
    if (!*done) {
        return WEFT_OK;
    }
    TRY(cuda_enter(c, "decode", 0, err));
    TRY(image_send(c, s, 1, err));
    return run(c, s->n_rows, false, err);
}

weft_status graph_ahead(struct backend *b, const struct step *s, size_t k, int32_t *ids,
                        weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    size_t bytes = k * s->n_rows * sizeof *ids;
    TRY(cuda_enter(c, "decode ahead", 0, err));
    if (!is_decode(s) || k < 2 || k > BACKEND_TOP) {
        return error_set(err, WEFT_E_INTERNAL, "%zu steps ahead of %zu rows in %zu sequences", k,
                         s->n_rows, s->n_seqs);
    }
    TRY(image_send(c, s, k, err));
    CU(c, cudaMemsetAsync, (void *)c->count.at, 0, sizeof(uint32_t), c->queue.stream);
    for (size_t i = 0; i < k; i++) {
        TRY(run(c, s->n_rows, true, err));
    }
    CU(c, cudaMemcpyAsync, c->host_ids, (void *)c->history.at, bytes, cudaMemcpyDeviceToHost,
       c->queue.stream);
    TRY(cuda_wait(c, err));
    memcpy(ids, c->host_ids, bytes);
    return WEFT_OK;
}

void graph_close(struct cuda *c)
{
    cudaGraphExec_t *graphs = &c->graphs[0][0][0];
    for (size_t i = 0; i < sizeof c->graphs / sizeof *graphs; i++) {
        if (graphs[i] != NULL) {
            (void)cudaGraphExecDestroy(graphs[i]);
        }
    }
}
