/* Messages as structs become JSON. */
#include "chat/chat.h"

#include <string.h>
#include <time.h>

#include "chat/prompt.h"

static weft_status check_messages(const weft_message *m, size_t n, weft_error *err)
{
    if (n == 0 || m == NULL) {
        return error_set(err, WEFT_E_ARG, "chat: no messages, expected at least one");
    }
    for (size_t i = 0; i < n; i++) {
        if (m[i].role == NULL || m[i].content == NULL) {
            return error_set(err, WEFT_E_ARG, "chat: message %zu has no %s", i,
                             m[i].role == NULL ? "role" : "content");
        }
        if (strcmp(m[i].role, "system") != 0 && strcmp(m[i].role, "user") != 0 &&
            strcmp(m[i].role, "assistant") != 0) {
            return error_set(
                err, WEFT_E_ARG,
                "chat: message %zu has the role \"%s\", expected system, user or assistant", i,
                m[i].role);
        }
    }
    return WEFT_OK;
}

static bool add(json_t *list, const char *role, const char *content)
{
    json_t *text = json_stringn_nocheck(content, strlen(content));
    json_t *m = json_pack("{s:s, s:o}", "role", role, "content", text);
    return m != NULL && json_array_append_new(list, m) == 0;
}

static json_t *to_json(const weft_message *m, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n && list != NULL; i++) {
        if (!add(list, m[i].role, m[i].content)) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static bool append(struct tokens *out, const struct tokens *ids)
{
    const size_t before = out->n;
    for (size_t i = 0; i < ids->n; i++) {
        if (!tokens_add(out, ids->data[i])) {
            out->n = before;
            return false;
        }
    }
    return true;
}

weft_status chat_encode(const struct chat_template *c, const struct tokenizer *t,
                        const weft_message *messages, size_t n, const weft_chat_params *params,
                        struct tokens *out, weft_error *err)
{
    TRY(check_messages(messages, n, err));
    const struct prompt_how how = {
        .add_prompt = !params->no_prompt,
        .continues = params->continues,
        .cut = params->last != NULL && !tokenizer_is_end(t, *params->last),
        .now = (int64_t)time(NULL),
    };
    struct prompt p = { 0 };
    json_t *list = to_json(messages, n);
    weft_status status = list != NULL
                             ? prompt_make(c, t, list, &how, &p, err)
                             : error_nomem(err, "the messages of a chat", n * sizeof *messages);
    if (status == WEFT_OK && !append(out, &p.ids)) {
        status = error_nomem(err, "the tokens of a chat", p.ids.n * sizeof *p.ids.data);
    }
    json_decref(list);
    prompt_free(&p);
    return status;
}
