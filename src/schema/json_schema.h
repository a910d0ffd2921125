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
 * are allowed only with items; numbers have at most 16 digits before and behind the point.
 *
 * Widened, a schema is never refused: what the grammar cannot hold is left out, so that the grammar
 * lets more through than the schema; at worst any JSON. */
#ifndef WEFT_JSON_SCHEMA_H
#define WEFT_JSON_SCHEMA_H

#include "base/json_read.h"
#include "base/mem.h"

struct schema_error {
    char text[320]; /* "" means that memory is out */
};

/* The limits of a grammar, as draw/grammar.h has them. */
enum { SCHEMA_TEXT = 1 << 20, SCHEMA_RULES = 10000, SCHEMA_ELEMENTS = 200000 };

/* Appends the grammar of a schema; text NULL means any JSON value. If it returns false, *err says
 * why, with the JSON pointer of the place. Widened, it is false only for a text that is no JSON, or
 * if memory is out, and the grammar is within the limits. */
bool json_schema_grammar(const char *text, size_t n, bool widen, struct bytes *gbnf,
                         struct schema_error *err);

/* How much of a schema its grammar holds. */
enum schema_level {
    SCHEMA_EXACT, /* all, or the schema is refused */
    SCHEMA_WIDE,  /* what can be held */
    SCHEMA_PLAIN, /* as SCHEMA_WIDE, without lengths, ranges and patterns */
    SCHEMA_ANY    /* nothing but the type of the whole */
};

/* A schema among others that share a grammar. `at` is the schema, `root` the document that $ref
 * looks into; both may be any JSON, or NULL. With `object` only objects are allowed. An `exact`
 * item is not widened; json_schema_grammar() must have accepted it as it is. */
struct schema_item {
    const json_t *root, *at;
    bool object, exact;
    /* These are set: the name of its rule, and how much of the schema was kept. */
    char rule[24];
    enum schema_level level;
};
/* What a grammar may still hold, or what a text takes. */
struct schema_size {
    size_t bytes, rules, elements;
};

/* Appends the widened rules of n schemas, and the rules that they share, which are named value,
 * object, string, ws and so on; rules of the schemas are named s and a number. Where `room` is too
 * small for all, those that take most lose most; the shared rules are always there. Returns false
 * if memory is out. */
bool json_schema_items(struct schema_item *items, size_t n, struct schema_size room,
                       struct bytes *gbnf);
/* Parses the text of a schema; the caller drops the value. Widened, JSON that cannot be held is
 * true. Returns NULL if the text is no JSON (*err says why) or if memory is out (*err is ""). */
json_t *json_schema_load(const char *text, size_t n, bool widen, struct schema_error *err);

enum {
    /* The deepest brackets: a schema inside a schema takes two of them, up to 200 schemas. Deeper
     * ones must not be given to functions that call themselves for each level: they would need
     * megabytes of stack. */
    SCHEMA_MAX_DEPTH = 512
};
/* Says what is wrong with the text of a schema. */
void json_schema_fault(const struct json_fault *fault, struct schema_error *err);

/* Appends text as a literal of GBNF. Returns false if memory is out. */
bool json_gbnf_literal(struct bytes *b, const char *text, size_t n);
/* Adds what a text of GBNF takes, or more: numbers that are too large end at SIZE_MAX / 2. */
void json_schema_measure(const char *gbnf, size_t n, struct schema_size *size);

#endif
