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
    if ((min == INT64_MIN && max == INT64_MAX) || c->level == SCHEMA_PLAIN) {
        schema_put(c, b, "integer");
        return true;
    }
    min = min != INT64_MIN ? min : max < -most ? -INT_LIMIT : -most;
    max = max != INT64_MAX ? max : min > most ? INT_LIMIT : most;
    if (min <= max) {
        json_range(c, b, min, max);
        return true;
    }
    schema_put(c, b, "integer");
    return schema_refuse(c, "no integer is at least %" PRId64 " and at most %" PRId64, min, max);
}

bool schema_number(struct schema *c, struct bytes *b, const json_t *s)
{
    static const char *const others[] = { "maximum", "exclusiveMinimum", "exclusiveMaximum" };
    const json_t *min = json_object_get(s, "minimum");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (json_object_get(s, others[i]) != NULL &&
            !schema_refuse(c, "%s of a number is not supported; of an integer it is", others[i])) {
            return false;
        }
    }
    if (min != NULL && (!json_is_number(min) || json_number_value(min) != 0) &&
        !schema_refuse(c, "minimum of a number is not supported unless it is 0; of an "
                          "integer it is")) {
        return false;
    }
    /* Widened, a minimum above 0 is 0. */
    bool positive = json_is_number(min) && json_number_value(min) >= 0;
    schema_put(c, b, positive ? "natural fraction" : "number");
    return true;
}

bool schema_count(struct schema *c, const json_t *s, const char *key, size_t *n)
{
    const json_t *v = json_object_get(s, key);
    double d = json_number_value(v);
    int most = c->level == SCHEMA_EXACT ? SCHEMA_MAX_LENGTH : SCHEMA_WIDE_LENGTH;
    if (v == NULL || c->level == SCHEMA_PLAIN) {
        return true;
    }
    if (!json_is_number(v) || !(d >= 0 && d <= (double)most && floor(d) == d)) {
        return schema_refuse(c, "%s: expected a whole number from 0 to %d", key, most);
    }
    *n = (size_t)d;
    return true;
}

bool schema_ordered(struct schema *c, const char *what, size_t *min, size_t *max)
{
    size_t least = *min, most = *max;
    if (least <= most) {
        return true;
    }
    *min = 0;
    *max = SIZE_MAX;
    return schema_refuse(c, "min%s is %zu and max%s %zu", what, least, what, most);
}

/* ---------------------------------------------------------------- strings */

/* Appends what a pattern allows. Widened, it may leave b as it was. */
static bool add_pattern(struct schema *c, struct bytes *b, const json_t *pattern)
{
    const char *text = json_string_value(pattern);
    size_t before = b->n;
    if (text == NULL || strlen(text) > SCHEMA_MAX_LENGTH) {
        return schema_refuse(c, "pattern: expected a regular expression");
    }
    /* Each character is a literal or a class. */
    if (!schema_spend(c, strlen(text) / 2)) {
        return schema_refuse(c, "pattern: all patterns together are too long");
    }
    if (json_pattern(c, b, text)) {
        return true;
    }
    b->n = before;
    return c->level != SCHEMA_EXACT;
}

static bool add_format(struct schema *c, struct bytes *b, const json_t *format)
{
    static const char *const formats[] = { "date", "time", "date-time", "uuid", NULL };
    const char *name = json_string_value(format);
    if (name == NULL || !schema_listed(formats, name)) {
        return schema_refuse(c,
                             "format '%.40s' is not supported; date, time, date-time and "
                             "uuid are",
                             name != NULL ? name : "");
    }
    schema_put(c, b, "%s", strcmp(name, "date-time") == 0 ? "date \"T\" time" : name);
    return true;
}

/* Appends what is between the quotes. Widened, the first of pattern, format and length that can be
 * held is taken. */
static bool add_inside(struct schema *c, struct bytes *b, const json_t *s, size_t min, size_t max)
{
    const json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
    size_t before = b->n;
    if (pattern != NULL && c->level != SCHEMA_PLAIN && !add_pattern(c, b, pattern)) {
        return false;
    }
    if (format != NULL && b->n == before && !add_format(c, b, format)) {
        return false;
    }
    if (b->n == before) {
        schema_put(c, b, "char");
        schema_times(c, b, min, max);
    }
    return true;
}

bool schema_string(struct schema *c, struct bytes *b, const json_t *s)
{
    const json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
    size_t min = 0, max = SIZE_MAX;
    if (!schema_count(c, s, "minLength", &min) || !schema_count(c, s, "maxLength", &max)) {
        return false;
    }
    bool length = min > 0 || max != SIZE_MAX;
    if ((pattern != NULL) + (format != NULL) + length > 1 &&
        !schema_refuse(c, "of pattern, format and a length only one is supported")) {
        return false;
    }
    if (!schema_ordered(c, "Length", &min, &max)) {
        return false;
    }
    schema_put(c, b, "\"\\\"\" ");
    if (!add_inside(c, b, s, min, max)) {
        return false;
    }
    schema_put(c, b, " \"\\\"\"");
    return true;
}
