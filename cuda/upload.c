/* Brings the weights to the device, in pieces of a few MiB. Three stations work at once: threads
 * read the file into pinned buffers, copy streams bring the buffers over the bus, and the engine's
 * stream repacks them. Only the thread that opens the engine calls CUDA and the progress
 * function. */
#include <time.h>

#include "cuda.h"
#include "platform.h"
#include "readers.h"

/* A core copies 6 to 10 GB/s out of the page cache, and the bus (PCIe 5 x16) takes 55 GB/s, so
 * several threads read. Pieces are small, because pinning takes about half a millisecond per MiB,
 * and because a small ring stays in the processor's cache, which saves memory bandwidth. Larger
 * pieces would not be copied faster (4 MiB take 80 us). */
enum { PIECE_BYTES = 4 << 20, COPY_STREAMS = 2 };

/* Piece i is copied on stream i % COPY_STREAMS. Pieces of matrices go into part i % UPLOAD_PARTS of
 * the slab, pieces of vectors to their place. UPLOAD_PARTS pieces are on their way, while each
 * reader fills one more buffer. */
struct upload {
    struct cuda *c;
    struct piece *pieces; /* [n] */
    size_t n, cap;
    size_t part_bytes;
    uint64_t sent, total;
    char *ring; /* pinned */
    cudaStream_t copy[COPY_STREAMS];
    cudaEvent_t copied[UPLOAD_PARTS], done[UPLOAD_PARTS];
    struct readers readers;
};

/* --- the list of pieces --- */

static weft_status add_piece(struct upload *u, const struct piece *p, weft_error *err)
{
    if (!mem_reserve(&u->pieces, &u->cap, u->n + 1, sizeof *p)) {
        return error_nomem(err, "the list of pieces to upload", (u->n + 1) * sizeof *p);
    }
    u->pieces[u->n++] = *p;
    u->total += p->bytes;
    return WEFT_OK;
}

static weft_status add_matrix(struct upload *u, const struct tensor *t, const struct dmatrix *m,
                              size_t layer, weft_error *err)
{
    size_t row = t->n_bytes / t->n_rows, most = u->part_bytes / row;
    for (size_t first = 0; first < t->n_rows; first += most) {
        size_t n = size_min(t->n_rows - first, most);
        const struct piece p = { .from = t->data + first * row,
                                 .bytes = n * row,
                                 .matrix = m,
                                 .first = first,
                                 .n = n,
                                 .layer = layer };
        TRY(add_piece(u, &p, err));
    }
    return WEFT_OK;
}

static weft_status add_vector(struct upload *u, const struct tensor *t, struct dptr v, size_t layer,
                              weft_error *err)
{
    for (size_t at = 0; t->name != NULL && at < t->n_bytes; at += u->part_bytes) {
        size_t n = size_min(t->n_bytes - at, u->part_bytes);
        const struct piece p = {
            .from = t->data + at, .bytes = n, .to = dptr_at(v, at), .layer = layer
        };
        TRY(add_piece(u, &p, err));
    }
    return WEFT_OK;
}

static weft_status add_matrices(struct upload *u, weft_error *err)
{
    struct cuda *c = u->c;
    const struct weights *w = &c->model->weights;
    TRY(add_matrix(u, &w->token_embd, &c->weights.token_embd, 0, err));
    if (w->output.data == w->token_embd.data) {
        c->weights.output = c->weights.token_embd;
    } else {
        TRY(add_matrix(u, &w->output, &c->weights.output, 0, err));
    }
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            const struct tensor *from = &c->model->layers[i].t[t];
            if (layer_tensor_is_matrix(t) && from->name != NULL) {
                TRY(add_matrix(u, from, &c->weights.layers[i].matrix[t], i, err));
            }
        }
    }
    return WEFT_OK;
}

/* All vectors come at the end. Between the matrices, each would occupy a whole buffer, and readers
 * would wait. */
static weft_status add_vectors(struct upload *u, weft_error *err)
{
    struct cuda *c = u->c;
    const struct weights *w = &c->model->weights;
    TRY(add_vector(u, &w->output_norm, c->weights.output_norm, 0, err));
    TRY(add_vector(u, &w->output_bias, c->weights.output_bias, 0, err));
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            if (!layer_tensor_is_matrix(t)) {
                TRY(add_vector(u, &c->model->layers[i].t[t], c->weights.layers[i].vector[t], i,
                               err));
            }
        }
    }
    return WEFT_OK;
}

/* --- sending --- */

/* Waits until piece i has been read, then starts its copy and, if it is of a matrix, its
 * repacking. */
static weft_status start_piece(struct upload *u, size_t i, weft_error *err)
{
    struct cuda *c = u->c;
    const struct piece *p = &u->pieces[i];
    const size_t part = i % UPLOAD_PARTS;
    cudaStream_t stream = u->copy[i % COPY_STREAMS];
    struct dptr to = p->matrix != NULL ? dptr_at(c->slab, part * u->part_bytes) : p->to;
    const char *from;
    c->layer = p->layer;
    TRY(readers_take(&u->readers, i, &from, err));
    CU(c, cudaMemcpyAsync, (void *)to.at, from, p->bytes, cudaMemcpyHostToDevice, stream);
    CU(c, cudaEventRecord, u->copied[part], stream);
    CU(c, cudaStreamWaitEvent, c->queue.stream, u->copied[part], 0);
    if (p->matrix != NULL) {
        CU(c, kernel_repack, p->matrix, p->first, p->n, to, &c->queue);
    }
    CU(c, cudaEventRecord, u->done[part], c->queue.stream);
    return WEFT_OK;
}

/* Waits until piece i is where it belongs. Its buffer and its part of the slab are free then. */
static weft_status end_piece(struct upload *u, size_t i, weft_error *err)
{
    struct cuda *c = u->c;
    CU(c, cudaEventSynchronize, u->done[i % UPLOAD_PARTS]);
    readers_give(&u->readers, i);
    u->sent += u->pieces[i].bytes;
    if (c->params.progress != NULL &&
        !c->params.progress(c->params.progress_user, u->sent, u->total)) {
        return error_set(err, WEFT_E_CANCELLED,
                         "the upload was stopped by the progress function after %.1f MiB",
                         (double)u->sent / 1048576.0);
    }
    return WEFT_OK;
}

static weft_status send_pieces(struct upload *u, weft_error *err)
{
    for (size_t i = 0; i < u->n + UPLOAD_PARTS; i++) {
        if (i >= UPLOAD_PARTS && i - UPLOAD_PARTS < u->n) {
            TRY(end_piece(u, i - UPLOAD_PARTS, err));
        }
        if (i < u->n) {
            TRY(start_piece(u, i, err));
        }
    }
    return cuda_wait(u->c, err);
}

/* --- opening and closing --- */

static size_t wanted_readers(const struct cuda *c)
{
    size_t n = c->params.n_threads > 0 ? c->params.n_threads : cpu_default_threads();
    return size_min(n, READERS_MAX);
}

static weft_status open_upload(struct upload *u, size_t n_readers, weft_error *err)
{
    struct cuda *c = u->c;
    size_t part = c->slab_bytes / UPLOAD_PARTS, most = PIECE_BYTES;
    most = size_max(most, c->row_bytes);
    most = round_up(most, MEMORY_ALIGN); /* the parts of the slab are aligned too */
    u->part_bytes = size_min(part, most);
    TRY(add_matrices(u, err));
    TRY(add_vectors(u, err));
    u->readers = (struct readers){ .file = c->model->file,
                                   .pieces = u->pieces,
                                   .n_pieces = u->n,
                                   .buffer_bytes = u->part_bytes,
                                   .n_buffers = n_readers + UPLOAD_PARTS };
    CU(c, cudaMallocHost, (void **)&u->ring, u->readers.n_buffers * u->part_bytes);
    u->readers.ring = u->ring;
    for (size_t i = 0; i < COPY_STREAMS; i++) {
        CU(c, cudaStreamCreateWithFlags, &u->copy[i], cudaStreamNonBlocking);
    }
    for (size_t i = 0; i < UPLOAD_PARTS; i++) {
        /* The waiting thread sleeps, so that the readers have the processors. */
        const unsigned flags = cudaEventDisableTiming | cudaEventBlockingSync;
        CU(c, cudaEventCreateWithFlags, &u->copied[i], cudaEventDisableTiming);
        CU(c, cudaEventCreateWithFlags, &u->done[i], flags);
    }
    return WEFT_OK;
}

static void close_upload(struct upload *u)
{
    for (size_t i = 0; i < COPY_STREAMS; i++) {
        if (u->copy[i] != NULL) {
            (void)cudaStreamDestroy(u->copy[i]);
        }
    }
    for (size_t i = 0; i < UPLOAD_PARTS; i++) {
        if (u->copied[i] != NULL) {
            (void)cudaEventDestroy(u->copied[i]);
        }
        if (u->done[i] != NULL) {
            (void)cudaEventDestroy(u->done[i]);
        }
    }
    if (u->ring != NULL) {
        (void)cudaFreeHost(u->ring);
    }
    free(u->pieces);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void log_rate(const struct upload *u, double seconds)
{
    log_line(u->c->params.log, WEFT_LOG_INFO,
             "cuda:%d: uploaded %.1f MiB in %.3f s, %.2f GB/s; %zu threads read into %.1f MiB of "
             "pinned buffers",
             u->c->params.device, (double)u->total / 1048576.0, seconds,
             seconds > 0 ? (double)u->total * 1e-9 / seconds : 0.0, u->readers.n_threads,
             (double)(u->readers.n_buffers * u->part_bytes) / 1048576.0);
}

weft_status upload_weights(struct cuda *c, weft_error *err)
{
    struct upload u = { .c = c };
    const size_t n_readers = wanted_readers(c);
    const double start = seconds_now();
    c->stage = "upload";
    weft_status status = open_upload(&u, n_readers, err);
    if (status == WEFT_OK) {
        status = readers_open(&u.readers, n_readers, err);
    }
    if (status == WEFT_OK) {
        status = send_pieces(&u, err);
        readers_close(&u.readers);
    }
    if (status == WEFT_OK) {
        log_rate(&u, seconds_now() - start);
    } else {
        /* The copies under way still read the pinned buffers. */
        for (size_t i = 0; i < COPY_STREAMS && u.copy[i] != NULL; i++) {
            (void)cudaStreamSynchronize(u.copy[i]);
        }
        (void)cudaStreamSynchronize(c->queue.stream);
    }
    close_upload(&u);
    return status;
}
