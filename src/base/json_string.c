/* Strings of JSON: valid UTF-8 without control characters, and their escapes. */
#include <string.h>

#include "base/json_cursor.h"
#include "base/utf8.h"

static bool is_plain(char c) { return (unsigned char)c >= 0x20 && c != '"' && c != '\\'; }

/* Moves to the quote at the end or to the next escape. */
static bool skip_characters(struct json_cursor *c)
{
    for (size_t len; json_more(c) && is_plain(c->text[c->at]); c->at += len) {
        len = 1;
        if ((unsigned char)c->text[c->at] >= 0x80 &&
            utf8_next(c->text + c->at, c->n - c->at, &len) != UTF8_CHAR) {
            return json_expected(c, "UTF-8");
        }
    }
    if (json_at(c, '"') || json_at(c, '\\')) {
        return true;
    }
    return json_expected(c, json_more(c) ? "an escape in its place" : "\" at the end of a string");
}

/* Returns the value of a hexadecimal digit, or -1. */
static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Reads four hexadecimal digits. */
static bool read_code(struct json_cursor *c, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++, c->at++) {
        const int digit = json_more(c) ? digit_of(c->text[c->at]) : -1;
        if (digit < 0) {
            return json_expected(c, "four hexadecimal digits behind \\u");
        }
        *code = *code << 4 | (uint32_t)digit;
    }
    return true;
}

/* Reads the second half of a pair of surrogates; the first one began at `from`. */
static bool read_half(struct json_cursor *c, size_t from, uint32_t *code)
{
    const uint32_t high = *code;
    uint32_t low = 0;
    if (high < 0xdc00 && c->n - c->at >= 2 && memcmp(c->text + c->at, "\\u", 2) == 0) {
        c->at += 2;
        if (!read_code(c, &low)) {
            return false;
        }
    }
    if (low < 0xdc00 || low > 0xdfff) {
        return json_fail(c, JSON_FAULT_SYNTAX, from,
                         "found \\u%04x, half of a pair of surrogates, expected the pair", high);
    }
    *code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* Reads what stands behind \u, and pushes the character. */
static bool read_unicode(struct json_cursor *c, size_t from)
{
    char utf8[UTF8_MAX];
    uint32_t code;
    if (!read_code(c, &code)) {
        return false;
    }
    if (code >= 0xd800 && code <= 0xdfff && !read_half(c, from, &code)) {
        return false;
    }
    if (code == 0 && (c->flags & JSON_READ_NUL) == 0) {
        return json_fail(c, JSON_FAULT_BEYOND, from, "found \\u0000, expected a text without it");
    }
    return json_hold(c, utf8, utf8_write(code, utf8));
}

static bool read_escape(struct json_cursor *c)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const size_t from = c->at++;
    const char *name = json_more(c) ? memchr(names, c->text[c->at], sizeof names - 1) : NULL;
    if (name == NULL && !json_at(c, 'u')) {
        return json_expected(c, "one of \" \\ / b f n r t u behind \\");
    }
    c->at++;
    return name != NULL ? json_hold(c, &means[name - names], 1) : read_unicode(c, from);
}

bool json_read_string(struct json_cursor *c, struct json_inside *out)
{
    const size_t held = c->held.n, begin = ++c->at;
    size_t from = begin;
    while (skip_characters(c)) {
        const size_t part = c->at - from;
        const bool ends = c->text[c->at] == '"';
        if (ends && from == begin) {
            *out = (struct json_inside){ c->text + begin, part, held };
            c->at++;
            return true;
        }
        if (!json_hold(c, c->text + from, part)) {
            return false;
        }
        if (ends) {
            *out = (struct json_inside){ c->held.data + held, c->held.n - held, held };
            c->at++;
            return true;
        }
        if (!read_escape(c)) {
            return false;
        }
        from = c->at;
    }
    return false;
}
