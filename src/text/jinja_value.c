/* What all kinds of values have in common. */
#include "text/jinja_code.h"

#include <math.h>

#include "text/jinja_string.h"

const char *jtype(struct jval v)
{
    static const char *const names[] = {
        [J_MISSING] = "nothing",  [J_UNDEFINED] = "Undefined",
        [J_NONE] = "None",        [J_BOOL] = "bool",
        [J_INT] = "int",          [J_FLOAT] = "float",
        [J_STR] = "str",          [J_LIST] = "list",
        [J_TUPLE] = "tuple",      [J_RANGE] = "range",
        [J_VIEW] = "dict_items",  [J_ITER] = "generator",
        [J_DICT] = "dict",        [J_NAMESPACE] = "Namespace",
        [J_LOOP] = "LoopContext", [J_MACRO] = "Macro",
        [J_BOUND] = "function",
    };
    return names[v.kind];
}

noreturn void jfail_undefined(struct jwork *w, struct jval v)
{
    int n = (int)size_min(v.n, 100);
    if (v.who == J_UNDEFINED) {
        jfail(w, JINJA_UNDEFINED, "%.*s", n, v.s);
    }
    if (v.safe) {
        jfail(w, JINJA_RUNTIME, "the sandbox forbids '%.*s' of a value of type '%s'", n, v.s,
              jtype((struct jval){ .kind = v.who }));
    }
    if (v.who == 0) {
        jfail(w, JINJA_UNDEFINED, "'%.*s' is undefined", n, v.s);
    }
    jfail(w, JINJA_UNDEFINED, "'%s' has no attribute or item '%.*s'",
          jtype((struct jval){ .kind = v.who }), n, v.s);
}

bool jtruth(struct jval v)
{
    switch (v.kind) {
    case J_MISSING:
    case J_UNDEFINED:
    case J_NONE: return false;
    case J_BOOL: return v.b;
    case J_INT: return v.i != 0;
    case J_FLOAT: return v.f != 0;
    case J_STR: return v.n > 0;
    case J_LIST:
    case J_TUPLE:
    case J_RANGE:
    case J_VIEW: return v.list->n > 0;
    case J_DICT: return v.dict->n > 0;
    default: return true;
    }
}

struct jval jlist_new(struct jwork *w, enum jkind kind, size_t cap)
{
    struct jlist *list = jalloc(w, sizeof *list);
    *list = (struct jlist){ 0 };
    if (cap > 0) {
        JRESERVE(w, list->items, list->cap, cap);
    }
    return (struct jval){ .kind = (uint8_t)kind, .list = list };
}

void jlist_add(struct jwork *w, struct jlist *list, struct jval item)
{
    jsteps(w, 1);
    JRESERVE(w, list->items, list->cap, list->n + 1);
    list->items[list->n++] = item;
}

struct jval jlist_copy(struct jwork *w, const struct jlist *from, enum jkind kind)
{
    struct jval out = jlist_new(w, kind, from->n);
    for (size_t i = 0; i < from->n; i++) {
        jlist_add(w, out.list, from->items[i]);
    }
    return out;
}

struct jval jpair_of(struct jwork *w, struct jval a, struct jval b)
{
    struct jval pair = jlist_new(w, J_TUPLE, 2);
    jlist_add(w, pair.list, a);
    jlist_add(w, pair.list, b);
    return pair;
}

static void deeper(struct jwork *w, size_t depth)
{
    jsteps(w, 1);
    if (depth >= JINJA_MAX_DEPTH) {
        jfail(w, JINJA_LIMIT, "lists and dicts are nested deeper than %d", JINJA_MAX_DEPTH);
    }
}

/* Compares an integer with a float: exactly, although not every integer is a float. */
static int order_mixed(int64_t i, double f)
{
    if (isnan(f)) {
        return JUNORDERED;
    }
    if (f >= 9223372036854775808.0 || f < -9223372036854775808.0) {
        return f > 0 ? -1 : 1;
    }
    int64_t floor_of = (int64_t)floor(f);
    return i > floor_of ? 1 : i < floor_of || f > floor(f) ? -1 : 0;
}

static int order_numbers(struct jval a, struct jval b)
{
    if (a.kind == J_FLOAT && b.kind == J_FLOAT) {
        return isnan(a.f) || isnan(b.f) ? JUNORDERED : (a.f > b.f) - (a.f < b.f);
    }
    if (a.kind == J_FLOAT) {
        int r = order_mixed(jwhole(b), a.f);
        return r == JUNORDERED ? r : -r;
    }
    return b.kind == J_FLOAT ? order_mixed(jwhole(a), b.f)
                             : (jwhole(a) > jwhole(b)) - (jwhole(a) < jwhole(b));
}

static bool equal(struct jwork *w, struct jval a, struct jval b, size_t depth);

static bool equal_lists(struct jwork *w, const struct jlist *a, const struct jlist *b, size_t depth)
{
    deeper(w, depth);
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        if (!equal(w, a->items[i], b->items[i], depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool equal_dicts(struct jwork *w, const struct jdict *a, const struct jdict *b, size_t depth)
{
    deeper(w, depth);
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct jval *v = jdict_find(w, b, a->pairs[i].key);
        if (v == NULL || !equal(w, a->pairs[i].value, *v, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool equal(struct jwork *w, struct jval a, struct jval b, size_t depth)
{
    jsteps(w, 1);
    if (jis_number(a) && jis_number(b)) {
        return order_numbers(a, b) == 0;
    }
    if (a.kind != b.kind) {
        return false;
    }
    switch (a.kind) {
    case J_STR: jsteps(w, size_min(a.n, b.n) / 64); return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
    case J_LIST:
    case J_TUPLE:
    case J_RANGE: return a.list == b.list || equal_lists(w, a.list, b.list, depth);
    case J_DICT: return a.dict == b.dict || equal_dicts(w, a.dict, b.dict, depth);
    case J_MISSING:
    case J_UNDEFINED:
    case J_NONE: return true;
    case J_BOUND: return a.bound->native == b.bound->native && a.bound->self.s == b.bound->self.s;
    default: return a.list == b.list;
    }
}

bool jequal(struct jwork *w, struct jval a, struct jval b) { return equal(w, a, b, 0); }

static int order(struct jwork *w, struct jval a, struct jval b, const char *op, size_t depth);

static int order_strings(struct jwork *w, struct jval a, struct jval b)
{
    size_t n = size_min(a.n, b.n);
    jsteps(w, n / 64);
    int r = memcmp(a.s, b.s, n);
    return r != 0 ? (r > 0) - (r < 0) : (a.n > b.n) - (a.n < b.n);
}

static int order_lists(struct jwork *w, const struct jlist *a, const struct jlist *b,
                       const char *op, size_t depth)
{
    deeper(w, depth);
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        if (!equal(w, a->items[i], b->items[i], depth + 1)) {
            return order(w, a->items[i], b->items[i], op, depth + 1);
        }
    }
    return (a->n > b->n) - (a->n < b->n);
}

static int order(struct jwork *w, struct jval a, struct jval b, const char *op, size_t depth)
{
    jsteps(w, 1);
    if (jis_number(a) && jis_number(b)) {
        return order_numbers(a, b);
    }
    if (a.kind == J_STR && b.kind == J_STR) {
        return order_strings(w, a, b);
    }
    if (a.kind == b.kind && (a.kind == J_LIST || a.kind == J_TUPLE)) {
        return order_lists(w, a.list, b.list, op, depth);
    }
    if (a.kind == J_UNDEFINED || b.kind == J_UNDEFINED) {
        jfail_undefined(w, a.kind == J_UNDEFINED ? a : b);
    }
    jfail(w, JINJA_RUNTIME, "'%s' has no order for '%s' and '%s'", op, jtype(a), jtype(b));
}

int jcompare(struct jwork *w, struct jval a, struct jval b, const char *op)
{
    return order(w, a, b, op, 0);
}

bool jcontains(struct jwork *w, struct jval container, struct jval item)
{
    if (container.kind == J_STR) {
        if (item.kind != J_STR) {
            jfail(w, JINJA_RUNTIME, "'in' a string needs a string, not '%s'", jtype(item));
        }
        return jstr_find(w, container, item, 0) != SIZE_MAX;
    }
    if (container.kind == J_DICT) {
        return jdict_find(w, container.dict, item) != NULL;
    }
    const struct jlist *list = jiterate(w, container);
    for (size_t i = 0; i < list->n; i++) {
        if (jequal(w, list->items[i], item)) {
            return true;
        }
    }
    return false;
}

static struct jlist *characters(struct jwork *w, struct jval s)
{
    struct jval out = jlist_new(w, J_LIST, s.n);
    size_t len;
    for (size_t i = 0; i < s.n; i += len) {
        jstr_char(s, i, &len);
        jlist_add(w, out.list, jstr_part(s, i, len));
    }
    return out.list;
}

struct jlist *jiterate(struct jwork *w, struct jval v)
{
    struct jlist *out;
    switch (v.kind) {
    case J_LIST:
    case J_TUPLE:
    case J_RANGE:
    case J_VIEW: return v.list;
    case J_STR: return characters(w, v);
    case J_UNDEFINED: return jlist_new(w, J_LIST, 0).list;
    case J_ITER:
        out = jlist_new(w, J_LIST, 0).list;
        *out = *v.list;
        *v.list = (struct jlist){ 0 };
        return out;
    case J_DICT:
        out = jlist_new(w, J_LIST, v.dict->n).list;
        for (size_t i = 0; i < v.dict->n; i++) {
            jlist_add(w, out, v.dict->pairs[i].key);
        }
        return out;
    default: jfail(w, JINJA_RUNTIME, "'%s' cannot be iterated over", jtype(v));
    }
}

size_t jlength(struct jwork *w, struct jval v)
{
    switch (v.kind) {
    case J_STR: return jstr_chars(w, v);
    case J_LIST:
    case J_TUPLE:
    case J_RANGE:
    case J_VIEW: return v.list->n;
    case J_DICT: return v.dict->n;
    case J_UNDEFINED: return 0;
    default: jfail(w, JINJA_RUNTIME, "a value of type '%s' has no length", jtype(v));
    }
}
