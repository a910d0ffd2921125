/* Pages of the KV pool as a whole: copied, read and written. */
#include <string.h>

#include "cpu/state.h"

weft_status cpu_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    const struct config *g = &c->model->config;
    size_t n = g->n_kv_heads * KV_PAGE * g->head_dim;
    (void)err;
    for (size_t l = 0; l < g->n_layers; l++) {
        memcpy(cpu_kv_block(c, 0, l, dst, 0), cpu_kv_block(c, 0, l, src, 0), n * sizeof(f16_bits));
        memcpy(cpu_kv_block(c, 1, l, dst, 0), cpu_kv_block(c, 1, l, src, 0), n * sizeof(f16_bits));
    }
    return WEFT_OK;
}

/* The i-th run of n positions in the order of backend.h: layer, K or V, head. */
static f16_bits *run_of(const struct cpu *c, uint32_t page, size_t i)
{
    size_t n_heads = c->model->config.n_kv_heads;
    return cpu_kv_block(c, i / n_heads % 2, i / n_heads / 2, page, i % n_heads);
}

static size_t n_runs(const struct config *g) { return g->n_layers * 2 * g->n_kv_heads; }

weft_status cpu_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    size_t bytes = n * c->model->config.head_dim * sizeof(f16_bits);
    (void)err;
    for (size_t i = 0; i < n_runs(&c->model->config); i++) {
        memcpy(dst + i * bytes, run_of(c, page, i), bytes);
    }
    return WEFT_OK;
}

weft_status cpu_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                         weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    size_t bytes = n * c->model->config.head_dim * sizeof(f16_bits);
    (void)err;
    for (size_t i = 0; i < n_runs(&c->model->config); i++) {
        memcpy(run_of(c, page, i), src + i * bytes, bytes);
    }
    return WEFT_OK;
}
