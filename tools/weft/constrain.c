#include "weft/constrain.h"

#include <string.h>
#include <sys/stat.h>

#include "weft/io.h"
#include "weft/term.h"

/* Makes the grammar of a schema; text NULL means any JSON. */
static int from_schema(const char *text, size_t n, struct bytes *gbnf)
{
    weft_error err = { 0 };
    size_t needed = 0;
    weft_status status = weft_schema_grammar(text, n, 0, NULL, 0, &needed, &err);
    if (status == WEFT_E_BUFFER) {
        if (!text_reserve(gbnf, needed)) {
            return term_fail(EXIT_MEMORY, "not enough memory for the schema");
        }
        status = weft_schema_grammar(text, n, 0, gbnf->data, needed, &gbnf->n, &err);
    }
    return status == WEFT_OK ? EXIT_OK
           : status == WEFT_E_FORMAT
               ? term_fail(EXIT_USAGE, "option --json-schema: %s", err.message)
               : term_status(status, &err);
}

/* Returns true if the value of an option for a text is the name of a file. In earlier versions
 * grammars and schemas were given by file name, and names still work. */
static bool is_file(const struct options *o, const char *option, const char *value)
{
    struct stat s;
    bool found = strcmp(value, "-") == 0 ||
                 (strstr(value, "::=") == NULL && stat(value, &s) == 0 && !S_ISDIR(s.st_mode));
    if (found && !o->quiet) {
        term_note("weft: %s %s: read as a file; %s-file says so", option, value, option);
    }
    return found;
}

static int read_schema(const struct options *o, struct bytes *gbnf)
{
    struct bytes text = { 0 };
    const char *file = o->schema_file;
    if (file == NULL && is_file(o, "--json-schema", o->schema)) {
        file = o->schema;
    }
    if (file == NULL) {
        return from_schema(o->schema, strlen(o->schema), gbnf);
    }
    int code = io_read_text(file, &io_schema, &text);
    code = code != EXIT_OK ? code : from_schema(text.n > 0 ? text.data : "", text.n, gbnf);
    bytes_free(&text);
    return code;
}

static int read_gbnf(const struct options *o, struct bytes *gbnf)
{
    if (o->any_json) {
        return from_schema(NULL, 0, gbnf);
    }
    if (o->schema != NULL || o->schema_file != NULL) {
        return read_schema(o, gbnf);
    }
    const char *file = o->grammar_file;
    if (file == NULL && is_file(o, "--grammar", o->grammar)) {
        file = o->grammar;
    }
    if (file != NULL) {
        return io_read_text(file, &io_grammar, gbnf);
    }
    return text_add(gbnf, o->grammar, strlen(o->grammar))
               ? EXIT_OK
               : term_fail(EXIT_MEMORY, "not enough memory for the grammar");
}

/* Reports a grammar that is not accepted. The user does not know a grammar that was made from a
 * schema, so the message first says what the schema may have done. */
static int refused(const struct options *o, const weft_error *err)
{
    if (o->grammar != NULL || o->grammar_file != NULL) {
        return term_fail(EXIT_USAGE, "option --grammar: %s", err->message);
    }
    return term_fail(EXIT_USAGE,
                     "option --json-schema: the schema refers to itself without anything in "
                     "between, or asks for more than a grammar can hold; of the grammar made from "
                     "it: %s",
                     err->message);
}

bool constrains(const struct options *o)
{
    return o->grammar != NULL || o->grammar_file != NULL || o->schema != NULL ||
           o->schema_file != NULL || o->any_json;
}

int constrain(weft_seq *seq, const struct options *o)
{
    weft_error err = { 0 };
    struct bytes gbnf = { 0 };
    if (!constrains(o)) {
        return EXIT_OK;
    }
    int code = read_gbnf(o, &gbnf);
    if (code == EXIT_OK && gbnf.n == 0) {
        code = term_fail(EXIT_USAGE, "option --grammar: %s is empty",
                         o->grammar_file != NULL ? o->grammar_file
                         : *o->grammar != '\0'   ? o->grammar
                                                 : "the grammar");
    }
    if (code == EXIT_OK) {
        weft_status status = weft_seq_set_grammar(seq, gbnf.data, gbnf.n, &err);
        if (status == WEFT_E_FORMAT) {
            code = refused(o, &err);
        } else if (status != WEFT_OK) {
            code = term_status(status, &err);
        }
    }
    bytes_free(&gbnf);
    return code;
}
