#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drops an incomplete UTF-8 character at the end (vsnprintf cuts bytes) and hides control
 * characters. */
static void clean(char *text)
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
        }
    }
}

weft_status error_set(weft_error *err, weft_status code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, args);
        va_end(args);
        clean(err->message);
        err->code = code;
    }
    return code;
}

weft_status error_nomem(weft_error *err, const char *what, size_t bytes)
{
    return error_set(err, WEFT_E_NOMEM, "out of memory: %zu bytes for %s could not be allocated",
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

const char *weft_status_name(weft_status s)
{
    static const char *const names[] = {
        [WEFT_OK] = "WEFT_OK",
        [WEFT_E_ARG] = "WEFT_E_ARG",
        [WEFT_E_HANDLE] = "WEFT_E_HANDLE",
        [WEFT_E_STATE] = "WEFT_E_STATE",
        [WEFT_E_BUSY] = "WEFT_E_BUSY",
        [WEFT_E_BUFFER] = "WEFT_E_BUFFER",
        [WEFT_E_NOMEM] = "WEFT_E_NOMEM",
        [WEFT_E_DEVMEM] = "WEFT_E_DEVMEM",
        [WEFT_E_IO] = "WEFT_E_IO",
        [WEFT_E_FORMAT] = "WEFT_E_FORMAT",
        [WEFT_E_UNSUPPORTED] = "WEFT_E_UNSUPPORTED",
        [WEFT_E_KV_FULL] = "WEFT_E_KV_FULL",
        [WEFT_E_CTX_FULL] = "WEFT_E_CTX_FULL",
        [WEFT_E_CANCELLED] = "WEFT_E_CANCELLED",
        [WEFT_E_DEVICE_LOST] = "WEFT_E_DEVICE_LOST",
        [WEFT_E_INTERNAL] = "WEFT_E_INTERNAL",
    };
    size_t i = (size_t)s;
    return i < sizeof names / sizeof names[0] && names[i] != NULL ? names[i] : "unknown status";
}

const char *weft_version(void) { return WEFT_VERSION; }

uint32_t weft_abi_version(void) { return WEFT_ABI_VERSION; }
