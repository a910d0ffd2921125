/* Filters that apply another filter or a test to each item. */
#include "text/jinja_tables.h"

struct jval jcall_named(struct jwork *w, bool is_test, struct jval name, struct jval v,
                        const struct jargs *args)
{
    const struct jnative *f = name.kind != J_STR ? NULL
                              : is_test          ? jfind_test(name)
                                                 : jfind_filter(name);
    if (f == NULL) {
        struct jval text = jstr(w, name);
        jfail(w, JINJA_RUNTIME, "there is no %s named '%.*s'", is_test ? "test" : "filter",
              (int)size_min(text.n, 60), text.s);
    }
    jsteps(w, 2);
    if (w->nested++ == JINJA_MAX_DEPTH) {
        jfail(w, JINJA_LIMIT, "filters that call filters are nested deeper than %d",
              JINJA_MAX_DEPTH);
    }
    struct jval out = jcall_native(w, f, v, args);
    w->nested--;
    return out;
}

/* Returns the arguments behind the first `n`. */
static struct jargs behind(const struct jargs *all, size_t n)
{
    return (struct jargs){ all->pos + n, all->n - n, all->kw, all->n_kw };
}

static struct jval map_attribute(struct jwork *w, struct jval self, const struct jargs *all)
{
    const struct jval *path = jkeyword(all, "attribute"), *other = jkeyword(all, "default");
    struct jval out = jlist_new(w, J_ITER, 0);
    if (all->n_kw > (other != NULL ? 2u : 1u)) {
        jfail(w, JINJA_RUNTIME, "map() takes `attribute` and `default`, or a filter");
    }
    struct jval fill = other == NULL || other->kind == J_NONE ? jmissing() : *other;
    const struct jlist *list = jiterate(w, self);
    for (size_t i = 0; i < list->n; i++) {
        jlist_add(w, out.list, jpath(w, list->items[i], *path, fill));
    }
    return out;
}

static struct jval map(JPARAMS)
{
    JUNUSED;
    struct jval out = jlist_new(w, J_ITER, 0);
    if (!jtruth(self)) {
        return out;
    }
    if (all->n == 0 && jkeyword(all, "attribute") != NULL) {
        return map_attribute(w, self, all);
    }
    if (all->n == 0) {
        jfail(w, JINJA_RUNTIME, "map() needs the name of a filter, or attribute=");
    }
    struct jargs rest = behind(all, 1);
    const struct jlist *list = jiterate(w, self);
    for (size_t i = 0; i < list->n; i++) {
        jlist_add(w, out.list, jcall_named(w, false, all->pos[0], list->items[i], &rest));
    }
    return out;
}

/* The items of which the test, or the truth, is `want`. */
static struct jval pick(struct jwork *w, struct jval self, const struct jargs *all, bool attribute,
                        bool want)
{
    struct jval out = jlist_new(w, J_ITER, 0);
    if (!jtruth(self)) {
        return out;
    }
    if (all->n < attribute) {
        jfail(w, JINJA_RUNTIME, "selectattr() and rejectattr() need the name of an attribute");
    }
    struct jargs rest = all->n > attribute ? behind(all, attribute + 1u) : *all;
    const struct jlist *list = jiterate(w, self);
    for (size_t i = 0; i < list->n; i++) {
        struct jval v = list->items[i];
        v = attribute ? jpath(w, v, all->pos[0], jmissing()) : v;
        if (all->n > attribute) {
            v = jcall_named(w, true, all->pos[attribute], v, &rest);
        }
        if (jtruth(v) == want) {
            jlist_add(w, out.list, list->items[i]);
        }
    }
    return out;
}

static struct jval select_filter(JPARAMS)
{
    JUNUSED;
    return pick(w, self, all, false, true);
}

static struct jval reject(JPARAMS)
{
    JUNUSED;
    return pick(w, self, all, false, false);
}

static struct jval select_attribute(JPARAMS)
{
    JUNUSED;
    return pick(w, self, all, true, true);
}

static struct jval reject_attribute(JPARAMS)
{
    JUNUSED;
    return pick(w, self, all, true, false);
}

const struct jnative jpick_filters[] = {
    { "map", "*", map },
    { "select", "*", select_filter },
    { "reject", "*", reject },
    { "selectattr", "*", select_attribute },
    { "rejectattr", "*", reject_attribute },
    JEND,
};
