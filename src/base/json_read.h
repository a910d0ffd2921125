/* Reads JSON of strangers: a text whose brackets are nested too deep is refused before it is
 * parsed, because parsers call themselves for each level. */
#ifndef WEFT_JSON_READ_H
#define WEFT_JSON_READ_H

#include <jansson.h>

#include "base/error.h"

enum { JSON_READ_DEPTH = 128, JSON_READ_MAX = 256 << 20 };

/* Returns true if the brackets of text[n] are nested deeper than `most`; line and column, counted
 * from 1, say where. */
bool json_nested(const char *text, size_t n, size_t most, size_t *line, size_t *column);
/* Reads any JSON value of text[n]. `what` names the text in errors. Errors: WEFT_E_ARG (no JSON,
 * more than JSON_READ_MAX bytes, or nested more than JSON_READ_DEPTH deep; the message has line and
 * column), WEFT_E_NOMEM. */
weft_status json_read(const char *what, const char *text, size_t n, json_t **out, weft_error *err);

#endif
