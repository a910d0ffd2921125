/* Shared by the files of the schema converter: growing text, rules, refusals, and the parts of a
 * grammar that need only numbers or texts. */
#ifndef WEFT_JSON_RULES_H
#define WEFT_JSON_RULES_H

#include <jansson.h>

#include "schema/json_schema.h"

struct schema {
    const json_t *root;
    json_t *owned; /* an array of the values that were made on the way */
    struct bytes *out;
    struct bytes path; /* JSON pointer of the place that is being converted */
    /* The rules of schemas by their address, so that each schema is converted once. */
    json_t *made;
    size_t n_rules, depth;
    size_t left; /* the effort that may still be spent */
    enum schema_level level;
    bool no_memory;
    struct schema_error *err;
};

/* The characters that need no escape between the quotes of a JSON string. The class is left open:
 * further characters to exclude, and ], follow. */
#define JSON_PLAIN "[^\"\\\\\\x00-\\x1F\\x7F"

/* Appends formatted text. If memory is out, c->no_memory remembers it. */
__attribute__((format(printf, 3, 4))) void schema_put(struct schema *c, struct bytes *b,
                                                      const char *fmt, ...);
/* Appends text as a literal of GBNF. */
void schema_literal(struct schema *c, struct bytes *b, const char *text, size_t n);
/* Makes a rule of the text in b, and empties b. */
void schema_rule(struct schema *c, size_t rule, struct bytes *b);
/* Says that a part of the schema at the current place cannot be held. Returns false and sets the
 * message; widened, it returns true, and the caller goes on without the part. */
__attribute__((format(printf, 2, 3))) bool schema_refuse(struct schema *c, const char *fmt, ...);

/* Returns what it takes to look at a schema without those inside it, and at a whole value. */
size_t schema_flat(const json_t *s);
size_t schema_weight(const json_t *value);
/* Returns the effort that all parts of a document may take together. */
size_t schema_effort(const json_t *root);
/* Takes n from the effort that is left. Returns false if there is not so much; then nothing is. */
bool schema_spend(struct schema *c, size_t n);

enum {
    /* The longest string or array that can be asked for. */
    SCHEMA_MAX_LENGTH = 10000,
    /* The same of a widened schema. A longer one has no bound. */
    SCHEMA_WIDE_LENGTH = 2000,
    /* The elements of the longest rule of a widened schema. */
    SCHEMA_WIDE_RULE = SCHEMA_ELEMENTS / 2,
    /* The longest grammar, which is checked while rules are added. */
    SCHEMA_MAX_BYTES = 16 << 20
};

/* Makes the rule of the schema s. s stands at `key` of the current schema or, if sub is not NULL,
 * at key or index `sub` of the value there. */
bool schema_convert_at(struct schema *c, const char *key, const char *sub, const json_t *s,
                       size_t *rule);
/* Makes the rule of a schema. */
bool schema_convert(struct schema *c, const json_t *s, size_t *rule);
/* Converts a schema that has $ref or allOf, which need no rule of their own. */
bool schema_convert_ref(struct schema *c, const json_t *s, size_t *rule);
bool schema_convert_all_of(struct schema *c, const json_t *s, size_t *rule);
/* Recalls the rule of a schema by its address, or remembers it. Kind 'r' is its rule as a target of
 * $ref, which exists before the schema is converted; kind 'c' is its rule once the schema is
 * converted. json_ends.c has kinds of its own, whose rule is 0. */
bool schema_recall(const struct schema *c, char kind, const json_t *s, size_t *rule);
void schema_remember(struct schema *c, char kind, const json_t *s, size_t rule);
/* Returns the schema that the $ref of a schema refers to; NULL if there is none. */
const json_t *schema_target(const struct schema *c, const json_t *s);
/* Returns true if the schema, by what the converter keeps of it, lets only objects through. */
bool schema_only_objects(struct schema *c, const json_t *s);
/* Returns true if a text of the schema would have to hold a text of the same schema: directly, or
 * without end. */
bool schema_endless(struct schema *c, const json_t *s);
/* Appends the widest rule that the type of a schema allows. Returns true. */
bool schema_widest(struct schema *c, struct bytes *b, const json_t *s);
/* Returns the type that a schema without a type must be about, by its keywords; NULL if no keyword
 * tells. */
const char *schema_type_of(const json_t *s);
/* Returns true if a keyword is understood and restricts, or if it restricts nothing. */
bool schema_known(const char *key);
bool schema_remark(const char *key);
/* Refuses all keys but these two (`also` may be NULL) and the remarks. */
bool schema_only(struct schema *c, const json_t *s, const char *key, const char *also);
bool schema_enum(struct schema *c, struct bytes *b, const json_t *s);
bool schema_any_of(struct schema *c, struct bytes *b, const json_t *s, const char *key);
/* Reads a count that is not negative. *n stays as it is if there is none. */
bool schema_count(struct schema *c, const json_t *s, const char *key, size_t *n);
/* Refuses a minimum above the maximum; widened, both become no bound. `what` is "Items" or
 * "Length". */
bool schema_ordered(struct schema *c, const char *what, size_t *min, size_t *max);
/* Appends {min,max}; max SIZE_MAX = none. */
void schema_times(struct schema *c, struct bytes *b, size_t min, size_t max);
/* Returns true if the list, which ends with NULL, holds the key. */
bool schema_listed(const char *const *list, const char *key);
/* Each of these appends what a schema says about one type. */
bool schema_object(struct schema *c, struct bytes *b, const json_t *s);
bool schema_array(struct schema *c, struct bytes *b, const json_t *s);
bool schema_string(struct schema *c, struct bytes *b, const json_t *s);
bool schema_integer(struct schema *c, struct bytes *b, const json_t *s);
bool schema_number(struct schema *c, struct bytes *b, const json_t *s);

/* Appends the digits of the integers from min to max. */
void json_range(struct schema *c, struct bytes *b, int64_t min, int64_t max);
/* Appends what a pattern allows between the quotes of a string. The pattern is a regular expression
 * of literals, ., classes, \d \w \s, groups, |, * + ? {m,n}, ^ at the beginning and $ at the end.
 * Without ^ and $ anything may stand before or behind. Everything else is refused. Only characters
 * that need no escape in JSON are allowed. */
bool json_pattern(struct schema *c, struct bytes *b, const char *pattern);
/* Makes a rule for the keys that are not among `names` (an array of n strings), without escapes.
 * Widened, the rule may be SIZE_MAX: there is none. */
bool json_other_keys(struct schema *c, const char **names, size_t n, size_t *rule);
/* Appends the rules that all schemas use: value, string, ws, ... */
void json_common_rules(struct schema *c);

#endif
