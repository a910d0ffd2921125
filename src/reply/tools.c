#include "reply/tools.h"

#include <string.h>

#include "base/json_text.h"
#include "schema/json_schema.h"

/* ---------------------------------------------------------------- reading */

static weft_status name_check(const json_t *name, size_t i, weft_error *err)
{
    const char *text = json_string_value(name);
    size_t n = json_string_length(name);
    bool clean = text != NULL && n > 0 && n <= REPLY_MAX_NAME;
    for (size_t k = 0; clean && k < n; k++) {
        clean = (unsigned char)text[k] >= 0x20 && text[k] != 0x7f;
    }
    return clean ? WEFT_OK
                 : error_set(err, WEFT_E_ARG,
                             "tool %zu has no usable name; expected \"name\": a text of 1 to %d "
                             "bytes without control characters",
                             i, REPLY_MAX_NAME);
}

weft_status reply_tool_check_type(const json_t *tool, size_t i, weft_error *err)
{
    const json_t *type = json_object_get(tool, "type"), *function;
    const char *text = json_string_value(type), *name;
    if (type == NULL || (text != NULL && strcmp(text, "function") == 0)) {
        return WEFT_OK;
    }
    function = json_object_get(tool, "function");
    name = json_string_value(json_object_get(function != NULL ? function : tool, "name"));
    return error_set(err, WEFT_E_ARG,
                     "tool %zu, '%.128s', is of type \"%.64s\", expected \"function\"; tools of "
                     "other types cannot be called, leave them out",
                     i, name != NULL ? name : "without a name", text != NULL ? text : "no text");
}

static weft_status add_tool(struct reply_tools *t, const json_t *function, size_t i,
                            weft_error *err)
{
    const json_t *name = json_object_get(function, "name");
    TRY(name_check(name, i, err));
    const char *text = json_string_value(name);
    if (reply_tool_named(t, text, strlen(text)) != NULL) {
        return WEFT_OK;
    }
    char *quoted = json_text(name, JSON_ENCODE_ANY);
    if (quoted == NULL) {
        return error_nomem(err, "a tool", strlen(text));
    }
    const json_t *parameters = json_object_get(function, "parameters");
    t->at[t->n++] = (struct reply_tool){ text, quoted, parameters };
    return WEFT_OK;
}

static weft_status add_tools(struct reply_tools *t, weft_error *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(t->root, i, one)
    {
        const json_t *function = json_object_get(one, "function");
        TRY(reply_tool_check_type(one, i, err));
        TRY(add_tool(t, function != NULL ? function : one, i, err));
    }
    return WEFT_OK;
}

static weft_status parse(const char *text, size_t n, json_t **root, weft_error *err)
{
    struct json_fault fault;
    struct schema_error e;
    *root = json_parse(text, n, SCHEMA_MAX_DEPTH, 0, &fault);
    if (*root != NULL) {
        return WEFT_OK;
    }
    json_schema_fault(&fault, &e);
    return e.text[0] == '\0' ? error_nomem(err, "the tools", n)
                             : error_set(err, WEFT_E_ARG, "tools: %s", e.text);
}

weft_status reply_tools_open(const char *text, size_t n, struct reply_tools *out, weft_error *err)
{
    *out = (struct reply_tools){ 0 };
    if (text == NULL) {
        return WEFT_OK;
    }
    TRY(parse(text, n, &out->root, err));
    size_t n_tools = json_array_size(out->root);
    weft_status status = WEFT_OK;
    if (!json_is_array(out->root) || n_tools > REPLY_MAX_TOOLS) {
        status = error_set(err, WEFT_E_ARG, "tools: expected an array of at most %d tools",
                           REPLY_MAX_TOOLS);
    } else if ((out->at = mem_array(n_tools, sizeof *out->at)) == NULL) {
        status = error_nomem(err, "the tools", n_tools * sizeof *out->at);
    }
    status = status == WEFT_OK ? add_tools(out, err) : status;
    if (status != WEFT_OK) {
        reply_tools_close(out);
    }
    return status;
}

void reply_tools_close(struct reply_tools *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->at[i].quoted);
    }
    free(t->at);
    json_decref(t->root);
    *t = (struct reply_tools){ 0 };
}

/* ---------------------------------------------------------------- finding */

static bool equals(const char *text, const char *other, size_t n)
{
    return strlen(text) == n && memcmp(text, other, n) == 0;
}

const struct reply_tool *reply_tool_named(const struct reply_tools *t, const char *name, size_t n)
{
    for (size_t i = 0; i < t->n; i++) {
        if (equals(t->at[i].name, name, n)) {
            return &t->at[i];
        }
    }
    return NULL;
}

const struct reply_tool *reply_tools_choose(struct reply_tools *t, const char *name)
{
    const struct reply_tool *found = reply_tool_named(t, name, strlen(name));
    if (found == NULL) {
        return NULL;
    }
    const struct reply_tool chosen = *found;
    for (size_t i = 0; i < t->n; i++) {
        if (t->at[i].quoted != chosen.quoted) {
            free(t->at[i].quoted);
        }
    }
    t->at[0] = chosen;
    t->n = 1;
    return t->at;
}

const struct reply_tool *reply_tool_quoted(const struct reply_tools *t, const char *quoted,
                                           size_t n)
{
    for (size_t i = 0; i < t->n; i++) {
        if (equals(t->at[i].quoted, quoted, n)) {
            return &t->at[i];
        }
    }
    return NULL;
}

bool reply_tool_begins(const struct reply_tools *t, const char *name, size_t n)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strlen(t->at[i].name) >= n && memcmp(t->at[i].name, name, n) == 0) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- types of parameters */

unsigned reply_type_of(const json_t *value)
{
    static const unsigned bits[] = { REPLY_OBJECT, REPLY_ARRAY,   REPLY_STRING,  REPLY_NUMBER,
                                     REPLY_NUMBER, REPLY_BOOLEAN, REPLY_BOOLEAN, REPLY_NULL };
    return bits[json_typeof(value)]; /* in the order of json_type */
}

static unsigned named_type(const json_t *name)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = { { "object", REPLY_OBJECT },  { "array", REPLY_ARRAY },
                  { "string", REPLY_STRING },  { "number", REPLY_NUMBER },
                  { "integer", REPLY_NUMBER }, { "boolean", REPLY_BOOLEAN },
                  { "null", REPLY_NULL } };
    const char *text = json_string_value(name);
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) == 0) {
            return names[i].bit;
        }
    }
    return REPLY_ANY;
}

static unsigned schema_types(const json_t *schema, int depth);

/* Returns the types of a list: of names, of values, or of schemas. */
static unsigned list_types(const json_t *list, char of, int depth)
{
    unsigned types = 0;
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        types |= of == 'n'   ? named_type(one)
                 : of == 'v' ? reply_type_of(one)
                             : schema_types(one, depth - 1);
    }
    return types != 0 ? types : (unsigned)REPLY_ANY;
}

static unsigned schema_types(const json_t *schema, int depth)
{
    const json_t *type = json_object_get(schema, "type"), *any = json_object_get(schema, "anyOf");
    const json_t *constant = json_object_get(schema, "const");
    any = any != NULL ? any : json_object_get(schema, "oneOf");
    if (type != NULL) {
        return json_is_array(type) ? list_types(type, 'n', 0) : named_type(type);
    }
    if (constant != NULL) {
        return reply_type_of(constant);
    }
    if (json_object_get(schema, "enum") != NULL) {
        return list_types(json_object_get(schema, "enum"), 'v', 0);
    }
    return any != NULL && depth > 0 ? list_types(any, 's', depth) : (unsigned)REPLY_ANY;
}

unsigned reply_parameter_types(const struct reply_tool *tool, const char *key, size_t n)
{
    char name[REPLY_MAX_NAME * 2];
    if (n >= sizeof name) {
        return REPLY_ANY;
    }
    memcpy(name, key, n);
    name[n] = '\0';
    return schema_types(json_object_get(json_object_get(tool->parameters, "properties"), name), 4);
}
