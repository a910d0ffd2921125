/* /v1/chat/completions and /apply-template: a conversation becomes a prompt, and a reply for each
 * answer. */
#include <string.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "serve/reading.h"

static const char *const choices[] = { "auto", "none", "required", NULL };
static const char *const reasonings[] = { "auto", "none", "deepseek", "deepseek-legacy", NULL };

/* The fields of a conversation. */
struct chat {
    json_t *messages, *tools, *tool_choice, *variables, *effort;
    int parallel, add_prompt, continues; /* -1 = not given */
    int reasoning;                       /* index in `reasonings`; -1 = not given */
    int logprobs;
    int64_t n_top; /* -1 = not given */

    struct format format;
    bool prefill;
    char *text[3]; /* messages, tools and variables as JSON */
};

static const struct field fields[] = {
    { .name = "messages", .kind = FIELD_ARRAY, .offset = offsetof(struct chat, messages) },
    { .name = "tools", .kind = FIELD_ARRAY, .offset = offsetof(struct chat, tools) },
    { .name = "tool_choice", .kind = FIELD_ANY, .offset = offsetof(struct chat, tool_choice) },
    { .name = "parallel_tool_calls",
      .kind = FIELD_SWITCH,
      .offset = offsetof(struct chat, parallel) },
    { .name = "chat_template_kwargs",
      .kind = FIELD_OBJECT,
      .offset = offsetof(struct chat, variables) },
    { .name = "reasoning_effort", .kind = FIELD_TEXT, .offset = offsetof(struct chat, effort) },
    { .name = "reasoning_format",
      .kind = FIELD_WORD,
      .offset = offsetof(struct chat, reasoning),
      .words = reasonings },
    { .name = "add_generation_prompt",
      .kind = FIELD_SWITCH,
      .offset = offsetof(struct chat, add_prompt) },
    { .name = "continue_final_message",
      .kind = FIELD_SWITCH,
      .offset = offsetof(struct chat, continues) },
    { .name = "logprobs", .kind = FIELD_SWITCH, .offset = offsetof(struct chat, logprobs) },
    { "top_logprobs", { 0 }, FIELD_INT64, offsetof(struct chat, n_top), 0, MAX_TOP_LOGPROBS, NULL },
};

/* ---------------------------------------------------------------- tools */

static bool is_function(const json_t *tool)
{
    const char *type = json_string_value(json_object_get(tool, "type"));
    return type == NULL || strcmp(type, "function") == 0;
}

/* Leaves out tools of types that are not the client's own functions: agents list some that only one
 * vendor has. Returns a new list, or NULL if memory is out. */
static json_t *functions_of(const json_t *tools)
{
    json_t *list = json_array(), *tool;
    size_t i;
    bool ok = list != NULL;
    json_array_foreach(tools, i, tool)
    {
        ok = ok && (!is_function(tool) || json_array_append(list, tool) == 0);
    }
    if (!ok) {
        json_decref(list);
    }
    return ok ? list : NULL;
}

static const json_t *tool_name(const json_t *tools, size_t i)
{
    return json_object_get(json_object_get(json_array_get(tools, i), "function"), "name");
}

static bool is_tool_name(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const size_t n = strlen(name);
    return n > 0 && n <= MAX_TOOL_NAME && strspn(name, allowed) == n;
}

/* A call says by a name which tool it means. A tool without a name is refused by the library. */
static bool check_names(struct reading *r, const json_t *tools)
{
    char found[FOUND_MAX];
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *name = tool_name(tools, i);
        field_found(name, found);
        if (json_is_string(name) && !is_tool_name(json_string_value(name))) {
            return fault_request(
                r->fault, "tools",
                "a tool has the name %s, expected 1 to %d letters, digits, _ and -", found,
                MAX_TOOL_NAME);
        }
        for (size_t k = 0; k < i; k++) {
            if (name != NULL && json_equal(name, tool_name(tools, k))) {
                return fault_request(r->fault, "tools", "two tools have the name %s, expected one",
                                     found);
            }
        }
    }
    return true;
}

/* {"type": "function", "function": {"name": ...}}, or with the name outside. */
static bool read_named(struct reading *r, const json_t *choice, weft_reply_params *p)
{
    const json_t *function = json_object_get(choice, "function");
    const json_t *name = json_object_get(function != NULL ? function : choice, "name");
    if (!is_function(choice) || !json_is_string(name)) {
        return fault_request(r->fault, "tool_choice",
                             "tool_choice is an object without a function's name, expected "
                             "{\"type\": \"function\", \"function\": {\"name\": ...}}");
    }
    p->choice = WEFT_TOOLS_NAMED;
    p->no_parallel = true; /* this call, and no other */
    p->choice_name = json_string_value(name);
    return true;
}

static bool read_choice(struct reading *r, const struct chat *c, weft_reply_params *p)
{
    static const struct field word = { .name = "tool_choice",
                                       .kind = FIELD_WORD,
                                       .words = choices };
    int choice = 0;
    if (json_is_object(c->tool_choice)) {
        return read_named(r, c->tool_choice, p);
    }
    if (!fields_read(r->body, "", &word, 1, &choice, r->fault)) {
        return false;
    }
    p->choice = choice == 0 ? WEFT_TOOLS_AUTO : choice == 1 ? WEFT_TOOLS_NONE : WEFT_TOOLS_REQUIRED;
    return true;
}

/* With "none" the model is not told about the tools. */
static bool read_tools(struct reading *r, struct chat *c, const weft_reply_params *p)
{
    const size_t n = json_array_size(c->tools);
    if (n > MAX_TOOLS) {
        return fault_request(r->fault, "tools", "%zu tools, expected at most %d", n, MAX_TOOLS);
    }
    json_t *list = p->choice != WEFT_TOOLS_NONE ? functions_of(c->tools) : json_array();
    if (list != NULL && !check_names(r, list)) {
        json_decref(list);
        return false;
    }
    if (list != NULL && json_array_size(list) > 0) {
        c->text[1] = json_text(list, JSON_COMPACT);
        if (c->text[1] == NULL) {
            json_decref(list);
            return fault_memory(r->fault);
        }
    }
    json_decref(list);
    return list != NULL || fault_memory(r->fault);
}

/* ---------------------------------------------------------------- messages */

static bool is_assistant(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role != NULL && strcmp(role, "assistant") == 0;
}

/* Clients that open the assistant's turn themselves do so with an empty message, which there is
 * nothing to continue in. */
static void drop_empty(struct chat *c)
{
    const size_t n = json_array_size(c->messages);
    const json_t *last = json_array_get(c->messages, n - 1);
    const json_t *content = field_get(last, "content");
    if (n > 1 && is_assistant(last) && json_array_size(field_get(last, "tool_calls")) == 0 &&
        (content == NULL || (json_is_string(content) && json_string_length(content) == 0))) {
        json_array_remove(c->messages, n - 1);
        c->continues = c->continues == 1 ? -1 : c->continues;
    }
}

/* A last message of the assistant is continued, unless it is a call. */
static bool read_messages(struct reading *r, struct chat *c)
{
    drop_empty(c);
    const size_t n = json_array_size(c->messages);
    const json_t *last = json_array_get(c->messages, n - 1);
    if (n == 0) {
        return fault_request(r->fault, "messages",
                             "messages is %s, expected a list of at least one message",
                             c->messages != NULL ? "empty" : "missing");
    }
    if (n > MAX_MESSAGES) {
        return fault_request(r->fault, "messages", "%zu messages, expected at most %d", n,
                             MAX_MESSAGES);
    }
    if (c->add_prompt == 1 && c->continues == 1) {
        return fault_request(r->fault, "continue_final_message",
                             "both add_generation_prompt and continue_final_message are true, "
                             "expected one");
    }
    c->prefill = is_assistant(last) && field_get(last, "tool_calls") == NULL;
    if (c->prefill && n > 1 && is_assistant(json_array_get(c->messages, n - 2))) {
        return fault_request(r->fault, "messages",
                             "two messages of the assistant are the last ones, expected one");
    }
    if (c->continues == 1 && !c->prefill) {
        return fault_request(r->fault, "continue_final_message",
                             "continue_final_message is true, but the last message is no text of "
                             "the assistant");
    }
    c->prefill &= c->continues != 0;
    c->text[0] = json_text(c->messages, JSON_COMPACT);
    return c->text[0] != NULL || fault_memory(r->fault);
}

/* ---------------------------------------------------------------- variables */

/* Returns those of the command line, as a new object. */
static json_t *first_variables(struct reading *r)
{
    const char *text = r->scope->template_vars;
    json_t *vars = NULL;
    weft_error err;
    if (text == NULL) {
        vars = json_object();
        if (vars == NULL) {
            fault_memory(r->fault);
        }
        return vars;
    }
    const weft_status status = json_read("variables", text, strlen(text), &vars, &err);
    if (status != WEFT_OK) {
        fault_library(r->fault, status, &err);
    }
    return vars;
}

/* The effort is a variable of some templates; "none" asks all of them for no reasoning. */
static int set_effort(json_t *vars, json_t *effort)
{
    if (effort == NULL) {
        return 0;
    }
    const bool none = strcmp(json_string_value(effort), "none") == 0;
    return json_object_set(vars, "reasoning_effort", effort) != 0 ||
           (none && json_object_set_new(vars, "enable_thinking", json_false()) != 0);
}

/* Variables of the request win over those of the command line. */
static bool read_variables(struct reading *r, struct chat *c)
{
    json_t *vars = first_variables(r);
    if (vars == NULL) {
        return false;
    }
    const int failed = set_effort(vars, c->effort) != 0 ||
                       (c->variables != NULL && json_object_update(vars, c->variables) != 0);
    const bool some = json_object_size(vars) > 0;
    c->text[2] = !failed && some ? json_text(vars, JSON_COMPACT) : NULL;
    json_decref(vars);
    return (!failed && (c->text[2] != NULL || !some)) || fault_memory(r->fault);
}

/* ---------------------------------------------------------------- the prompt */

static size_t length(const char *text) { return text != NULL ? strlen(text) : 0; }

static bool open_prompt(struct reading *r, const struct chat *c, weft_prompt **prompt)
{
    const struct scope *scope = r->scope;
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    weft_error err;
    p.messages = c->text[0];
    p.n_messages = length(c->text[0]);
    p.tools = c->text[1];
    p.n_tools = length(c->text[1]);
    p.variables = c->text[2];
    p.n_variables = length(c->text[2]);
    p.template_name = scope->template_name;
    p.template_source = scope->template_source;
    p.n_template_source = scope->n_template_source;
    p.prefill = c->prefill;
    p.no_prompt = !c->prefill && c->add_prompt == 0;
    const weft_status status = weft_prompt_open(scope->model, &p, prompt, &err);
    return status == WEFT_OK || fault_library(r->fault, status, &err);
}

/* Copies the ids of the prompt. */
static bool take_tokens(struct reading *r, const weft_prompt *prompt)
{
    struct generation *g = &r->out->generation;
    weft_error err;
    size_t n = 0;
    g->prompts = calloc(1, sizeof *g->prompts);
    if (g->prompts == NULL) {
        return fault_memory(r->fault);
    }
    g->n_prompts = 1;
    weft_status status = weft_prompt_tokens(prompt, 0, NULL, 0, &n, &err);
    if (status != WEFT_OK && status != WEFT_E_BUFFER) {
        return fault_library(r->fault, status, &err);
    }
    if (!check_context(r, n)) {
        return false;
    }
    g->prompts->at = mem_array(n, sizeof *g->prompts->at);
    if (g->prompts->at == NULL) {
        return fault_memory(r->fault);
    }
    g->prompts->n = n;
    status = weft_prompt_tokens(prompt, 0, g->prompts->at, n, &n, &err);
    return status == WEFT_OK || fault_library(r->fault, status, &err);
}

static bool open_replies(struct reading *r, const weft_prompt *prompt, const weft_reply_params *p)
{
    struct generation *g = &r->out->generation;
    weft_error err;
    g->replies = mem_array(g->n_choices, sizeof *g->replies);
    if (g->replies == NULL) {
        return fault_memory(r->fault);
    }
    for (size_t i = 0; i < g->n_choices; i++) {
        const weft_status status = weft_reply_open(prompt, p, &g->replies[i], &err);
        if (status != WEFT_OK) {
            return fault_library(r->fault, status, &err);
        }
    }
    return true;
}

static bool make_prompt(struct reading *r, const struct chat *c, const weft_reply_params *p)
{
    weft_prompt *prompt = NULL;
    r->out->generation.constrained =
        p->schema != NULL || (c->text[1] != NULL && p->choice != WEFT_TOOLS_NONE);
    const bool ok =
        open_prompt(r, c, &prompt) && take_tokens(r, prompt) && open_replies(r, prompt, p);
    weft_prompt_release(&prompt);
    return ok;
}

/* ---------------------------------------------------------------- all of it */

static bool read_logprobs(struct reading *r, const struct chat *c)
{
    if (c->n_top >= 0 && c->logprobs != 1) {
        return fault_request(r->fault, "top_logprobs",
                             "top_logprobs is given, but logprobs is not true");
    }
    if (c->logprobs == 1) {
        r->out->generation.n_top = c->n_top < 0 ? 0 : (int)c->n_top;
    }
    return true;
}

static void set_reasoning(struct reading *r, const struct chat *c, weft_reply_params *p)
{
    static const enum reasoning_format formats[] = { REASONING_AUTO, REASONING_NONE, REASONING_AUTO,
                                                     REASONING_LEGACY };
    const enum reasoning_format f = c->reasoning < 0 ? r->scope->reasoning : formats[c->reasoning];
    p->keep_reasoning = f == REASONING_NONE;
    r->out->style->both_reasonings = f == REASONING_LEGACY;
}

/* A grammar of the client takes the place of that of tools and schema. */
static bool read_constraint(struct reading *r, struct chat *c)
{
    const bool grammar = json_string_length(r->form.grammar) > 0;
    if (grammar && c->text[1] != NULL) {
        return fault_request(r->fault, "grammar",
                             "both a grammar and tools are given, expected one");
    }
    return read_format(r, &c->format) && (!grammar || read_grammar(r));
}

/* Reads all fields; c->text holds what the template gets. */
static bool read_fields(struct reading *r, struct chat *c, weft_reply_params *p)
{
    if (!read_options(r) ||
        !fields_read(r->body, "", fields, sizeof fields / sizeof *fields, c, r->fault)) {
        return false;
    }
    set_reasoning(r, c, p);
    p->no_parallel = c->parallel == 0;
    return read_messages(r, c) && read_choice(r, c, p) && read_tools(r, c, p) &&
           read_variables(r, c) && read_logprobs(r, c) && read_constraint(r, c);
}

static bool generate(struct reading *r, const struct chat *c, weft_reply_params *p)
{
    char *schema = NULL;
    if (c->format.schema != NULL) {
        schema = json_text(c->format.schema, JSON_ENCODE_ANY | JSON_COMPACT);
        if (schema == NULL) {
            return fault_memory(r->fault);
        }
        p->schema = schema;
        p->n_schema = strlen(schema);
        p->strict_schema = c->format.strict;
    }
    const bool ok = make_prompt(r, c, p);
    free(schema);
    return ok;
}

static const struct chat nothing = {
    .parallel = -1, .add_prompt = -1, .continues = -1, .reasoning = -1, .logprobs = -1, .n_top = -1
};

static void free_chat(struct chat *c)
{
    json_decref(c->format.schema);
    for (size_t i = 0; i < sizeof c->text / sizeof *c->text; i++) {
        free(c->text[i]);
    }
}

bool read_chat(struct reading *r)
{
    struct chat c = nothing;
    weft_reply_params p = WEFT_REPLY_PARAMS_INIT;
    const bool ok = check_generates(r) && read_fields(r, &c, &p) && generate(r, &c, &p);
    free_chat(&c);
    return ok;
}

/* Answers with the text of the prompt. */
static bool show_prompt(struct reading *r, const struct chat *c)
{
    weft_prompt *prompt = NULL;
    size_t n = 0;
    if (!open_prompt(r, c, &prompt)) {
        return false;
    }
    weft_prompt_text(prompt, NULL, 0, &n, NULL);
    char *text = mem_array(n, 1);
    struct json_put p = { .failed = text == NULL };
    if (text != NULL) {
        weft_prompt_text(prompt, text, n, &n, NULL);
        json_put(&p, "{'prompt':%.*s}", (int)n, text);
    }
    free(text);
    weft_prompt_release(&prompt);
    return answer_ready(r, json_put_end(&p));
}

bool read_template(struct reading *r)
{
    struct chat c = nothing;
    weft_reply_params p = WEFT_REPLY_PARAMS_INIT;
    const bool ok = read_fields(r, &c, &p) && show_prompt(r, &c);
    free_chat(&c);
    return ok;
}
