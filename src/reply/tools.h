/* The tools of a request. */
#ifndef WEFT_REPLY_TOOLS_H
#define WEFT_REPLY_TOOLS_H

#include <jansson.h>

#include "base/error.h"
#include "base/mem.h"

enum { REPLY_MAX_TOOLS = 512, REPLY_MAX_NAME = 128 };

struct reply_tool {
    const char *name;
    char *quoted;             /* the name as JSON */
    const json_t *parameters; /* a schema; NULL = none was given */
};
struct reply_tools {
    json_t *root;
    struct reply_tool *at; /* [n] */
    size_t n;
};

/* Reads text[n], a JSON array of tools: {"type": "function", "function": {"name", "description",
 * "parameters"}}, or the inner object alone. Of two with the same name the
 * first counts. NULL means no tools. Errors: WEFT_E_ARG (this is no such array, a tool is of
 * another type, a name is missing, empty, longer than REPLY_MAX_NAME or has control characters, or
 * there are more than REPLY_MAX_TOOLS), WEFT_E_NOMEM. */
weft_status reply_tools_open(const char *text, size_t n, struct reply_tools *out, weft_error *err);
void reply_tools_close(struct reply_tools *t);
/* Refuses tool i of a list with WEFT_E_ARG if it has another type than "function". */
weft_status reply_tool_check_type(const json_t *tool, size_t i, weft_error *err);
/* Leaves out all tools but the one of this name, and returns it; NULL, and nothing has changed, if
 * there is none. */
const struct reply_tool *reply_tools_choose(struct reply_tools *t, const char *name);
/* These return NULL if there is no such tool. `quoted` is JSON. */
const struct reply_tool *reply_tool_named(const struct reply_tools *t, const char *name, size_t n);
const struct reply_tool *reply_tool_quoted(const struct reply_tools *t, const char *quoted,
                                           size_t n);
/* Returns true if the name of a tool begins with name[n]. */
bool reply_tool_begins(const struct reply_tools *t, const char *name, size_t n);

/* Types of JSON, as bits. */
enum {
    REPLY_OBJECT = 1,
    REPLY_ARRAY = 2,
    REPLY_STRING = 4,
    REPLY_NUMBER = 8,
    REPLY_BOOLEAN = 16,
    REPLY_NULL = 32,
    REPLY_ANY = 63
};
/* Returns the type of a value. */
unsigned reply_type_of(const json_t *value);
/* Returns the types that the schema of a parameter allows. */
unsigned reply_parameter_types(const struct reply_tool *tool, const char *key, size_t n);

#endif
