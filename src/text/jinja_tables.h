/* The tables of functions in C. Each ends with a row without a name. A method whose `call` is NULL
 * is one that Python has and the sandbox forbids. */
#ifndef WEFT_JINJA_TABLES_H
#define WEFT_JINJA_TABLES_H

#include "text/jinja_code.h"
#include "text/jinja_string.h"

extern const struct jnative jtext_filters[], jlist_filters[], jpick_filters[], jorder_filters[],
    jjson_filters[], jtests[], jglobals[];
extern const struct jnative jstr_methods[], jstr_test_methods[], jlist_methods[], jtuple_methods[],
    jdict_methods[], jloop_methods[];

/* Returns the row of a name in the tables, a list that ends with NULL; or NULL. */
const struct jnative *jfind_in(const struct jnative *const *tables, struct jval name);
/* Returns true if the list of parameters has this name. */
bool jkeyword_of(const char *params, struct jval name);

/* The parameters of a function of a table. */
#define JPARAMS struct jwork *w, struct jval self, const struct jval *arg, const struct jargs *all
#define JUNUSED (void)w, (void)self, (void)arg, (void)all

/* Arguments: the value, or what stands for an absent one. A value of another type is a fault. */
int64_t jarg_int(struct jwork *w, struct jval v, int64_t absent);
struct jval jarg_str(struct jwork *w, struct jval v, const char *absent);
int64_t jneed_int(struct jwork *w, struct jval v);
static inline bool jarg_bool(struct jval v, bool absent)
{
    return v.kind == J_MISSING ? absent : jtruth(v);
}
static inline struct jval jarg(struct jval v, struct jval absent)
{
    return v.kind == J_MISSING ? absent : v;
}

/* Returns the value at the path of an attribute ("a.b.0", or an index), as jinja2's
 * make_attrgetter(); what is undefined is replaced by `other` unless that is J_MISSING. */
struct jval jpath(struct jwork *w, struct jval v, struct jval path, struct jval other);
/* Calls a filter or test by its name. */
struct jval jcall_named(struct jwork *w, bool is_test, struct jval name, struct jval v,
                        const struct jargs *args);
/* Returns format % args: a tuple of values, a dict, or one value. */
struct jval jpercent(struct jwork *w, struct jval format, struct jval args);
/* Returns format.format(...). */
struct jval jformat(struct jwork *w, struct jval format, const struct jargs *args);
/* Returns the time as strftime() formats it in the C locale. */
struct jval jstrftime(struct jwork *w, struct jval format, int64_t now);
/* Returns the values of JSON that does not outlive the call. */
struct jval jvalue_copy(struct jwork *w, const json_t *value, uint8_t who);
/* Sorts items[n] by keys[n], and the keys with them unless they are the same list; equal ones keep
 * their order. */
void jsort(struct jwork *w, struct jlist *items, struct jlist *keys, bool reverse);
/* Returns the text of json.dumps(). */
struct jdumps {
    bool ascii, sort;
    struct jval indent;    /* a string of white space, or J_NONE */
    struct jval item, key; /* separators */
};
struct jval jdumps(struct jwork *w, struct jval v, const struct jdumps *how);

#endif
