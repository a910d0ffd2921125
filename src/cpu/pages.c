/* Copies, reads and writes whole pages of the KV pool. */
#include <string.h>

#include "cpu/state.h"

weft_status cpu_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    (void)err;
    for (size_t i = 0; i < 2; i++) {
        memcpy(c->kv[i] + dst * c->page_bytes[i], c->kv[i] + src * c->page_bytes[i],
               c->page_bytes[i]);
    }
    return WEFT_OK;
}

/* Copies positions [0, n) of a head from a block to bytes, or from bytes to a block. Returns the
 * end of the bytes. */
static uint8_t *read_block(const struct kv_shape *shape, const uint8_t *block, size_t n,
                           uint8_t *dst)
{
    for (size_t t = 0; t < n; t++, dst += kv_type_bytes(shape->type, shape->head_dim)) {
        kv_block_get(shape, block, t, dst);
    }
    return dst;
}

static const uint8_t *write_block(const struct kv_shape *shape, uint8_t *block, size_t n,
                                  const uint8_t *src)
{
    for (size_t t = 0; t < n; t++, src += kv_type_bytes(shape->type, shape->head_dim)) {
        kv_block_put(shape, block, t, src);
    }
    return src;
}

/* Copies a whole page in the order of backend.h: from the blocks to dst, or from src to the
 * blocks. */
static void copy_blocks(const struct cpu *c, uint32_t page, size_t n, uint8_t *dst,
                        const uint8_t *src)
{
    for (size_t store = 0; store < c->model->n_stores; store++) {
        for (size_t which = 0; which < 2; which++) {
            const struct kv_shape shape = cpu_kv_shape(c, which, store);
            for (size_t head = 0; head < c->model->kv[store].n_heads; head++) {
                uint8_t *block = cpu_kv_block(c, which, store, page, head);
                if (dst != NULL) {
                    dst = read_block(&shape, block, n, dst);
                } else {
                    src = write_block(&shape, block, n, src);
                }
            }
        }
    }
}

weft_status cpu_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err)
{
    (void)err;
    copy_blocks((const struct cpu *)b, page, n, dst, NULL);
    return WEFT_OK;
}

weft_status cpu_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                         weft_error *err)
{
    (void)err;
    copy_blocks((const struct cpu *)b, page, n, NULL, src);
    return WEFT_OK;
}
