/* The values of JSON by recursive descent; tokens are read in json_string.c and json_number.c. */
#include "base/json_read.h"

#include <stdio.h>
#include <string.h>

#include "base/json_cursor.h"
#include "base/utf8.h"

static json_t *read_value(struct json_cursor *c);

/* ---------------------------------------------------------------- tokens */

static void skip_space(struct json_cursor *c)
{
    while (json_at(c, ' ') || json_at(c, '\n') || json_at(c, '\t') || json_at(c, '\r')) {
        c->at++;
    }
}

/* Moves behind the next character if it is this one. */
static bool take(struct json_cursor *c, char want)
{
    skip_space(c);
    const bool found = json_at(c, want);
    c->at += found;
    return found;
}

static json_t *read_word(struct json_cursor *c, const char *word, json_t *value)
{
    char expected[24];
    for (const char *w = word; *w != '\0'; w++, c->at++) {
        if (!json_at(c, *w)) {
            snprintf(expected, sizeof expected, "the word %s", word);
            json_expected(c, expected);
            return NULL;
        }
    }
    return value;
}

static json_t *read_text(struct json_cursor *c)
{
    struct json_inside inside;
    if (!json_read_string(c, &inside)) {
        return NULL;
    }
    json_t *v = json_stringn_nocheck(inside.s, inside.n);
    c->held.n = inside.from;
    return v != NULL || json_no_memory(c) ? v : NULL;
}

/* ---------------------------------------------------------------- arrays */

static bool add_items(struct json_cursor *c, json_t *list)
{
    if (take(c, ']')) {
        return true;
    }
    do {
        json_t *item = read_value(c);
        if (item == NULL) {
            return false;
        }
        if (json_array_append_new(list, item) != 0) {
            return json_no_memory(c);
        }
    } while (take(c, ','));
    return take(c, ']') || json_expected(c, ", or ]");
}

/* ---------------------------------------------------------------- objects */

static bool check_key(const struct json_cursor *c, const json_t *object, size_t at, const char *key,
                      size_t n)
{
    if (memchr(key, '\0', n) != NULL) {
        return json_fail(c, JSON_FAULT_BEYOND, at, "found \\u0000 in a key, expected none there");
    }
    if ((c->flags & JSON_READ_ONCE) != 0 && json_object_get(object, key) != NULL) {
        return json_fail(c, JSON_FAULT_BEYOND, at,
                         "found the key \"%.*s\" as a duplicate, expected each key once",
                         (int)utf8_fit(key, n, 80), key);
    }
    return true;
}

/* Reads a key, and leaves it on the stack. */
static bool read_key(struct json_cursor *c, const json_t *object)
{
    struct json_inside key;
    skip_space(c);
    const size_t at = c->at;
    if (!json_at(c, '"')) {
        return json_expected(c, "a key in double quotes");
    }
    if (!json_read_string(c, &key)) {
        return false;
    }
    if (c->held.n == key.from && !json_hold(c, key.s, key.n)) {
        return false;
    }
    c->held.n++; /* the NUL, over which the value would be written */
    return check_key(c, object, at, c->held.data + key.from, key.n);
}

static bool add_member(struct json_cursor *c, json_t *object)
{
    const size_t held = c->held.n;
    if (!read_key(c, object)) {
        return false;
    }
    if (!take(c, ':')) {
        return json_expected(c, ":");
    }
    json_t *value = read_value(c);
    if (value == NULL) {
        return false;
    }
    if (json_object_set_new_nocheck(object, c->held.data + held, value) != 0) {
        return json_no_memory(c);
    }
    c->held.n = held;
    return true;
}

static bool add_members(struct json_cursor *c, json_t *object)
{
    if (take(c, '}')) {
        return true;
    }
    do {
        if (!add_member(c, object)) {
            return false;
        }
    } while (take(c, ','));
    return take(c, '}') || json_expected(c, ", or }");
}

/* ---------------------------------------------------------------- values */

static json_t *read_container(struct json_cursor *c)
{
    const bool object = json_at(c, '{');
    if (c->depth == c->most) {
        json_fail(c, JSON_FAULT_DEPTH, c->at, "brackets nested more than %zu deep", c->most);
        return NULL;
    }
    json_t *made = object ? json_object() : json_array();
    if (made == NULL) {
        json_no_memory(c);
        return NULL;
    }
    c->at++;
    c->depth++;
    const bool ok = object ? add_members(c, made) : add_items(c, made);
    c->depth--;
    if (!ok) {
        json_decref(made);
        return NULL;
    }
    return made;
}

static json_t *read_value(struct json_cursor *c)
{
    skip_space(c);
    const char first = json_more(c) ? c->text[c->at] : '\0';
    switch (first) {
    case '{':
    case '[': return read_container(c);
    case '"': return read_text(c);
    case 't': return read_word(c, "true", json_true());
    case 'f': return read_word(c, "false", json_false());
    case 'n': return read_word(c, "null", json_null());
    default: break;
    }
    if (first == '-' || (first >= '0' && first <= '9')) {
        return json_read_number(c);
    }
    json_expected(c, "a value");
    return NULL;
}

json_t *json_parse(const char *text, size_t n, size_t most, unsigned flags,
                   struct json_fault *fault)
{
    struct json_cursor c = { .text = text, .n = n, .most = most, .flags = flags, .fault = fault };
    json_t *value = read_value(&c);
    skip_space(&c);
    if (value != NULL && json_more(&c)) {
        json_expected(&c, "the end of the text");
        json_decref(value);
        value = NULL;
    }
    bytes_free(&c.held);
    return value;
}

weft_status json_read(const char *what, const char *text, size_t n, json_t **out, weft_error *err)
{
    struct json_fault f;
    if (n > JSON_READ_MAX) {
        return error_set(err, WEFT_E_ARG, "%s: %zu bytes, expected at most %d", what, n,
                         JSON_READ_MAX);
    }
    *out = json_parse(text, n, JSON_READ_DEPTH, JSON_READ_NUL, &f);
    if (*out != NULL) {
        return WEFT_OK;
    }
    return f.kind == JSON_FAULT_MEMORY ? error_nomem(err, what, n)
                                       : error_set(err, WEFT_E_ARG, "%s: line %zu, column %zu: %s",
                                                   what, f.line, f.column, f.text);
}
