#include "base/u64map.h"

#include "base/mem.h"

void u64map_free(struct u64map *m)
{
    free(m->slots);
    *m = (struct u64map){ 0 };
}

void u64map_clear(struct u64map *m)
{
    m->n = 0;
    if (m->cap > 0 && ++m->stamp == 0) {
        for (size_t i = 0; i < m->cap; i++) {
            m->slots[i].stamp = 0;
        }
        m->stamp = 1;
    }
}

static void place(struct u64map *m, uint64_t key, uint32_t value)
{
    size_t i = u64map_home(m, key);
    while (m->slots[i].stamp == m->stamp) {
        i = (i + 1) & (m->cap - 1);
    }
    m->slots[i] = (struct u64map_slot){ .key = key, .value = value, .stamp = m->stamp };
    m->n++;
}

/* Doubles the slots: at most half of them are ever in use. */
static bool grow(struct u64map *m)
{
    struct u64map larger = { .cap = m->cap > 0 ? m->cap * 2 : 64,
                             .stamp = 1,
                             .seed = m->cap > 0 ? m->seed : hash_seed_draw() };
    larger.slots = mem_array(larger.cap, sizeof *larger.slots);
    if (larger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].stamp == m->stamp) {
            place(&larger, m->slots[i].key, m->slots[i].value);
        }
    }
    free(m->slots);
    *m = larger;
    return true;
}

bool u64map_add(struct u64map *m, uint64_t key, uint32_t value)
{
    if (m->n * 2 >= m->cap && !grow(m)) {
        return false;
    }
    place(m, key, value);
    return true;
}
