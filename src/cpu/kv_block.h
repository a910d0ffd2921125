/* A block of the KV pool: K or V of one KV head in the positions of one page. K has positions side
 * by side, so that 16 of them are the lanes of a vector; V has the values of a position side by
 * side. The values of a block:
 *     f16    K [head_dim, KV_PAGE], V [KV_PAGE, head_dim]
 *     q8_0   codes int8 in these shapes, then f16 scales: K [head_dim / 32, KV_PAGE], V [KV_PAGE,
 *            head_dim / 32]
 * K of q8_0 is rotated, see kv_rotate(). A row is one position in the form that read_kv of
 * backend.h gives: the blocks of a GGUF file. */
#ifndef WEFT_CPU_KV_BLOCK_H
#define WEFT_CPU_KV_BLOCK_H

#include "backend.h"
#include "format/kv_type.h"

enum kv_which { KV_K, KV_V };

struct kv_shape {
    weft_kv_type type;
    enum kv_which which;
    size_t head_dim;
};

static inline size_t kv_block_bytes(weft_kv_type type, size_t head_dim)
{
    return KV_PAGE * kv_type_bytes(type, head_dim);
}

/* Returns the scales of a block of q8_0. */
static inline const f16_bits *kv_block_scales(const uint8_t *block, size_t head_dim)
{
    return (const f16_bits *)(const void *)(block + KV_PAGE * head_dim);
}

struct cpu_ops;
/* Stores x[head_dim] as position t of the block. */
void kv_block_store(const struct cpu_ops *ops, const struct kv_shape *s, uint8_t *block, size_t t,
                    const float *x);
/* Store a row as position t of the block, and read position t as a row. */
void kv_block_put(const struct kv_shape *s, uint8_t *block, size_t t, const uint8_t *row);
void kv_block_get(const struct kv_shape *s, const uint8_t *block, size_t t, uint8_t *row);

#endif
