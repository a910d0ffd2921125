/* Dicts: pairs in the order of their insertion, and a table of slots once there are many. */
#include "text/jinja_code.h"

#include "base/hash.h"

enum { FEW = 8 };

static uint64_t hash_of(struct jwork *w, struct jval key, size_t depth)
{
    uint64_t h = HASH64_START;
    switch (key.kind) {
    case J_STR: jsteps(w, key.n / 64); return hash64(h, key.s, key.n);
    case J_NONE:
    case J_UNDEFINED: return key.kind;
    case J_BOOL:
    case J_INT: return hash64_word(h, (uint64_t)jwhole(key));
    case J_FLOAT:
        return hash64_word(h, key.f >= -9e18 && key.f <= 9e18 ? (uint64_t)(int64_t)key.f : 1);
    case J_TUPLE:
        for (size_t i = 0; i < key.list->n && depth < JINJA_MAX_DEPTH; i++) {
            h = hash64_word(h, hash_of(w, key.list->items[i], depth + 1));
        }
        return h;
    case J_LIST:
    case J_DICT: jfail(w, JINJA_RUNTIME, "'%s' cannot be the key of a dict", jtype(key));
    case J_BOUND: return hash64(h, &key.bound->native, sizeof key.bound->native);
    default: return hash64(h, &key.list, sizeof key.list);
    }
}

/* Returns the slot of the key: that of its pair, or a free one. */
static uint32_t *slot_of(struct jwork *w, const struct jdict *d, struct jval key)
{
    size_t at = hash_of(w, key, 0) & (d->n_slots - 1);
    while (d->slots[at] != 0 && !jequal(w, d->pairs[d->slots[at] - 1].key, key)) {
        at = (at + 1) & (d->n_slots - 1);
    }
    return &d->slots[at];
}

static void make_slots(struct jwork *w, struct jdict *d)
{
    d->n_slots = d->n_slots == 0 ? 4 * FEW : 2 * d->n_slots;
    d->slots = jalloc(w, d->n_slots * sizeof *d->slots);
    jsteps(w, d->n_slots / 8);
    memset(d->slots, 0, d->n_slots * sizeof *d->slots);
    for (size_t i = 0; i < d->n; i++) {
        *slot_of(w, d, d->pairs[i].key) = (uint32_t)(i + 1);
    }
}

struct jval jdict_new(struct jwork *w, enum jkind kind)
{
    struct jdict *d = jalloc(w, sizeof *d);
    *d = (struct jdict){ 0 };
    return (struct jval){ .kind = (uint8_t)kind, .dict = d };
}

struct jval *jdict_find(struct jwork *w, const struct jdict *d, struct jval key)
{
    if (d->slots != NULL) {
        uint32_t i = *slot_of(w, d, key);
        return i == 0 ? NULL : &d->pairs[i - 1].value;
    }
    if (key.kind == J_LIST || key.kind == J_DICT || key.kind == J_TUPLE) {
        hash_of(w, key, 0);
    }
    for (size_t i = 0; i < d->n; i++) {
        if (jequal(w, d->pairs[i].key, key)) {
            return &d->pairs[i].value;
        }
    }
    return NULL;
}

void jdict_set(struct jwork *w, struct jdict *d, struct jval key, struct jval value)
{
    struct jval *old = jdict_find(w, d, key);
    if (old != NULL) {
        *old = value;
        return;
    }
    jsteps(w, 1);
    JRESERVE(w, d->pairs, d->cap, d->n + 1);
    d->pairs[d->n++] = (struct jpair){ key, value };
    if (d->n > FEW && 2 * d->n > d->n_slots) {
        make_slots(w, d);
    } else if (d->slots != NULL) {
        *slot_of(w, d, key) = (uint32_t)d->n;
    }
}
