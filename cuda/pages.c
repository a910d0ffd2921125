/* Pages of the KV pool as a whole: copied on the device, read to the host and written from it. */
#include "cuda.h"

/* Bytes of one page in one layer, of K or of V. */
static size_t page_bytes(const struct cuda *c)
{
    const struct config *g = &c->model->config;
    return g->n_kv_heads * KV_PAGE * g->head_dim * sizeof(f16_bits);
}

static struct dptr page_at(const struct cuda *c, size_t which, size_t layer, uint32_t page)
{
    return dptr_at(c->kv[which], (layer * c->params.n_pages + page) * page_bytes(c));
}

weft_status cuda_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    for (size_t l = 0; l < c->model->config.n_layers; l++) {
        TRY(cuda_enter(c, "copy_page", l, err));
        for (size_t i = 0; i < 2; i++) {
            CU(c, cudaMemcpyAsync, (void *)page_at(c, i, l, dst).at,
               (void *)page_at(c, i, l, src).at, page_bytes(c), cudaMemcpyDeviceToDevice,
               c->queue.stream);
        }
    }
    return WEFT_OK;
}

/* The first n positions of K or V of a page, head by head; a full page in one piece. */
static weft_status copy_heads(struct cuda *c, struct dptr page, size_t n, uint8_t *host,
                              enum cudaMemcpyKind kind, weft_error *err)
{
    size_t n_parts = c->model->config.n_kv_heads, stride = page_bytes(c) / n_parts;
    size_t bytes = stride / KV_PAGE * n;
    if (n == KV_PAGE) {
        bytes = page_bytes(c);
        n_parts = 1;
    }
    for (size_t i = 0; i < n_parts; i++) {
        void *at = host + i * bytes, *device = (void *)dptr_at(page, i * stride).at;
        bool read = kind == cudaMemcpyDeviceToHost;
        CU(c, cudaMemcpyAsync, read ? at : device, read ? device : at, bytes, kind,
           c->queue.stream);
    }
    return WEFT_OK;
}

static weft_status copy_kv(struct cuda *c, const char *stage, uint32_t page, size_t n,
                           uint8_t *host, enum cudaMemcpyKind kind, weft_error *err)
{
    size_t bytes = page_bytes(c) / KV_PAGE * n;
    for (size_t l = 0; l < c->model->config.n_layers; l++) {
        TRY(cuda_enter(c, stage, l, err));
        for (size_t i = 0; i < 2; i++) {
            TRY(copy_heads(c, page_at(c, i, l, page), n, host, kind, err));
            host += bytes;
        }
    }
    return cuda_wait(c, err);
}

weft_status cuda_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err)
{
    return copy_kv((struct cuda *)b, "read_kv", page, n, dst, cudaMemcpyDeviceToHost, err);
}

weft_status cuda_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                          weft_error *err)
{
    return copy_kv((struct cuda *)b, "write_kv", page, n, (uint8_t *)(uintptr_t)src,
                   cudaMemcpyHostToDevice, err);
}
