/* Questions about schemas that refer to others: whether a text can end, and whether it is an
 * object. */
#include <string.h>

#include "schema/json_rules.h"

enum { MAX_DEPTH = 256 };

/* A search through the schemas that a text of a schema needs. A schema that is met again on the way
 * to itself needs itself. */
struct search {
    struct schema *c;
    const json_t *way[MAX_DEPTH];
    size_t depth;
    bool direct; /* look only at schemas that begin where the text begins */
};

/* A schema that ends does so on every way that leads to it, so this is found out once. */
static char kind(const struct search *s) { return s->direct ? 'd' : 'e'; }

static bool ends(struct search *s, const json_t *schema);

/* Returns true if some of the schemas, or all of them, can end. */
static bool list_ends(struct search *s, const json_t *list, bool all)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (ends(s, one) != all) {
            return !all;
        }
    }
    return all || json_array_size(list) == 0;
}

static bool members_end(struct search *s, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties");
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        const char *key = json_string_value(name);
        const json_t *one = key != NULL ? json_object_get(properties, key) : NULL;
        if (one != NULL && !ends(s, one)) {
            return false;
        }
    }
    return true;
}

static bool items_end(struct search *s, const json_t *schema)
{
    const json_t *prefix = json_object_get(schema, "prefixItems");
    double min = json_number_value(json_object_get(schema, "minItems"));
    size_t n = json_array_size(prefix);
    for (size_t i = 0; i < n && (double)i < min; i++) {
        if (!ends(s, json_array_get(prefix, i))) {
            return false;
        }
    }
    const json_t *items = json_object_get(schema, "items");
    return !((double)n < min) || items == NULL || ends(s, items);
}

/* What the text needs at its beginning. */
static bool parts_end(struct search *s, const json_t *schema)
{
    const json_t *target = schema_target(s->c, schema);
    if (json_object_get(schema, "const") != NULL || json_object_get(schema, "enum") != NULL) {
        return true;
    }
    return (target == NULL || ends(s, target)) &&
           list_ends(s, json_object_get(schema, "allOf"), true) &&
           list_ends(s, json_object_get(schema, "anyOf"), s->direct) &&
           list_ends(s, json_object_get(schema, "oneOf"), s->direct);
}

static bool ends(struct search *s, const json_t *schema)
{
    size_t known;
    if (!json_is_object(schema) || schema_recall(s->c, kind(s), schema, &known)) {
        return true;
    }
    for (size_t i = 0; i < s->depth; i++) {
        if (s->way[i] == schema) {
            return false;
        }
    }
    if (s->depth == MAX_DEPTH || !schema_spend(s->c, schema_flat(schema))) {
        return false;
    }
    s->way[s->depth++] = schema;
    bool ok =
        parts_end(s, schema) && (s->direct || (members_end(s, schema) && items_end(s, schema)));
    s->depth--;
    if (ok) {
        schema_remember(s->c, kind(s), schema, 0);
    }
    return ok;
}

bool schema_endless(struct schema *c, const json_t *s)
{
    struct search direct = { .c = c, .direct = true }, whole = { .c = c };
    return !ends(&direct, s) || !ends(&whole, s);
}

/* ---------------------------------------------------------------- objects */

static bool objects(struct schema *c, const json_t *s, size_t depth);

static bool all_objects(struct schema *c, const json_t *list, size_t depth)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (!objects(c, one, depth)) {
            return false;
        }
    }
    return json_array_size(list) > 0;
}

/* Looks at the schema alone, and at those that it stands for. */
static bool is_object(struct schema *c, const json_t *s, size_t depth)
{
    const json_t *type = json_object_get(s, "type"), *target = schema_target(c, s);
    const json_t *any = json_object_get(s, "anyOf");
    any = any != NULL ? any : json_object_get(s, "oneOf");
    if (json_object_get(s, "const") != NULL || json_object_get(s, "enum") != NULL ||
        json_object_get(s, "allOf") != NULL) {
        return false;
    }
    if (json_object_get(s, "$ref") != NULL) {
        return target != NULL && !schema_endless(c, target) && objects(c, target, depth - 1);
    }
    const char *about = schema_type_of(s);
    if (any != NULL && about == NULL) {
        return all_objects(c, any, depth - 1);
    }
    about = type == NULL ? about : json_string_value(type);
    return about != NULL && strcmp(about, "object") == 0;
}

/* The first schema that lets something else through is the answer for the whole, so only the others
 * have to be remembered. */
static bool objects(struct schema *c, const json_t *s, size_t depth)
{
    size_t known;
    if (schema_recall(c, 'o', s, &known)) {
        return true;
    }
    if (depth == 0 || !schema_spend(c, schema_flat(s)) || !is_object(c, s, depth)) {
        return false;
    }
    schema_remember(c, 'o', s, 0);
    return true;
}

bool schema_only_objects(struct schema *c, const json_t *s) { return objects(c, s, 8); }
