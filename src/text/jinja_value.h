/* The values of a rendering. They are small and copied; what they point to lives in the arena of
 * the work and never changes, except lists, which append() and pop() change, and namespaces. */
#ifndef WEFT_JINJA_VALUE_H
#define WEFT_JINJA_VALUE_H

#include <string.h>

#include "text/jinja_work.h"

enum jkind {
    J_MISSING, /* no value at all: an argument that was not given */
    J_UNDEFINED,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_STR,
    J_LIST,
    J_TUPLE,
    J_RANGE,
    J_VIEW, /* what .items(), .keys() and .values() of a dict return */
    J_ITER, /* what generators of Python return: it can be read once */
    J_DICT,
    J_NAMESPACE,
    J_LOOP,
    J_MACRO,
    J_BOUND /* a method with its object, or a global function */
};

struct jval {
    uint8_t kind;
    uint8_t who; /* of all bytes that the value is printed as, unless `whos` is set */
    bool safe;   /* of strings: jinja2's Markup */
    uint32_t n;  /* bytes of a string */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s; /* UTF-8, without a NUL */
        struct jlist *list;
        struct jdict *dict;
        struct jloop *loop;
        struct jclosure *macro;
        const struct jbound *bound;
    };
    const uint8_t *whos; /* of strings: [n], or NULL if `who` wrote all of it */
};

/* The values of all kinds that hold others in order. */
struct jlist {
    struct jval *items;
    size_t n, cap;
    const char *shown; /* what a view or a range is printed as; NULL = nothing special */
    bool fixed;        /* a caller gave it: the template may not change it */
};

struct jpair {
    struct jval key, value;
};

/* Keys in the order of their insertion. */
struct jdict {
    struct jpair *pairs;
    size_t n, cap;
    uint32_t *slots; /* [n_slots]: 1 + index of a pair; 0 = free. NULL while n is small */
    size_t n_slots;
};

/* Values that need no memory. */
static inline struct jval jnone(void) { return (struct jval){ .kind = J_NONE }; }
static inline struct jval jmissing(void) { return (struct jval){ .kind = J_MISSING }; }
static inline struct jval jbool(bool b) { return (struct jval){ .kind = J_BOOL, .b = b }; }
static inline struct jval jint(int64_t i) { return (struct jval){ .kind = J_INT, .i = i }; }
static inline struct jval jfloat(double f) { return (struct jval){ .kind = J_FLOAT, .f = f }; }
/* A text that the template wrote and that outlives the work, or lives in its arena. */
static inline struct jval jtext(const char *s)
{
    return (struct jval){ .kind = J_STR, .s = s, .n = (uint32_t)strlen(s) };
}

/* An undefined value. `s` is its name; who = the kind of the value that does not have it, or 0 for
 * a variable or parameter; `safe` is set where the sandbox forbids the access. With J_UNDEFINED as
 * the owner `s` is the whole message. */
static inline struct jval jundefined(const char *s, size_t n, uint8_t owner)
{
    return (struct jval){ .kind = J_UNDEFINED, .who = owner, .s = s, .n = (uint32_t)n };
}
/* Ends the work with the message of an undefined value. */
noreturn void jfail_undefined(struct jwork *w, struct jval v);

static inline bool jis_number(struct jval v)
{
    return v.kind == J_BOOL || v.kind == J_INT || v.kind == J_FLOAT;
}
static inline bool jis_whole(struct jval v) { return v.kind == J_BOOL || v.kind == J_INT; }
static inline bool jis_items(struct jval v) { return v.kind >= J_LIST && v.kind <= J_ITER; }
static inline int64_t jwhole(struct jval v) { return v.kind == J_BOOL ? v.b : v.i; }
static inline double jdouble(struct jval v) { return v.kind == J_FLOAT ? v.f : (double)jwhole(v); }
static inline bool jis(struct jval v, const char *text)
{
    return v.kind == J_STR && v.n == strlen(text) && memcmp(v.s, text, v.n) == 0;
}
/* Of the writers of two values that became one: the caller, if it was one of them. */
static inline uint8_t jwho(uint8_t a, uint8_t b) { return a > b ? a : b; }

/* Returns Python's name of the value's type. */
const char *jtype(struct jval v);
bool jtruth(struct jval v);

struct jval jlist_new(struct jwork *w, enum jkind kind, size_t cap);
void jlist_add(struct jwork *w, struct jlist *list, struct jval item);
struct jval jlist_copy(struct jwork *w, const struct jlist *from, enum jkind kind);
struct jval jpair_of(struct jwork *w, struct jval a, struct jval b);

struct jval jdict_new(struct jwork *w, enum jkind kind);
/* Returns the value of a key, or NULL. A key that cannot be hashed is a fault. */
struct jval *jdict_find(struct jwork *w, const struct jdict *d, struct jval key);
void jdict_set(struct jwork *w, struct jdict *d, struct jval key, struct jval value);

/* Returns whether a == b, as Python compares. */
bool jequal(struct jwork *w, struct jval a, struct jval b);
/* Returns -1, 0, 1, or JUNORDERED for NaN; values that have no order are a fault, whose message
 * names `op`. */
enum { JUNORDERED = 2 };
int jcompare(struct jwork *w, struct jval a, struct jval b, const char *op);
/* Returns whether item is in the container. */
bool jcontains(struct jwork *w, struct jval container, struct jval item);

/* Returns the items of whatever can be iterated over, as Python would give them one by one. An
 * iterator is emptied. The list may be the value's own. */
struct jlist *jiterate(struct jwork *w, struct jval v);
/* Returns len(v). */
size_t jlength(struct jwork *w, struct jval v);

/* Returns v.name, v[key] and v[from:to:step]; J_NONE = no bound. */
struct jval jattribute(struct jwork *w, struct jval v, struct jval name);
struct jval jitem(struct jwork *w, struct jval v, struct jval key);
struct jval jslice(struct jwork *w, struct jval v, const struct jval bounds[3]);
/* Counts as Python does for s[from:to:step] of n items: *at is the first index. Returns how many
 * there are. */
size_t jslice_bounds(struct jwork *w, size_t n, const struct jval bounds[3], int64_t *at,
                     int64_t *step);

/* The operators of two values. */
struct jval jadd(struct jwork *w, struct jval a, struct jval b);
/* op: one of + - * / % or: */
enum { JOP_FLOOR = 128, JOP_POWER };
struct jval jarith(struct jwork *w, int op, struct jval a, struct jval b);
struct jval jnegate(struct jwork *w, struct jval v, int sign);

#endif
