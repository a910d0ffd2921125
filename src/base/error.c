#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void error_clean(char *text)
{
    size_t n = strlen(text);
    text[n - utf8_partial(text, n)] = '\0';
    utf8_printable(text, '\0');
}

/* Copies text to dst[cap]. A text that is too long loses its middle: its beginning names the file,
 * whose path may be thousands of bytes, and its end says what is wrong. */
static void fit(char *dst, size_t cap, const char *text)
{
    static const char gap[] = " ... ";
    size_t n = strlen(text), head = cap / 4, tail = cap - 1 - head - (sizeof gap - 1);
    if (n < cap) {
        memcpy(dst, text, n + 1);
        return;
    }
    const char *rest = utf8_start(text + n - tail);
    memcpy(dst, text, head);
    dst[head] = '\0';
    error_clean(dst);
    strcat(dst, gap);
    strcat(dst, rest);
}

weft_status error_set(weft_error *err, weft_status code, const char *fmt, ...)
{
    if (err != NULL) {
        char text[4096 + 1024]; /* a path and a message */
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        fit(err->message, sizeof err->message, text);
        error_clean(err->message);
        err->code = code;
    }
    return code;
}

weft_status error_nomem(weft_error *err, const char *what, size_t bytes)
{
    return error_set(err, WEFT_E_NOMEM, "out of memory: %zu bytes could not be allocated for %s",
                     bytes, what);
}

weft_status error_prefix(weft_error *err, weft_status code, const char *prefix)
{
    if (err != NULL) {
        weft_error inner = *err;
        error_set(err, code, "%s: %s", prefix, inner.message);
    }
    return code;
}
