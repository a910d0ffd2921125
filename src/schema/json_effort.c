/* How much work a schema may take: a multiple of what it weighs. Without the limit, schemas that
 * refer to each other again and again would take time that grows with a power of their size. */
#include <string.h>

#include "schema/json_rules.h"

enum { EFFORT_EACH = 16, EFFORT_LEAST = 4000 };

/* What it takes to look at a value, but not into the values inside it. */
static size_t own(const json_t *value)
{
    return 1 + json_array_size(value) + json_object_size(value) + json_string_length(value) / 16;
}

size_t schema_flat(const json_t *s)
{
    const char *key;
    json_t *value;
    size_t n = 1;
    json_object_foreach((json_t *)(uintptr_t)s, key, value) { n += own(value); }
    return n;
}

/* It calls itself for each level; json_schema_load() bounds them. */
size_t schema_weight(const json_t *value)
{
    const char *key;
    json_t *one;
    size_t i, n = own(value);
    json_object_foreach((json_t *)(uintptr_t)value, key, one)
    {
        n += strlen(key) / 16 + schema_weight(one);
    }
    json_array_foreach(value, i, one) { n += schema_weight(one); }
    return n;
}

size_t schema_effort(const json_t *root)
{
    return EFFORT_EACH * schema_weight(root) + EFFORT_LEAST;
}

bool schema_spend(struct schema *c, size_t n)
{
    bool enough = n <= c->left;
    c->left = enough ? c->left - n : 0;
    return enough;
}
