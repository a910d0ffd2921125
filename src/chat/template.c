#include "chat/template.h"

#include <stdio.h>
#include <string.h>

#include "base/json_read.h"

/* Stands in trial conversations where a value is looked for in what was rendered. */
#define NEEDLE "weftneedle"
#define MESSAGE(role, content) "{\"role\":\"" role "\",\"content\":" content "}"
#define USER MESSAGE("user", "\"x\"")
#define ASSISTANT MESSAGE("assistant", "\"x\"")
#define STRING "\"" NEEDLE "\""
#define PARTS "[{\"type\":\"text\",\"text\":\"" NEEDLE "\"}]"
/* An assistant's message with a call. */
#define CALL(arguments, content)                                                                   \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call00001\",\"type\":\"function\","         \
    "\"function\":{\"name\":\"f\",\"arguments\":" arguments "}}],\"content\":" content "}"
#define RESULT(content)                                                                            \
    "{\"role\":\"tool\",\"tool_call_id\":\"call00001\",\"name\":\"f\",\"content\":" content "}"
#define OBJECT "{\"" NEEDLE "\":\"z\"}"
#define TEXT "\"{\\\"" NEEDLE "\\\": \\\"z\\\"}\""
#define CALLS(arguments, content) "[" USER "," CALL(arguments, content) "," RESULT("\"y\"") "]"
#define A_TOOL                                                                                     \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":"   \
    "{\"type\":\"object\",\"properties\":{\"p\":{\"type\":\"string\",\"description\":\"d\"}},"     \
    "\"required\":[\"p\"]}}}]"

/* A trial takes a few thousand steps. A template that takes many more is not worth the time. */
enum { TRIAL_STEPS = 1 << 18, TRIAL_MESSAGES = 3 };

/* The template that is tried out. What a trial shows is wrong once there was no memory. */
struct trial {
    const struct jinja *jinja;
    bool no_memory;
};

/* Renders a trial conversation. Returns false if the template refuses it. */
static bool render(struct trial *t, const json_t *m, const json_t *list, bool prompt,
                   struct jinja_text *out)
{
    json_t *token = json_string("");
    const struct jinja_var vars[] = {
        { "messages", m, JINJA_CALLER },
        { "tools", list, JINJA_CALLER },
        { "bos_token", token, JINJA_TEMPLATE },
        { "eos_token", token, JINJA_TEMPLATE },
        { "add_generation_prompt", json_boolean(prompt), JINJA_TEMPLATE },
    };
    struct jinja_writer roles[TRIAL_MESSAGES];
    for (size_t i = 0; i < TRIAL_MESSAGES; i++) {
        const json_t *role = json_object_get(json_array_get(m, i), "role");
        roles[i] = (struct jinja_writer){ role, JINJA_TEMPLATE };
    }
    const struct jinja_params p = { .vars = vars,
                                    .n_vars = sizeof vars / sizeof vars[0],
                                    .writers = roles,
                                    .n_writers = TRIAL_MESSAGES,
                                    .max_steps = TRIAL_STEPS };
    weft_status status = token != NULL ? jinja_render(t->jinja, &p, out, NULL, NULL) : WEFT_E_NOMEM;
    t->no_memory |= status == WEFT_E_NOMEM;
    json_decref(token);
    return status == WEFT_OK;
}

/* Renders a trial conversation whose texts are JSON. */
static bool try_one(struct trial *t, const char *messages, const char *tools, bool prompt,
                    struct jinja_text *out)
{
    json_t *m = NULL, *list = NULL;
    const bool read = json_read("", messages, strlen(messages), &m, NULL) == WEFT_OK &&
                      json_read("", tools, strlen(tools), &list, NULL) == WEFT_OK;
    t->no_memory |= !read;
    const bool ok = read && render(t, m, list, prompt, out);
    json_decref(m);
    json_decref(list);
    return ok;
}

static bool holds(const struct jinja_text *text, const char *part)
{
    return text->text.n > 0 && memmem(text->text.data, text->text.n, part, strlen(part)) != NULL;
}

/* Returns true if the template writes `want` of a trial conversation, but neither of the two texts
 * that show a value printed as a whole; these may be NULL. */
static bool writes(struct trial *t, const char *messages, const char *tools, const char *want,
                   const char *bad, const char *worse)
{
    struct jinja_text out = { 0 };
    bool found = try_one(t, messages, tools, false, &out) && holds(&out, want) &&
                 (bad == NULL || !holds(&out, bad)) && (worse == NULL || !holds(&out, worse));
    jinja_text_free(&out);
    return found;
}

static bool writes_parts(struct trial *t, const char *messages)
{
    return writes(t, messages, "null", NEEDLE, NEEDLE "'}", NEEDLE "\"}");
}

static void try_parts(struct trial *t, bool *parts)
{
    parts[ROLE_SYSTEM] = writes_parts(t, "[" MESSAGE("system", PARTS) "," USER "]");
    parts[ROLE_DEVELOPER] = writes_parts(t, "[" MESSAGE("developer", PARTS) "," USER "]");
    parts[ROLE_USER] = writes_parts(t, "[" MESSAGE("user", PARTS) "]");
    parts[ROLE_ASSISTANT] = writes_parts(t, "[" USER "," MESSAGE("assistant", PARTS) "," USER "]");
    parts[ROLE_TOOL] = writes_parts(t, "[" USER "," CALL("{}", "\"\"") "," RESULT(PARTS) "]");
}

static bool writes_object(struct trial *t, const char *messages)
{
    return writes(t, messages, A_TOOL, NEEDLE, "'" NEEDLE "'", "None");
}

static bool writes_text(struct trial *t, const char *messages)
{
    return writes(t, messages, A_TOOL, "\"" NEEDLE "\": \"z\"", "\\\"" NEEDLE, "None");
}

static void try_calls(struct trial *t, struct template_traits *r)
{
    const bool object_null = writes_object(t, CALLS(OBJECT, "null"));
    const bool object_empty = writes_object(t, CALLS(OBJECT, "\"\""));
    const bool text_null = writes_text(t, CALLS(TEXT, "null"));
    const bool text_empty = writes_text(t, CALLS(TEXT, "\"\""));
    r->objects = object_null || object_empty;
    r->texts = text_null || text_empty;
    r->nulls = r->objects ? object_null : text_null;
    r->empties = r->objects ? object_empty : text_empty;
}

static struct template_traits try_out(const struct chat_template *c, struct trial *t)
{
    struct template_traits r = { 0 };
    r.strings = writes(t, "[" MESSAGE("user", STRING) "]", "null", NEEDLE, NULL, NULL);
    try_parts(t, r.parts);
    try_calls(t, &r);
    const char *form = r.strings ? "[" MESSAGE("system", STRING) "," USER "]"
                                 : "[" MESSAGE("system", PARTS) "," USER "]";
    r.system = writes(t, form, "null", NEEDLE, NULL, NULL);
    r.developer =
        memmem(c->source, c->n, "developer", strlen("developer")) != NULL &&
        writes(t, "[" MESSAGE("developer", STRING) "," USER "]", "null", NEEDLE, NULL, NULL);
    r.tools = jinja_reads(t->jinja, "tools");
    return r;
}

bool template_add_own(struct bytes *own, const struct jinja_text *text)
{
    for (size_t i = 0, at = 0; i < text->n_runs; at += text->runs[i++].n) {
        if (text->runs[i].who == JINJA_TEMPLATE &&
            (!bytes_add(own, text->text.data + at, text->runs[i].n) || !bytes_add(own, "", 1))) {
            return false;
        }
    }
    return true;
}

/* Collects the texts of the template. */
static bool collect_own(struct chat_template *c, struct trial *t)
{
    static const char *const trials[] = {
        "[" MESSAGE("system", "\"x\"") "," USER "]",
        "[" MESSAGE("developer", "\"x\"") "," USER "]",
        "[" USER "," ASSISTANT "," USER "]",
        "[" USER "," CALL("{\"k\":1}", "null") "," RESULT("\"y\"") "]",
        "[" USER "," CALL("{\"k\":1}", "\"\"") "," RESULT("\"y\"") "]",
    };
    bool ok = bytes_add(&c->own, c->source, c->n) && bytes_add(&c->own, "", 1);
    for (size_t i = 0; i < 2 * (sizeof trials / sizeof trials[0]) && ok; i++) {
        struct jinja_text out = { 0 };
        if (try_one(t, trials[i / 2], i % 2 != 0 ? A_TOOL : "null", true, &out)) {
            ok = template_add_own(&c->own, &out);
        }
        jinja_text_free(&out);
    }
    return ok;
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
    struct trial t = { c->jinja, false };
    const bool collected = collect_own(c, &t);
    c->traits = try_out(c, &t);
    if (!collected || t.no_memory) {
        template_close(c);
        return error_nomem(err, "a chat template", n);
    }
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
        bytes_free(&c->own);
        free(c);
    }
}
