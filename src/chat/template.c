#include "chat/template.h"

#include <stdio.h>
#include <string.h>

/* Stands in trial conversations where a value is looked for in what was rendered. */
#define NEEDLE "weftneedle"
#define USER "{\"role\":\"user\",\"content\":\"x\"}"
/* A tool call and its result; the arguments and the content of the call stand between the parts. */
#define CALL_OF                                                                                    \
    "[" USER ",{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call00001\",\"type\":"            \
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
#define CALL_SAYS "}}],\"content\":"
#define CALL_END                                                                                   \
    "},{\"role\":\"tool\",\"tool_call_id\":\"call00001\",\"name\":\"f\",\"content\":\"y\"}]"
#define OBJECT "{\"" NEEDLE "\":\"z\"}"
#define TEXT "\"{\\\"" NEEDLE "\\\": \\\"z\\\"}\""
#define A_TOOL                                                                                     \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":"   \
    "{\"type\":\"object\",\"properties\":{\"" NEEDLE "\":{\"type\":\"string\",\"description\":"    \
    "\"d\"}},\"required\":[\"" NEEDLE "\"]}}}]"

/* A trial takes a few thousand steps. A template that takes many more is not worth the time. */
enum { TRIAL_STEPS = 1 << 18 };

/* Renders a trial conversation. Returns true if the result contains `want`, and not `without`,
 * which may be NULL. */
static bool writes(const struct jinja *t, const char *messages, const char *tools, const char *want,
                   const char *without)
{
    struct jinja_text out = { 0 };
    json_t *m = json_loads(messages, 0, NULL), *list = json_loads(tools, JSON_DECODE_ANY, NULL);
    json_t *token = json_string("");
    const struct jinja_var vars[] = {
        { "messages", m, JINJA_CALLER },
        { "tools", list, JINJA_CALLER },
        { "bos_token", token, JINJA_TEMPLATE },
        { "eos_token", token, JINJA_TEMPLATE },
        { "add_generation_prompt", json_false(), JINJA_TEMPLATE },
    };
    const struct jinja_params p = { .vars = vars,
                                    .n_vars = sizeof vars / sizeof vars[0],
                                    .max_steps = TRIAL_STEPS };
    bool found = m != NULL && list != NULL && token != NULL &&
                 jinja_render(t, &p, &out, NULL, NULL) == WEFT_OK && out.text.n > 0 &&
                 memmem(out.text.data, out.text.n, want, strlen(want)) != NULL;
    if (found && without != NULL) {
        found = memmem(out.text.data, out.text.n, without, strlen(without)) == NULL;
    }
    jinja_text_free(&out);
    json_decref(m);
    json_decref(list);
    json_decref(token);
    return found;
}

static struct template_traits try_out(const struct chat_template *c)
{
    const struct jinja *t = c->jinja;
    struct template_traits r = { 0 };
    r.strings = writes(t, "[{\"role\":\"user\",\"content\":\"" NEEDLE "\"}]", "null", NEEDLE, NULL);
    r.parts =
        writes(t, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" NEEDLE "\"}]}]",
               "null", NEEDLE, "'type'");
    r.objects = writes(t, CALL_OF OBJECT CALL_SAYS "\"\"" CALL_END, A_TOOL, NEEDLE, "'" NEEDLE "'");
    r.texts = writes(t, CALL_OF TEXT CALL_SAYS "\"\"" CALL_END, A_TOOL, "\"" NEEDLE "\": \"z\"",
                     "\\\"" NEEDLE);
    r.nulls = writes(t,
                     r.objects ? CALL_OF OBJECT CALL_SAYS "null" CALL_END
                               : CALL_OF TEXT CALL_SAYS "null" CALL_END,
                     A_TOOL, NEEDLE, "None");
    r.developer = memmem(c->source, c->n, "developer", strlen("developer")) != NULL;
    r.tools = jinja_reads(t, "tools");
    return r;
}

weft_status template_open(const char *source, size_t n, struct chat_template **out, weft_error *err)
{
    struct chat_template *c = mem_array(1, sizeof *c);
    if (c == NULL || (c->source = mem_array(n + 1, 1)) == NULL) {
        free(c);
        return error_nomem(err, "a chat template", n);
    }
    memcpy(c->source, source, n);
    c->n = n;
    weft_status status = jinja_parse(source, n, &c->jinja, err);
    if (status != WEFT_OK) {
        template_close(c);
        return status;
    }
    c->traits = try_out(c);
    *out = c;
    return WEFT_OK;
}

static weft_status unknown(const char *name, weft_error *err)
{
    char names[256] = "";
    for (size_t i = 0, used = 0; builtin_at(i) != NULL && used < sizeof names; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? " " : "",
                                 builtin_at(i)->name);
    }
    return error_set(err, WEFT_E_UNSUPPORTED,
                     "no chat template \"%.64s\" is built in; choose one of: %s", name, names);
}

static weft_status check_controls(const struct builtin *b, const struct tokenizer *t,
                                  weft_error *err)
{
    for (size_t i = 0; i < BUILTIN_CONTROLS && b->controls[i] != NULL; i++) {
        int32_t id = tokenizer_find(t, b->controls[i], strlen(b->controls[i]));
        enum token_type type = id < 0 ? TOKEN_NORMAL : tokenizer_type(t, id);
        if (type != TOKEN_CONTROL && type != TOKEN_USER_DEFINED) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "chat template %s needs the control token %s, which the model's "
                             "vocabulary lacks; choose the template it was trained with",
                             b->name, b->controls[i]);
        }
    }
    if (strstr(b->source, "eos_token") != NULL && tokenizer_eos(t) < 0) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "chat template %s needs an end-of-text token, but the model's vocabulary "
                         "names none",
                         b->name);
    }
    return WEFT_OK;
}

weft_status template_open_builtin(const char *name, const struct tokenizer *t,
                                  struct chat_template **out, weft_error *err)
{
    const struct builtin *b = builtin_find(name);
    if (b == NULL) {
        return unknown(name, err);
    }
    TRY(check_controls(b, t, err));
    TRY(template_open(b->source, strlen(b->source), out, err));
    (*out)->builtin = b;
    return WEFT_OK;
}

void template_close(struct chat_template *c)
{
    if (c != NULL) {
        jinja_close(c->jinja);
        free(c->source);
        free(c);
    }
}
