#include "serve/field.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

json_t *field_get(const json_t *object, const char *name)
{
    json_t *v = json_object_get(object, name);
    return json_is_null(v) ? NULL : v;
}

/* ---------------------------------------------------------------- faults */

static void found_text(const char *text, size_t n, char dst[FOUND_MAX])
{
    const size_t fit = utf8_fit(text, n, 40);
    snprintf(dst, FOUND_MAX, "\"%.*s%s\"", (int)fit, text, fit < n ? "..." : "");
    utf8_printable(dst, '\0');
}

void field_found(const json_t *value, char dst[FOUND_MAX])
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null"
    };
    if (json_is_string(value)) {
        found_text(json_string_value(value), json_string_length(value), dst);
    } else if (json_is_integer(value)) {
        snprintf(dst, FOUND_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(dst, FOUND_MAX, "%g", json_real_value(value));
    } else {
        snprintf(dst, FOUND_MAX, "%s", value != NULL ? names[json_typeof(value)] : "missing");
    }
}

bool field_wrong(struct fault *fault, const char *name, const json_t *value, const char *expected)
{
    char found[FOUND_MAX];
    field_found(value, found);
    return fault_request(fault, name, "%s is %s, expected %s", name, found, expected);
}

static void list_words(const char *const *words, char *dst, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; words[i] != NULL && n < cap; i++) {
        const char *before = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        n += (size_t)snprintf(dst + n, cap - n, "%s\"%s\"", before, words[i]);
    }
}

/* Says what a field takes. */
static void describe(const struct field *f, char *dst, size_t cap)
{
    static const char *const names[] = {
        [FIELD_BOOL] = "true or false", [FIELD_SWITCH] = "true or false", [FIELD_TEXT] = "a string",
        [FIELD_OBJECT] = "an object",   [FIELD_ARRAY] = "a list",
    };
    if (f->kind == FIELD_WORD) {
        list_words(f->words, dst, cap);
    } else if (f->kind == FIELD_LACKING) {
        snprintf(dst, cap, "what leaves it off: it is not supported");
    } else if (f->kind == FIELD_FLOAT) {
        snprintf(dst, cap, "a number from %g to %g", f->least, f->most);
    } else if (f->kind == FIELD_INT64 && f->most > 9e18) {
        snprintf(dst, cap, "an integer of 64 bits");
    } else if (f->kind == FIELD_INT32 || f->kind == FIELD_INT64) {
        snprintf(dst, cap, "an integer from %.0f to %.0f", f->least, f->most);
    } else {
        snprintf(dst, cap, "%s", names[f->kind]);
    }
}

/* ---------------------------------------------------------------- values */

/* Takes an integer; clients write some of them as 5.0. Numbers beyond 2^63 are not taken. */
static bool integer_of(const json_t *v, const struct field *f, int64_t *out)
{
    const double real = json_number_value(v);
    if (!json_is_number(v) || real < f->least || real > f->most) {
        return false;
    }
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (real != floor(real) || fabs(real) >= 9e18) {
        return false;
    }
    *out = (int64_t)real;
    return true;
}

static bool word_of(const json_t *v, const struct field *f, int *out)
{
    for (int i = 0; json_is_string(v) && f->words[i] != NULL; i++) {
        if (strcmp(json_string_value(v), f->words[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool number_of(const json_t *v, const struct field *f, void *place)
{
    int64_t integer;
    if (f->kind == FIELD_FLOAT) {
        const double real = json_number_value(v);
        *(float *)place = (float)real;
        return json_is_number(v) && real >= f->least && real <= f->most;
    }
    if (!integer_of(v, f, &integer)) {
        return false;
    }
    if (f->kind == FIELD_INT32) {
        *(int32_t *)place = (int32_t)integer;
    } else {
        *(int64_t *)place = integer;
    }
    return true;
}

/* Returns true if the value asks for nothing. */
static bool is_neutral(const json_t *v, const struct field *f)
{
    if (json_is_number(v)) {
        return json_number_value(v) >= f->least && json_number_value(v) <= f->most;
    }
    return json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool has_kind(const json_t *v, enum field_kind kind)
{
    return kind == FIELD_TEXT     ? json_is_string(v)
           : kind == FIELD_OBJECT ? json_is_object(v)
           : kind == FIELD_ARRAY  ? json_is_array(v)
                                  : true;
}

static bool store(json_t *v, const struct field *f, void *place)
{
    switch (f->kind) {
    case FIELD_BOOL: *(bool *)place = json_is_true(v); return json_is_boolean(v);
    case FIELD_SWITCH: *(int *)place = json_is_true(v); return json_is_boolean(v);
    case FIELD_WORD: return word_of(v, f, place);
    case FIELD_INT32:
    case FIELD_INT64:
    case FIELD_FLOAT: return number_of(v, f, place);
    case FIELD_LACKING: return is_neutral(v, f);
    default: *(json_t **)place = v; return has_kind(v, f->kind);
    }
}

static bool read_field(const json_t *object, const char *within, const struct field *f, void *form,
                       struct fault *fault)
{
    const char *names[] = { f->name, f->aliases[0], f->aliases[1] };
    json_t *v = NULL;
    size_t i = 0;
    while (i < sizeof names / sizeof *names && names[i] != NULL &&
           (v = field_get(object, names[i])) == NULL) {
        i++;
    }
    if (v == NULL || store(v, f, (char *)form + f->offset)) {
        return true;
    }
    char expected[160], name[64];
    describe(f, expected, sizeof expected);
    snprintf(name, sizeof name, "%s%s", within, names[i]);
    return field_wrong(fault, name, v, expected);
}

bool fields_read(const json_t *object, const char *within, const struct field *fields,
                 size_t n_fields, void *form, struct fault *fault)
{
    for (size_t i = 0; i < n_fields; i++) {
        if (!read_field(object, within, &fields[i], form, fault)) {
            return false;
        }
    }
    return true;
}
