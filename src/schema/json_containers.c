/* Objects and arrays of a JSON schema. A list becomes a chain of rules: each rule is what may still
 * follow behind one place. */
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "schema/json_rules.h"

/* ---------------------------------------------------------------- arrays */

static bool convert_prefix(struct schema *c, const json_t *prefix, size_t i, size_t *rule)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", i);
    return schema_convert_at(c, "prefixItems", number, json_array_get(prefix, i), rule);
}

/* Appends the elements behind the first `at`, each with a comma before it. */
static bool more_items(struct schema *c, struct bytes *b, const json_t *prefix, size_t at,
                       const char *item, size_t min, size_t max)
{
    size_t n = json_array_size(prefix), rule;
    struct bytes tail = { 0 };
    if (at >= max) {
        return true;
    }
    if (at >= n) {
        if (item != NULL) {
            schema_put(c, b, "(ws \",\" ws %s)", item);
            schema_times(c, b, min > at ? min - at : 0, max == SIZE_MAX ? SIZE_MAX : max - at);
        }
        return item != NULL || min <= at || schema_refuse(c, "minItems: more than items allow");
    }
    if (!convert_prefix(c, prefix, at, &rule)) {
        return false;
    }
    bool ok = more_items(c, &tail, prefix, at + 1, item, min, max);
    size_t rest = c->n_rules++;
    schema_rule(c, rest, &tail);
    bytes_free(&tail);
    schema_put(c, b, at < min ? "ws \",\" ws s%zu s%zu" : "(ws \",\" ws s%zu s%zu)?", rule, rest);
    return ok;
}

/* Widened, what cannot be held becomes NULL. */
static bool check_items(struct schema *c, const json_t **items, const json_t **prefix)
{
    size_t n = json_array_size(*prefix);
    if (*prefix != NULL && (n == 0 || n > 64)) {
        if (!schema_refuse(c, "prefixItems: expected an array of 1 to 64 schemas")) {
            return false;
        }
        *prefix = *items = NULL; /* `items` are only those behind the prefix */
    }
    if (json_is_array(*items)) {
        *items = NULL;
        return schema_refuse(c, "items: expected a schema; prefixItems has a list of them");
    }
    return true;
}

bool schema_array(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *items = json_object_get(s, "items"), *prefix = json_object_get(s, "prefixItems");
    size_t min = 0, max = SIZE_MAX, rule;
    char item[32] = "value", first[32];
    if (!schema_count(c, s, "minItems", &min) || !schema_count(c, s, "maxItems", &max)) {
        return false;
    }
    if (!schema_ordered(c, "Items", &min, &max) || !check_items(c, &items, &prefix)) {
        return false;
    }
    bool none = items != NULL ? json_is_false(items) : prefix != NULL;
    if (items != NULL && !none) {
        if (!schema_convert_at(c, "items", NULL, items, &rule)) {
            return false;
        }
        snprintf(item, sizeof item, "s%zu", rule);
    }
    memcpy(first, item, sizeof first);
    if (prefix != NULL) {
        if (!convert_prefix(c, prefix, 0, &rule)) {
            return false;
        }
        snprintf(first, sizeof first, "s%zu", rule);
    }
    if (max == 0 || (none && prefix == NULL)) {
        schema_put(c, b, "\"[\" ws \"]\"");
        return min == 0 || schema_refuse(c, "minItems: more than items allow");
    }
    schema_put(c, b, "\"[\" ws (%s ", first);
    bool ok = more_items(c, b, prefix, 1, none ? NULL : item, min, max);
    schema_put(c, b, " ws)%s \"]\"", min == 0 ? "?" : "");
    return ok;
}

/* ---------------------------------------------------------------- objects */

struct property {
    const char *name;
    const json_t *schema; /* NULL: any value */
    bool required;
    size_t rule; /* the rule of the value */
};

struct object {
    struct property *at; /* [n] */
    size_t n;
    size_t other; /* the rule of any other member; SIZE_MAX = none */
};

/* Lists the properties, and behind them the names that are required without being described. */
static bool list_properties(struct schema *c, const json_t *s, struct object *o)
{
    const json_t *properties = json_object_get(s, "properties"),
                 *required = json_object_get(s, "required"), *one;
    const char *name;
    json_t *schema;
    size_t i;
    if ((properties != NULL && !json_is_object(properties)) ||
        (required != NULL && !json_is_array(required))) {
        if (!schema_refuse(c, "expected an object of properties, and an array of required names")) {
            return false;
        }
        properties = json_is_object(properties) ? properties : NULL;
    }
    json_array_foreach(required, i, one)
    {
        if (!json_is_string(one)) {
            if (!schema_refuse(c, "required: expected an array of names")) {
                return false;
            }
            required = NULL;
            break;
        }
    }
    o->at = calloc(json_object_size(properties) + json_array_size(required) + 1, sizeof *o->at);
    if (o->at == NULL) {
        c->no_memory = true;
        return false;
    }
    json_t *names = json_object(); /* a set: lists of names can be long */
    c->no_memory |= names == NULL;
    json_array_foreach(required, i, one)
    {
        c->no_memory |= json_object_set_new(names, json_string_value(one), json_true()) != 0;
    }
    json_object_foreach((json_t *)(uintptr_t)properties, name, schema)
    {
        bool needed = json_object_get(names, name) != NULL;
        if (needed || !json_is_false(schema) || c->level == SCHEMA_EXACT) {
            o->at[o->n++] = (struct property){ .name = name, .schema = schema, .required = needed };
        }
    }
    json_array_foreach(required, i, one)
    {
        name = json_string_value(one);
        /* The name is taken out, so that a name that is there twice is listed once. */
        if (json_object_get(properties, name) == NULL && json_object_del(names, name) == 0) {
            o->at[o->n++] = (struct property){ .name = name, .required = true };
        }
    }
    json_decref(names);
    return !c->no_memory;
}

/* Makes the rule of members that `properties` does not name. */
static bool other_member(struct schema *c, const json_t *s, struct object *o, size_t *value)
{
    const json_t *additional = json_object_get(s, "additionalProperties");
    bool allowed = additional != NULL ? !json_is_false(additional)
                                      : !json_is_object(json_object_get(s, "properties"));
    const char **names = NULL;
    struct bytes b = { 0 };
    size_t key;
    o->other = *value = SIZE_MAX;
    if (!allowed) {
        return true;
    }
    if (additional != NULL && !json_is_true(additional) &&
        !schema_convert_at(c, "additionalProperties", NULL, additional, value)) {
        return false;
    }
    names = calloc(o->n + 1, sizeof *names);
    if (names == NULL) {
        c->no_memory = true;
        return false;
    }
    for (size_t i = 0; i < o->n; i++) {
        names[i] = o->at[i].name;
    }
    bool ok = o->n == 0 || json_other_keys(c, names, o->n, &key);
    free(names);
    if (!ok || (o->n > 0 && key == SIZE_MAX)) {
        return ok; /* Widened, other members are left out if their keys cannot be told apart. */
    }
    if (o->n == 0) {
        schema_put(c, &b, "string");
    } else {
        schema_put(c, &b, "\"\\\"\" s%zu \"\\\"\"", key);
    }
    schema_put(c, &b, " ws \":\" ws ");
    if (*value == SIZE_MAX) {
        schema_put(c, &b, "value");
    } else {
        schema_put(c, &b, "s%zu", *value);
    }
    o->other = c->n_rules++;
    schema_rule(c, o->other, &b);
    bytes_free(&b);
    return true;
}

/* Appends "name": value. */
static void put_member(struct schema *c, struct bytes *b, const struct property *p)
{
    char *text;
    json_t *name = json_string(p->name);
    text = name != NULL ? json_text(name, JSON_ENCODE_ANY) : NULL;
    json_decref(name);
    if (text == NULL) {
        c->no_memory = true;
        return;
    }
    schema_literal(c, b, text, strlen(text));
    free(text);
    schema_put(c, b, " ws \":\" ws s%zu", p->rule);
}

/* Makes two rules for each property i. Both allow the rest of an object from property i on:
 * `first[i]` if the object has no member yet, `more[i]` if it has one. Returns first[0]. */
static size_t chain(struct schema *c, const struct object *o)
{
    struct bytes b = { 0 };
    size_t first = c->n_rules++, more = c->n_rules++;
    if (o->other != SIZE_MAX) {
        schema_put(c, &b, "(s%zu ws (\",\" ws s%zu ws)*)?", o->other, o->other);
        schema_rule(c, first, &b);
        schema_put(c, &b, "(\",\" ws s%zu ws)*", o->other);
        schema_rule(c, more, &b);
    } else {
        schema_put(c, &b, "\"\"");
        schema_rule(c, first, &b);
        schema_put(c, &b, "\"\"");
        schema_rule(c, more, &b);
    }
    for (size_t i = o->n; i-- > 0;) {
        size_t next_first = first, next_more = more;
        first = c->n_rules++;
        more = c->n_rules++;
        put_member(c, &b, &o->at[i]);
        schema_put(c, &b, " ws s%zu", next_more);
        if (!o->at[i].required) {
            schema_put(c, &b, " | s%zu", next_first);
        }
        schema_rule(c, first, &b);
        schema_put(c, &b, "\",\" ws ");
        put_member(c, &b, &o->at[i]);
        schema_put(c, &b, " ws s%zu", next_more);
        if (!o->at[i].required) {
            schema_put(c, &b, " | s%zu", next_more);
        }
        schema_rule(c, more, &b);
    }
    bytes_free(&b);
    return first;
}

static bool add_object(struct schema *c, struct bytes *b, const json_t *s, struct object *o)
{
    size_t other;
    if (!list_properties(c, s, o) || !other_member(c, s, o, &other)) {
        return false;
    }
    for (size_t i = 0; i < o->n; i++) {
        struct property *p = &o->at[i];
        if (p->schema == NULL && o->other == SIZE_MAX &&
            !schema_refuse(c, "required names '%.60s', and no other properties are allowed",
                           p->name)) {
            return false;
        }
        if (p->schema == NULL && other != SIZE_MAX) {
            p->rule = other;
            continue;
        }
        bool given = p->schema != NULL;
        if (!schema_convert_at(c, given ? "properties" : "required", given ? p->name : NULL,
                               given ? p->schema : json_true(), &p->rule)) {
            return false;
        }
    }
    schema_put(c, b, "\"{\" ws s%zu \"}\"", chain(c, o));
    return true;
}

bool schema_object(struct schema *c, struct bytes *b, const json_t *s)
{
    struct object o = { 0 };
    bool ok = add_object(c, b, s, &o);
    free(o.at);
    return ok;
}
