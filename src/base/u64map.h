/* A hash table from 64-bit keys to 32-bit numbers. It starts as zeros; u64map_free() frees it.
 * Clearing costs nothing, so one table serves many short searches. */
#ifndef WEFT_U64MAP_H
#define WEFT_U64MAP_H

#include <stdbool.h>

#include "base/hash.h"

struct u64map_slot {
    uint64_t key;
    uint32_t value;
    uint32_t stamp; /* the slot is in use if this is the map's stamp */
};

struct u64map {
    struct u64map_slot *slots; /* [cap], cap is 0 or a power of two */
    size_t cap, n;
    uint32_t stamp;
    struct hash_seed seed; /* drawn with the first slots */
};

void u64map_free(struct u64map *m);
void u64map_clear(struct u64map *m);
/* Adds a key that must not be there yet. Returns false if memory is out; then nothing has
 * changed. */
bool u64map_add(struct u64map *m, uint64_t key, uint32_t value);

static inline size_t u64map_home(const struct u64map *m, uint64_t key)
{
    return (size_t)hash_number(&m->seed, key) & (m->cap - 1);
}

/* Returns NULL if the key is not there. The pointer is valid until the next change. */
static inline const uint32_t *u64map_find(const struct u64map *m, uint64_t key)
{
    if (m->n == 0) {
        return NULL;
    }
    size_t i = u64map_home(m, key);
    while (m->slots[i].stamp == m->stamp) {
        if (m->slots[i].key == key) {
            return &m->slots[i].value;
        }
        i = (i + 1) & (m->cap - 1);
    }
    return NULL;
}

#endif
