/* Filters that bring items into an order. */
#include "text/jinja_tables.h"

/* Merges the sorted halves from..middle and middle..end of `order` by their keys. */
static void merge(struct jwork *w, const struct jlist *keys, size_t *order, size_t *spare,
                  const size_t bounds[3], bool reverse)
{
    size_t i = bounds[0], k = bounds[1];
    for (size_t at = bounds[0]; at < bounds[2]; at++) {
        bool right = i == bounds[1];
        if (!right && k < bounds[2]) {
            struct jval a = keys->items[order[i]], b = keys->items[order[k]];
            right = (reverse ? jcompare(w, a, b, "<") : jcompare(w, b, a, "<")) == -1;
        }
        spare[at] = right ? order[k++] : order[i++];
    }
    memcpy(order + bounds[0], spare + bounds[0], (bounds[2] - bounds[0]) * sizeof *order);
}

void jsort(struct jwork *w, struct jlist *items, struct jlist *keys, bool reverse)
{
    size_t n = items->n;
    if (n < 2) {
        return;
    }
    size_t *order = jalloc(w, n * sizeof *order), *spare = jalloc(w, n * sizeof *spare);
    jsteps(w, n);
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t at = 0; at + half < n; at += 2 * half) {
            size_t bounds[] = { at, at + half, size_min(at + 2 * half, n) };
            merge(w, keys, order, spare, bounds, reverse);
        }
    }
    struct jlist *to[] = { items, keys };
    struct jval *sorted = jalloc(w, n * sizeof *sorted);
    for (size_t k = 0; k < (items == keys ? 1u : 2u); k++) {
        for (size_t i = 0; i < n; i++) {
            sorted[i] = to[k]->items[order[i]];
        }
        memcpy(to[k]->items, sorted, n * sizeof *sorted);
    }
}

/* Returns what an item is sorted by. */
static struct jval key_of(struct jwork *w, struct jval v, struct jval path, struct jval other,
                          bool case_sensitive)
{
    v = jpath(w, v, path, other);
    return v.kind == J_STR && !case_sensitive ? jstr_case(w, v, JCASE_LOWER) : v;
}

/* A path with commas makes keys of several parts. */
static struct jval keys_of(struct jwork *w, const struct jlist *list, struct jval path,
                           bool case_sensitive)
{
    struct jval keys = jlist_new(w, J_LIST, list->n);
    bool several = path.kind == J_STR && memchr(path.s, ',', path.n) != NULL;
    const struct jlist *paths = several ? jstr_split(w, path, jtext(","), -1, false).list : NULL;
    for (size_t i = 0; i < list->n; i++) {
        struct jval key = several ? jlist_new(w, J_LIST, paths->n)
                                  : key_of(w, list->items[i], path, jmissing(), case_sensitive);
        for (size_t k = 0; several && k < paths->n; k++) {
            jlist_add(w, key.list,
                      key_of(w, list->items[i], paths->items[k], jmissing(), case_sensitive));
        }
        jlist_add(w, keys.list, key);
    }
    return keys;
}

static struct jval sort(JPARAMS)
{
    JUNUSED;
    struct jval out = jlist_copy(w, jiterate(w, self), J_LIST);
    struct jval keys = keys_of(w, out.list, jarg(arg[2], jnone()), jarg_bool(arg[1], false));
    jsort(w, out.list, keys.list, jarg_bool(arg[0], false));
    return out;
}

static struct jval dictsort(JPARAMS)
{
    JUNUSED;
    struct jval by = jarg_str(w, arg[1], "key");
    bool value = jis(by, "value"), sensitive = jarg_bool(arg[0], false);
    if (!value && !jis(by, "key")) {
        jfail(w, JINJA_RUNTIME, "dictsort: by must be 'key' or 'value'");
    }
    if (self.kind == J_UNDEFINED) {
        jfail_undefined(w, self);
    }
    if (self.kind != J_DICT) {
        jfail(w, JINJA_RUNTIME, "dictsort: '%s' is no mapping", jtype(self));
    }
    struct jval out = jlist_new(w, J_LIST, self.dict->n), keys = jlist_new(w, J_LIST, 0);
    for (size_t i = 0; i < self.dict->n; i++) {
        const struct jpair *p = &self.dict->pairs[i];
        jlist_add(w, out.list, jpair_of(w, p->key, p->value));
        jlist_add(w, keys.list,
                  key_of(w, value ? p->value : p->key, jnone(), jmissing(), sensitive));
    }
    jsort(w, out.list, keys.list, jarg_bool(arg[2], false));
    return out;
}

static struct jval unique(JPARAMS)
{
    JUNUSED;
    const struct jlist *list = jiterate(w, self);
    struct jval out = jlist_new(w, J_ITER, 0), seen = jdict_new(w, J_DICT);
    for (size_t i = 0; i < list->n; i++) {
        struct jval key =
            key_of(w, list->items[i], jarg(arg[1], jnone()), jmissing(), jarg_bool(arg[0], false));
        if (jdict_find(w, seen.dict, key) == NULL) {
            jdict_set(w, seen.dict, key, jnone());
            jlist_add(w, out.list, list->items[i]);
        }
    }
    return out;
}

/* The first of the least items, or with `wanted` 1 of the greatest. */
static struct jval extreme(struct jwork *w, struct jval self, const struct jval *arg, int wanted)
{
    static const char none[] = "the sequence has no least or greatest item";
    const struct jlist *list = jiterate(w, self);
    if (list->n == 0) {
        return jundefined(none, sizeof none - 1, J_UNDEFINED);
    }
    struct jval path = jarg(arg[1], jnone());
    bool sensitive = jarg_bool(arg[0], false);
    struct jval best = list->items[0], key = key_of(w, best, path, jmissing(), sensitive);
    for (size_t i = 1; i < list->n; i++) {
        struct jval k = key_of(w, list->items[i], path, jmissing(), sensitive);
        if (jcompare(w, k, key, wanted > 0 ? ">" : "<") == wanted) {
            best = list->items[i];
            key = k;
        }
    }
    return best;
}

static struct jval min(JPARAMS)
{
    JUNUSED;
    return extreme(w, self, arg, -1);
}

static struct jval max(JPARAMS)
{
    JUNUSED;
    return extreme(w, self, arg, 1);
}

/* Pairs of a key and the items that have it, in the order of the keys. */
static struct jval groupby(JPARAMS)
{
    JUNUSED;
    struct jval items = jlist_copy(w, jiterate(w, self), J_LIST);
    struct jval keys = jlist_new(w, J_LIST, 0), out = jlist_new(w, J_LIST, 0), group = jnone();
    struct jval other = jarg(arg[1], jnone()).kind == J_NONE ? jmissing() : arg[1];
    bool sensitive = jarg_bool(arg[2], false);
    for (size_t i = 0; i < items.list->n; i++) {
        jlist_add(w, keys.list, key_of(w, items.list->items[i], arg[0], other, sensitive));
    }
    jsort(w, items.list, keys.list, false);
    for (size_t i = 0; i < items.list->n; i++) {
        struct jval item = items.list->items[i];
        if (i == 0 || !jequal(w, keys.list->items[i - 1], keys.list->items[i])) {
            group = jlist_new(w, J_LIST, 0);
            struct jval pair = jpair_of(w, jpath(w, item, arg[0], other), group);
            pair.list->shown = "";
            jlist_add(w, out.list, pair);
        }
        jlist_add(w, group.list, item);
    }
    return out;
}

const struct jnative jorder_filters[] = {
    { "sort", "reverse? case_sensitive? attribute?", sort },
    { "dictsort", "case_sensitive? by? reverse?", dictsort },
    { "unique", "case_sensitive? attribute?", unique },
    { "min", "case_sensitive? attribute?", min },
    { "max", "case_sensitive? attribute?", max },
    { "groupby", "attribute default? case_sensitive?", groupby },
    JEND,
};
