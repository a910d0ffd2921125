/* The compiler: it reads tokens and writes instructions at once, without a tree in between. Where a
 * part must run before one that stands in front of it, the instructions of the one are cut out and
 * pasted behind the other; jumps are relative, so that they may move. */
#ifndef WEFT_JINJA_COMPILE_H
#define WEFT_JINJA_COMPILE_H

#include "text/jinja_code.h"
#include "text/jinja_lex.h"

struct jcompiler {
    struct jinja *t;
    struct jwork *w;
    struct jtokens tokens;
    size_t at, depth;
    size_t n_soft;        /* branches in which a filter may be missing until it is used */
    struct jnest *macros; /* the macros around the place */
    struct jnames *names, *all_names; /* the part of the template that is read; the newest one */
    /* Of the innermost loop: its first instruction, and the last break, which leads to the one
     * before; SIZE_MAX = none. */
    size_t loop, last_break;
};

struct jnest {
    struct jnest *outer;
    size_t macro; /* index */
};

/* The names that a part of the template mentions itself, not in parts inside of it. `at` is the
 * macro, or the instruction JOP_FOR or JOP_SCOPE. */
enum jpart_kind { JPART_ALL, JPART_BLOCK, JPART_MACRO };
struct jnames {
    struct jnames *outer, *before;
    struct jdict *seen;
    size_t n_branches; /* of if that stand around the place */
    enum jpart_kind kind;
    size_t at;
};
void jpart_begin(struct jcompiler *c, enum jpart_kind kind, size_t at);
void jpart_end(struct jcompiler *c);
void jnote_load(struct jcompiler *c, uint32_t name);
void jnote_store(struct jcompiler *c, uint32_t name);
/* Finds out what is hidden, once all parts were read. */
void jnames_resolve(struct jcompiler *c);

/* Instructions that were cut out. */
struct jpart {
    struct jins *code;
    size_t n;
};

noreturn void jsyntax(struct jcompiler *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void jenter(struct jcompiler *c); /* one level deeper; c->depth-- leaves it */

/* The token that comes next, and the one behind it. */
static inline struct jtoken jpeek(const struct jcompiler *c) { return c->tokens.data[c->at]; }
static inline struct jtoken jpeek2(const struct jcompiler *c)
{
    return c->tokens.data[size_min(c->at + 1, c->tokens.n - 1)];
}
bool jtoken_is(const struct jcompiler *c, struct jtoken t, const char *word);
bool jaccept(struct jcompiler *c, uint32_t type);
bool jaccept_word(struct jcompiler *c, const char *word);
void jexpect(struct jcompiler *c, uint32_t type, const char *what);
struct jval jtoken_text(const struct jcompiler *c, struct jtoken t);
struct jval jexpect_name(struct jcompiler *c);

/* Appends an instruction. Returns its index. */
size_t jemit(struct jcompiler *c, enum jop op, size_t n, int64_t a);
size_t jemit_const(struct jcompiler *c, enum jop op, struct jval v);
/* Lets the jump at an index lead behind the last instruction; jemit_to() emits one that leads back
 * to an index. */
void jland(struct jcompiler *c, size_t at);
void jemit_to(struct jcompiler *c, enum jop op, size_t target);
struct jpart jcut(struct jcompiler *c, size_t from);
void jpaste(struct jcompiler *c, struct jpart part);
/* Returns the number of a variable. */
uint32_t jname(struct jcompiler *c, struct jval name);

/* Expressions: each leaves one value on the stack. */
void jexpression(struct jcompiler *c);
void jexpression_or(struct jcompiler *c); /* without a if b else c */
/* One expression, or several with commas between them as a tuple. */
void jtuple(struct jcompiler *c, void (*item)(struct jcompiler *), bool may_be_empty);
/* What is assigned to: a name or several; `spaces`: attributes of namespaces, too. Returns the
 * instructions that take the value from the stack. */
struct jpart jtarget(struct jcompiler *c, bool spaces);
/* The filters behind an expression, or at the beginning of a filter block. */
void jfilters(struct jcompiler *c, bool first);
/* A call's arguments, for an instruction whose operand is a. Returns the index of the last
 * instruction. */
void jcall(struct jcompiler *c, enum jop op, int64_t a, struct jtoken at);

/* Statements up to one of the words (the list ends with NULL), which is read and returned; what
 * stands behind it is not read. */
const char *jbody(struct jcompiler *c, const char *const *ends);

#endif
