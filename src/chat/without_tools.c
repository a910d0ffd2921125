#include "chat/without_tools.h"

#include <string.h>

#include "base/json_text.h"
#include "reply/reply.h"

bool without_tools(const struct template_traits *traits) { return !traits->tools; }

/* Appends to a content, a string or an array of parts, another paragraph. */
static bool append_text(json_t *message, const char *text, size_t n)
{
    json_t *content = json_object_get(message, "content");
    json_t *string = json_stringn_nocheck(text, n);
    if (json_is_array(content)) {
        return json_array_append_new(content,
                                     json_pack("{s:s, s:o}", "type", "text", "text", string)) == 0;
    }
    struct bytes all = { 0 };
    const size_t before = json_string_length(content);
    bool ok = string != NULL &&
              (before == 0 || (bytes_add(&all, json_string_value(content), before) &&
                               bytes_add(&all, "\n\n", 2))) &&
              bytes_add(&all, text, n);
    json_decref(string);
    ok = ok && json_object_set_new(message, "content", json_stringn_nocheck(all.data, all.n)) == 0;
    bytes_free(&all);
    return ok;
}

static bool append_json(json_t *message, json_t *value)
{
    char *text = value != NULL ? json_text(value, 0) : NULL;
    bool ok = text != NULL && append_text(message, text, strlen(text));
    free(text);
    json_decref(value);
    return ok;
}

/* Returns the message that tells about tools: the system message, which is made if there is none,
 * or the first of a user. NULL: memory is out. */
static json_t *teller(struct messages *m, const struct template_traits *traits)
{
    const enum message_role first = messages_role(m, 0);
    size_t i = 0;
    if (first != ROLE_SYSTEM && first != ROLE_DEVELOPER) {
        while (!traits->system && i < json_array_size(m->list) &&
               messages_role(m, i) != ROLE_USER) {
            i++;
        }
        const enum message_role role = traits->system ? ROLE_SYSTEM : ROLE_USER;
        if (messages_role(m, i) != role) {
            json_t *new = json_pack("{s:O, s:s}", "role", m->roles[role], "content", "");
            i = 0;
            if (json_array_insert_new(m->list, 0, new) != 0) {
                return NULL;
            }
        }
    }
    return json_array_get(m->list, i);
}

/* Tells the model about the tools. */
static weft_status tell(struct messages *m, const struct template_traits *traits,
                        const json_t *tools, weft_error *err)
{
    struct bytes text = { 0 };
    char *list = json_text(tools, 0);
    weft_status status = list != NULL ? reply_instruction(list, strlen(list), &text, err)
                                      : error_nomem(err, "tools", 0);
    if (status == WEFT_OK) {
        json_t *message = teller(m, traits);
        if (message == NULL || !append_text(message, text.data, text.n)) {
            status = error_nomem(err, "the instruction about tools", text.n);
        }
    }
    free(list);
    bytes_free(&text);
    return status;
}

/* Puts the calls of an assistant's message behind its content. */
static bool write_calls(json_t *message)
{
    size_t i;
    bool ok = true;
    json_t *call, *calls = json_object_get(message, "tool_calls");
    json_array_foreach(calls, i, call)
    {
        json_t *function = json_object_get(call, "function");
        ok = ok && append_json(message, json_pack("{s:{s:O, s:O}}", "tool_call", "name",
                                                  json_object_get(function, "name"), "arguments",
                                                  json_object_get(function, "arguments")));
    }
    json_object_del(message, "tool_calls");
    return ok;
}

/* Makes a user's message of a tool's. */
static bool write_result(const struct messages *m, json_t *message)
{
    json_t *given = json_object_get(message, "content");
    json_t *content = json_is_array(given) ? messages_join_parts(given) : json_incref(given);
    bool ok = content != NULL && json_object_set(message, "role", m->roles[ROLE_USER]) == 0 &&
              json_object_set_new(message, "content", json_string("")) == 0 &&
              append_json(message, json_pack("{s:O}", "tool_response", content));
    json_decref(content);
    return ok;
}

weft_status without_tools_rewrite(struct messages *m, const struct template_traits *traits,
                                  const json_t *tools, weft_error *err)
{
    const bool silent = without_tools(traits);
    const bool no_calls = silent || (!traits->objects && !traits->texts);
    for (size_t i = 0; i < json_array_size(m->list); i++) {
        json_t *message = json_array_get(m->list, i);
        const enum message_role role = messages_role(m, i);
        if ((no_calls && role == ROLE_ASSISTANT && !write_calls(message)) ||
            (silent && role == ROLE_TOOL && !write_result(m, message))) {
            return error_nomem(err, "a message about tools", 0);
        }
    }
    return silent && tools != NULL ? tell(m, traits, tools, err) : WEFT_OK;
}
