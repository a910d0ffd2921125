#include "constrain.h"

#include <string.h>

#include "io.h"
#include "json_schema.h"
#include "term.h"

/* The schema's grammar; text NULL: that of any JSON. */
static int from_schema(const char *text, size_t n, struct buf *gbnf)
{
    struct schema_error err;
    if (json_schema_grammar(text, n, gbnf, &err)) {
        return EXIT_OK;
    }
    return err.text[0] != '\0' ? term_fail(EXIT_USAGE, "option --json-schema: %s", err.text)
                               : term_fail(EXIT_MEMORY, "not enough memory for the schema");
}

static int read_gbnf(const struct options *o, struct buf *gbnf)
{
    struct buf text = { 0 };
    if (o->grammar != NULL) {
        return io_read_text(o->grammar, gbnf);
    }
    if (o->any_json) {
        return from_schema(NULL, 0, gbnf);
    }
    if (o->schema[0] == '{') {
        return from_schema(o->schema, strlen(o->schema), gbnf);
    }
    int code = io_read_text(o->schema, &text);
    code = code != EXIT_OK ? code : from_schema(text.n > 0 ? text.data : "", text.n, gbnf);
    buf_free(&text);
    return code;
}

int constrain(weft_seq *seq, const struct options *o)
{
    weft_error err = { 0 };
    struct buf gbnf = { 0 };
    if (o->grammar == NULL && o->schema == NULL && !o->any_json) {
        return EXIT_OK;
    }
    int code = read_gbnf(o, &gbnf);
    if (code == EXIT_OK && gbnf.n == 0) {
        code = term_fail(EXIT_USAGE, "option --grammar: %s is empty", o->grammar);
    }
    if (code == EXIT_OK) {
        weft_status status = weft_seq_set_grammar(seq, gbnf.data, gbnf.n, &err);
        if (status == WEFT_E_FORMAT) {
            code = term_fail(EXIT_USAGE, "option %s: %s",
                             o->grammar != NULL ? "--grammar" : "--json-schema", err.message);
        } else if (status != WEFT_OK) {
            code = term_status(status, &err);
        }
    }
    buf_free(&gbnf);
    return code;
}
