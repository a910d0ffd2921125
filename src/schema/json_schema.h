/* Converts JSON schemas to grammars in GBNF. A text that the grammar allows is JSON that the schema
 * accepts, on one or several lines. A keyword that would restrict it in an unsupported way is
 * refused by name, never ignored.
 *
 * Supported are: type (all seven, and lists of them), enum, const, anyOf, oneOf (as anyOf), allOf
 * (of objects that can be merged), $ref to a place in the same schema, also recursive; for objects
 * properties, required, additionalProperties; for arrays items, prefixItems, minItems, maxItems;
 * for strings minLength, maxLength, pattern (see json_pattern() in json_rules.h), format date,
 * time, date-time (days of the calendar, no leap seconds) and uuid; for integers minimum, maximum,
 * exclusiveMinimum, exclusiveMaximum; for numbers minimum 0.
 *
 * The grammar is narrower than the schema: properties come in the schema's order; other members
 * than `properties` are allowed only with additionalProperties; further items behind `prefixItems`
 * are allowed only with items; numbers have at most 16 digits before and behind the point. */
#ifndef WEFT_JSON_SCHEMA_H
#define WEFT_JSON_SCHEMA_H

#include "base/mem.h"

struct schema_error {
    char text[320]; /* "" means that memory is out */
};

/* Appends the grammar of a schema; text NULL means any JSON value. If it returns false, *err says
 * why, with the JSON pointer of the place. */
bool json_schema_grammar(const char *text, size_t n, struct bytes *gbnf, struct schema_error *err);

#endif
