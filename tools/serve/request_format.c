/* What the content of an answer must follow: a schema, or a grammar of the client. */
#include <string.h>

#include "base/json_text.h"
#include "serve/reading.h"

/* ---------------------------------------------------------------- schemas */

static bool is_type(const json_t *name)
{
    static const char *const types[] = { "null",   "boolean", "object", "array",
                                         "number", "integer", "string" };
    for (size_t i = 0; json_is_string(name) && i < sizeof types / sizeof *types; i++) {
        if (strcmp(json_string_value(name), types[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Checks the `type` of a schema. */
static bool check_type(struct reading *r, const json_t *type)
{
    const json_t *one;
    size_t i;
    if (type == NULL || is_type(type)) {
        return true;
    }
    bool ok = json_array_size(type) > 0;
    json_array_foreach(type, i, one) { ok = ok && is_type(one); }
    return ok || field_wrong(r->fault, "schema: type", type,
                             "null, boolean, object, array, number, integer, string, or a list of "
                             "these");
}

static bool check_schema(struct reading *r, const json_t *schema);

/* Checks a value that is a schema or a list of schemas. */
static bool check_schemas(struct reading *r, const json_t *list)
{
    const json_t *one;
    size_t i;
    if (!json_is_array(list)) {
        return list == NULL || check_schema(r, list);
    }
    json_array_foreach(list, i, one)
    {
        if (!check_schema(r, one)) {
            return false;
        }
    }
    return true;
}

/* Checks the schemas that are the values of an object. */
static bool check_named(struct reading *r, json_t *object)
{
    const char *key;
    json_t *one;
    json_object_foreach(object, key, one)
    {
        if (!check_schema(r, one)) {
            return false;
        }
    }
    return true;
}

/* The library widens what a grammar cannot hold. What is no schema at all is refused here. */
static bool check_schema(struct reading *r, const json_t *schema)
{
    static const char *const lists[] = { "items", "prefixItems",          "anyOf", "oneOf",
                                         "allOf", "additionalProperties", "not" };
    static const char *const named[] = { "properties", "$defs", "definitions" };
    bool ok = json_is_object(schema) || json_is_boolean(schema) ||
              field_wrong(r->fault, "schema", schema, "an object");
    ok = ok && check_type(r, json_object_get(schema, "type"));
    for (size_t i = 0; i < sizeof lists / sizeof *lists && ok; i++) {
        ok = check_schemas(r, json_object_get(schema, lists[i]));
    }
    for (size_t i = 0; i < sizeof named / sizeof *named && ok; i++) {
        ok = check_named(r, json_object_get(schema, named[i]));
    }
    return ok;
}

/* Takes a schema. One that is {} stands for any object, as in llama-server. */
static bool take_schema(struct reading *r, json_t *schema, struct format *format)
{
    const bool any = json_is_object(schema) && json_object_size(schema) == 0;
    if (!check_schema(r, schema)) {
        return false;
    }
    format->schema = any ? json_pack("{s:s}", "type", "object") : json_incref(schema);
    return format->schema != NULL || fault_memory(r->fault);
}

static const char *const types[] = { "text", "json_object", "json_schema", NULL };
enum { TYPE_TEXT, TYPE_OBJECT, TYPE_SCHEMA };

struct response_format {
    int type;
    json_t *schema, *outer;
};
static const struct field format_fields[] = {
    { .name = "type",
      .kind = FIELD_WORD,
      .offset = offsetof(struct response_format, type),
      .words = types },
    { .name = "schema", .kind = FIELD_ANY, .offset = offsetof(struct response_format, schema) },
    { .name = "json_schema",
      .kind = FIELD_OBJECT,
      .offset = offsetof(struct response_format, outer) },
};
static const struct field outer_fields[] = {
    { .name = "strict", .kind = FIELD_BOOL, .offset = offsetof(struct format, strict) },
};

static bool read_response_format(struct reading *r, struct format *format)
{
    struct response_format f = { .type = -1 };
    if (!fields_read(r->form.response_format, "response_format.", format_fields, 3, &f, r->fault) ||
        !fields_read(f.outer, "response_format.json_schema.", outer_fields, 1, format, r->fault)) {
        return false;
    }
    if (f.type == -1) {
        return field_wrong(r->fault, "response_format.type", NULL,
                           "\"text\", \"json_object\" or \"json_schema\"");
    }
    if (f.type == TYPE_TEXT) {
        return true;
    }
    json_t *schema = f.type == TYPE_SCHEMA ? field_get(f.outer, "schema") : f.schema;
    if (f.type == TYPE_SCHEMA && schema == NULL) {
        return field_wrong(r->fault, "response_format.json_schema.schema", NULL, "a schema");
    }
    if (schema == NULL) {
        format->schema = json_pack("{s:s}", "type", "object");
        return format->schema != NULL || fault_memory(r->fault);
    }
    return take_schema(r, schema, format);
}

bool read_format(struct reading *r, struct format *format)
{
    const struct form *f = &r->form;
    if (f->response_format != NULL && !read_response_format(r, format)) {
        return false;
    }
    if (f->schema != NULL && format->schema != NULL) {
        return fault_request(r->fault, "json_schema",
                             "both response_format and json_schema are given, expected one");
    }
    if (f->schema != NULL && !take_schema(r, f->schema, format)) {
        return false;
    }
    if (f->grammar != NULL && format->schema != NULL && json_string_length(f->grammar) > 0) {
        return fault_request(r->fault, "grammar",
                             "both a grammar and a schema are given, expected one");
    }
    return true;
}

/* ---------------------------------------------------------------- grammars */

/* Only a sequence reads a grammar, so an empty one is opened for it. */
bool check_grammar(struct reading *r, const char *gbnf, size_t n)
{
    weft_error err;
    weft_seq *seq = NULL;
    if (r->scope->engine == NULL) {
        return true;
    }
    weft_status status = weft_seq_open(r->scope->engine, NULL, &seq, &err);
    status = status == WEFT_OK ? weft_seq_set_grammar(seq, gbnf, n, &err) : status;
    weft_seq_release(&seq);
    if (status == WEFT_OK) {
        return true;
    }
    fault_library(r->fault, status, &err);
    strcpy(r->fault->param, "grammar");
    return false;
}

/* Makes the grammar of a schema. */
static bool schema_to_grammar(struct reading *r, const struct format *format)
{
    struct generation *g = &r->out->generation;
    const unsigned flags = format->strict ? 0 : WEFT_SCHEMA_WIDEN;
    weft_error err;
    char *text = json_text(format->schema, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text == NULL) {
        return fault_memory(r->fault);
    }
    size_t n = 0;
    weft_status status = weft_schema_grammar(text, strlen(text), flags, NULL, 0, &n, &err);
    if (status == WEFT_E_BUFFER) {
        g->grammar = malloc(n);
        g->n_grammar = n;
        status = g->grammar == NULL
                     ? WEFT_E_NOMEM
                     : weft_schema_grammar(text, strlen(text), flags, g->grammar, n, &n, &err);
    }
    free(text);
    return status == WEFT_OK || fault_library(r->fault, status, &err);
}

/* Copies the grammar that the client wrote. */
static bool take_grammar(struct reading *r)
{
    struct generation *g = &r->out->generation;
    const json_t *gbnf = r->form.grammar;
    const size_t n = json_string_length(gbnf);
    if (n == 0) {
        return true;
    }
    g->grammar = copy_text(r, json_string_value(gbnf), n);
    g->n_grammar = n;
    return g->grammar != NULL && check_grammar(r, g->grammar, n);
}

bool read_grammar(struct reading *r)
{
    struct format format = { 0 };
    bool ok = read_format(r, &format);
    if (ok) {
        ok = format.schema != NULL ? schema_to_grammar(r, &format) : take_grammar(r);
    }
    json_decref(format.schema);
    return ok;
}
