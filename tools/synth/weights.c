/* Random weights of any tensor type. Encoding is slow and disks are fast, so each type and scale is
 * encoded once into a pool of blocks, and tensors are cut out of the pool at random places. */
#include <math.h>
#include <string.h>

#include "synth/parts.h"

/* Elements converted at a time; a multiple of every block size. */
#define CHUNK 4096

float rng_normal(uint64_t *state)
{
    uint64_t r = rng_next(state);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (int32_t)(r >> (16 * i) & 0xffff);
    }
    /* Four uniform numbers of variance 65536^2 / 12 each. */
    return ((float)sum - 131070.0f) / 37837.2f;
}

weft_status pools_init(struct pools *p, size_t n_elements, uint64_t seed, weft_error *err)
{
    *p = (struct pools){ .n_elements = n_elements / CHUNK * CHUNK + CHUNK, .seed = seed };
    p->normal = mem_array(p->n_elements, sizeof *p->normal);
    if (p->normal == NULL) {
        return error_nomem(err, "random numbers", p->n_elements * sizeof *p->normal);
    }
    for (size_t i = 0; i < p->n_elements; i++) {
        p->normal[i] = rng_normal(&seed);
    }
    return WEFT_OK;
}

void pools_free(struct pools *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->pool[i].data);
    }
    free(p->pool);
    free(p->normal);
    *p = (struct pools){ 0 };
}

/* Sets the scales of block i, for a type without an encoder. */
static void set_scale(const struct quant_type *type, uint8_t *block, float d)
{
    f16_bits h = f32_to_f16(d);
    size_t at = 0;
    if (type->id == QUANT_Q2_K) {
        /* Quants average 1.5, so this offset brings the mean of the weights to zero. */
        f16_bits min = f32_to_f16(1.5f * d);
        at = offsetof(struct block_q2_k, d);
        memcpy(block + offsetof(struct block_q2_k, dmin), &min, sizeof min);
    } else if (type->id == QUANT_Q3_K) {
        at = offsetof(struct block_q3_k, d);
    }
    memcpy(block + at, &h, sizeof h);
}

/* Fills a pool with random bits, which are valid quants; only the scale must be right. The scale is
 * computed from the values that the bits decode to at scale 1. */
static void fill_random(const struct pools *p, struct pool *pool)
{
    const struct quant_type *type = pool->type;
    uint64_t state = p->seed ^ type->id;
    size_t n_bytes = pool->n_blocks * type->bytes;
    for (size_t i = 0; i < n_bytes; i++) {
        pool->data[i] = (uint8_t)rng_next(&state);
    }
    float values[256];
    for (size_t i = 0; i < pool->n_blocks; i++) {
        uint8_t *block = pool->data + i * type->bytes;
        double sum = 0.0;
        set_scale(type, block, 1.0f);
        type->decode(block, values, type->block);
        for (size_t j = 0; j < type->block; j++) {
            sum += (double)values[j] * (double)values[j];
        }
        double rms = sqrt(sum / type->block);
        set_scale(type, block, rms > 0.0 ? (float)((double)pool->scale / rms) : 0.0f);
    }
}

static void fill_encoded(const struct pools *p, struct pool *pool)
{
    float values[CHUNK];
    const struct quant_type *type = pool->type;
    for (size_t i = 0; i < p->n_elements; i += CHUNK) {
        for (size_t j = 0; j < CHUNK; j++) {
            values[j] = p->normal[i + j] * pool->scale;
        }
        type->encode(values, pool->data + i / type->block * type->bytes, CHUNK);
    }
}

weft_status pools_get(struct pools *p, const struct quant_type *type, float scale,
                      const struct pool **out, weft_error *err)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->pool[i].type == type && p->pool[i].scale == scale) {
            *out = &p->pool[i];
            return WEFT_OK;
        }
    }
    struct pool pool = { .type = type, .scale = scale, .n_blocks = p->n_elements / type->block };
    pool.data = mem_array(pool.n_blocks, type->bytes);
    if (pool.data == NULL || !mem_reserve(&p->pool, &p->cap, p->n + 1, sizeof *p->pool)) {
        free(pool.data);
        return error_nomem(err, "a pool of weights", pool.n_blocks * type->bytes);
    }
    if (type->encode != NULL) {
        fill_encoded(p, &pool);
    } else {
        fill_random(p, &pool);
    }
    p->pool[p->n] = pool;
    *out = &p->pool[p->n++];
    return WEFT_OK;
}
