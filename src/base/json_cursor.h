/* The parts of the reader of JSON. Every function that fails has filled *fault. */
#ifndef WEFT_JSON_CURSOR_H
#define WEFT_JSON_CURSOR_H

#include "base/json_read.h"
#include "base/mem.h"

/* A text that is being read. */
struct json_cursor {
    const char *text;
    size_t n, at; /* at <= n */
    size_t depth, most;
    unsigned flags;
    struct json_fault *fault;
    /* A stack: the keys of the objects that are open, and above them the string or the number that
     * is being read. */
    struct bytes held;
};

static inline bool json_more(const struct json_cursor *c) { return c->at < c->n; }
static inline bool json_at(const struct json_cursor *c, char want)
{
    return c->at < c->n && c->text[c->at] == want;
}

/* These set the fault and return false. json_expected() says what was found at the cursor. */
__attribute__((format(printf, 4, 5))) bool json_fail(const struct json_cursor *c,
                                                     enum json_fault_kind kind, size_t at,
                                                     const char *fmt, ...);
bool json_expected(const struct json_cursor *c, const char *what);
bool json_no_memory(const struct json_cursor *c);

/* Pushes a part of the text on the stack; a NUL stands behind it. */
bool json_hold(struct json_cursor *c, const char *part, size_t n);

/* The inside of a string; it stands in the text if no escape is in it, else on the stack, whose top
 * is dropped by setting held.n to `from`. */
struct json_inside {
    const char *s;
    size_t n, from;
};
/* Reads the string whose quote is at the cursor. */
bool json_read_string(struct json_cursor *c, struct json_inside *out);
/* Reads the number at the cursor. Returns NULL if it fails. */
json_t *json_read_number(struct json_cursor *c);

#endif
