/* Converts each kind of schema in a function of its own. Each function makes one rule of the
 * grammar. */
#include "schema/json_schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_rules.h"
#include "base/json_text.h"

enum { MAX_NESTING = 200 };

/* Keywords that restrict and are understood. The functions of the types look up their own. */
static const char *const known[] = { "type",
                                     "enum",
                                     "const",
                                     "anyOf",
                                     "oneOf",
                                     "allOf",
                                     "$ref",
                                     "properties",
                                     "required",
                                     "items",
                                     "minItems",
                                     "maxItems",
                                     "pattern",
                                     "format",
                                     "prefixItems",
                                     "minLength",
                                     "maxLength",
                                     "minimum",
                                     "maximum",
                                     "additionalProperties",
                                     "exclusiveMinimum",
                                     "exclusiveMaximum",
                                     NULL };
/* Keywords that restrict nothing. */
static const char *const remarks[] = { "title",       "description", "default",  "examples",
                                       "$schema",     "$id",         "$comment", "$defs",
                                       "definitions", "deprecated",  "readOnly", "writeOnly",
                                       "$anchor",     NULL };

static bool convert(struct schema *c, const json_t *s, size_t *rule);

bool schema_listed(const char *const *list, const char *key)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, key) == 0) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- places */

static void enter_key(struct schema *c, const char *key)
{
    schema_put(c, &c->path, "/");
    for (; *key != '\0'; key++) {
        const char one[2] = { *key, '\0' };
        schema_put(c, &c->path, "%s", *key == '~' ? "~0" : *key == '/' ? "~1" : one);
    }
}

bool schema_convert_at(struct schema *c, const char *key, const char *sub, const json_t *s,
                       size_t *rule)
{
    size_t before = c->path.n;
    enter_key(c, key);
    if (sub != NULL) {
        enter_key(c, sub);
    }
    bool ok = convert(c, s, rule);
    if (ok) {
        c->path.n = before;
    }
    return ok;
}

/* ---------------------------------------------------------------- values */

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

/* Refuses all keys but these two and the remarks. */
static bool only(struct schema *c, const json_t *s, const char *key, const char *also)
{
    const char *k;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s, k, value)
    {
        if (schema_listed(known, k) && strcmp(k, key) != 0 &&
            (also == NULL || strcmp(k, also) != 0)) {
            return schema_refuse(c, "%s beside %s is not supported", k, key);
        }
    }
    return true;
}

static bool add_enum(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *list = json_object_get(s, "enum"), *type = json_object_get(s, "type");
    json_t *constant = json_object_get(s, "const"), *value;
    size_t i, n = 0;
    if (!only(c, s, constant != NULL ? "const" : "enum", "type")) {
        return false;
    }
    if (constant != NULL) {
        return type_allows(type, constant) ? add_constant(c, b, constant)
                                           : schema_refuse(c, "const is of another type");
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
    return n > 0 ? true : schema_refuse(c, "enum: expected an array with a value of the type");
}

static bool add_any_of(struct schema *c, struct bytes *b, const json_t *s, const char *key)
{
    const json_t *list = json_object_get(s, key);
    size_t i, rule;
    json_t *one;
    if (!only(c, s, key, NULL)) {
        return false;
    }
    if (json_array_size(list) == 0) {
        return schema_refuse(c, "%s: expected an array of schemas", key);
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

/* ---------------------------------------------------------------- references */

/* Returns the schema that "#/a/b" refers to. */
static const json_t *find(const struct schema *c, const char *ref)
{
    const json_t *at = c->root;
    if (*ref++ != '#') {
        return NULL;
    }
    while (at != NULL && *ref == '/') {
        char key[256];
        size_t n = 0;
        for (ref++; *ref != '\0' && *ref != '/'; ref++) {
            bool escape = *ref == '~' && (ref[1] == '0' || ref[1] == '1');
            if (n == sizeof key - 1) {
                return NULL;
            }
            key[n++] = escape ? (ref[1] == '0' ? '~' : '/') : *ref;
            ref += escape;
        }
        key[n] = '\0';
        if (json_is_array(at) && (n == 0 || strspn(key, "0123456789") != n)) {
            return NULL; /* an index is a decimal number */
        }
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
                               : json_object_get(at, key);
    }
    return *ref == '\0' ? at : NULL;
}

static bool refer(struct schema *c, const json_t *s, const json_t **target)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    if (!only(c, s, "$ref", NULL)) {
        return false;
    }
    *target = ref != NULL ? find(c, ref) : NULL;
    if (*target == NULL) {
        return schema_refuse(c,
                             "$ref '%.80s' is not supported; expected the place of a schema in "
                             "this file, such as #/$defs/name",
                             ref != NULL ? ref : "");
    }
    return true;
}

/* Recalls the rule of a schema by its address. Kind 'r' is its rule as a target of $ref, which
 * exists before the schema is converted; kind 'c' is its rule once the schema is converted. */
static bool recall(const struct schema *c, char kind, const json_t *s, size_t *rule)
{
    char key[40];
    snprintf(key, sizeof key, "%c%p", kind, (const void *)s);
    const json_t *known_rule = json_object_get(c->made, key);
    if (known_rule != NULL) {
        *rule = (size_t)json_integer_value(known_rule);
    }
    return known_rule != NULL;
}

static void remember(struct schema *c, char kind, const json_t *s, size_t rule)
{
    char key[40];
    snprintf(key, sizeof key, "%c%p", kind, (const void *)s);
    c->no_memory |= json_object_set_new(c->made, key, json_integer((json_int_t)rule)) != 0;
}

/* Makes the rule of a schema that is referred to, and that may refer to itself. */
static bool convert_target(struct schema *c, const json_t *target, size_t *rule)
{
    struct bytes b = { 0 };
    size_t inner;
    if (recall(c, 'r', target, rule)) {
        return true;
    }
    *rule = c->n_rules++;
    remember(c, 'r', target, *rule);
    if (!convert(c, target, &inner)) {
        return false;
    }
    schema_put(c, &b, "s%zu", inner);
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    return true;
}

/* ---------------------------------------------------------------- allOf */

/* Adds what `from` says to `into`; both are about the same object. */
static bool merge(struct schema *c, json_t *into, const json_t *from)
{
    const char *key, *name;
    json_t *value, *old, *property;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        old = json_object_get(into, key);
        if (strcmp(key, "allOf") == 0 || schema_listed(remarks, key)) {
            continue;
        }
        if (strcmp(key, "properties") == 0 && json_is_object(old) && json_is_object(value)) {
            json_object_foreach(value, name, property)
            {
                json_t *same = json_object_get(old, name);
                if (same != NULL && !json_equal(same, property)) {
                    return schema_refuse(c, "allOf: two schemas for the property '%.60s'", name);
                }
                c->no_memory |= json_object_set(old, name, property) != 0;
            }
        } else if (strcmp(key, "required") == 0 && json_is_array(old) && json_is_array(value)) {
            json_array_foreach(value, i, property)
            {
                c->no_memory |= json_array_append(old, property) != 0;
            }
        } else if (old != NULL && !json_equal(old, value)) {
            return schema_refuse(c, "allOf: %s is there twice, and differs", key);
        } else if (old == NULL) {
            /* Only these two lists grow. The values in them are shared, so that each is converted
             * once. */
            bool grows = strcmp(key, "properties") == 0 || strcmp(key, "required") == 0;
            json_t *own = grows ? json_copy(value) : json_incref(value);
            /* Without memory a copy is incomplete. */
            c->no_memory |= json_object_size(own) != json_object_size(value) ||
                            json_array_size(own) != json_array_size(value);
            c->no_memory |= json_object_set_new(into, key, own) != 0;
        }
    }
    return true;
}

/* Returns true if a schema has nothing but allOf. */
static bool bare_all_of(const json_t *s)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s, key, value)
    {
        if (strcmp(key, "allOf") != 0 && schema_listed(known, key)) {
            return false;
        }
    }
    return true;
}

static bool convert_all_of(struct schema *c, const json_t *s, size_t *rule)
{
    const json_t *list = json_object_get(s, "allOf"), *part;
    json_t *whole = json_object(), *one;
    size_t i;
    if (whole == NULL || json_array_append_new(c->owned, whole) != 0) {
        c->no_memory = true;
        return false;
    }
    if (json_array_size(list) == 0) {
        return schema_refuse(c, "allOf: expected an array of schemas");
    }
    bool ok = merge(c, whole, s);
    json_array_foreach(list, i, one)
    {
        part = one;
        if (ok && json_object_get(one, "$ref") != NULL) {
            ok = refer(c, one, &part);
        }
        if (ok && (!json_is_object(part) || json_object_get(part, "allOf") != NULL ||
                   json_object_get(part, "$ref") != NULL)) {
            ok = schema_refuse(c, "allOf: only schemas of objects can be merged");
        }
        if (ok && part != one && json_array_size(list) == 1 && bare_all_of(s)) {
            return convert_target(c, part, rule); /* nothing has to be merged */
        }
        ok = ok && merge(c, whole, part);
    }
    if (ok && json_array_size(list) > 1 && json_object_get(whole, "additionalProperties") != NULL) {
        return schema_refuse(c, "additionalProperties with allOf is not supported");
    }
    return ok && convert(c, whole, rule);
}

/* ---------------------------------------------------------------- all kinds */

static bool add_type(struct schema *c, struct bytes *b, const json_t *s, const char *type)
{
    if (strcmp(type, "object") == 0) {
        return schema_object(c, b, s);
    }
    if (strcmp(type, "array") == 0) {
        return schema_array(c, b, s);
    }
    if (strcmp(type, "string") == 0) {
        return schema_string(c, b, s);
    }
    if (strcmp(type, "integer") == 0) {
        return schema_integer(c, b, s);
    }
    if (strcmp(type, "number") == 0) {
        return schema_number(c, b, s);
    }
    if (strcmp(type, "boolean") == 0 || strcmp(type, "null") == 0) {
        schema_put(c, b, "%s", type);
        return true;
    }
    return schema_refuse(c,
                         "type '%.40s' is unknown; expected object, array, string, number, "
                         "integer, boolean or null",
                         type);
}

/* Returns the type that a schema without a type must be about, by its keywords; NULL if no keyword
 * tells. */
static const char *type_of(const json_t *s)
{
    static const struct {
        const char *key, *type;
    } table[] = {
        { "properties", "object" },
        { "required", "object" },
        { "additionalProperties", "object" },
        { "items", "array" },
        { "prefixItems", "array" },
        { "minItems", "array" },
        { "maxItems", "array" },
        { "minLength", "string" },
        { "maxLength", "string" },
        { "pattern", "string" },
        { "format", "string" },
        { "minimum", "number" },
        { "maximum", "number" },
        { "exclusiveMinimum", "number" },
        { "exclusiveMaximum", "number" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (json_object_get(s, table[i].key) != NULL) {
            return table[i].type;
        }
    }
    return NULL;
}

static bool add_types(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *type = json_object_get(s, "type");
    json_t *one;
    size_t i, k;
    if (type == NULL) {
        const char *name = type_of(s);
        if (name == NULL) {
            schema_put(c, b, "value");
            return true;
        }
        return add_type(c, b, s, name);
    }
    if (json_is_string(type)) {
        return add_type(c, b, s, json_string_value(type));
    }
    if (json_array_size(type) == 0) {
        return schema_refuse(c, "type: expected a name or an array of names");
    }
    json_array_foreach(type, i, one)
    {
        if (!json_is_string(one)) {
            return schema_refuse(c, "type: expected a name or an array of names");
        }
        /* A type that is listed twice counts once. There are seven types; others are refused at
         * once. */
        for (k = 0; k < i && !json_equal(json_array_get(type, k), one); k++) {
        }
        if (k < i) {
            continue;
        }
        schema_put(c, b, "%s", i > 0 ? ") | (" : "(");
        if (!add_type(c, b, s, json_string_value(one))) {
            return false;
        }
    }
    schema_put(c, b, ")");
    return true;
}

static bool check_keys(struct schema *c, const json_t *s)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s, key, value)
    {
        if (!schema_listed(known, key) && !schema_listed(remarks, key) &&
            strncmp(key, "x-", 2) != 0) {
            return schema_refuse(c, "the keyword '%.60s' is not supported", key);
        }
    }
    return true;
}

/* Appends what the keywords of a schema mean. convert_object() has dealt with $ref and allOf, which
 * need no rule of their own. */
static bool add_schema(struct schema *c, struct bytes *b, const json_t *s)
{
    if (json_object_get(s, "const") != NULL || json_object_get(s, "enum") != NULL) {
        return add_enum(c, b, s);
    }
    if (json_object_get(s, "anyOf") != NULL) {
        return add_any_of(c, b, s, "anyOf");
    }
    if (json_object_get(s, "oneOf") != NULL) {
        return add_any_of(c, b, s, "oneOf");
    }
    return add_types(c, b, s);
}

static bool convert_object(struct schema *c, const json_t *s, size_t *rule)
{
    const json_t *target;
    struct bytes b = { 0 };
    if (!check_keys(c, s)) {
        return false;
    }
    if (json_object_get(s, "$ref") != NULL) {
        return refer(c, s, &target) && convert_target(c, target, rule);
    }
    if (json_object_get(s, "allOf") != NULL) {
        return convert_all_of(c, s, rule);
    }
    bool ok = add_schema(c, &b, s);
    *rule = c->n_rules++;
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    return ok;
}

static bool convert(struct schema *c, const json_t *s, size_t *rule)
{
    struct bytes b = { 0 };
    if (c->depth == MAX_NESTING) {
        return schema_refuse(c, "nested more than %d deep", MAX_NESTING);
    }
    if (c->out->n > SCHEMA_MAX_BYTES) {
        return schema_refuse(c, "the grammar has more than %d bytes", SCHEMA_MAX_BYTES);
    }
    if (json_is_object(s)) {
        /* A schema in a list of types or in allOf is met more than once. */
        if (recall(c, 'c', s, rule)) {
            return true;
        }
        c->depth++;
        bool ok = convert_object(c, s, rule);
        c->depth--;
        if (ok) {
            remember(c, 'c', s, *rule);
        }
        return ok;
    }
    if (!json_is_true(s)) {
        return schema_refuse(c, json_is_false(s) ? "false allows nothing"
                                                 : "expected a schema: an object, or true");
    }
    *rule = c->n_rules++;
    schema_put(c, &b, "value");
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    return true;
}

bool json_schema_grammar(const char *text, size_t n, struct bytes *gbnf, struct schema_error *err)
{
    json_error_t e;
    size_t rule = 0;
    struct schema c = { .out = gbnf, .err = err, .owned = json_array(), .made = json_object() };
    err->text[0] = '\0';
    if (text != NULL && json_too_deep(text, n, err)) {
        json_decref(c.owned);
        json_decref(c.made);
        return false;
    }
    c.root = text == NULL ? json_true()
                          : json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);
    bool ok = c.root != NULL && c.owned != NULL && c.made != NULL;
    if (c.root == NULL && e.text[0] != '\0') {
        snprintf(err->text, sizeof err->text, "line %d, column %d: %.200s", e.line, e.column,
                 e.text);
    }
    ok = ok && convert(&c, c.root, &rule);
    schema_put(&c, gbnf, "root ::= s%zu\n", rule);
    json_common_rules(&c);
    json_decref(c.root);
    json_decref(c.owned);
    bytes_free(&c.path);
    json_decref(c.made);
    if (c.no_memory) {
        err->text[0] = '\0'; /* The error that was found may only come from the lack of memory. */
    }
    return ok && !c.no_memory;
}
