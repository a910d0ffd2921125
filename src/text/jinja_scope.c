/* Variables and loops of a rendering. */
#include "text/jinja_run.h"

static struct jslot *slot_of(struct jscope *s, uint32_t name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->slots[i].name == name) {
            return &s->slots[i];
        }
    }
    return NULL;
}

/* The value of a parameter that was not given. */
static struct jval not_given(struct jmachine *m, uint32_t name)
{
    struct jval text = m->t->names->pairs[name].key;
    return jundefined(text.s, text.n, J_MISSING);
}

struct jval jload(struct jmachine *m, uint32_t name)
{
    for (struct jscope *s = m->scope; s != NULL; s = s->parent) {
        const struct jslot *slot = slot_of(s, name);
        jsteps(&m->w, 1 + s->n / 16);
        if (slot != NULL) {
            return slot->value.kind != J_MISSING ? slot->value : not_given(m, name);
        }
    }
    if (m->root[name].kind != J_MISSING) {
        return m->root[name];
    }
    struct jval text = m->t->names->pairs[name].key;
    const struct jnative *f = jfind_global(text);
    return f != NULL ? jbind(&m->w, jnone(), f) : jundefined(text.s, text.n, 0);
}

static void set(struct jmachine *m, struct jscope *s, uint32_t name, struct jval v)
{
    struct jslot *slot = slot_of(s, name);
    if (slot != NULL) {
        slot->value = v;
        return;
    }
    jsteps(&m->w, 1 + s->n / 16);
    JRESERVE(&m->w, s->slots, s->cap, s->n + 1);
    s->slots[s->n++] = (struct jslot){ name, v };
}

void jstore(struct jmachine *m, uint32_t name, struct jval v)
{
    if (m->scope == NULL) {
        m->root[name] = v;
    } else {
        set(m, m->scope, name, v);
    }
}

static struct jscope *new_scope(struct jmachine *m, struct jscope *parent)
{
    struct jscope *s = jalloc(&m->w, sizeof *s);
    *s = (struct jscope){ .parent = parent };
    return s;
}

void jscope_enter(struct jmachine *m) { m->scope = new_scope(m, m->scope); }

struct jval jclose_over(struct jmachine *m, const struct jmacro *macro)
{
    struct jclosure *f = jalloc(&m->w, sizeof *f);
    *f = (struct jclosure){ macro, m->scope };
    for (struct jscope *s = m->scope; s != NULL && !s->held; s = s->parent) {
        jsteps(&m->w, 1);
        s->held = true;
    }
    return (struct jval){ .kind = J_MACRO, .macro = f };
}

void jfor_begin(struct jmachine *m, struct jval over)
{
    struct jloop *l = jalloc(&m->w, sizeof *l);
    *l = (struct jloop){ .outer = m->loop,
                         .around = m->scope,

                         .n_stack = m->n,
                         .n_captures = m->n_captures };
    l->list = jiterate(&m->w, over);
    m->loop = l;
}

/* Takes the next item, in a scope of its own. Returns false if there is none. */
bool jfor_next(struct jmachine *m, struct jval *item)
{
    struct jloop *l = m->loop;
    if (l->at >= l->list->n) {
        return false;
    }
    if (l->scope == NULL || l->scope->held) {
        l->scope = new_scope(m, l->around);
    }
    l->scope->n = 0;
    m->scope = l->scope;
    *item = l->list->items[l->at++];
    return true;
}

void jfor_body(struct jmachine *m)
{
    jstore(m, JNAME_LOOP, (struct jval){ .kind = J_LOOP, .loop = m->loop });
}

void jfor_unwind(struct jmachine *m)
{
    const struct jloop *l = m->loop;
    m->n = l->n_stack;
    while (m->n_captures > l->n_captures) {
        m->out.n = m->captures[--m->n_captures];
    }
}

/* What is left of the arguments goes into varargs and kwargs, or is a fault. */
static void extra(struct jmachine *m, const struct jmacro *of, const struct jargs *args,
                  const bool *used)
{
    struct jwork *w = &m->w;
    struct jval rest = jlist_new(w, J_TUPLE, 0), named = jdict_new(w, J_DICT);
    for (size_t i = of->n_params; i < args->n; i++) {
        jlist_add(w, rest.list, args->pos[i]);
    }
    for (size_t i = 0; i < args->n_kw; i++) {
        if (!used[i]) {
            jdict_set(w, named.dict, args->kw[2 * i], args->kw[2 * i + 1]);
        }
    }
    if (rest.list->n > 0 && !of->varargs) {
        jfail(w, JINJA_RUNTIME, "macro '%.*s' takes no more than %zu arguments, %zu were given",
              (int)size_min(of->name.n, 60), of->name.s, of->n_params, args->n);
    }
    if (named.dict->n > 0 && !of->kwargs) {
        struct jval key = named.dict->pairs[0].key;
        jfail(w, JINJA_RUNTIME, "macro '%.*s' takes no argument named '%.*s'",
              (int)size_min(of->name.n, 60), of->name.s, (int)size_min(key.n, 60), key.s);
    }
    if (of->varargs) {
        set(m, m->scope, JNAME_VARARGS, rest);
    }
    if (of->kwargs) {
        set(m, m->scope, JNAME_KWARGS, named);
    }
}

/* Returns the argument of this name, and marks it as used. */
static struct jval named(const struct jargs *args, struct jval name, bool *used)
{
    for (size_t i = 0; i < args->n_kw; i++) {
        struct jval key = args->kw[2 * i];
        if (key.n == name.n && memcmp(key.s, name.s, name.n) == 0) {
            used[i] = true;
            return args->kw[2 * i + 1];
        }
    }
    return jmissing();
}

void jmacro_begin(struct jmachine *m, const struct jclosure *f, const struct jargs *args)
{
    const struct jmacro *of = f->of;
    bool used[UINT8_MAX] = { false };
    m->scope = new_scope(m, f->scope);
    for (size_t i = 0; i < of->n_params; i++) {
        struct jval name = m->t->names->pairs[of->params[i]].key;
        struct jval v = i < args->n ? args->pos[i] : named(args, name, used);
        set(m, m->scope, of->params[i], v);
    }
    if (of->caller) {
        set(m, m->scope, JNAME_CALLER, named(args, jtext("caller"), used));
    }
    extra(m, of, args, used);
}
