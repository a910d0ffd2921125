/* Pages of the KV pool as a whole: copied on the device, read to the host and written from it. */
#include <string.h>

#include "cuda.h"
#include "format/kv_type.h"

size_t cuda_page_bytes(const struct cuda *c, size_t which)
{
    const struct config *g = &c->model->config;
    return g->n_kv_heads * KV_PAGE * kv_type_bytes(c->params.kv_type[which], g->head_dim);
}

struct dptr cuda_page(const struct cuda *c, size_t which, size_t layer, uint32_t page)
{
    return dptr_at(c->kv[which], (layer * c->params.n_pages + page) * cuda_page_bytes(c, which));
}

weft_status cuda_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    for (size_t l = 0; l < c->model->config.n_layers; l++) {
        TRY(cuda_enter(c, "copy_page", l, err));
        for (size_t i = 0; i < 2; i++) {
            CU(c, cudaMemcpyAsync, (void *)cuda_page(c, i, l, dst).at,
               (void *)cuda_page(c, i, l, src).at, cuda_page_bytes(c, i), cudaMemcpyDeviceToDevice,
               c->queue.stream);
        }
    }
    return WEFT_OK;
}

static weft_status copy(struct cuda *c, struct dptr device, uint8_t *host, size_t bytes,
                        enum cudaMemcpyKind kind, weft_error *err)
{
    void *at = (void *)device.at;
    bool read = kind == cudaMemcpyDeviceToHost;
    CU(c, cudaMemcpyAsync, read ? host : at, read ? at : host, bytes, kind, c->queue.stream);
    return WEFT_OK;
}

/* The first n positions of K or V of a page, head by head, a full page in one piece; on the host as
 * on the device, but without the other positions. */
static weft_status copy_heads(struct cuda *c, size_t which, struct dptr page, size_t n,
                              uint8_t *host, enum cudaMemcpyKind kind, weft_error *err)
{
    const struct config *g = &c->model->config;
    bool q8 = c->params.kv_type[which] == WEFT_KV_Q8_0;
    size_t block = cuda_page_bytes(c, which) / g->n_kv_heads;
    size_t first = q8 ? KV_PAGE * g->head_dim : block; /* bytes of all codes, or halves */
    if (n == KV_PAGE) {
        return copy(c, page, host, cuda_page_bytes(c, which), kind, err);
    }
    for (size_t h = 0; h < g->n_kv_heads; h++) {
        struct dptr at = dptr_at(page, h * block);
        size_t bytes = first / KV_PAGE * n, rest = (block - first) / KV_PAGE * n;
        TRY(copy(c, at, host, bytes, kind, err));
        if (q8) {
            TRY(copy(c, dptr_at(at, first), host + bytes, rest, kind, err));
        }
        host += bytes + rest;
    }
    return WEFT_OK;
}

/* Between blocks of GGUF, scale and codes together, and the codes of a head followed by its scales.
 * n_blocks of one head. */
static void split_blocks(uint8_t *planes, const uint8_t *blocks, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++) {
        const uint8_t *block = blocks + i * sizeof(struct block_q8_0);
        memcpy(planes + i * 32, block + offsetof(struct block_q8_0, qs), 32);
        memcpy(planes + n_blocks * 32 + i * sizeof(f16_bits), block, sizeof(f16_bits));
    }
}

static void join_blocks(uint8_t *blocks, const uint8_t *planes, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t *block = blocks + i * sizeof(struct block_q8_0);
        memcpy(block + offsetof(struct block_q8_0, qs), planes + i * 32, 32);
        memcpy(block, planes + n_blocks * 32 + i * sizeof(f16_bits), sizeof(f16_bits));
    }
}

/* The same as copy_heads() with blocks of GGUF on the host. Waits. */
static weft_status copy_blocks(struct cuda *c, size_t which, struct dptr page, size_t n,
                               uint8_t *host, enum cudaMemcpyKind kind, weft_error *err)
{
    const struct config *g = &c->model->config;
    size_t n_blocks = n * g->head_dim / 32, bytes = n_blocks * sizeof(struct block_q8_0);
    bool read = kind == cudaMemcpyDeviceToHost;
    for (size_t h = 0; h < g->n_kv_heads && !read; h++) {
        split_blocks(c->host_page + h * bytes, host + h * bytes, n_blocks);
    }
    TRY(copy_heads(c, which, page, n, c->host_page, kind, err));
    TRY(cuda_wait(c, err));
    for (size_t h = 0; h < g->n_kv_heads && read; h++) {
        join_blocks(host + h * bytes, c->host_page + h * bytes, n_blocks);
    }
    return WEFT_OK;
}

static weft_status copy_kv(struct cuda *c, const char *stage, uint32_t page, size_t n,
                           uint8_t *host, enum cudaMemcpyKind kind, weft_error *err)
{
    for (size_t l = 0; l < c->model->config.n_layers; l++) {
        TRY(cuda_enter(c, stage, l, err));
        for (size_t i = 0; i < 2; i++) {
            bool q8 = c->params.kv_type[i] == WEFT_KV_Q8_0;
            TRY((q8 ? copy_blocks : copy_heads)(c, i, cuda_page(c, i, l, page), n, host, kind,
                                                err));
            host += cuda_page_bytes(c, i) / KV_PAGE * n;
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
