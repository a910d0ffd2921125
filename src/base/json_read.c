#include "base/json_read.h"

bool json_nested(const char *text, size_t n, size_t most, size_t *line, size_t *column)
{
    size_t depth = 0, start = 0;
    bool quoted = false;
    *line = 1;
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '\n') {
            ++*line;
            start = i + 1;
        } else if (c == '[' || c == '{') {
            if (++depth > most) {
                *column = i - start + 1;
                return true;
            }
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        }
    }
    return false;
}

weft_status json_read(const char *what, const char *text, size_t n, json_t **out, weft_error *err)
{
    size_t line, column;
    json_error_t why;
    if (n > JSON_READ_MAX) {
        return error_set(err, WEFT_E_ARG, "%s: %zu bytes, expected at most %d", what, n,
                         JSON_READ_MAX);
    }
    if (json_nested(text, n, JSON_READ_DEPTH, &line, &column)) {
        return error_set(err, WEFT_E_ARG,
                         "%s: line %zu, column %zu: brackets nested more than %d deep", what, line,
                         column, JSON_READ_DEPTH);
    }
    *out = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (*out != NULL) {
        return WEFT_OK;
    }
    if (json_error_code(&why) == json_error_out_of_memory) {
        return error_nomem(err, what, n);
    }
    return error_set(err, WEFT_E_ARG, "%s: line %d, column %d: %s", what, why.line, why.column,
                     why.text);
}
