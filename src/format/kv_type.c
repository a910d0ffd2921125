#include "format/kv_type.h"

#include <math.h>

#include "format/quant.h"

static const struct {
    const char *name;
    size_t block, bytes;
} types[] = {
    [WEFT_KV_F16] = { "f16", 1, sizeof(f16_bits) },
    [WEFT_KV_Q8_0] = { "q8_0", 32, sizeof(struct block_q8_0) },
};
enum { N_TYPES = sizeof types / sizeof types[0] };

const char *kv_type_name(weft_kv_type type)
{
    return (unsigned)type < N_TYPES ? types[type].name : NULL;
}

size_t kv_type_block(weft_kv_type type) { return types[type].block; }

size_t kv_type_bytes(weft_kv_type type, size_t n)
{
    return n / types[type].block * types[type].bytes;
}

bool kv_type_rotates(weft_kv_type type) { return types[type].block > 1; }

size_t kv_rotate_block(size_t head_dim)
{
    size_t n = 1;
    while (n < KV_ROTATE_MOST && head_dim % (2 * n) == 0) {
        n *= 2;
    }
    return n;
}

static void rotate_block(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t i = 0; i < n; i += 2 * half) {
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
        }
    }
    float scale = 1.0f / sqrtf((float)n);
    for (size_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}

void kv_rotate(float *x, size_t head_dim)
{
    size_t n = kv_rotate_block(head_dim);
    for (size_t i = 0; i < head_dim; i += n) {
        rotate_block(x + i, n);
    }
}
