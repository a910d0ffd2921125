/* What a template is compiled to, and what a rendering keeps while it runs the code: a small
 * machine with a stack of values. Macros, loops and scopes have stacks of their own, so the C stack
 * does not grow with what a template nests. */
#ifndef WEFT_JINJA_CODE_H
#define WEFT_JINJA_CODE_H

#include "text/jinja_value.h"

/* `a` is the operand of the instruction. Jumps are relative to the instruction behind. */
enum jop {
    JOP_TEXT,       /* print constant a */
    JOP_PRINT,      /* print the popped value */
    JOP_CONST,      /* push constant a */
    JOP_LOAD,       /* push the variable of name a */
    JOP_STORE,      /* pop into the variable of name a */
    JOP_STORE_ATTR, /* pop into attribute (constant a) of the namespace named n */
    JOP_ATTR,       /* v -> v.constant a */
    JOP_ITEM,       /* v k -> v[k] */
    JOP_SLICE,      /* v from to step -> v[from:to:step] */
    JOP_ARITH,      /* x y -> x op y; a = the operator */
    JOP_SIGN,       /* x -> a * x */
    JOP_NOT,
    JOP_CONCAT,      /* pop n values, push their texts as one */
    JOP_COMPARE,     /* x y -> bool; n = enum jcmp */
    JOP_COMPARE_AND, /* x y -> y, if it holds; else push false and jump */
    JOP_JUMP,
    JOP_JUMP_FALSE, /* pop; jump if it is false */
    JOP_AND,        /* jump if the top is false, else pop */
    JOP_OR,
    JOP_LIST, /* pop n values, push a list */
    JOP_TUPLE,
    JOP_DICT,   /* pop n pairs */
    JOP_UNPACK, /* pop a list of n values, push them so that the first is on top */
    JOP_CALL,   /* f, n values, kw pairs of name and value -> result */
    JOP_FILTER, /* v, n values, kw pairs -> result of natives[a] */
    JOP_TEST,
    JOP_ABSENT,      /* a filter (kw: test) that does not exist; constant a is its name; n: it
                        stands in a branch, so it is a fault only if it is reached */
    JOP_FOR,         /* pop what to iterate over */
    JOP_FOR_NEXT,    /* push the next item in a scope of its own, or jump */
    JOP_FOR_KEEP,    /* item condition ->; keep the item if the condition holds */
    JOP_FOR_KEPT,    /* end the loop, push the list of the items that were kept */
    JOP_FOR_BODY,    /* the item passes the filter: set the variable `loop` */
    JOP_FOR_ROUND,   /* the body was run to its end: there is no else */
    JOP_FOR_END,     /* end the loop; jump (over else) if a body was run to its end */
    JOP_FOR_RESTART, /* leave all that began inside the loop's body, and jump */
    JOP_SCOPE,
    JOP_SCOPE_END,
    JOP_CAPTURE,
    JOP_CAPTURE_END, /* push the text since JOP_CAPTURE */
    JOP_MACRO,       /* push the macro a */
    JOP_DEFAULT,     /* jump if the parameter of name n was given */
    JOP_RETURN,
    JOP_END
};

enum jcmp { JCMP_EQ, JCMP_NE, JCMP_LT, JCMP_LE, JCMP_GT, JCMP_GE, JCMP_IN, JCMP_NOT_IN };

struct jins {
    uint8_t op, kw;
    uint16_t n;
    int32_t a;
    uint32_t pos; /* in the source, for messages */
};

struct jmacro {
    struct jval name;
    size_t entry;     /* index of the first instruction */
    uint32_t *params; /* [n_params] names */
    size_t n_params;
    const struct jdict *names;    /* of the template */
    bool varargs, kwargs, caller; /* the body reads these variables */
};

struct jinja {
    struct jwork w;     /* holds all memory of the template */
    struct jval source; /* with line breaks as \n */
    struct jins *code;
    size_t n_code, cap_code;
    struct jval *consts;
    size_t n_consts, cap_consts;
    struct jdict *names;            /* string -> index: variables by number */
    const struct jnative **natives; /* the filters and tests that it uses */
    size_t n_natives, cap_natives;
    struct jmacro *macros;
    size_t n_macros, cap_macros;
};

/* Names that the compiler knows have these numbers. */
enum { JNAME_LOOP, JNAME_CALLER, JNAME_VARARGS, JNAME_KWARGS, JNAME_FIRST_FREE };

/* Variables by name, innermost scope first. */
struct jslot {
    uint32_t name;
    struct jval value;
};
struct jscope {
    struct jscope *parent;
    struct jslot *slots;
    size_t n, cap;
    bool held; /* a macro may still look into it */
};

struct jloop {
    struct jloop *outer;
    struct jlist *list, *kept;
    size_t at;            /* index of the next item */
    struct jval *changed; /* what changed() saw last; NULL = nothing */
    struct jscope *scope, *around;
    size_t n_stack, n_captures;
    bool whole; /* a body was run to its end */
};

struct jclosure {
    const struct jmacro *of;
    struct jscope *scope;
};

/* A call of a macro. */
struct jframe {
    const struct jins *back;
    struct jscope *scope;
    struct jloop *loop;
};

/* A function in C. `params` names its parameters, separated by spaces: a ? behind the name if it
 * may be absent, a digit for one without a name, * as the last one if any further arguments are
 * taken. A ! in front of all marks a
 * method that changes its list. */
struct jargs {
    const struct jval *pos; /* [n] */
    size_t n;
    const struct jval *kw; /* [2 * n_kw]: name, value */
    size_t n_kw;
};
enum { JMAX_PARAMS = 8 };
struct jnative {
    const char *name, *params;
    struct jval (*call)(struct jwork *w, struct jval self, const struct jval *arg,
                        const struct jargs *all);
};
struct jbound {
    struct jval self;
    const struct jnative *native;
};

/* Checks and distributes the arguments, and calls the function. Absent ones are J_MISSING. */
struct jval jcall_native(struct jwork *w, const struct jnative *f, struct jval self,
                         const struct jargs *args);
const struct jval *jkeyword(const struct jargs *args, const char *name);

/* The tables; NULL if there is no such filter, test or function. */
const struct jnative *jfind_filter(struct jval name);
const struct jnative *jfind_test(struct jval name);
const struct jnative *jfind_global(struct jval name);
/* Returns the method of a value, bound to it; J_MISSING if it has none of that name, and an
 * undefined value if the sandbox forbids it. */
struct jval jmethod(struct jwork *w, struct jval v, struct jval name);
struct jval jbind(struct jwork *w, struct jval self, const struct jnative *f);

/* Compiles the source, whose line breaks are \n. */
void jcompile(struct jinja *t);

/* Lists of rows end with a row without a name. */
#define JEND                                                                                       \
    {                                                                                              \
        NULL, NULL, NULL                                                                           \
    }

#endif
