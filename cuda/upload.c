/* Weights to the device. The file's rows go through a ring of two pinned buffers and the two halves
 * of the slab: while one is copied and repacked, the next is read from the file. */
#include <string.h>

#include "cuda.h"

enum { RING = 2, CHUNK_BYTES = 16 << 20 };

struct ring {
    struct cuda *c;
    char *pinned[RING];
    cudaEvent_t done[RING]; /* the device is through with the buffer */
    size_t chunk;           /* bytes of a buffer */
    size_t next;            /* the buffer that is filled next */
    uint64_t sent, total;   /* bytes */
};

static weft_status ring_open(struct ring *r, struct cuda *c, weft_error *err)
{
    *r = (struct ring){ .c = c, .chunk = c->slab_bytes / RING / 256 * 256 };
    r->total = c->memory.bytes[MEMORY_WEIGHTS];
    for (size_t i = 0; i < RING; i++) {
        CU(c, cudaMallocHost, (void **)&r->pinned[i], r->chunk);
        CU(c, cudaEventCreateWithFlags, &r->done[i], cudaEventDisableTiming);
    }
    return WEFT_OK;
}

static void ring_close(struct ring *r)
{
    for (size_t i = 0; i < RING; i++) {
        if (r->done[i] != NULL) {
            (void)cudaEventDestroy(r->done[i]);
        }
        if (r->pinned[i] != NULL) {
            (void)cudaFreeHost(r->pinned[i]);
        }
    }
}

/* Reads `bytes` <= chunk into the next buffer and starts their copy to `to`, or to the buffer's own
 * part of the slab if there is no `to`; returns where they will be. */
static weft_status ring_copy(struct ring *r, const void *from, size_t bytes, struct dptr to,
                             struct dptr *at, weft_error *err)
{
    struct cuda *c = r->c;
    CU(c, cudaEventSynchronize, r->done[r->next]);
    memcpy(r->pinned[r->next], from, bytes);
    *at = to.at != 0 ? to : dptr_at(c->slab, r->next * r->chunk);
    CU(c, cudaMemcpyAsync, (void *)at->at, r->pinned[r->next], bytes, cudaMemcpyHostToDevice,
       c->queue.stream);
    return WEFT_OK;
}

/* What was started with the buffer ends here; the next one's turn. */
static weft_status ring_turn(struct ring *r, size_t bytes, weft_error *err)
{
    struct cuda *c = r->c;
    CU(c, cudaEventRecord, r->done[r->next], c->queue.stream);
    r->next = (r->next + 1) % RING;
    r->sent += bytes;
    if (c->params.progress != NULL &&
        !c->params.progress(c->params.progress_user, r->sent < r->total ? r->sent : r->total,
                            r->total)) {
        return error_set(err, WEFT_E_CANCELLED,
                         "the upload was stopped by the progress function after %.1f MiB",
                         (double)r->sent / 1048576.0);
    }
    return WEFT_OK;
}

static weft_status send_matrix(struct ring *r, const struct tensor *t, const struct dmatrix *m,
                               weft_error *err)
{
    size_t row = t->n_bytes / t->n_rows, most = r->chunk / row;
    for (size_t first = 0; first < t->n_rows;) {
        size_t n = t->n_rows - first < most ? t->n_rows - first : most;
        struct dptr raw;
        TRY(ring_copy(r, t->data + first * row, n * row, (struct dptr){ 0 }, &raw, err));
        CU(r->c, kernel_repack, m, first, n, raw, &r->c->queue);
        TRY(ring_turn(r, n * row, err));
        first += n;
    }
    return WEFT_OK;
}

static weft_status send_vector(struct ring *r, const struct tensor *t, struct dptr v,
                               weft_error *err)
{
    for (size_t at = 0; t->name != NULL && at < t->n_bytes;) {
        size_t n = t->n_bytes - at < r->chunk ? t->n_bytes - at : r->chunk;
        struct dptr copied;
        TRY(ring_copy(r, t->data + at, n, dptr_at(v, at), &copied, err));
        TRY(ring_turn(r, n, err));
        at += n;
    }
    return WEFT_OK;
}

static weft_status send_layer(struct ring *r, const struct layer *l, const struct dlayer *d,
                              weft_error *err)
{
    TRY(send_vector(r, &l->attn_norm, d->attn_norm, err));
    TRY(send_vector(r, &l->ffn_norm, d->ffn_norm, err));
    TRY(send_vector(r, &l->attn_q_bias, d->qkv_bias[0], err));
    TRY(send_vector(r, &l->attn_k_bias, d->qkv_bias[1], err));
    TRY(send_vector(r, &l->attn_v_bias, d->qkv_bias[2], err));
    TRY(send_vector(r, &l->attn_q_norm, d->q_norm, err));
    TRY(send_vector(r, &l->attn_k_norm, d->k_norm, err));
    TRY(send_matrix(r, &l->attn_q, &d->qkv[0], err));
    TRY(send_matrix(r, &l->attn_k, &d->qkv[1], err));
    TRY(send_matrix(r, &l->attn_v, &d->qkv[2], err));
    TRY(send_matrix(r, &l->attn_output, &d->attn_output, err));
    TRY(send_matrix(r, &l->ffn_gate, &d->ffn_gate, err));
    TRY(send_matrix(r, &l->ffn_up, &d->ffn_up, err));
    return send_matrix(r, &l->ffn_down, &d->ffn_down, err);
}

static weft_status send_all(struct ring *r, weft_error *err)
{
    struct cuda *c = r->c;
    const struct weights *w = &c->model->weights;
    c->stage = "upload";
    TRY(send_matrix(r, &w->token_embd, &c->weights.token_embd, err));
    if (w->output.data == w->token_embd.data) {
        c->weights.output = c->weights.token_embd;
    } else {
        TRY(send_matrix(r, &w->output, &c->weights.output, err));
    }
    TRY(send_vector(r, &w->output_norm, c->weights.output_norm, err));
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        c->layer = i;
        TRY(send_layer(r, &w->layers[i], &c->weights.layers[i], err));
    }
    return cuda_wait(c, err);
}

weft_status upload_weights(struct cuda *c, weft_error *err)
{
    struct ring r;
    weft_status status = ring_open(&r, c, err);
    if (status == WEFT_OK) {
        status = send_all(&r, err);
    }
    if (status != WEFT_OK) {
        /* copies under way still read the pinned buffers */
        (void)cudaStreamSynchronize(c->queue.stream);
    }
    ring_close(&r);
    return status;
}
