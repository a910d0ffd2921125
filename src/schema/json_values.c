/* Values that a schema lists: const, enum, anyOf and oneOf. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "schema/json_rules.h"

/* Appends a value as it is written. */
static bool add_constant(struct schema *c, struct bytes *b, const json_t *value)
{
    char *text = NULL;
    for (size_t digits = 15; digits <= 17; digits++) {
        free(text);
        text = json_text(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(digits));
        json_t *again = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        bool same = again != NULL && json_equal(again, value);
        json_decref(again);
        if (same) {
            break;
        }
    }
    if (text == NULL) {
        c->no_memory = true;
        return false;
    }
    schema_literal(c, b, text, strlen(text));
    free(text);
    return true;
}

static bool has_type(const json_t *value, const char *type)
{
    bool whole = json_is_integer(value) ||
                 (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value));
    return strcmp(type, "object") == 0    ? json_is_object(value)
           : strcmp(type, "array") == 0   ? json_is_array(value)
           : strcmp(type, "string") == 0  ? json_is_string(value)
           : strcmp(type, "number") == 0  ? json_is_number(value)
           : strcmp(type, "integer") == 0 ? whole
           : strcmp(type, "boolean") == 0 ? json_is_boolean(value)
                                          : strcmp(type, "null") == 0 && json_is_null(value);
}

/* Returns true if the type of a schema, which is one type or a list, allows the value. */
static bool type_allows(const json_t *type, const json_t *value)
{
    size_t i;
    json_t *one;
    if (type == NULL || json_is_string(type)) {
        return type == NULL || has_type(value, json_string_value(type));
    }
    json_array_foreach(type, i, one)
    {
        if (json_is_string(one) && has_type(value, json_string_value(one))) {
            return true;
        }
    }
    return false;
}

bool schema_enum(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *list = json_object_get(s, "enum"), *type = json_object_get(s, "type");
    json_t *constant = json_object_get(s, "const"), *value;
    size_t i, n = 0;
    if (!schema_only(c, s, constant != NULL ? "const" : "enum", "type")) {
        return false;
    }
    if (constant != NULL) {
        return type_allows(type, constant)
                   ? add_constant(c, b, constant)
                   : schema_refuse(c, "const is of another type") && schema_widest(c, b, s);
    }
    json_array_foreach(list, i, value)
    {
        if (type_allows(type, value)) {
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
