/* JSON schemas to grammars in GBNF. What comes out under the grammar is JSON that the schema
 * accepts, on one or several lines. A keyword that would restrict it in a way that is not supported
 * is refused by name, never ignored.
 *
 * Supported: type (all seven, and lists of them), enum, const, anyOf, oneOf (as anyOf), allOf (of
 * objects that can be merged), $ref to a place in the same schema, also recursive; of objects
 * properties, required, additionalProperties; of arrays items, prefixItems, minItems, maxItems; of
 * strings minLength, maxLength, pattern (what json_pattern.h says), format date, time, date-time
 * (days of the calendar, no leap seconds) and uuid; of integers minimum, maximum, exclusiveMinimum,
 * exclusiveMaximum; of numbers minimum 0.
 *
 * Narrower than the schema: properties come in its order; beside `properties` no others unless
 * additionalProperties allows them; behind `prefixItems` no others unless items does; numbers have
 * at most 16 digits before and behind the point. */
#ifndef WEFT_JSON_SCHEMA_H
#define WEFT_JSON_SCHEMA_H

#include "base/mem.h"

struct schema_error {
    char text[320]; /* "" = memory is out */
};

/* Appends the grammar of a schema; text NULL: of any JSON value. False: *err says why, with the
 * JSON pointer of the place. */
bool json_schema_grammar(const char *text, size_t n, struct bytes *gbnf, struct schema_error *err);

#endif
