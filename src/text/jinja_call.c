/* Calls of functions in C, and the tables in which they are found. */
#include "text/jinja_tables.h"

/* Reads the next parameter of a list like "old new count?". Returns its length; 0 = none. */
static size_t next_parameter(const char **at, bool *optional)
{
    *at += **at == ' ' || **at == '!';
    size_t n = strcspn(*at, " ?");
    *optional = (*at)[n] == '?';
    return n;
}

static noreturn void wrong(struct jwork *w, const struct jnative *f, const char *what,
                           const char *name, size_t n)
{
    jfail(w, JINJA_RUNTIME, "%s(): %s '%.*s'", f->name, what, (int)size_min(n, 60), name);
}

/* Returns the argument for the i-th parameter, and counts it. */
static struct jval argument(struct jwork *w, const struct jnative *f, const struct jargs *args,
                            size_t i, const char *name, size_t n, size_t *used)
{
    struct jval v = i < args->n ? args->pos[i] : jmissing();
    *used += i < args->n;
    for (size_t k = 0; k < args->n_kw; k++) {
        struct jval key = args->kw[2 * k];
        if (key.n == n && memcmp(key.s, name, n) == 0) {
            if (v.kind != J_MISSING) {
                wrong(w, f, "two values for", name, n);
            }
            v = args->kw[2 * k + 1];
            ++*used;
        }
    }
    return v;
}

struct jval jcall_native(struct jwork *w, const struct jnative *f, struct jval self,
                         const struct jargs *args)
{
    struct jval arg[JMAX_PARAMS];
    const char *at = f->params;
    size_t used = 0, n, i = 0;
    bool optional;
    for (; i < JMAX_PARAMS; i++) {
        arg[i] = jmissing();
    }
    for (i = 0; (n = next_parameter(&at, &optional)) > 0 && *at != '*'; i++) {
        arg[i] = argument(w, f, args, i, at, n, &used);
        if (arg[i].kind == J_MISSING && !optional) {
            wrong(w, f, "there is no argument", at, n);
        }
        at += n + optional;
    }
    if (*at != '*' && args->n > i) {
        jfail(w, JINJA_RUNTIME, "%s() takes no more than %zu arguments, %zu were given", f->name, i,
              args->n);
    }
    for (size_t k = 0; *at != '*' && used < args->n + args->n_kw && k < args->n_kw; k++) {
        if (jkeyword_of(f->params, args->kw[2 * k])) {
            continue;
        }
        wrong(w, f, "there is no parameter", args->kw[2 * k].s, args->kw[2 * k].n);
    }
    return f->call(w, self, arg, args);
}

bool jkeyword_of(const char *params, struct jval name)
{
    bool optional;
    size_t n;
    for (; (n = next_parameter(&params, &optional)) > 0; params += n + optional) {
        if (n == name.n && memcmp(params, name.s, n) == 0) {
            return true;
        }
    }
    return false;
}

const struct jval *jkeyword(const struct jargs *args, const char *name)
{
    for (size_t i = 0; i < args->n_kw; i++) {
        if (jis(args->kw[2 * i], name)) {
            return &args->kw[2 * i + 1];
        }
    }
    return NULL;
}

const struct jnative *jfind_in(const struct jnative *const *tables, struct jval name)
{
    for (; *tables != NULL; tables++) {
        for (const struct jnative *f = *tables; f->name != NULL; f++) {
            if (name.n > 0 && name.s[0] == f->name[0] && jis(name, f->name)) {
                return f;
            }
        }
    }
    return NULL;
}

const struct jnative *jfind_filter(struct jval name)
{
    static const struct jnative *const tables[] = { jtext_filters,  jlist_filters, jpick_filters,
                                                    jorder_filters, jjson_filters, NULL };
    return jfind_in(tables, name);
}

const struct jnative *jfind_test(struct jval name)
{
    static const struct jnative *const tables[] = { jtests, NULL };
    return jfind_in(tables, name);
}

const struct jnative *jfind_global(struct jval name)
{
    static const struct jnative *const tables[] = { jglobals, NULL };
    return jfind_in(tables, name);
}

struct jval jbind(struct jwork *w, struct jval self, const struct jnative *f)
{
    struct jbound *b = jalloc(w, sizeof *b);
    *b = (struct jbound){ self, f };
    return (struct jval){ .kind = J_BOUND, .bound = b };
}

struct jval jmethod(struct jwork *w, struct jval v, struct jval name)
{
    static const struct jnative *const of_str[] = { jstr_methods, jstr_test_methods, NULL };
    static const struct jnative *const of_list[] = { jlist_methods, jtuple_methods, NULL };
    static const struct jnative *const of_tuple[] = { jtuple_methods, NULL };
    static const struct jnative *const of_dict[] = { jdict_methods, NULL };
    static const struct jnative *const of_loop[] = { jloop_methods, NULL };
    const struct jnative *const *tables = v.kind == J_STR     ? of_str
                                          : v.kind == J_LIST  ? of_list
                                          : v.kind == J_TUPLE ? of_tuple
                                          : v.kind == J_DICT  ? of_dict
                                          : v.kind == J_LOOP  ? of_loop
                                                              : NULL;
    const struct jnative *f = tables != NULL ? jfind_in(tables, name) : NULL;
    if (f == NULL) {
        return jmissing();
    }
    if (f->call == NULL || (v.kind == J_LIST && v.list->fixed && f->params[0] == '!')) {
        struct jval none = jundefined(name.s, name.n, v.kind);
        none.safe = true;
        return none;
    }
    return jbind(w, v, f);
}
