/* Measures how deep the brackets of a JSON text are nested, before it is parsed. */
#include <stdio.h>

#include "schema/json_rules.h"

bool json_too_deep(const char *text, size_t n, struct schema_error *err)
{
    size_t depth = 0, line = 1, start = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '\n') {
            line++;
            start = i + 1;
        } else if (c == '[' || c == '{') {
            if (++depth > SCHEMA_MAX_DEPTH) {
                snprintf(err->text, sizeof err->text,
                         "line %zu, column %zu: brackets nested more than %d deep; give what is "
                         "nested a name in $defs, and refer to it",
                         line, i - start + 1, SCHEMA_MAX_DEPTH);
                return true;
            }
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        }
    }
    return false;
}
