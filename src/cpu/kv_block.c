#include "cpu/kv_block.h"

#include <string.h>

#include "cpu/kernels/ops.h"

/* The place of the values of position t: value i stands at t * pos + i * value. */
struct stride {
    size_t pos, value;
};

static struct stride stride_of(const struct kv_shape *s, size_t n_values)
{
    return s->which == KV_K ? (struct stride){ 1, KV_PAGE } : (struct stride){ n_values, 1 };
}

static f16_bits *halves(uint8_t *p) { return (f16_bits *)(void *)p; }

/* ---------------------------------------------------------------- f16 */

static void encode_f16(const struct cpu_ops *ops, const float *x, size_t n, uint8_t *row)
{
    ops->to_f16(x, n, halves(row));
}

static void put_f16(const struct kv_shape *s, uint8_t *block, size_t t, size_t first, size_t n,
                    const uint8_t *row)
{
    struct stride at = stride_of(s, s->head_dim);
    f16_bits *h = halves(block) + t * at.pos + first * at.value;
    for (size_t i = 0; i < n; i++) {
        memcpy(h + i * at.value, row + i * sizeof *h, sizeof *h);
    }
}

static void get_f16(const struct kv_shape *s, const uint8_t *block, size_t t, uint8_t *row)
{
    struct stride at = stride_of(s, s->head_dim);
    const f16_bits *h = (const f16_bits *)(const void *)block + t * at.pos;
    for (size_t i = 0; i < s->head_dim; i++) {
        memcpy(row + i * sizeof *h, h + i * at.value, sizeof *h);
    }
}

/* ---------------------------------------------------------------- q8_0 */

static void encode_q8_0(const struct cpu_ops *ops, const float *x, size_t n, uint8_t *row)
{
    (void)ops;
    quant_find(QUANT_Q8_0)->encode(x, row, n);
}

static void put_q8_0(const struct kv_shape *s, uint8_t *block, size_t t, size_t first, size_t n,
                     const uint8_t *row)
{
    struct stride code = stride_of(s, s->head_dim), scale = stride_of(s, s->head_dim / 32);
    uint8_t *codes = block + t * code.pos + first * code.value;
    f16_bits *scales = halves(block + KV_PAGE * s->head_dim) + t * scale.pos;
    for (size_t i = 0; i < n; i += 32, row += sizeof(struct block_q8_0)) {
        struct block_q8_0 x;
        memcpy(&x, row, sizeof x);
        scales[(first + i) / 32 * scale.value] = x.d;
        for (size_t j = 0; j < 32; j++) {
            codes[(i + j) * code.value] = (uint8_t)x.qs[j];
        }
    }
}

static void get_q8_0(const struct kv_shape *s, const uint8_t *block, size_t t, uint8_t *row)
{
    struct stride code = stride_of(s, s->head_dim), scale = stride_of(s, s->head_dim / 32);
    const int8_t *codes = (const int8_t *)block + t * code.pos;
    const f16_bits *scales = kv_block_scales(block, s->head_dim) + t * scale.pos;
    for (size_t i = 0; i < s->head_dim; i += 32, row += sizeof(struct block_q8_0)) {
        struct block_q8_0 x = { .d = scales[i / 32 * scale.value] };
        for (size_t j = 0; j < 32; j++) {
            x.qs[j] = codes[(i + j) * code.value];
        }
        memcpy(row, &x, sizeof x);
    }
}

/* ---------------------------------------------------------------- all types */

/* How each type is written. dot_attend.inc converts the values back to floats. */
static const struct {
    /* Converts x[n] to the bytes that a row has for these values. */
    void (*encode)(const struct cpu_ops *ops, const float *x, size_t n, uint8_t *row);
    /* Stores the values [first, first + n) of position t, which are at the beginning of `row`. */
    void (*put)(const struct kv_shape *s, uint8_t *block, size_t t, size_t first, size_t n,
                const uint8_t *row);
    void (*get)(const struct kv_shape *s, const uint8_t *block, size_t t, uint8_t *row);
} formats[] = {
    [WEFT_KV_F16] = { encode_f16, put_f16, get_f16 },
    [WEFT_KV_Q8_0] = { encode_q8_0, put_q8_0, get_q8_0 },
};

void kv_block_store(const struct cpu_ops *ops, const struct kv_shape *s, uint8_t *block, size_t t,
                    const float *x)
{
    const bool rotate = s->which == KV_K && kv_type_rotates(s->type);
    const size_t part = rotate ? kv_rotate_block(s->head_dim) : KV_ROTATE_MOST;
    _Alignas(f16_bits) uint8_t row[KV_ROTATE_MOST * sizeof(f16_bits)];
    float rotated[KV_ROTATE_MOST];
    for (size_t i = 0; i < s->head_dim; i += part) {
        size_t n = size_min(s->head_dim - i, part);
        if (rotate) {
            memcpy(rotated, x + i, n * sizeof *x);
            kv_rotate(rotated, n);
        }
        formats[s->type].encode(ops, rotate ? rotated : x + i, n, row);
        formats[s->type].put(s, block, t, i, n, row);
    }
}

void kv_block_put(const struct kv_shape *s, uint8_t *block, size_t t, const uint8_t *row)
{
    formats[s->type].put(s, block, t, 0, s->head_dim, row);
}

void kv_block_get(const struct kv_shape *s, const uint8_t *block, size_t t, uint8_t *row)
{
    formats[s->type].get(s, block, t, row);
}
