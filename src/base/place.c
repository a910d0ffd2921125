#include "base/place.h"

#include <stdio.h>

#include "base/utf8.h"

void place_of(const char *text, size_t at, size_t *line, size_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at; i++) {
        *line += text[i] == '\n';
        *column = text[i] == '\n' ? 1 : *column + !utf8_inside(text[i]);
    }
}

const char *place_found(const char *text, size_t n, size_t at, const char *name,
                        char dst[PLACE_FOUND])
{
    if (at >= n) {
        snprintf(dst, PLACE_FOUND, "the end of the %s", name);
        return dst;
    }
    size_t len;
    const unsigned char c = (unsigned char)text[at];
    const bool whole = utf8_next(text + at, n - at, &len) == UTF8_CHAR;
    if (c == '\n' || c == '\r') {
        snprintf(dst, PLACE_FOUND, "the end of the line");
    } else if (c < 0x20 || c == 0x7f || !whole) {
        snprintf(dst, PLACE_FOUND, "the byte 0x%02X", c);
    } else {
        snprintf(dst, PLACE_FOUND, "'%.*s'", (int)len, text + at);
    }
    return dst;
}
