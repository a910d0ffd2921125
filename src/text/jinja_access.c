/* Attributes, items and slices of values. */
#include "text/jinja_code.h"
#include "text/jinja_string.h"

static struct jval loop_attribute(struct jwork *w, struct jval v, struct jval name)
{
    const struct jloop *l = v.loop;
    const struct jlist *items = l->list;
    size_t i = l->at - 1;
    if (jis(name, "index")) {
        return jint((int64_t)i + 1);
    } else if (jis(name, "index0")) {
        return jint((int64_t)i);
    } else if (jis(name, "first")) {
        return jbool(i == 0);
    } else if (jis(name, "last")) {
        return jbool(l->at >= items->n);
    } else if (jis(name, "length")) {
        return jint((int64_t)items->n);
    } else if (jis(name, "revindex")) {
        return jint((int64_t)(items->n - i));
    } else if (jis(name, "revindex0")) {
        return jint((int64_t)(items->n - i) - 1);
    } else if (jis(name, "depth") || jis(name, "depth0")) {
        return jint(jis(name, "depth"));
    } else if (jis(name, "previtem") && i > 0) {
        return items->items[i - 1];
    } else if (jis(name, "nextitem") && l->at < items->n) {
        return items->items[l->at];
    }
    const char *none = jis(name, "previtem")   ? "there is no previous item"
                       : jis(name, "nextitem") ? "there is no next item"
                                               : NULL;
    return none != NULL ? jundefined(none, strlen(none), J_UNDEFINED) : jmethod(w, v, name);
}

static struct jval macro_attribute(struct jwork *w, const struct jmacro *m, struct jval name)
{
    if (jis(name, "name")) {
        return m->name;
    }
    if (!jis(name, "arguments")) {
        return jmissing();
    }
    struct jval out = jlist_new(w, J_TUPLE, m->n_params);
    for (size_t i = 0; i < m->n_params; i++) {
        jlist_add(w, out.list, m->names->pairs[m->params[i]].key);
    }
    return out;
}

static struct jval no_item(struct jval v, struct jval key)
{
    return key.kind == J_STR ? jundefined(key.s, key.n, v.kind) : jundefined("[]", 2, v.kind);
}

/* Returns v[key], or J_MISSING. */
static struct jval item_of(struct jwork *w, struct jval v, struct jval key)
{
    if (v.kind == J_DICT) {
        const struct jval *found = jdict_find(w, v.dict, key);
        return found != NULL ? *found : jmissing();
    }
    bool indexed = v.kind == J_STR || v.kind == J_LIST || v.kind == J_TUPLE || v.kind == J_RANGE;
    if (!indexed || !jis_whole(key)) {
        return jmissing();
    }
    int64_t n = (int64_t)jlength(w, v), i = jwhole(key);
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n) {
        return jmissing();
    }
    if (v.kind != J_STR) {
        return v.list->items[i];
    }
    size_t at = jstr_at(w, v, (size_t)i), len;
    jstr_char(v, at, &len);
    return jstr_part(v, at, len);
}

/* Returns what Python's getattr() finds, or J_MISSING. */
static struct jval own_attribute(struct jwork *w, struct jval v, struct jval name)
{
    bool private =
        name.n > 4 && jstr_has(name, 0, jtext("__")) && jstr_has(name, name.n - 2u, jtext("__"));
    if (private || (v.kind == J_NAMESPACE && name.n > 0 && name.s[0] == '_')) {
        struct jval none = jundefined(name.s, name.n, v.kind);
        none.safe = true;
        return private || jdict_find(w, v.dict, name) != NULL ? none : jmissing();
    }
    if (v.kind == J_NAMESPACE) {
        const struct jval *found = jdict_find(w, v.dict, name);
        return found != NULL ? *found : jmissing();
    }
    if (v.kind == J_LOOP) {
        return loop_attribute(w, v, name);
    }
    if (v.kind == J_MACRO) {
        return macro_attribute(w, v.macro->of, name);
    }
    if (v.kind == J_TUPLE && v.list->shown != NULL) { /* of groupby() */
        if (jis(name, "grouper") || jis(name, "list")) {
            return v.list->items[jis(name, "list")];
        }
    }
    return jmethod(w, v, name);
}

struct jval jattribute(struct jwork *w, struct jval v, struct jval name)
{
    if (v.kind == J_UNDEFINED) {
        jfail_undefined(w, v);
    }
    struct jval found = own_attribute(w, v, name);
    if (found.kind == J_MISSING) {
        found = item_of(w, v, name);
    }
    return found.kind == J_MISSING ? no_item(v, name) : found;
}

struct jval jitem(struct jwork *w, struct jval v, struct jval key)
{
    if (v.kind == J_UNDEFINED) {
        jfail_undefined(w, v);
    }
    if (v.kind == J_DICT && (key.kind == J_LIST || key.kind == J_DICT)) {
        return no_item(v, key);
    }
    struct jval found = item_of(w, v, key);
    if (found.kind == J_MISSING && key.kind == J_STR) {
        found = own_attribute(w, v, key);
    }
    return found.kind == J_MISSING ? no_item(v, key) : found;
}

static int64_t number_of(struct jwork *w, struct jval v)
{
    if (!jis_whole(v)) {
        jfail(w, JINJA_RUNTIME, "the bounds of a slice must be integers or None, not '%s'",
              jtype(v));
    }
    return jwhole(v);
}

/* Returns a bound, counted from the beginning and limited to low..high. */
static int64_t bound_of(struct jwork *w, struct jval v, int64_t n, int64_t low, int64_t high)
{
    int64_t i = number_of(w, v);
    if (i < 0) {
        i = i < -n ? low : i + n;
    }
    return i < low ? low : i > high ? high : i;
}

size_t jslice_bounds(struct jwork *w, size_t n, const struct jval bounds[3], int64_t at[3])
{
    int64_t len = (int64_t)n, step = bounds[2].kind == J_NONE ? 1 : number_of(w, bounds[2]);
    step = step < -INT32_MAX ? -INT32_MAX : step > INT32_MAX ? INT32_MAX : step;
    if (step == 0) {
        jfail(w, JINJA_RUNTIME, "the step of a slice is zero");
    }
    bool back = step < 0;
    int64_t low = back ? -1 : 0, high = back ? len - 1 : len;
    at[0] = bounds[0].kind == J_NONE ? (back ? high : low) : bound_of(w, bounds[0], len, low, high);
    at[1] = bounds[1].kind == J_NONE ? (back ? low : high) : bound_of(w, bounds[1], len, low, high);
    at[2] = step;
    int64_t far = back ? at[0] - at[1] : at[1] - at[0];
    return far <= 0 ? 0 : ceil_div((size_t)far, (size_t)(back ? -step : step));
}

static struct jval slice_string(struct jwork *w, struct jval v, const struct jval bounds[3])
{
    int64_t at[3];
    size_t n = jslice_bounds(w, jstr_chars(w, v), bounds, at);
    struct jbuf b = { .w = w };
    if (at[2] == 1) {
        size_t from = jstr_at(w, v, (size_t)at[0]);
        struct jval rest = jstr_part(v, from, v.n - from);
        return jstr_part(rest, 0, jstr_at(w, rest, n));
    }
    const struct jlist *chars = jiterate(w, v);
    for (size_t i = 0; i < n; i++, at[0] += at[2]) {
        jbuf_str(&b, chars->items[at[0]]);
    }
    struct jval out = jbuf_take(&b);
    out.safe = v.safe;
    return out;
}

struct jval jslice(struct jwork *w, struct jval v, const struct jval bounds[3])
{
    int64_t at[3];
    if (v.kind == J_UNDEFINED) {
        jfail_undefined(w, v);
    }
    if (v.kind == J_STR) {
        return slice_string(w, v, bounds);
    }
    if (v.kind != J_LIST && v.kind != J_TUPLE && v.kind != J_RANGE) {
        jfail(w, JINJA_RUNTIME, "a value of type '%s' has no slices", jtype(v));
    }
    size_t n = jslice_bounds(w, v.list->n, bounds, at);
    struct jval out = jlist_new(w, v.kind, n);
    const int64_t *of = v.list->range;
    for (size_t i = 0; v.kind == J_RANGE && i < 3; i++) {
        struct jval far = jarith(w, '*', jint(at[i]), jint(of[2]));
        out.list->range[i] = jwhole(i < 2 ? jarith(w, '+', far, jint(of[0])) : far);
    }
    for (size_t i = 0; i < n; i++, at[0] += at[2]) {
        jlist_add(w, out.list, v.list->items[at[0]]);
    }
    return out;
}
