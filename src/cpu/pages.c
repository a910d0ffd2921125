/* Pages of the KV pool as a whole: copied, read and written. */
#include <string.h>

#include "cpu/state.h"

weft_status cpu_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    const struct config *g = &c->model->config;
    (void)err;
    for (size_t i = 0; i < 2; i++) {
        size_t bytes = kv_block_bytes(c->params.kv_type[i], g->head_dim);
        memcpy(cpu_kv_block(c, i, 0, dst, 0), cpu_kv_block(c, i, 0, src, 0),
               g->n_layers * g->n_kv_heads * bytes);
    }
    return WEFT_OK;
}

/* The i-th block of a page in the order of backend.h: layer, K or V, head. */
static uint8_t *block_of(const struct cpu *c, uint32_t page, size_t i, struct kv_shape *shape)
{
    size_t n_heads = c->model->config.n_kv_heads, which = i / n_heads % 2;
    *shape = cpu_kv_shape(c, which);
    return cpu_kv_block(c, which, i / n_heads / 2, page, i % n_heads);
}

static size_t n_blocks(const struct config *g) { return g->n_layers * 2 * g->n_kv_heads; }

weft_status cpu_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    (void)err;
    for (size_t i = 0; i < n_blocks(&c->model->config); i++) {
        struct kv_shape shape;
        const uint8_t *block = block_of(c, page, i, &shape);
        for (size_t t = 0; t < n; t++, dst += kv_type_bytes(shape.type, shape.head_dim)) {
            kv_block_get(&shape, block, t, dst);
        }
    }
    return WEFT_OK;
}

weft_status cpu_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                         weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    (void)err;
    for (size_t i = 0; i < n_blocks(&c->model->config); i++) {
        struct kv_shape shape;
        uint8_t *block = block_of(c, page, i, &shape);
        for (size_t t = 0; t < n; t++, src += kv_type_bytes(shape.type, shape.head_dim)) {
            kv_block_put(&shape, block, t, src);
        }
    }
    return WEFT_OK;
}
