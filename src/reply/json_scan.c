#include "reply/json_scan.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const char REPLACEMENT[] = "\xef\xbf\xbd";

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* ---------------------------------------------------------------- writing */

struct writer {
    struct bytes *out; /* NULL = nowhere */
    bool *ok;
};

static void put(const struct writer *w, const char *text, size_t n)
{
    if (w->out != NULL && !bytes_add(w->out, text, n)) {
        *w->ok = false;
    }
}

static void put_control(const struct writer *w, char c)
{
    char text[8];
    const char *at = strchr("\nn\tt\rr\bb\ff", c);
    if (c != '\0' && at != NULL) {
        snprintf(text, sizeof text, "\\%c", at[1]);
    } else {
        snprintf(text, sizeof text, "\\u%04x", (unsigned char)c);
    }
    put(w, text, strlen(text));
}

bool json_escape(struct bytes *out, const char *text, size_t n)
{
    bool ok = true;
    const struct writer w = { out, &ok };
    for (size_t i = 0, len; i < n; i += len) {
        enum utf8_kind kind = utf8_next(text + i, n - i, &len);
        if (kind != UTF8_CHAR) {
            put(&w, REPLACEMENT, 3);
        } else if ((unsigned char)text[i] < 0x20) {
            put_control(&w, text[i]);
        } else {
            put(&w, "\\", text[i] == '"' || text[i] == '\\');
            put(&w, text + i, len);
        }
    }
    return ok;
}

/* ---------------------------------------------------------------- containers */

static enum json_scan_result value_ends(struct json_scan *s)
{
    s->state = SCAN_NEXT;
    return s->depth == 0 ? SCAN_DONE : SCAN_MORE;
}

static bool in_object(const struct json_scan *s)
{
    size_t i = s->depth - 1;
    return (s->objects[i / 64] >> i % 64 & 1) != 0;
}

static enum json_scan_result open_container(struct json_scan *s, bool object)
{
    size_t i = s->depth;
    if (i == JSON_SCAN_DEPTH) {
        return SCAN_BAD;
    }
    s->objects[i / 64] &= ~(UINT64_C(1) << i % 64);
    s->objects[i / 64] |= (uint64_t)object << i % 64;
    s->depth++;
    s->state = object ? SCAN_KEYS : SCAN_FIRST;
    return SCAN_MORE;
}

static enum json_scan_result close_container(struct json_scan *s, bool object)
{
    if (s->depth == 0 || in_object(s) != object) {
        return SCAN_BAD;
    }
    s->depth--;
    return value_ends(s);
}

static enum json_scan_result begin_string(struct json_scan *s, bool key)
{
    s->key = key;
    s->state = SCAN_STRING;
    return SCAN_MORE;
}

static enum json_scan_result begin_word(struct json_scan *s, const char *rest)
{
    s->word = rest;
    s->state = SCAN_WORD;
    return SCAN_MORE;
}

static enum json_scan_result begin_number(struct json_scan *s, char c)
{
    if (c != '-' && !is_digit(c)) {
        return SCAN_BAD;
    }
    s->state = c == '-' ? SCAN_MINUS : c == '0' ? SCAN_ZERO : SCAN_INT;
    return SCAN_MORE;
}

static enum json_scan_result begin_value(struct json_scan *s, char c)
{
    switch (c) {
    case '{':
    case '[': return open_container(s, c == '{');
    case '"': return begin_string(s, false);
    case 't': return begin_word(s, "rue");
    case 'f': return begin_word(s, "alse");
    case 'n': return begin_word(s, "ull");
    default: return begin_number(s, c);
    }
}

/* Reads a byte between values. */
static enum json_scan_result between(struct json_scan *s, char c)
{
    if (is_space(c)) {
        return SCAN_MORE;
    }
    if (s->state == SCAN_COLON) {
        s->state = SCAN_VALUE;
        return c == ':' ? SCAN_MORE : SCAN_BAD;
    }
    if (s->state == SCAN_NEXT && c == ',' && s->depth > 0) {
        s->state = in_object(s) ? SCAN_KEY : SCAN_VALUE;
        return SCAN_MORE;
    }
    if (s->state == SCAN_NEXT || (s->state == SCAN_FIRST && c == ']') ||
        (s->state == SCAN_KEYS && c == '}')) {
        return c == ']' || c == '}' ? close_container(s, c == '}') : SCAN_BAD;
    }
    if (s->state == SCAN_KEY || s->state == SCAN_KEYS) {
        return c == '"' ? begin_string(s, true) : SCAN_BAD;
    }
    return begin_value(s, c);
}

/* ---------------------------------------------------------------- numbers */

/* The digits of a number, and what may follow them. */
static enum json_scan_result number(struct json_scan *s, char c)
{
    bool e = c == 'e' || c == 'E', sign = c == '-' || c == '+';
    uint8_t next = UINT8_MAX;
    switch (s->state) {
    case SCAN_MINUS: next = c == '0' ? SCAN_ZERO : is_digit(c) ? SCAN_INT : next; break;
    case SCAN_ZERO: next = c == '.' ? SCAN_POINT : e ? SCAN_E : next; break;
    case SCAN_INT: next = is_digit(c) ? SCAN_INT : c == '.' ? SCAN_POINT : e ? SCAN_E : next; break;
    case SCAN_POINT: next = is_digit(c) ? SCAN_DIGITS : next; break;
    case SCAN_DIGITS: next = is_digit(c) ? SCAN_DIGITS : e ? SCAN_E : next; break;
    case SCAN_E: next = is_digit(c) ? SCAN_POWER : sign ? SCAN_SIGN : next; break;
    default: next = is_digit(c) ? SCAN_POWER : next; break;
    }
    bool whole = s->state == SCAN_ZERO || s->state == SCAN_INT || s->state == SCAN_DIGITS ||
                 s->state == SCAN_POWER;
    if (next != UINT8_MAX) {
        s->state = next;
        return SCAN_MORE;
    }
    if (!whole) {
        return SCAN_BAD;
    }
    return value_ends(s) == SCAN_DONE ? SCAN_BEFORE : between(s, c);
}

/* ---------------------------------------------------------------- strings */

static void put_hold(struct json_scan *s, const struct writer *w)
{
    put(w, s->hold, s->n_hold);
    s->n_hold = 0;
}

/* Writes \ufffd for the first escape of the hold, and keeps what stands behind it. */
static void replace_escape(struct json_scan *s, const struct writer *w)
{
    put(w, "\\ufffd", 6);
    s->n_hold -= 6;
    memmove(s->hold, s->hold + 6, s->n_hold);
}

static int hex_digit(char c)
{
    return is_digit(c)              ? c - '0'
           : (c >= 'a' && c <= 'f') ? c - 'a' + 10
           : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                    : -1;
}

/* Returns the number of a whole escape \uXXXX. */
static int unit_at(const char *escape)
{
    int unit = 0;
    for (size_t i = 2; i < 6; i++) {
        unit = unit * 16 + hex_digit(escape[i]);
    }
    return unit;
}

/* The hold ends with a whole \uXXXX, perhaps behind the first half of a pair. */
static void whole_unit(struct json_scan *s, const struct writer *w)
{
    bool low = (unit_at(s->hold + s->n_hold - 6) & 0xfc00) == 0xdc00;
    bool high = (unit_at(s->hold + s->n_hold - 6) & 0xfc00) == 0xd800;
    if (s->n_hold == 12 && !low) {
        replace_escape(s, w);
    }
    if (s->n_hold == 6 && low) {
        replace_escape(s, w);
    } else if (!high) {
        put_hold(s, w);
    }
}

/* Reads a byte behind the backslash at `from` in the hold. Returns false if it cannot follow. */
static bool escape(struct json_scan *s, char c, size_t from, const struct writer *w)
{
    size_t n = s->n_hold - from; /* bytes of the escape so far */
    if (n == 1 && c == '\'') {
        s->hold[from] = c;
        put_hold(s, w);
        return true;
    }
    if (n == 1 ? strchr("\"\\/bfnrtu", c) == NULL || c == '\0' : hex_digit(c) < 0) {
        return false;
    }
    s->hold[s->n_hold++] = c;
    if (n == 1 && c != 'u') {
        put_hold(s, w);
    } else if (n == 5) {
        whole_unit(s, w);
    }
    return true;
}

/* Reads a byte behind the beginning of a character. Returns false if the byte does not belong to
 * it. */
static bool character(struct json_scan *s, char c, const struct writer *w)
{
    size_t len;
    s->hold[s->n_hold++] = c;
    enum utf8_kind kind = utf8_next(s->hold, s->n_hold, &len);
    bool belongs = kind != UTF8_INVALID || len == s->n_hold;
    if (kind == UTF8_CHAR) {
        put_hold(s, w);
    } else if (kind == UTF8_INVALID) {
        put(w, REPLACEMENT, 3);
        s->n_hold = 0;
    }
    return belongs;
}

/* Reads a byte of a string while nothing is held. */
static enum json_scan_result plain(struct json_scan *s, char c, const struct writer *w)
{
    if (c == '"') {
        put(w, &c, 1);
        s->state = SCAN_COLON;
        return s->key ? SCAN_MORE : value_ends(s);
    }
    if (c == '\\') {
        s->hold[s->n_hold++] = c;
    } else if ((unsigned char)c >= 0x80) {
        character(s, c, w);
    } else if ((unsigned char)c < 0x20) {
        put_control(w, c);
    } else {
        put(w, &c, 1);
    }
    return SCAN_MORE;
}

static enum json_scan_result string(struct json_scan *s, char c, const struct writer *w)
{
    if (s->n_hold > 0 && s->hold[0] != '\\') {
        return character(s, c, w) ? SCAN_MORE : plain(s, c, w);
    }
    if (s->n_hold == 6) { /* behind the first half of a pair */
        if (c == '\\') {
            s->hold[s->n_hold++] = c;
            return SCAN_MORE;
        }
        replace_escape(s, w);
    }
    if (s->n_hold == 7 && c != 'u') {
        replace_escape(s, w);
    }
    if (s->n_hold > 0) {
        return escape(s, c, s->n_hold > 6 ? 6 : 0, w) ? SCAN_MORE : SCAN_BAD;
    }
    return plain(s, c, w);
}

/* ---------------------------------------------------------------- all */

static enum json_scan_result word(struct json_scan *s, char c)
{
    if (*s->word != c) {
        return SCAN_BAD;
    }
    return *++s->word == '\0' ? value_ends(s) : SCAN_MORE;
}

enum json_scan_result json_scan(struct json_scan *s, char byte, struct bytes *out, bool *ok)
{
    const struct writer w = { out, ok };
    enum json_scan_result result;
    if (s->state == SCAN_STRING) {
        return string(s, byte, &w);
    }
    if (s->state == SCAN_WORD) {
        result = word(s, byte);
    } else if (s->state >= SCAN_MINUS) {
        result = number(s, byte);
    } else {
        result = between(s, byte);
    }
    if (result == SCAN_MORE || result == SCAN_DONE) {
        put(&w, &byte, 1);
    }
    return result;
}

size_t json_scan_value(const char *text, size_t n)
{
    struct json_scan s = { 0 };
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        enum json_scan_result result = json_scan(&s, text[i], NULL, &ok);
        if (result != SCAN_MORE) {
            return result == SCAN_DONE ? i + 1 : result == SCAN_BEFORE ? i : SIZE_MAX;
        }
    }
    return 0;
}
