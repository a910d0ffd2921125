/* Filters of lists and dicts. */
#include "text/jinja_tables.h"

struct jval jpath(struct jwork *w, struct jval v, struct jval path, struct jval other)
{
    if (path.kind != J_STR) {
        v = path.kind == J_NONE ? v : jitem(w, v, path);
        return v.kind == J_UNDEFINED && other.kind != J_MISSING ? other : v;
    }
    const struct jlist *parts = jstr_split(w, path, jtext("."), -1, false).list;
    for (size_t i = 0; i < parts->n; i++) {
        struct jval part = parts->items[i];
        int64_t index;
        bool digits = part.n > 0 && strspn(jstr_z(w, part), "0123456789") == part.n;
        if (digits && jread_int(w, part, 10, &index)) {
            part = jint(index);
        }
        v = jitem(w, v, part);
        v = v.kind == J_UNDEFINED && other.kind != J_MISSING ? other : v;
    }
    return v;
}

static struct jval nothing(const char *message)
{
    return jundefined(message, strlen(message), J_UNDEFINED);
}

static struct jval first(JPARAMS)
{
    JUNUSED;
    if (self.kind == J_ITER && self.list->n > 0) {
        struct jval v = self.list->items[0];
        self.list->items++;
        self.list->n--;
        self.list->cap--;
        return v;
    }
    const struct jlist *list = jiterate(w, self);
    return list->n > 0 ? list->items[0] : nothing("the sequence has no first item");
}

static struct jval last(JPARAMS)
{
    JUNUSED;
    if (self.kind == J_ITER) {
        jfail(w, JINJA_RUNTIME, "last: a generator cannot be read from its end; use |list first");
    }
    const struct jlist *list = jiterate(w, self);
    return list->n > 0 ? list->items[list->n - 1] : nothing("the sequence has no last item");
}

static struct jval length(JPARAMS)
{
    JUNUSED;
    return jint((int64_t)jlength(w, self));
}

static struct jval list_filter(JPARAMS)
{
    JUNUSED;
    return jlist_copy(w, jiterate(w, self), J_LIST);
}

static struct jval reverse(JPARAMS)
{
    JUNUSED;
    if (self.kind == J_STR) {
        return jslice(w, self, (struct jval[]){ jnone(), jnone(), jint(-1) });
    }
    const struct jlist *from = jiterate(w, self);
    struct jval out = jlist_new(w, self.kind == J_ITER ? J_LIST : J_ITER, from->n);
    for (size_t i = from->n; i > 0; i--) {
        jlist_add(w, out.list, from->items[i - 1]);
    }
    return out;
}

static struct jval join(JPARAMS)
{
    JUNUSED;
    const struct jlist *list = jiterate(w, self);
    if (arg[1].kind != J_MISSING && arg[1].kind != J_NONE) {
        struct jval picked = jlist_new(w, J_LIST, list->n);
        for (size_t i = 0; i < list->n; i++) {
            jlist_add(w, picked.list, jpath(w, list->items[i], arg[1], jmissing()));
        }
        list = picked.list;
    }
    return jstr_join(w, jstr(w, jarg(arg[0], jtext(""))), list);
}

static struct jval sum(JPARAMS)
{
    JUNUSED;
    const struct jlist *list = jiterate(w, self);
    struct jval total = jarg(arg[1], jint(0)), path = jarg(arg[0], jnone());
    if (total.kind == J_STR) {
        jfail(w, JINJA_RUNTIME, "sum: strings cannot be added up; use |join");
    }
    for (size_t i = 0; i < list->n; i++) {
        total = jarith(w, '+', total, jpath(w, list->items[i], path, jmissing()));
    }
    return total;
}

static struct jval items(JPARAMS)
{
    JUNUSED;
    struct jval out = jlist_new(w, J_ITER, 0);
    if (self.kind == J_UNDEFINED) {
        return out;
    }
    if (self.kind != J_DICT) {
        jfail(w, JINJA_RUNTIME, "items: '%s' is no mapping", jtype(self));
    }
    for (size_t i = 0; i < self.dict->n; i++) {
        jlist_add(w, out.list, jpair_of(w, self.dict->pairs[i].key, self.dict->pairs[i].value));
    }
    return out;
}

static struct jval batch(JPARAMS)
{
    JUNUSED;
    const struct jlist *from = jiterate(w, self);
    int64_t n = jarg_int(w, arg[0], 0);
    struct jval out = jlist_new(w, J_ITER, 0), row = jlist_new(w, J_LIST, 0);
    struct jval fill = jarg(arg[1], jnone());
    for (size_t i = 0; i < from->n; i++) {
        if ((int64_t)row.list->n == n) {
            jlist_add(w, out.list, row);
            row = jlist_new(w, J_LIST, 0);
        }
        jlist_add(w, row.list, from->items[i]);
    }
    if (row.list->n > 0) {
        while (fill.kind != J_NONE && (int64_t)row.list->n < n) {
            jlist_add(w, row.list, fill);
        }
        jlist_add(w, out.list, row);
    }
    return out;
}

static struct jval slice(JPARAMS)
{
    JUNUSED;
    const struct jlist *from = jiterate(w, self);
    int64_t n = jarg_int(w, arg[0], 0);
    struct jval out = jlist_new(w, J_ITER, 0), fill = jarg(arg[1], jnone());
    if (n == 0) {
        jfail(w, JINJA_RUNTIME, "slice: division by zero");
    }
    size_t each = n > 0 ? from->n / (size_t)n : 0, more = n > 0 ? from->n % (size_t)n : 0, at = 0;
    for (int64_t i = 0; i < n; i++) {
        struct jval row = jlist_new(w, J_LIST, 0);
        bool longer = (size_t)i < more;
        for (size_t end = at + each + longer; at < end; at++) {
            jlist_add(w, row.list, from->items[at]);
        }
        if (fill.kind != J_NONE && !longer) {
            jlist_add(w, row.list, fill);
        }
        jlist_add(w, out.list, row);
    }
    return out;
}

static struct jval default_filter(JPARAMS)
{
    JUNUSED;
    bool use = self.kind == J_UNDEFINED || (jarg_bool(arg[1], false) && !jtruth(self));
    return use ? jarg(arg[0], jtext("")) : self;
}

/* Unlike v.name, the filter does not look for an item. */
static struct jval attr(JPARAMS)
{
    JUNUSED;
    struct jval name = jarg_str(w, arg[0], "");
    struct jval v = self.kind == J_DICT ? jmethod(w, self, name) : jattribute(w, self, name);
    return v.kind == J_MISSING ? jundefined(name.s, name.n, self.kind) : v;
}

const struct jnative jlist_filters[] = {
    { "first", "", first },
    { "last", "", last },
    { "length", "", length },
    { "count", "", length },
    { "list", "", list_filter },
    { "reverse", "", reverse },
    { "join", "d? attribute?", join },
    { "sum", "attribute? start?", sum },
    { "items", "", items },
    { "batch", "linecount fill_with?", batch },
    { "slice", "slices fill_with?", slice },
    { "default", "default_value? boolean?", default_filter },
    { "d", "default_value? boolean?", default_filter },
    { "attr", "name", attr },
    JEND,
};
