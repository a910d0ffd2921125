/* Decides whether a JSON schema accepts a value, by the standard, for the keywords that need
 * neither regular expressions nor references. A schema with other keywords accepts everything. */
#ifndef FUZZ_ACCEPTS_H
#define FUZZ_ACCEPTS_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool fuzz_accepts(const json_t *schema, const json_t *value);

static inline bool fuzz_is(const json_t *value, const char *type)
{
    static const char *const names[] = { "object", "array",   "string",  "integer",
                                         "number", "boolean", "boolean", "null" };
    /* in the order of json_type */
    return strcmp(names[json_typeof(value)], type) == 0 ||
           (json_is_number(value) && strcmp(type, "number") == 0) ||
           (json_is_real(value) && strcmp(type, "integer") == 0 &&
            floor(json_real_value(value)) == json_real_value(value));
}

static inline bool fuzz_has_type(const json_t *type, const json_t *value)
{
    size_t i;
    json_t *one;
    if (!json_is_array(type)) {
        return type == NULL || fuzz_is(value, json_string_value(type));
    }
    json_array_foreach(type, i, one)
    {
        if (fuzz_is(value, json_string_value(one))) {
            return true;
        }
    }
    return false;
}

static inline bool fuzz_among(const json_t *list, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_equal(one, value)) {
            return true;
        }
    }
    return false;
}

/* Returns a number of the schema, or `otherwise`. */
static inline double fuzz_bound(const json_t *schema, const char *key, double otherwise)
{
    const json_t *bound = json_object_get(schema, key);
    return bound != NULL ? json_number_value(bound) : otherwise;
}

static inline bool fuzz_accepts_number(const json_t *schema, const json_t *value)
{
    double x = json_number_value(value);
    return x >= fuzz_bound(schema, "minimum", -INFINITY) &&
           x <= fuzz_bound(schema, "maximum", INFINITY) &&
           x > fuzz_bound(schema, "exclusiveMinimum", -INFINITY) &&
           x < fuzz_bound(schema, "exclusiveMaximum", INFINITY);
}

static inline bool fuzz_accepts_string(const json_t *schema, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(value); i++) {
        n += ((unsigned char)text[i] & 0xc0) != 0x80; /* counts characters */
    }
    return (double)n >= fuzz_bound(schema, "minLength", 0) &&
           (double)n <= fuzz_bound(schema, "maxLength", INFINITY);
}

static inline bool fuzz_accepts_array(const json_t *schema, const json_t *value)
{
    const json_t *items = json_object_get(schema, "items"),
                 *prefix = json_object_get(schema, "prefixItems");
    double n = (double)json_array_size(value);
    size_t i;
    json_t *one;
    json_array_foreach(value, i, one)
    {
        const json_t *of = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (of != NULL && !fuzz_accepts(of, one)) {
            return false;
        }
    }
    return n >= fuzz_bound(schema, "minItems", 0) && n <= fuzz_bound(schema, "maxItems", INFINITY);
}

static inline bool fuzz_accepts_object(const json_t *schema, const json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *others = json_object_get(schema, "additionalProperties"), *of;
    const char *name;
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(schema, "required"), i, one)
    {
        if (json_object_get(value, json_string_value(one)) == NULL) {
            return false;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, one)
    {
        of = json_object_get(properties, name);
        of = of != NULL ? of : others;
        if (of != NULL && !fuzz_accepts(of, one)) {
            return false;
        }
    }
    return true;
}

static inline bool fuzz_accepts_some(const json_t *list, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (fuzz_accepts(one, value)) {
            return true;
        }
    }
    return list == NULL;
}

static inline bool fuzz_accepts(const json_t *schema, const json_t *value)
{
    const json_t *constant = json_object_get(schema, "const"),
                 *list = json_object_get(schema, "enum");
    if (!json_is_object(schema) || json_object_get(schema, "$ref") != NULL) {
        return !json_is_false(schema);
    }
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(schema, "allOf"), i, one)
    {
        if (!fuzz_accepts(one, value)) {
            return false;
        }
    }
    return fuzz_has_type(json_object_get(schema, "type"), value) &&
           (constant == NULL || json_equal(constant, value)) &&
           (list == NULL || fuzz_among(list, value)) &&
           fuzz_accepts_some(json_object_get(schema, "anyOf"), value) &&
           fuzz_accepts_some(json_object_get(schema, "oneOf"), value) &&
           (!json_is_number(value) || fuzz_accepts_number(schema, value)) &&
           (!json_is_string(value) || fuzz_accepts_string(schema, value)) &&
           (!json_is_array(value) || fuzz_accepts_array(schema, value)) &&
           (!json_is_object(value) || fuzz_accepts_object(schema, value));
}

#endif
