/* Schemas that refer to others: $ref and allOf. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_rules.h"

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

const json_t *schema_target(const struct schema *c, const json_t *s)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    return ref != NULL ? find(c, ref) : NULL;
}

static bool refer(struct schema *c, const json_t *s, const json_t **target)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    if (!schema_only(c, s, "$ref", NULL)) {
        return false;
    }
    *target = schema_target(c, s);
    if (*target == NULL) {
        *target = json_true();
        return schema_refuse(c,
                             "$ref '%.80s' is not supported; expected the place of a schema in "
                             "this file, such as #/$defs/name",
                             ref != NULL ? ref : "");
    }
    return true;
}

bool schema_recall(const struct schema *c, char kind, const json_t *s, size_t *rule)
{
    char key[40];
    snprintf(key, sizeof key, "%c%p", kind, (const void *)s);
    const json_t *known_rule = json_object_get(c->made, key);
    if (known_rule != NULL) {
        *rule = (size_t)json_integer_value(known_rule);
    }
    return known_rule != NULL;
}

void schema_remember(struct schema *c, char kind, const json_t *s, size_t rule)
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
    if (schema_recall(c, 'r', target, rule)) {
        return true;
    }
    *rule = c->n_rules++;
    schema_remember(c, 'r', target, *rule);
    if (schema_endless(c, target)) {
        if (!schema_refuse(c, c->left > 0 ? "$ref leads back to the schema itself, without end"
                                          : "the schemas refer to each other too often")) {
            return false;
        }
        target = json_true();
    }
    if (!schema_convert(c, target, &inner)) {
        return false;
    }
    schema_put(c, &b, "s%zu", inner);
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    return true;
}

bool schema_convert_ref(struct schema *c, const json_t *s, size_t *rule)
{
    const json_t *target;
    return refer(c, s, &target) && convert_target(c, target, rule);
}

/* ---------------------------------------------------------------- allOf */

/* The parts of an allOf on their way into one schema. */
struct merger {
    struct schema *c;
    json_t *whole;
    size_t left;   /* the parts that may still follow */
    bool given_up; /* a part cannot be merged: the whole is widened */
};

static bool refuse_merge(struct merger *m)
{
    m->given_up = true;
    return schema_refuse(m->c, "allOf: the schemas together are too large to be merged");
}

/* Takes what it costs to merge a value or, if there is an old one, to compare it. */
static bool may_merge(struct schema *c, const json_t *old, const json_t *value)
{
    if (old == NULL || old == value) {
        return schema_spend(c, 1 + json_object_size(value) + json_array_size(value));
    }
    return c->left > 0 && schema_spend(c, schema_weight(value));
}

/* Adds the properties that `into` does not have yet. */
static bool merge_properties(struct merger *m, json_t *into, const json_t *from)
{
    struct schema *c = m->c;
    const char *name;
    json_t *property;
    json_object_foreach((json_t *)(uintptr_t)from, name, property)
    {
        json_t *same = json_object_get(into, name);
        if (!may_merge(c, same, property)) {
            return refuse_merge(m);
        }
        if (same == NULL) {
            c->no_memory |= json_object_set(into, name, property) != 0;
        } else if (!json_equal(same, property) &&
                   !schema_refuse(c, "allOf: two schemas for the property '%.60s'", name)) {
            return false;
        }
    }
    return true;
}

/* Only `properties` and `required` grow. The values in them are shared, so that each is converted
 * once. */
static void merge_new(struct schema *c, json_t *into, const char *key, json_t *value)
{
    bool grows = strcmp(key, "properties") == 0 || strcmp(key, "required") == 0;
    json_t *own = grows ? json_copy(value) : json_incref(value);
    /* Without memory a copy is incomplete. */
    c->no_memory |= json_object_size(own) != json_object_size(value) ||
                    json_array_size(own) != json_array_size(value);
    c->no_memory |= json_object_set_new(into, key, own) != 0;
}

static bool merge_key(struct merger *m, const char *key, json_t *value)
{
    struct schema *c = m->c;
    json_t *old = json_object_get(m->whole, key);
    bool lists = json_is_array(old) && json_is_array(value) && strcmp(key, "required") == 0;
    bool objects = json_is_object(old) && json_is_object(value) && strcmp(key, "properties") == 0;
    if (!may_merge(c, lists || objects ? NULL : old, value)) {
        return refuse_merge(m);
    }
    if (old == NULL) {
        merge_new(c, m->whole, key, value);
        return true;
    }
    if (objects) {
        return merge_properties(m, old, value);
    }
    if (lists) {
        c->no_memory |= json_array_extend(old, value) != 0;
        return true;
    }
    return json_equal(old, value) || schema_refuse(c, "allOf: %s is there twice, and differs", key);
}

/* Adds what `from` says to the whole; both are about the same object. */
static bool merge(struct merger *m, const json_t *from)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        if (strcmp(key, "allOf") != 0 && strcmp(key, "$ref") != 0 && !schema_remark(key) &&
            !m->given_up && !merge_key(m, key, value)) {
            return false;
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
        if (strcmp(key, "allOf") != 0 && schema_known(key)) {
            return false;
        }
    }
    return true;
}

enum { MAX_PARTS = 1000, MAX_PART_DEPTH = 16 };

static bool merge_list(struct merger *m, const json_t *list, size_t depth);

static bool merge_part(struct merger *m, const json_t *part, size_t depth)
{
    if (!schema_spend(m->c, schema_flat(part))) {
        return refuse_merge(m);
    }
    if (json_object_get(part, "$ref") != NULL && !refer(m->c, part, &part)) {
        return false;
    }
    bool nested = json_object_get(part, "allOf") != NULL || json_object_get(part, "$ref") != NULL;
    bool deep = depth == MAX_PART_DEPTH || m->left == 0 || m->c->level == SCHEMA_EXACT;
    if (!json_is_object(part) || (nested && deep)) {
        m->given_up = true;
        return schema_refuse(m->c, "allOf: only schemas of objects can be merged");
    }
    m->left -= m->left > 0;
    if (json_object_get(part, "$ref") != NULL) {
        return merge_part(m, part, depth + 1);
    }
    return merge(m, part) && merge_list(m, json_object_get(part, "allOf"), depth + 1);
}

static bool merge_list(struct merger *m, const json_t *list, size_t depth)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (m->given_up) {
            return true;
        }
        if (!merge_part(m, one, depth)) {
            return false;
        }
    }
    return true;
}

/* Makes the rule of the parts that were merged. */
static bool convert_whole(struct merger *m, const json_t *s, size_t *rule)
{
    struct schema *c = m->c;
    if (m->given_up) {
        struct bytes b = { 0 };
        schema_widest(c, &b, s);
        *rule = c->n_rules++;
        schema_rule(c, *rule, &b);
        bytes_free(&b);
        return true;
    }
    bool many = json_array_size(json_object_get(s, "allOf")) > 1;
    if (many && json_object_get(m->whole, "additionalProperties") != NULL) {
        if (!schema_refuse(c, "additionalProperties with allOf is not supported")) {
            return false;
        }
        json_object_del(m->whole, "additionalProperties");
    }
    return schema_convert(c, m->whole, rule);
}

bool schema_convert_all_of(struct schema *c, const json_t *s, size_t *rule)
{
    const json_t *list = json_object_get(s, "allOf"), *only = json_array_get(list, 0);
    struct merger m = { .c = c, .whole = json_object(), .left = MAX_PARTS };
    if (m.whole == NULL || json_array_append_new(c->owned, m.whole) != 0) {
        c->no_memory = true;
        return false;
    }
    if (json_array_size(list) == 0 && !schema_refuse(c, "allOf: expected an array of schemas")) {
        return false;
    }
    if (json_array_size(list) == 1 && bare_all_of(s) && json_object_get(only, "$ref") != NULL) {
        return schema_convert_ref(c, only, rule); /* nothing has to be merged */
    }
    return merge(&m, s) && merge_list(&m, list, 0) && convert_whole(&m, s, rule);
}
