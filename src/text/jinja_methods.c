/* The methods of lists, tuples, dicts, loops and cyclers, the questions to strings, and the global
 * functions. */
#include "text/jinja_tables.h"

static bool is_class(uint32_t c, enum jstr_class class)
{
    bool digit = c >= '0' && c <= '9';
    switch (class) {
    case JSTR_LOWER: return !jchar_is_upper(c);
    case JSTR_UPPER: return !jchar_is_lower(c);
    case JSTR_SPACE: return jchar_space(c);
    case JSTR_DIGIT: return digit;
    case JSTR_ALPHA: return jchar_word(c) && !digit;
    default: return jchar_word(c);
    }
}

bool jstr_is(struct jwork *w, struct jval s, enum jstr_class class)
{
    bool cased = class != JSTR_LOWER && class != JSTR_UPPER;
    size_t len;
    jsteps(w, s.n / 16);
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t c = jstr_char(s, i, &len);
        cased = cased || jchar_is_lower(c) || jchar_is_upper(c);
        if (!is_class(c, class)) {
            return false;
        }
    }
    return cased && s.n > 0;
}

#define METHOD_IS(name, class)                                                                     \
    static struct jval name(JPARAMS)                                                               \
    {                                                                                              \
        JUNUSED;                                                                                   \
        return jbool(jstr_is(w, self, class));                                                     \
    }
METHOD_IS(is_lower, JSTR_LOWER)
METHOD_IS(is_upper, JSTR_UPPER)
METHOD_IS(is_space, JSTR_SPACE)
METHOD_IS(is_digit, JSTR_DIGIT)
METHOD_IS(is_alpha, JSTR_ALPHA)
METHOD_IS(is_alnum, JSTR_ALNUM)

const struct jnative jstr_test_methods[] = {
    { "islower", "", is_lower },   { "isupper", "", is_upper },   { "isspace", "", is_space },
    { "isdigit", "", is_digit },   { "isalpha", "", is_alpha },   { "isalnum", "", is_alnum },
    { "isdecimal", "", is_digit }, { "isnumeric", "", is_digit }, JEND,
};

/* Jinja2's sandbox forbids append() and pop(), but templates that other engines run use them. */
static struct jval append(JPARAMS)
{
    JUNUSED;
    jlist_add(w, self.list, arg[0]);
    return jnone();
}

static struct jval pop(JPARAMS)
{
    JUNUSED;
    struct jlist *list = self.list;
    int64_t n = (int64_t)list->n, i = jarg_int(w, arg[0], -1);
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n) {
        jfail(w, JINJA_RUNTIME, "pop(): a list of %zu items has no such item", list->n);
    }
    struct jval v = list->items[i];
    jsteps(w, (size_t)(n - i) / 4);
    memmove(list->items + i, list->items + i + 1, (size_t)(n - i - 1) * sizeof v);
    list->n--;
    return v;
}

static struct jval list_index(JPARAMS)
{
    JUNUSED;
    for (size_t i = 0; i < self.list->n; i++) {
        if (jequal(w, self.list->items[i], arg[0])) {
            return jint((int64_t)i);
        }
    }
    jfail(w, JINJA_RUNTIME, "index(): the value is not in the list");
}

static struct jval list_count(JPARAMS)
{
    JUNUSED;
    int64_t n = 0;
    for (size_t i = 0; i < self.list->n; i++) {
        n += jequal(w, self.list->items[i], arg[0]);
    }
    return jint(n);
}

static struct jval list_copy(JPARAMS)
{
    JUNUSED;
    return jlist_copy(w, self.list, J_LIST);
}

const struct jnative jlist_methods[] = {
    { "append", "!1", append }, { "pop", "!1?", pop },
    { "copy", "", list_copy },  { "insert", "", NULL },
    { "extend", "", NULL },     { "remove", "", NULL },
    { "clear", "", NULL },      { "sort", "", NULL },
    { "reverse", "", NULL },    JEND,
};

const struct jnative jtuple_methods[] = {
    { "index", "1", list_index },
    { "count", "1", list_count },
    JEND,
};

static struct jval get(JPARAMS)
{
    JUNUSED;
    const struct jval *found = jdict_find(w, self.dict, arg[0]);
    return found != NULL ? *found : jarg(arg[1], jnone());
}

enum view { KEYS, VALUES, ITEMS };

static struct jval view_of(struct jwork *w, struct jval self, enum view what)
{
    static const char *const names[] = { "dict_keys", "dict_values", "dict_items" };
    struct jval out = jlist_new(w, J_VIEW, self.dict->n);
    out.list->shown = names[what];
    for (size_t i = 0; i < self.dict->n; i++) {
        const struct jpair *p = &self.dict->pairs[i];
        jlist_add(w, out.list,
                  what == KEYS     ? p->key
                  : what == VALUES ? p->value
                                   : jpair_of(w, p->key, p->value));
    }
    return out;
}

static struct jval keys(JPARAMS)
{
    JUNUSED;
    return view_of(w, self, KEYS);
}

static struct jval values(JPARAMS)
{
    JUNUSED;
    return view_of(w, self, VALUES);
}

static struct jval items(JPARAMS)
{
    JUNUSED;
    return view_of(w, self, ITEMS);
}

static void update(struct jwork *w, struct jdict *d, struct jval from)
{
    if (from.kind == J_DICT) {
        for (size_t i = 0; i < from.dict->n; i++) {
            jdict_set(w, d, from.dict->pairs[i].key, from.dict->pairs[i].value);
        }
        return;
    }
    const struct jlist *pairs = jiterate(w, from);
    for (size_t i = 0; i < pairs->n; i++) {
        const struct jlist *pair = jiterate(w, pairs->items[i]);
        if (pair->n != 2) {
            jfail(w, JINJA_RUNTIME, "a dict is made from pairs; item %zu has %zu values", i,
                  pair->n);
        }
        jdict_set(w, d, pair->items[0], pair->items[1]);
    }
}

static struct jval dict_copy(JPARAMS)
{
    JUNUSED;
    struct jval out = jdict_new(w, J_DICT);
    update(w, out.dict, self);
    return out;
}

const struct jnative jdict_methods[] = {
    { "get", "1 2?", get }, { "keys", "", keys },      { "values", "", values },
    { "items", "", items }, { "copy", "", dict_copy }, { "clear", "", NULL },
    { "pop", "", NULL },    { "popitem", "", NULL },   { "setdefault", "", NULL },
    { "update", "", NULL }, { "fromkeys", "", NULL },  JEND,
};

static struct jval cycle(JPARAMS)
{
    JUNUSED;
    if (all->n == 0) {
        jfail(w, JINJA_RUNTIME, "cycle() needs a value");
    }
    return all->pos[(self.loop->at - 1) % all->n];
}

static struct jval changed(JPARAMS)
{
    JUNUSED;
    struct jval now = jlist_new(w, J_TUPLE, all->n);
    for (size_t i = 0; i < all->n; i++) {
        jlist_add(w, now.list, all->pos[i]);
    }
    struct jloop *l = self.loop;
    bool is = l->changed == NULL || !jequal(w, *l->changed, now);
    if (is) {
        l->changed = jalloc(w, sizeof *l->changed);
        *l->changed = now;
    }
    return jbool(is);
}

const struct jnative jloop_methods[] = {
    { "cycle", "*", cycle },
    { "changed", "*", changed },
    JEND,
};

static struct jval mapping(struct jwork *w, enum jkind kind, const struct jargs *all)
{
    struct jval out = jdict_new(w, kind);
    if (all->n > 1) {
        jfail(w, JINJA_RUNTIME, "dict() and namespace() take at most one value without a name");
    }
    if (all->n > 0) {
        update(w, out.dict, all->pos[0]);
    }
    for (size_t i = 0; i < all->n_kw; i++) {
        jdict_set(w, out.dict, all->kw[2 * i], all->kw[2 * i + 1]);
    }
    return out;
}

static struct jval dict_function(JPARAMS)
{
    JUNUSED;
    return mapping(w, J_DICT, all);
}

static struct jval namespace_function(JPARAMS)
{
    JUNUSED;
    return mapping(w, J_NAMESPACE, all);
}

/* As the sandbox does, range() refuses more than 100,000 numbers. */
static struct jval range(JPARAMS)
{
    JUNUSED;
    enum { MAX_RANGE = 100000 };
    bool one = arg[1].kind == J_MISSING;
    int64_t from = one ? 0 : jneed_int(w, arg[0]), to = jneed_int(w, arg[!one]);
    int64_t step = arg[2].kind == J_MISSING ? 1 : jneed_int(w, arg[2]);
    if (step == 0) {
        jfail(w, JINJA_RUNTIME, "range(): the step is zero");
    }
    uint64_t far = step > 0 ? (uint64_t)to - (uint64_t)from : (uint64_t)from - (uint64_t)to;
    uint64_t pace = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    uint64_t n = (step > 0 ? to <= from : to >= from) ? 0 : (far - 1) / pace + 1;
    if (n > MAX_RANGE) {
        jfail(w, JINJA_RUNTIME, "range() gives at most %d numbers", MAX_RANGE);
    }
    struct jval out = jlist_new(w, J_RANGE, (size_t)n);
    struct jbuf b = { .w = w };
    jbuf_text(&b, "range(", 0);
    jbuf_int(&b, from, 0);
    jbuf_text(&b, ", ", 0);
    jbuf_int(&b, to, 0);
    if (step != 1) {
        jbuf_text(&b, ", ", 0);
        jbuf_int(&b, step, 0);
    }
    jbuf_text(&b, ")", 0);
    out.list->shown = jstr_z(w, jbuf_take(&b));
    for (uint64_t i = 0; i < n; i++) {
        jlist_add(w, out.list, jint((int64_t)((uint64_t)from + i * (uint64_t)step)));
    }
    return out;
}

static struct jval raise_exception(JPARAMS)
{
    JUNUSED;
    struct jval text = jstr(w, arg[0]);
    w->words.s = text.s;
    w->words.n = text.n;
    jfail(w, JINJA_RAISED, "raise_exception()");
}

static struct jval strftime_now(JPARAMS)
{
    JUNUSED;
    return jstrftime(w, jarg_str(w, arg[0], ""), w->now);
}

const struct jnative jglobals[] = {
    { "namespace", "*", namespace_function },
    { "dict", "*", dict_function },
    { "range", "1 2? 3?", range },
    { "raise_exception", "message", raise_exception },
    { "strftime_now", "format", strftime_now },
    JEND,
};
