#include "base/json_cursor.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/place.h"

bool json_fail(const struct json_cursor *c, enum json_fault_kind kind, size_t at, const char *fmt,
               ...)
{
    struct json_fault *f = c->fault;
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
    error_clean(f->text);
    f->kind = kind;
    place_of(c->text, at, &f->line, &f->column);
    return false;
}

bool json_expected(const struct json_cursor *c, const char *what)
{
    char found[PLACE_FOUND];
    return json_fail(c, JSON_FAULT_SYNTAX, c->at, "found %s, expected %s",
                     place_found(c->text, c->n, c->at, "text", found), what);
}

bool json_no_memory(const struct json_cursor *c)
{
    return json_fail(c, JSON_FAULT_MEMORY, c->at, "out of memory");
}

bool json_hold(struct json_cursor *c, const char *part, size_t n)
{
    return text_add(&c->held, part, n) || json_no_memory(c);
}
