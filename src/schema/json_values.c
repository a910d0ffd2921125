/* Types, and values that a schema lists: const, enum, anyOf and oneOf. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "schema/json_rules.h"

/* ---------------------------------------------------------------- types */

static const char *const types[] = { "object",  "array",   "string", "number",
                                     "integer", "boolean", "null" };
/* The same as bits. */
enum {
    TYPE_OBJECT = 1,
    TYPE_ARRAY = 2,
    TYPE_STRING = 4,
    TYPE_NUMBER = 8,
    TYPE_INTEGER = 16,
    TYPE_BOOLEAN = 32,
    TYPE_NULL = 64,
    TYPE_ALL = 127,
    N_TYPES = 7
};

static unsigned types_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return TYPE_OBJECT;
    case JSON_ARRAY: return TYPE_ARRAY;
    case JSON_STRING: return TYPE_STRING;
    case JSON_INTEGER: return TYPE_NUMBER | TYPE_INTEGER;
    case JSON_REAL:
        return floor(json_real_value(value)) == json_real_value(value) ? TYPE_NUMBER | TYPE_INTEGER
                                                                       : TYPE_NUMBER;
    case JSON_NULL: return TYPE_NULL;
    default: return TYPE_BOOLEAN;
    }
}

static unsigned type_named(const json_t *name)
{
    for (size_t t = 0; t < N_TYPES && json_is_string(name); t++) {
        if (strcmp(json_string_value(name), types[t]) == 0) {
            return 1u << t;
        }
    }
    return 0;
}

/* Returns the types that a schema allows: one is named, or a list, or all. */
static unsigned types_allowed(const json_t *type)
{
    unsigned allowed = type != NULL ? type_named(type) : (unsigned)TYPE_ALL;
    size_t i;
    json_t *one;
    json_array_foreach(type, i, one) { allowed |= type_named(one); }
    return allowed;
}

bool schema_widest(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *type = json_object_get(s, "type");
    const unsigned allowed = type != NULL ? types_allowed(type) : 0;
    const char *about = schema_type_of(s), * or = "";
    for (size_t t = 0; t < N_TYPES; t++) {
        if ((allowed >> t & 1) != 0) {
            schema_put(c, b, "%s%s", or, types[t]);
            or = " | ";
        }
    }
    if (allowed == 0) {
        schema_put(c, b, "%s", about != NULL ? about : "value");
    }
    return true;
}

/* ---------------------------------------------------------------- values */

/* Returns true if the text spells the value; sets *no_memory if that cannot be told. */
static bool spells(const char *text, const json_t *value, bool *no_memory)
{
    struct json_fault fault;
    json_t *again = json_parse(text, strlen(text), SCHEMA_MAX_DEPTH, JSON_READ_NUL, &fault);
    const bool same = again != NULL && json_equal(again, value);
    *no_memory = again == NULL && fault.kind == JSON_FAULT_MEMORY;
    json_decref(again);
    return same;
}

/* Appends a value as it is written. */
static bool add_constant(struct schema *c, struct bytes *b, const json_t *value)
{
    char *text = NULL;
    bool same = false;
    for (size_t digits = 15; digits <= 17 && !same && !c->no_memory; digits++) {
        free(text);
        text = json_text(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(digits));
        c->no_memory = text == NULL;
        same = text != NULL && spells(text, value, &c->no_memory);
    }
    if (c->no_memory) {
        free(text);
        return false;
    }
    schema_literal(c, b, text, strlen(text));
    free(text);
    return true;
}

bool schema_enum(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *list = json_object_get(s, "enum");
    const unsigned allowed = types_allowed(json_object_get(s, "type"));
    json_t *constant = json_object_get(s, "const"), *value;
    size_t i, n = 0;
    if (!schema_only(c, s, constant != NULL ? "const" : "enum", "type")) {
        return false;
    }
    if (constant != NULL) {
        return (allowed & types_of(constant)) != 0
                   ? add_constant(c, b, constant)
                   : schema_refuse(c, "const is of another type") && schema_widest(c, b, s);
    }
    json_array_foreach(list, i, value)
    {
        if ((allowed & types_of(value)) != 0) {
            schema_put(c, b, "%s", n++ > 0 ? " | " : "");
            if (!add_constant(c, b, value)) {
                return false;
            }
        }
    }
    return n > 0 || (schema_refuse(c, "enum: expected an array with a value of the type") &&
                     schema_widest(c, b, s));
}

bool schema_any_of(struct schema *c, struct bytes *b, const json_t *s, const char *key)
{
    const json_t *list = json_object_get(s, key);
    size_t i, rule;
    json_t *one;
    if (!schema_only(c, s, key, NULL)) {
        return false;
    }
    if (json_array_size(list) == 0) {
        return schema_refuse(c, "%s: expected an array of schemas", key) && schema_widest(c, b, s);
    }
    json_array_foreach(list, i, one)
    {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        if (!schema_convert_at(c, key, number, one, &rule)) {
            return false;
        }
        schema_put(c, b, "%ss%zu", i > 0 ? " | " : "", rule);
    }
    return true;
}
