#include "chat/messages.h"

#include <string.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "chat/without_tools.h"
#include "reply/tools.h"

static const char *const role_names[N_ROLES] = { "system", "developer", "user", "assistant",
                                                 "tool" };

static weft_status no_memory(weft_error *err) { return error_nomem(err, "messages", 0); }

static enum message_role role_of(const json_t *role)
{
    size_t i = 0;
    const char *name = json_string_value(role);
    while (i < N_ROLES && (name == NULL || strcmp(name, role_names[i]) != 0)) {
        i++;
    }
    return (enum message_role)i;
}

enum message_role messages_role(const struct messages *m, size_t i)
{
    return role_of(json_object_get(json_array_get(m->list, i), "role"));
}

/* Where an error is. */
struct place {
    size_t message;
    weft_error *err;
};

static weft_status wrong(const struct place *at, const char *what, const char *found,
                         const char *expected)
{
    return error_set(at->err, WEFT_E_ARG, "message %zu: %s is %s, expected %s", at->message, what,
                     found, expected);
}

static const char *kind(const json_t *v)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null"
    };
    return v == NULL ? "missing" : names[json_typeof(v)];
}

/* ---------------------------------------------------------------- roles */

static weft_status set_role(struct messages *out, json_t *m, const struct template_traits *traits,
                            const struct place *at)
{
    const json_t *role = json_object_get(m, "role");
    if (!json_is_string(role)) {
        return wrong(at, "role", kind(role), "a string");
    }
    enum message_role r = role_of(role);
    if (r == N_ROLES) {
        return error_set(at->err, WEFT_E_ARG,
                         "message %zu has the role \"%.64s\", expected system, developer, user, "
                         "assistant or tool",
                         at->message, json_string_value(role));
    }
    r = r == ROLE_DEVELOPER && !traits->developer ? ROLE_SYSTEM : r;
    return json_object_set(m, "role", out->roles[r]) == 0 ? WEFT_OK : no_memory(at->err);
}

/* ---------------------------------------------------------------- contents */

/* Checks a content: a string, parts of text or, of an assistant, null. */
static weft_status check_content(const json_t *m, const struct place *at)
{
    const json_t *content = json_object_get(m, "content"), *part;
    size_t i;
    if (json_is_string(content) || (role_of(json_object_get(m, "role")) == ROLE_ASSISTANT &&
                                    (content == NULL || json_is_null(content)))) {
        return WEFT_OK;
    }
    if (!json_is_array(content)) {
        return wrong(at, "content", kind(content), "a string or an array of parts");
    }
    json_array_foreach(content, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (type == NULL || strcmp(type, "text") != 0 ||
            !json_is_string(json_object_get(part, "text"))) {
            return error_set(at->err, WEFT_E_ARG,
                             "message %zu: part %zu of the content is of type \"%.64s\", expected "
                             "{\"type\": \"text\", \"text\": ...}; only text can be read",
                             at->message, i, type != NULL ? type : "none");
        }
    }
    return WEFT_OK;
}

json_t *messages_join_parts(const json_t *parts)
{
    struct bytes text = { 0 };
    size_t i;
    bool ok = true;
    const json_t *part;
    json_array_foreach(parts, i, part)
    {
        const json_t *one = json_object_get(part, "text");
        ok = ok && (i == 0 || bytes_add(&text, "\n", 1)) &&
             bytes_add(&text, json_string_value(one), json_string_length(one));
    }
    json_t *joined = ok ? json_stringn_nocheck(text.n > 0 ? text.data : "", text.n) : NULL;
    bytes_free(&text);
    return joined;
}

/* Returns the content in the form that the template writes, as a new reference. */
static json_t *formed(const json_t *m, const struct template_traits *traits)
{
    json_t *content = json_object_get(m, "content");
    const enum message_role role = role_of(json_object_get(m, "role"));
    const bool calls = json_object_get(m, "tool_calls") != NULL;
    const bool empty = content == NULL || json_is_null(content) ||
                       (json_is_string(content) && json_string_length(content) == 0);
    if (empty && calls && traits->nulls && (!json_is_string(content) || !traits->empties)) {
        return json_null();
    }
    if (json_is_array(content)) {
        return traits->parts[role] ? json_incref(content) : messages_join_parts(content);
    }
    if (!traits->strings && traits->parts[role]) {
        return json_pack("[{s:s, s:O?}]", "type", "text", "text", content);
    }
    return json_is_string(content) ? json_incref(content) : json_string("");
}

/* ---------------------------------------------------------------- tool calls */

/* Arguments that are a text become the object that the text spells. A text that spells none, as a
 * model may write it, stays. */
static weft_status arguments_to_object(json_t *function, const json_t *text, const struct place *at)
{
    json_t *object = NULL;
    weft_status status =
        json_read("arguments", json_string_value(text), json_string_length(text), &object, NULL);
    if (status == WEFT_E_NOMEM) {
        return no_memory(at->err);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return WEFT_OK;
    }
    return json_object_set_new(function, "arguments", object) == 0 ? WEFT_OK : no_memory(at->err);
}

static weft_status arguments_to_text(json_t *function, const json_t *object, const struct place *at)
{
    char *text = json_text(object, 0);
    int failed = text == NULL || json_object_set_new(function, "arguments", json_string(text));
    free(text);
    return failed ? no_memory(at->err) : WEFT_OK;
}

static weft_status set_call(json_t *call, const struct template_traits *traits,
                            const struct place *at)
{
    json_t *function = json_object_get(call, "function");
    json_t *arguments = json_object_get(function, "arguments");
    if (!json_is_object(function) || !json_is_string(json_object_get(function, "name"))) {
        return wrong(at, "a tool call", json_is_object(function) ? "without a name" : kind(call),
                     "{\"type\": \"function\", \"function\": {\"name\": ..., \"arguments\": ...}}");
    }
    if (arguments == NULL || json_is_null(arguments)) {
        if (json_object_set_new(function, "arguments", json_object()) != 0) {
            return no_memory(at->err);
        }
        arguments = json_object_get(function, "arguments");
    }
    if (!json_is_object(arguments) && !json_is_string(arguments)) {
        return wrong(at, "the arguments of a tool call", kind(arguments),
                     "an object or the text of one");
    }
    const bool objects = traits->objects || !traits->texts || without_tools(traits);
    if (objects && json_is_string(arguments)) {
        return arguments_to_object(function, arguments, at);
    }
    return !objects && json_is_object(arguments) ? arguments_to_text(function, arguments, at)
                                                 : WEFT_OK;
}

static weft_status set_calls(json_t *m, const struct template_traits *traits,
                             const struct place *at)
{
    json_t *calls = json_object_get(m, "tool_calls"), *call;
    size_t i;
    if (calls == NULL || json_is_null(calls) || (json_is_array(calls) && !json_array_size(calls))) {
        json_object_del(m, "tool_calls");
        return WEFT_OK;
    }
    if (!json_is_array(calls)) {
        return wrong(at, "tool_calls", kind(calls), "an array");
    }
    json_array_foreach(calls, i, call) { TRY(set_call(call, traits, at)); }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- all */

/* Checks all messages, and sets their roles and calls. */
static weft_status set_all(struct messages *out, const struct template_traits *traits,
                           weft_error *err)
{
    struct place at = { 0, err };
    json_t *m;
    json_array_foreach(out->list, at.message, m)
    {
        if (!json_is_object(m)) {
            return error_set(err, WEFT_E_ARG, "message %zu is %s, expected an object", at.message,
                             kind(m));
        }
        TRY(set_role(out, m, traits, &at));
        TRY(set_calls(m, traits, &at));
        TRY(check_content(m, &at));
    }
    return WEFT_OK;
}

/* Gives all contents their form. */
static weft_status set_contents(struct messages *out, const struct template_traits *traits,
                                weft_error *err)
{
    size_t i;
    json_t *m;
    json_array_foreach(out->list, i, m)
    {
        json_t *content = formed(m, traits);
        if (content == NULL || json_object_set_new(m, "content", content) != 0) {
            return no_memory(err);
        }
    }
    return WEFT_OK;
}

/* Puts a question and an answer in front of the messages. */
static weft_status put_before(struct messages *out, weft_error *err)
{
    static const enum message_role roles[] = { ROLE_ASSISTANT, ROLE_USER };
    for (size_t i = 0; i < 2; i++) {
        json_t *m = json_pack("{s:O, s:s}", "role", out->roles[roles[i]], "content", "x");
        if (m == NULL || json_array_insert_new(out->list, 0, m) != 0) {
            return no_memory(err);
        }
    }
    return WEFT_OK;
}

static weft_status make_ready(struct messages *out, const struct template_traits *traits,
                              const json_t *tools, bool continues, weft_error *err)
{
    TRY(set_all(out, traits, err));
    TRY(without_tools_rewrite(out, traits, tools, err));
    if (continues) {
        TRY(put_before(out, err));
    }
    return set_contents(out, traits, err);
}

weft_status messages_open(const json_t *list, const struct template_traits *traits,
                          const json_t *tools, bool continues, struct messages *out,
                          weft_error *err)
{
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return error_set(err, WEFT_E_ARG, "chat: %s, expected an array of at least one message",
                         json_is_array(list) ? "no messages" : "the messages are not an array");
    }
    *out = (struct messages){ .list = json_deep_copy(list) };
    weft_status status = out->list != NULL ? WEFT_OK : no_memory(err);
    for (size_t i = 0; i < N_ROLES; i++) {
        out->roles[i] = json_string(role_names[i]);
        status = out->roles[i] != NULL ? status : no_memory(err);
    }
    status = status == WEFT_OK ? make_ready(out, traits, tools, continues, err) : status;
    if (status != WEFT_OK) {
        messages_close(out);
    }
    return status;
}

void messages_close(struct messages *m)
{
    json_decref(m->list);
    for (size_t i = 0; i < N_ROLES; i++) {
        json_decref(m->roles[i]);
    }
    memset(m, 0, sizeof *m);
}

weft_status messages_check_tools(const json_t *tools, weft_error *err)
{
    size_t i;
    json_t *tool;
    if (tools != NULL && !json_is_array(tools)) {
        return error_set(err, WEFT_E_ARG, "tools: %s, expected an array", kind(tools));
    }
    json_array_foreach(tools, i, tool)
    {
        TRY(reply_tool_check_type(tool, i, err));
        if (!json_is_string(json_object_get(json_object_get(tool, "function"), "name"))) {
            return error_set(err, WEFT_E_ARG,
                             "tool %zu has no function.name; expected {\"type\": \"function\", "
                             "\"function\": {\"name\": ..., \"parameters\": ...}}",
                             i);
        }
    }
    return WEFT_OK;
}
