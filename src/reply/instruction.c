/* The text that tells a model about tools where its template does not. */
#include <string.h>

#include "base/json_text.h"
#include "reply/reply.h"

static bool add(struct bytes *out, const char *text) { return text_add(out, text, strlen(text)); }

static bool add_json(struct bytes *out, const json_t *value)
{
    char *text = json_text(value, JSON_ENCODE_ANY);
    bool ok = text != NULL && add(out, text);
    free(text);
    return ok;
}

/* Appends a tool as a line of JSON. */
static bool add_tool(struct bytes *out, const struct reply_tools *tools, size_t i)
{
    size_t k;
    json_t *one;
    json_array_foreach(tools->root, k, one)
    {
        json_t *function = json_object_get(one, "function");
        function = function != NULL ? function : one;
        if (json_string_value(json_object_get(function, "name")) == tools->at[i].name) {
            return add_json(out, function) && add(out, "\n");
        }
    }
    return true;
}

weft_status reply_instruction(const char *text, size_t n, struct bytes *out, weft_error *err)
{
    struct reply_tools tools;
    size_t before = out->n;
    TRY(reply_tools_open(text, n, &tools, err));
    bool ok =
        add(out, "You can call these tools, which are described in JSON, one on each line:\n");
    for (size_t i = 0; i < tools.n && ok; i++) {
        ok = add_tool(out, &tools, i);
    }
    ok = ok && add(out, "To call a tool, answer with nothing but JSON of this form:\n"
                        "{\"tool_call\": {\"name\": \"NAME\", \"arguments\": {\"KEY\": VALUE}}}\n"
                        "The result comes back to you. If no tool is needed, answer with plain "
                        "text.");
    reply_tools_close(&tools);
    if (!ok) {
        out->n = before;
        return error_nomem(err, "the instruction about tools", n);
    }
    return WEFT_OK;
}
