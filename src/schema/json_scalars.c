/* Numbers and strings of a JSON schema. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "schema/json_rules.h"

#define INT_LIMIT INT64_C(999999999999999999)

/* Reads a bound as an integer; `up` rounds a fraction up, otherwise it is rounded down. */
static bool bound(struct schema *c, const json_t *s, const char *key, bool up, int64_t *out)
{
    const json_t *v = json_object_get(s, key);
    double d = json_number_value(v);
    if (v == NULL) {
        return true;
    }
    if (!json_is_number(v) || !(fabs(d) <= (double)INT_LIMIT)) {
        return schema_refuse(c, "%s: expected a number of at most 18 digits", key);
    }
    *out = json_is_integer(v) ? json_integer_value(v) : (int64_t)(up ? ceil(d) : floor(d));
    return true;
}

bool schema_integer(struct schema *c, struct bytes *b, const json_t *s)
{
    const int64_t most = INT64_C(9999999999999999); /* as in the rule "integer" */
    int64_t min = INT64_MIN, max = INT64_MAX, above = INT64_MIN, under = INT64_MAX;
    if (!bound(c, s, "minimum", true, &min) || !bound(c, s, "maximum", false, &max) ||
        !bound(c, s, "exclusiveMinimum", false, &above) ||
        !bound(c, s, "exclusiveMaximum", true, &under)) {
        return false;
    }
    min = above != INT64_MIN && above + 1 > min ? above + 1 : min;
    max = under != INT64_MAX && under - 1 < max ? under - 1 : max;
    if (min == INT64_MIN && max == INT64_MAX) {
        schema_put(c, b, "integer");
        return true;
    }
    min = min != INT64_MIN ? min : max < -most ? -INT_LIMIT : -most;
    max = max != INT64_MAX ? max : min > most ? INT_LIMIT : most;
    if (min > max) {
        return schema_refuse(c, "no integer is at least %" PRId64 " and at most %" PRId64, min,
                             max);
    }
    json_range(c, b, min, max);
    return true;
}

bool schema_number(struct schema *c, struct bytes *b, const json_t *s)
{
    static const char *const others[] = { "maximum", "exclusiveMinimum", "exclusiveMaximum" };
    const json_t *min = json_object_get(s, "minimum");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (json_object_get(s, others[i]) != NULL) {
            return schema_refuse(c, "%s of a number is not supported; of an integer it is",
                                 others[i]);
        }
    }
    if (min != NULL && (!json_is_number(min) || json_number_value(min) != 0)) {
        return schema_refuse(c, "minimum of a number is not supported unless it is 0; of an "
                                "integer it is");
    }
    schema_put(c, b, min != NULL ? "natural fraction" : "number");
    return true;
}

bool schema_count(struct schema *c, const json_t *s, const char *key, size_t *n)
{
    const json_t *v = json_object_get(s, key);
    double d = json_number_value(v);
    if (v == NULL) {
        return true;
    }
    if (!json_is_number(v) || !(d >= 0 && d <= (double)SCHEMA_MAX_LENGTH && floor(d) == d)) {
        return schema_refuse(c, "%s: expected a whole number from 0 to %d", key, SCHEMA_MAX_LENGTH);
    }
    *n = (size_t)d;
    return true;
}

/* ---------------------------------------------------------------- strings */

bool schema_string(struct schema *c, struct bytes *b, const json_t *s)
{
    static const char *const formats[] = { "date", "time", "date-time", "uuid", NULL };
    const json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
    size_t min = 0, max = SIZE_MAX;
    if (!schema_count(c, s, "minLength", &min) || !schema_count(c, s, "maxLength", &max)) {
        return false;
    }
    bool length = min > 0 || max != SIZE_MAX;
    if ((pattern != NULL) + (format != NULL) + length > 1) {
        return schema_refuse(c, "of pattern, format and a length only one is supported");
    }
    if (max < min) {
        return schema_refuse(c, "minLength is %zu and maxLength %zu", min, max);
    }
    schema_put(c, b, "\"\\\"\" ");
    if (pattern != NULL) {
        if (!json_is_string(pattern) || strlen(json_string_value(pattern)) > SCHEMA_MAX_LENGTH) {
            return schema_refuse(c, "pattern: expected a regular expression");
        }
        if (!json_pattern(c, b, json_string_value(pattern))) {
            return false;
        }
    } else if (format != NULL) {
        const char *name = json_string_value(format);
        if (name == NULL || !schema_listed(formats, name)) {
            return schema_refuse(c,
                                 "format '%.40s' is not supported; date, time, date-time and "
                                 "uuid are",
                                 name != NULL ? name : "");
        }
        schema_put(c, b, "%s", strcmp(name, "date-time") == 0 ? "date \"T\" time" : name);
    } else {
        schema_put(c, b, "char");
        schema_times(c, b, min, max);
    }
    schema_put(c, b, " \"\\\"\"");
    return true;
}
