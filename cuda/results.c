/* Reads results from the device: logits, the best of them, and values between stages. */
#include <string.h>

#include "cuda.h"
#include "format/kv_type.h"

weft_status cuda_read_logits(struct backend *b, size_t i, float *dst, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    size_t bytes = c->model->config.n_vocab * sizeof(float);
    TRY(cuda_enter(c, "read_logits", 0, err));
    CU(c, cudaMemcpyAsync, c->host_logits, (void *)dptr_at(c->logits, i * bytes).at, bytes,
       cudaMemcpyDeviceToHost, c->queue.stream);
    TRY(cuda_wait(c, err));
    memcpy(dst, c->host_logits, bytes);
    return WEFT_OK;
}

weft_status cuda_top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    size_t n = c->n_out * k;
    TRY(cuda_enter(c, "top", 0, err));
    CU(c, kernel_top, c->logits, c->n_out, c->model->config.n_vocab, k, c->top_ids, c->top_values,
       c->top_scratch, &c->queue);
    CU(c, cudaMemcpyAsync, c->host_ids, (void *)c->top_ids.at, n * sizeof *ids,
       cudaMemcpyDeviceToHost, c->queue.stream);
    CU(c, cudaMemcpyAsync, c->host_values, (void *)c->top_values.at, n * sizeof *values,
       cudaMemcpyDeviceToHost, c->queue.stream);
    TRY(cuda_wait(c, err));
    memcpy(ids, c->host_ids, n * sizeof *ids);
    memcpy(values, c->host_values, n * sizeof *values);
    return WEFT_OK;
}

/* Reads rows of floats that stand `stride` apart. */
static weft_status read_rows(struct cuda *c, struct dptr from, size_t n_rows, size_t n_cols,
                             size_t stride, float *dst, weft_error *err)
{
    for (size_t i = 0; i < n_rows; i++) {
        CU(c, cudaMemcpyAsync, dst + i * n_cols, (void *)dptr_at(from, i * stride * sizeof *dst).at,
           n_cols * sizeof *dst, cudaMemcpyDeviceToHost, c->queue.stream);
    }
    return cuda_wait(c, err);
}

/* Turns a head of f16 into floats in place. The halves lie at the end of the memory that becomes
 * the floats. */
static void widen_halves(float *head, size_t dim)
{
    for (size_t k = 0; k < dim; k++) {
        f16_bits half;
        memcpy(&half, (char *)head + dim * sizeof half + k * sizeof half, sizeof half);
        head[k] = f16_to_f32(half);
    }
}

/* Turns a head of q8_0 into floats in place. The scales, followed by the codes, lie at the end of
 * the memory that becomes the floats. */
static void widen_codes(float *head, size_t dim)
{
    f16_bits scales[256 / 32]; /* check_shape() refuses heads larger than 256 */
    const int8_t *codes = (const int8_t *)(head + dim) - dim;
    memcpy(scales, (const char *)codes - dim / 32 * sizeof scales[0], dim / 32 * sizeof scales[0]);
    for (size_t k = 0; k < dim; k++) {
        head[k] = f16_to_f32(scales[k / 32]) * (float)codes[k];
    }
}

/* Reads the stored K or V of one position and KV head, to the end of the memory that becomes its
 * floats. */
static weft_status read_head(struct cuda *c, size_t which, struct dptr block, size_t dim,
                             size_t row, float *head, weft_error *err)
{
    char *end = (char *)(head + dim);
    bool q8 = c->params.kv_type[which] == WEFT_KV_Q8_0;
    size_t bytes = q8 ? dim : dim * sizeof(f16_bits);
    CU(c, cudaMemcpyAsync, end - bytes, (void *)dptr_at(block, row * bytes).at, bytes,
       cudaMemcpyDeviceToHost, c->queue.stream);
    if (q8) {
        size_t scales = dim / 32 * sizeof(f16_bits);
        CU(c, cudaMemcpyAsync, end - bytes - scales,
           (void *)dptr_at(block, KV_PAGE * dim + row * scales).at, scales, cudaMemcpyDeviceToHost,
           c->queue.stream);
    }
    return WEFT_OK;
}

/* Reads K or V of the step's rows from the pages. There is no other copy: the kernel that stores
 * them writes no floats. */
static weft_status read_pages(struct cuda *c, size_t which, size_t store, const struct step *s,
                              float *dst, weft_error *err)
{
    const struct kv *kv = &c->model->kv[store];
    const size_t dim = cuda_kv_dim(c, which, store),
                 block = cuda_page_bytes(c, which, store) / kv->n_heads;
    size_t n = 0;
    for (size_t i = 0; i < s->n_seqs; i++) {
        for (size_t r = 0; r < s->seqs[i].n_rows; r++) {
            size_t pos = s->seqs[i].pos + r;
            const uint32_t *pages = s->seqs[i].pages[kv->pool];
            struct dptr page = cuda_page(c, which, store, pages[pos / KV_PAGE]);
            for (size_t h = 0; h < kv->n_heads; h++, n++) {
                TRY(read_head(c, which, dptr_at(page, h * block), dim, pos % KV_PAGE, dst + n * dim,
                              err));
            }
        }
    }
    TRY(cuda_wait(c, err));
    for (size_t i = 0; i < n; i++) {
        float *head = dst + i * dim;
        if (c->params.kv_type[which] == WEFT_KV_Q8_0) {
            widen_codes(head, dim);
        } else {
            widen_halves(head, dim);
        }
    }
    return WEFT_OK;
}

/* Gives heads of q or k the values that they had before k_heads() rotated them. */
static void rotate_back(const struct cuda *c, float *heads, size_t n, size_t dim)
{
    for (size_t i = 0; kv_type_rotates(c->params.kv_type[0]) && i < n; i++) {
        kv_rotate(heads + i * dim, dim);
    }
}

weft_status cuda_read_values(struct backend *b, const struct step *s, enum backend_value value,
                             size_t layer, float *dst, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    const size_t n = s->n_rows, n_cols = backend_value_cols(c->model, value, layer);
    const struct layer *l = &c->model->layers[layer];
    TRY(cuda_enter(c, "read_values", layer, err));
    switch (value) {
    case VALUE_Q:
        TRY(read_rows(c, c->q, n, n_cols, n_cols, dst, err));
        rotate_back(c, dst, n * l->attn.n_heads, layer_kv(c->model, l)->k_dim);
        return WEFT_OK;
    case VALUE_K:
        TRY(read_pages(c, 0, l->attn.kv, s, dst, err));
        rotate_back(c, dst, n * layer_kv(c->model, l)->n_heads, layer_kv(c->model, l)->k_dim);
        return WEFT_OK;
    case VALUE_V: return read_pages(c, 1, l->attn.kv, s, dst, err);
    case VALUE_ATTENTION:
        return read_rows(c, c->mid.x, n, n_cols, cuda_acts_stride(n_cols), dst, err);
    case VALUE_FFN_ACT: return read_rows(c, c->ff.x, n, n_cols, cuda_acts_stride(n_cols), dst, err);
    case VALUE_NORM:
        return read_rows(c, c->head_norm.x, s->n_out, n_cols, cuda_acts_stride(n_cols), dst, err);
    case VALUE_X: break;
    }
    return read_rows(c, c->x, n, n_cols, n_cols, dst, err);
}

weft_status cuda_results_wait(struct backend *b, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    TRY(cuda_enter(c, c->stage, c->layer, err));
    return cuda_wait(c, err);
}
