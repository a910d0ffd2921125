/* Measures how deep the brackets of a schema are nested, before it is parsed. */
#include <stdio.h>

#include "base/json_read.h"
#include "schema/json_rules.h"

bool json_too_deep(const char *text, size_t n, struct schema_error *err)
{
    size_t line, column;
    if (!json_nested(text, n, SCHEMA_MAX_DEPTH, &line, &column)) {
        return false;
    }
    snprintf(err->text, sizeof err->text,
             "line %zu, column %zu: brackets nested more than %d deep; give what is nested a name "
             "in $defs, and refer to it",
             line, column, SCHEMA_MAX_DEPTH);
    return true;
}
