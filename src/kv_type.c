#include "kv_type.h"

#include "quant.h"

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
