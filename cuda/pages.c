/* Whole pages of the KV pool: copied on the device, read to the host, and written from it. */
#include <string.h>

#include "cuda.h"
#include "format/kv_type.h"

size_t cuda_page_bytes(const struct cuda *c, size_t which, size_t store)
{
    return c->model->kv[store].n_heads * KV_PAGE *
           kv_type_bytes(c->params.kv_type[which], cuda_kv_dim(c, which, store));
}

struct dptr cuda_page(const struct cuda *c, size_t which, size_t store, uint32_t page)
{
    return dptr_at(c->kv[which],
                   c->store_at[which][store] + page * cuda_page_bytes(c, which, store));
}

weft_status cuda_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    for (size_t k = 0; k < c->model->n_stores; k++) {
        TRY(cuda_enter(c, "copy_page", k, err));
        for (size_t i = 0; i < 2; i++) {
            CU(c, cudaMemcpyAsync, (void *)cuda_page(c, i, k, dst).at,
               (void *)cuda_page(c, i, k, src).at, cuda_page_bytes(c, i, k),
               cudaMemcpyDeviceToDevice, c->queue.stream);
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

/* Which bytes to copy: K (0) or V (1) of one page in one store. */
struct part {
    size_t which, store;
    uint32_t page;
};

/* Copies the first n positions of K or V of a page, head by head; a full page is one copy. The host
 * has the layout of the device, but without the other positions. */
static weft_status copy_heads(struct cuda *c, const struct part *p, size_t n, uint8_t *host,
                              enum cudaMemcpyKind kind, weft_error *err)
{
    const size_t n_heads = c->model->kv[p->store].n_heads, dim = cuda_kv_dim(c, p->which, p->store),
                 all = cuda_page_bytes(c, p->which, p->store), block = all / n_heads;
    const struct dptr page = cuda_page(c, p->which, p->store, p->page);
    bool q8 = c->params.kv_type[p->which] == WEFT_KV_Q8_0;
    /* bytes of a head's codes (q8_0), or of its f16 values */
    size_t first = q8 ? KV_PAGE * dim : block;
    if (n == KV_PAGE) {
        return copy(c, page, host, all, kind, err);
    }
    for (size_t h = 0; h < n_heads; h++) {
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

/* These two functions convert between blocks of GGUF, where a scale and its codes stand together,
 * and planes, where the codes of a head are followed by its scales. A head has n_blocks blocks. */
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

/* Like copy_heads(), but the host has blocks of GGUF. Waits for the copies. */
static weft_status copy_blocks(struct cuda *c, const struct part *p, size_t n, uint8_t *host,
                               enum cudaMemcpyKind kind, weft_error *err)
{
    const size_t n_heads = c->model->kv[p->store].n_heads;
    size_t n_blocks = n * cuda_kv_dim(c, p->which, p->store) / 32,
           bytes = n_blocks * sizeof(struct block_q8_0);
    bool read = kind == cudaMemcpyDeviceToHost;
    for (size_t h = 0; h < n_heads && !read; h++) {
        split_blocks(c->host_page + h * bytes, host + h * bytes, n_blocks);
    }
    TRY(copy_heads(c, p, n, c->host_page, kind, err));
    TRY(cuda_wait(c, err));
    for (size_t h = 0; h < n_heads && read; h++) {
        join_blocks(host + h * bytes, c->host_page + h * bytes, n_blocks);
    }
    return WEFT_OK;
}

static weft_status copy_kv(struct cuda *c, const char *stage, uint32_t page, size_t n,
                           uint8_t *host, enum cudaMemcpyKind kind, weft_error *err)
{
    for (size_t k = 0; k < c->model->n_stores; k++) {
        TRY(cuda_enter(c, stage, k, err));
        for (size_t i = 0; i < 2; i++) {
            const struct part p = { .which = i, .store = k, .page = page };
            bool q8 = c->params.kv_type[i] == WEFT_KV_Q8_0;
            TRY((q8 ? copy_blocks : copy_heads)(c, &p, n, host, kind, err));
            host += cuda_page_bytes(c, i, k) / KV_PAGE * n;
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
