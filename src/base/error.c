#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void error_clean(char *text)
{
    size_t n = strlen(text);
    size_t tail = 0;
    while (tail < n && tail < 3 && ((unsigned char)text[n - 1 - tail] & 0xc0) == 0x80) {
        tail++;
    }
    if (tail < n) {
        unsigned char lead = (unsigned char)text[n - 1 - tail];
        size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
        if (want > tail) {
            text[n - 1 - tail] = '\0';
        }
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        } else if ((unsigned char)*c == 0xc2 && ((unsigned char)c[1] & 0xe0) == 0x80) {
            c[0] = c[1] = '?'; /* U+0080 to U+009F: terminals obey these as well */
        }
    }
}

/* Copies text to dst[cap]. What is too long loses its middle: the beginning names the file, whose
 * path may be thousands of bytes, and the end says what is wrong with it. */
static void fit(char *dst, size_t cap, const char *text)
{
    static const char gap[] = " ... ";
    size_t n = strlen(text), head = cap / 4, tail = cap - 1 - head - (sizeof gap - 1);
    if (n < cap) {
        memcpy(dst, text, n + 1);
        return;
    }
    const char *rest = text + n - tail;
    while (((unsigned char)*rest & 0xc0) == 0x80) {
        rest++;
    }
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
