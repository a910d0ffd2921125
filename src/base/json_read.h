/* Reads JSON of strangers into jansson's values. The grammar is that of RFC 8259, the text is
 * UTF-8. jansson's own parser is not used: releases of it end the process, or report a mistake in
 * the text, if memory runs out inside a string. */
#ifndef WEFT_JSON_READ_H
#define WEFT_JSON_READ_H

#include <jansson.h>

#include "base/error.h"

enum { JSON_READ_DEPTH = 128, JSON_READ_MAX = 256 << 20 };

/* What is read besides the default. */
enum {
    JSON_READ_NUL = 1, /* \u0000 in strings; in keys it is always refused */
    JSON_READ_ONCE = 2 /* a key twice in an object is refused; by default the last one wins */
};

enum json_fault_kind {
    JSON_FAULT_SYNTAX,
    /* It is JSON as far as it was read, but cannot be held: an integer beyond 64 bits, a real
     * beyond double, \u0000, a key twice. */
    JSON_FAULT_BEYOND,
    JSON_FAULT_DEPTH,
    JSON_FAULT_MEMORY
};
struct json_fault {
    enum json_fault_kind kind;
    size_t line, column; /* from 1; columns count characters */
    char text[200];      /* what was found, and what was expected; fit for a terminal */
};

/* Reads text[n], any JSON value whose brackets are nested at most `most` deep; the caller drops the
 * value. `flags` are those above. Returns NULL if it fails, and *fault says why. The function calls
 * itself for each level. Time and memory are linear in n. */
json_t *json_parse(const char *text, size_t n, size_t most, unsigned flags,
                   struct json_fault *fault);

/* Reads any JSON value of text[n], with JSON_READ_NUL. `what` names the text in errors. Errors:
 * WEFT_E_ARG (no JSON, more than JSON_READ_MAX bytes, or nested more than JSON_READ_DEPTH deep; the
 * message has line and column), WEFT_E_NOMEM. */
weft_status json_read(const char *what, const char *text, size_t n, json_t **out, weft_error *err);

#endif
