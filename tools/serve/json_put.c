#include "serve/json_put.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void json_put_raw(struct json_put *p, const char *text, size_t n)
{
    p->failed = p->failed || !text_add(&p->text, text, n);
}

/* ---------------------------------------------------------------- strings */

/* Writes an ASCII character of a string. */
static void put_ascii(struct json_put *p, char c)
{
    static const char names[] = "b\bf\fn\nr\rt\t";
    char escaped[8] = { '\\', c, '\0' };
    for (size_t i = 0; i < sizeof names - 1; i += 2) {
        if (c == names[i + 1]) {
            escaped[1] = names[i];
            json_put_raw(p, escaped, 2);
            return;
        }
    }
    if (c == '"' || c == '\\') {
        json_put_raw(p, escaped, 2);
    } else {
        snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)c);
        json_put_raw(p, escaped, 6);
    }
}

/* Returns how many bytes at the beginning need no escape. */
static size_t plain(const char *text, size_t n)
{
    size_t i = 0, len;
    while (i < n) {
        if ((unsigned char)text[i] < 0x80) {
            if ((unsigned char)text[i] < 0x20 || text[i] == '"' || text[i] == '\\') {
                break;
            }
            i++;
        } else if (utf8_next(text + i, n - i, &len) == UTF8_CHAR) {
            i += len;
        } else {
            break;
        }
    }
    return i;
}

void json_put_string(struct json_put *p, const char *text, size_t n)
{
    json_put_raw(p, "\"", 1);
    for (size_t i = 0, len; i < n; i += len) {
        len = plain(text + i, n - i);
        if (len > 0) {
            json_put_raw(p, text + i, len);
        } else if ((unsigned char)text[i] < 0x80) {
            put_ascii(p, text[i]);
            len = 1;
        } else {
            utf8_next(text + i, n - i, &len);
            json_put_raw(p, "\xef\xbf\xbd", 3);
        }
    }
    json_put_raw(p, "\"", 1);
}

void json_put_bytes(struct json_put *p, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_put(p, "%c%d", i == 0 ? '[' : ',', (unsigned char)text[i]);
    }
    json_put_raw(p, n == 0 ? "[]" : "]", n == 0 ? 2 : 1);
}

void json_put_base64(struct json_put *p, const void *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = data;
    json_put_raw(p, "\"", 1);
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const unsigned bits = (unsigned)b[i] << 16 | (left > 1 ? (unsigned)b[i + 1] << 8 : 0) |
                              (left > 2 ? (unsigned)b[i + 2] : 0);
        const char four[4] = { digits[bits >> 18], digits[bits >> 12 & 63],
                               left > 1 ? digits[bits >> 6 & 63] : '=',
                               left > 2 ? digits[bits & 63] : '=' };
        json_put_raw(p, four, 4);
    }
    json_put_raw(p, "\"", 1);
}

/* ---------------------------------------------------------------- numbers */

void json_put_number(struct json_put *p, double v)
{
    char text[40];
    v = isfinite(v) ? v : v < 0 ? -9999 : 0;
    int n = snprintf(text, sizeof text, "%.6g", v);
    if (strtof(text, NULL) != (float)v) {
        n = snprintf(text, sizeof text, "%.9g", v);
    }
    json_put_raw(p, text, (size_t)n);
}

static void put_integer(struct json_put *p, long long v)
{
    char text[24];
    json_put_raw(p, text, (size_t)snprintf(text, sizeof text, "%lld", v));
}

static void put_size(struct json_put *p, size_t v)
{
    char text[24];
    json_put_raw(p, text, (size_t)snprintf(text, sizeof text, "%zu", v));
}

/* ---------------------------------------------------------------- formats */

void json_put_text(struct json_put *p, const char *text)
{
    if (text == NULL) {
        json_put_raw(p, "null", 4);
    } else {
        json_put_string(p, text, strlen(text));
    }
}

/* Writes the argument of the conversion at fmt, behind its %. Returns what follows it. */
static const char *put_argument(struct json_put *p, const char *fmt, va_list *args)
{
    const char kind = *fmt;
    if (kind == '.') {
        const int n = va_arg(*args, int);
        json_put_string(p, va_arg(*args, const char *), (size_t)n);
        return fmt + 3;
    }
    if (kind == 's') {
        json_put_text(p, va_arg(*args, const char *));
    } else if (kind == 'z') {
        put_size(p, va_arg(*args, size_t));
    } else if (kind == 'l') {
        put_integer(p, va_arg(*args, long long));
    } else if (kind == 'd') {
        put_integer(p, va_arg(*args, int));
    } else if (kind == 'g') {
        json_put_number(p, va_arg(*args, double));
    } else if (kind == 'c') {
        json_put_raw(p, &(char){ (char)va_arg(*args, int) }, 1);
    } else {
        const bool yes = va_arg(*args, int) != 0;
        json_put_raw(p, yes ? "true" : "false", yes ? 4 : 5);
    }
    return fmt + (kind == 'z' ? 2 : kind == 'l' ? 3 : 1);
}

void json_put(struct json_put *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    while (*fmt != '\0') {
        const size_t n = strcspn(fmt, "%'");
        json_put_raw(p, fmt, n);
        fmt += n;
        if (*fmt == '%') {
            fmt = put_argument(p, fmt + 1, &args);
        } else if (*fmt == '\'') {
            json_put_raw(p, "\"", 1);
            fmt++;
        }
    }
    va_end(args);
}

char *json_put_end(struct json_put *p)
{
    if (p->failed) {
        bytes_free(&p->text);
    }
    char *text = p->text.data;
    *p = (struct json_put){ 0 };
    return text;
}
