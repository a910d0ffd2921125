/* Converts each kind of schema in a function of its own. Each function makes one rule of the
 * grammar. */
#include <string.h>

#include "schema/json_rules.h"

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

bool schema_listed(const char *const *list, const char *key)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, key) == 0) {
            return true;
        }
    }
    return false;
}

bool schema_known(const char *key) { return schema_listed(known, key); }
bool schema_remark(const char *key) { return schema_listed(remarks, key); }

bool schema_only(struct schema *c, const json_t *s, const char *key, const char *also)
{
    const char *k;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s, k, value)
    {
        if (schema_known(k) && strcmp(k, key) != 0 && (also == NULL || strcmp(k, also) != 0)) {
            return schema_refuse(c, "%s beside %s is not supported", k, key);
        }
    }
    return true;
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
    bool ok = schema_convert(c, s, rule);
    if (ok) {
        c->path.n = before;
    }
    return ok;
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
                         type) &&
           schema_widest(c, b, NULL);
}

const char *schema_type_of(const json_t *s)
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

/* Returns true for a list of names. There are seven types, so a list that is much longer is none
 * of types. */
static bool names_only(const json_t *type)
{
    size_t i, n = json_array_size(type);
    json_t *one;
    json_array_foreach(type, i, one)
    {
        if (!json_is_string(one)) {
            return false;
        }
    }
    return n > 0 && n <= 64;
}

static bool add_types(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *type = json_object_get(s, "type");
    json_t *one;
    size_t i, k;
    if (type == NULL) {
        const char *name = schema_type_of(s);
        if (name == NULL) {
            schema_put(c, b, "value");
            return true;
        }
        return add_type(c, b, s, name);
    }
    if (json_is_string(type)) {
        return add_type(c, b, s, json_string_value(type));
    }
    if (!names_only(type)) {
        return schema_refuse(c, "type: expected a name or an array of names") &&
               schema_widest(c, b, s);
    }
    json_array_foreach(type, i, one)
    {
        /* A type that is listed twice counts once. */
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
            strncmp(key, "x-", 2) != 0 &&
            !schema_refuse(c, "the keyword '%.60s' is not supported", key)) {
            return false;
        }
    }
    return true;
}

/* Appends what the keywords of a schema mean. convert_object() has dealt with $ref and allOf, which
 * need no rule of their own. */
static bool add_schema(struct schema *c, struct bytes *b, const json_t *s)
{
    const char *any = json_object_get(s, "anyOf") != NULL   ? "anyOf"
                      : json_object_get(s, "oneOf") != NULL ? "oneOf"
                                                            : NULL;
    if (json_object_get(s, "const") != NULL || json_object_get(s, "enum") != NULL) {
        return schema_enum(c, b, s);
    }
    /* Beside other keywords, anyOf is left out if it can be: they tell more. */
    bool left_out = c->level != SCHEMA_EXACT && schema_type_of(s) != NULL;
    return any != NULL && !left_out ? schema_any_of(c, b, s, any) : add_types(c, b, s);
}

/* Widens the rule of a schema that would be too long. */
static void keep_short(struct schema *c, struct bytes *b, const json_t *s)
{
    struct schema_size size = { 0 };
    json_schema_measure(b->data, b->n, &size);
    if (size.elements > SCHEMA_WIDE_RULE) {
        b->n = 0;
        schema_widest(c, b, s);
    }
}

static bool convert_object(struct schema *c, const json_t *s, size_t *rule)
{
    struct bytes b = { 0 };
    if (!check_keys(c, s)) {
        return false;
    }
    if (json_object_get(s, "$ref") != NULL) {
        return schema_convert_ref(c, s, rule);
    }
    if (json_object_get(s, "allOf") != NULL) {
        return schema_convert_all_of(c, s, rule);
    }
    bool ok = add_schema(c, &b, s);
    if (ok && c->level != SCHEMA_EXACT && !c->no_memory) {
        keep_short(c, &b, s);
    }
    *rule = c->n_rules++;
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    return ok;
}

static bool any_value(struct schema *c, size_t *rule)
{
    struct bytes b = { 0 };
    *rule = c->n_rules++;
    schema_put(c, &b, "value");
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    return true;
}

/* Converts a schema that is an object. It may be met more than once: in a list of types, or in
 * allOf. */
static bool convert_once(struct schema *c, const json_t *s, size_t *rule)
{
    if (schema_recall(c, 'c', s, rule)) {
        return true;
    }
    if (!schema_spend(c, schema_flat(s))) {
        return schema_refuse(c, "the schemas that refer to each other are too large together") &&
               any_value(c, rule);
    }
    c->depth++;
    bool ok = convert_object(c, s, rule);
    c->depth--;
    if (ok) {
        schema_remember(c, 'c', s, *rule);
    }
    return ok;
}

bool schema_convert(struct schema *c, const json_t *s, size_t *rule)
{
    if (c->depth == MAX_NESTING) {
        return schema_refuse(c, "nested more than %d deep", MAX_NESTING) && any_value(c, rule);
    }
    if (c->out->n > SCHEMA_MAX_BYTES) {
        return schema_refuse(c, "the grammar has more than %d bytes", SCHEMA_MAX_BYTES) &&
               any_value(c, rule);
    }
    if (json_is_object(s)) {
        return convert_once(c, s, rule);
    }
    return (json_is_true(s) ||
            schema_refuse(c, json_is_false(s) ? "false allows nothing"
                                              : "expected a schema: an object, or true")) &&
           any_value(c, rule);
}
