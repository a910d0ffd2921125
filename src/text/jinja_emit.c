/* Tokens in, instructions out. */
#include "text/jinja_compile.h"

#include <stdarg.h>
#include <stdio.h>

#include "text/jinja_string.h"

noreturn void jsyntax(struct jcompiler *c, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->w->pos = jpeek(c).pos;
    jfail(c->w, JINJA_SYNTAX, "%s", text);
}

void jenter(struct jcompiler *c)
{
    if (c->depth++ == JINJA_MAX_NESTING) {
        c->w->pos = jpeek(c).pos;
        jfail(c->w, JINJA_LIMIT, "blocks and brackets are nested deeper than %d",
              JINJA_MAX_NESTING);
    }
}

struct jval jtoken_text(const struct jcompiler *c, struct jtoken t)
{
    return jstr_part(c->t->source, t.pos, t.n);
}

bool jtoken_is(const struct jcompiler *c, struct jtoken t, const char *word)
{
    return t.type == JT_NAME && jis(jtoken_text(c, t), word);
}

bool jaccept(struct jcompiler *c, uint32_t type)
{
    bool is = jpeek(c).type == type;
    c->at += is;
    return is;
}

bool jaccept_word(struct jcompiler *c, const char *word)
{
    bool is = jtoken_is(c, jpeek(c), word);
    c->at += is;
    return is;
}

void jexpect(struct jcompiler *c, uint32_t type, const char *what)
{
    if (!jaccept(c, type)) {
        struct jval found = jtoken_text(c, jpeek(c));
        jsyntax(c, "expected %s, found '%.*s'", what, (int)size_min(found.n, 40), found.s);
    }
}

struct jval jexpect_name(struct jcompiler *c)
{
    jexpect(c, JT_NAME, "a name");
    return jtoken_text(c, c->tokens.data[c->at - 1]);
}

size_t jemit(struct jcompiler *c, enum jop op, size_t n, int64_t a)
{
    struct jinja *t = c->t;
    if (n > UINT16_MAX) {
        jsyntax(c, "more than %d values in one place", UINT16_MAX);
    }
    JRESERVE(c->w, t->code, t->cap_code, t->n_code + 1);
    t->code[t->n_code] = (struct jins){ .op = (uint8_t)op,
                                        .n = (uint16_t)n,
                                        .a = (int32_t)a,
                                        .pos = c->tokens.data[c->at > 0 ? c->at - 1 : 0].pos };
    return t->n_code++;
}

size_t jemit_const(struct jcompiler *c, enum jop op, struct jval v)
{
    struct jinja *t = c->t;
    JRESERVE(c->w, t->consts, t->cap_consts, t->n_consts + 1);
    t->consts[t->n_consts] = v;
    return jemit(c, op, 0, (int64_t)t->n_consts++);
}

void jland(struct jcompiler *c, size_t at) { c->t->code[at].a = (int32_t)(c->t->n_code - at - 1); }

void jemit_to(struct jcompiler *c, enum jop op, size_t target)
{
    jemit(c, op, 0, (int64_t)target - (int64_t)c->t->n_code - 1);
}

struct jpart jcut(struct jcompiler *c, size_t from)
{
    struct jpart part = { NULL, c->t->n_code - from };
    if (part.n > 0) {
        part.code = jalloc(c->w, part.n * sizeof *part.code);
        memcpy(part.code, c->t->code + from, part.n * sizeof *part.code);
        c->t->n_code = from;
    }
    return part;
}

void jpaste(struct jcompiler *c, struct jpart part)
{
    struct jinja *t = c->t;
    if (part.n > 0) {
        JRESERVE(c->w, t->code, t->cap_code, t->n_code + part.n);
        memcpy(t->code + t->n_code, part.code, part.n * sizeof *part.code);
        t->n_code += part.n;
    }
}

uint32_t jname(struct jcompiler *c, struct jval name)
{
    const struct jval *found = jdict_find(c->w, c->t->names, name);
    if (found != NULL) {
        return (uint32_t)found->i;
    }
    jdict_set(c->w, c->t->names, name, jint((int64_t)c->t->names->n));
    return (uint32_t)c->t->names->n - 1;
}
