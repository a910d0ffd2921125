/* Chat templates: the subset of Jinja that the templates of models use, with the behaviour of
 * jinja2 3.1.6 (sandboxed, immutable, with trim_blocks, lstrip_blocks and loop controls) as the
 * Transformers library calls it. Every byte of a rendered text remembers whether the template or a
 * caller wrote it, so that a caller's bytes never become a control token.
 *
 * The subset has if, for (not recursive), set, macro, call, filter, with, raw, generation, break
 * and continue; all expressions, but no * and ** in calls; the filters, tests and methods of
 * jinja_tables.h; namespace, dict, range, raise_exception and strftime_now. Other tags and filters
 * are refused by name. What differs from jinja2 on purpose:
 * - Lists have append() and pop(), which the sandbox forbids and some templates call. There is a
 *   filter from_json.
 * - Integers have 64 bits; a larger one is a fault.
 * - Upper and lower cases, and what repr() escapes, are known for the characters that
 *   jinja_string.h and jinja_repr.c name. Digits and numbers are those of ASCII.
 * - Functions and generators print themselves without an address. */
#ifndef WEFT_JINJA_H
#define WEFT_JINJA_H

#include <jansson.h>

#include "base/error.h"
#include "base/mem.h"

/* A template, ready to be rendered. It does not change: any number of threads may render it at
 * once. */
struct jinja;

/* What ended a rendering. The names follow the exceptions of jinja2 and Python. */
enum jinja_fault {
    JINJA_OK,
    JINJA_SYNTAX,    /* TemplateSyntaxError, or a construct outside the subset */
    JINJA_RAISED,    /* raise_exception(): the message is the template's words alone */
    JINJA_UNDEFINED, /* UndefinedError */
    JINJA_RUNTIME,   /* TypeError, ValueError, KeyError, SecurityError and the like */
    JINJA_LIMIT,     /* too many steps, too deep, or too large */
    JINJA_NO_MEMORY
};

enum {
    JINJA_MAX_SOURCE = 1 << 20, /* bytes of a template */
    JINJA_MAX_NESTING = 128,    /* blocks and brackets inside each other */
    JINJA_MAX_CALLS = 256,      /* macros inside each other */
    JINJA_MAX_DEPTH = 128,      /* lists and dicts inside each other */
    /* What a rendering may do: a step is an operation or 64 bytes that are copied or compared. */
    JINJA_MAX_STEPS = 10000000,
    /* The bytes that a rendering may take, values and text together. */
    JINJA_MAX_BYTES = 256 << 20
};

/* Parses source[n]; it is copied. Errors: WEFT_E_UNSUPPORTED (a syntax error or a construct outside
 * the subset; the message names line and column), WEFT_E_NOMEM. */
weft_status jinja_parse(const char *source, size_t n, struct jinja **out, weft_error *err);
void jinja_close(struct jinja *t);
/* Returns true if the template reads a variable of this name. */
bool jinja_reads(const struct jinja *t, const char *name);

/* Who wrote a byte. Those who call jinja_render() may use further numbers. */
enum { JINJA_TEMPLATE = 0, JINJA_CALLER = 1, JINJA_MARKED = 2 };

/* Says who wrote a string inside the values of variables, which is known by its address. */
struct jinja_writer {
    const json_t *string;
    uint8_t who;
};

/* A variable of the template. Its value is copied before the rendering. All bytes of its strings
 * and keys, and the digits of its numbers, were written by `who`, except for the strings that
 * jinja_params.writers names. */
struct jinja_var {
    const char *name;
    const json_t *value;
    uint8_t who;
};

struct jinja_params {
    const struct jinja_var *vars;
    size_t n_vars;
    const struct jinja_writer *writers;
    size_t n_writers; /* a handful */
    /* strftime_now(): seconds since 1970 on the clock that the template shall see. */
    int64_t now;
    size_t max_steps; /* what the rendering may do; 0 = JINJA_MAX_STEPS */
};

/* n bytes that `who` wrote. */
struct jinja_run {
    size_t n;
    uint8_t who;
};

/* A rendered text; the runs add up to its bytes, and neighbours differ in `who`. Set it to zeros at
 * first. */
struct jinja_text {
    struct bytes text;
    struct jinja_run *runs;
    size_t n_runs, cap_runs;
};
void jinja_text_free(struct jinja_text *t);

/* Renders the template; *out is emptied first. *fault, if not NULL, says what ended the rendering.
 * Errors: WEFT_E_ARG (the template raised an exception, or an operation failed: line, column and
 * reason; with JINJA_RAISED the template's words alone), WEFT_E_UNSUPPORTED (limits), WEFT_E_NOMEM.
 * On failure *out is empty. Any thread; the stack that it takes does not depend on the input beyond
 * the limits above. */
weft_status jinja_render(const struct jinja *t, const struct jinja_params *p,
                         struct jinja_text *out, enum jinja_fault *fault, weft_error *err);

#endif
