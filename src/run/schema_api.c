/* The public function that makes a grammar of a JSON schema. */
#include "draw/grammar.h"
#include "run/api.h"
#include "schema/json_schema.h"

_Static_assert((int)SCHEMA_TEXT == (int)GRAMMAR_MAX_TEXT &&
                   (int)SCHEMA_RULES == (int)GRAMMAR_MAX_RULES &&
                   (int)SCHEMA_ELEMENTS == (int)GRAMMAR_MAX_ELEMENTS,
               "widened schemas keep the limits of grammars");

enum { MAX_SCHEMA = 16 << 20 };

weft_status weft_schema_grammar(const char *schema, size_t n, unsigned flags, char *dst, size_t cap,
                                size_t *needed, weft_error *err)
{
    TRY(array_check(schema, n, 1, "schema", err));
    if ((flags & ~(unsigned)WEFT_SCHEMA_WIDEN) != 0) {
        return error_set(err, WEFT_E_ARG,
                         "weft_schema_grammar: flags are 0x%x, expected 0 or WEFT_SCHEMA_WIDEN",
                         flags);
    }
    if (n > MAX_SCHEMA) {
        return error_set(err, WEFT_E_ARG, "the schema has %zu bytes, expected at most %d", n,
                         MAX_SCHEMA);
    }
    struct schema_error refused;
    struct bytes gbnf = { 0 };
    weft_status status = WEFT_OK;
    if (json_schema_grammar(n > 0 ? schema : NULL, n, flags != 0, &gbnf, &refused)) {
        status = copy_out(gbnf.data, gbnf.n, 1, dst, cap, needed, err);
    } else if (refused.text[0] == '\0') {
        status = error_nomem(err, "a schema", n);
    } else {
        status = error_set(err, WEFT_E_FORMAT, "%s", refused.text);
    }
    bytes_free(&gbnf);
    return status;
}
