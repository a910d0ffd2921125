#include "weft/prompt.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "weft/term.h"

static int no_memory(void)
{
    return term_fail(EXIT_MEMORY, "not enough memory for the conversation");
}

/* ---------------------------------------------------------------- options */

static int read_source(const struct options *o, struct bytes *source)
{
    if (o->template_file != NULL) {
        return io_read_text(o->template_file, &io_template, source);
    }
    if (o->chat_template != NULL && options_is_source(o->chat_template)) {
        return text_add(source, o->chat_template, strlen(o->chat_template)) ? EXIT_OK : no_memory();
    }
    return EXIT_OK;
}

static int read_variables(const struct options *o, json_t **variables)
{
    static const char option[] = "option --chat-template-kwargs";
    const char *text = o->template_vars != NULL ? o->template_vars : "{}";
    weft_error why = { 0 };
    weft_status status = json_read(option, text, strlen(text), variables, &why);
    if (status == WEFT_OK && json_is_object(*variables)) {
        return EXIT_OK;
    }
    if (status == WEFT_OK) {
        error_set(&why, WEFT_E_ARG, "%s: this is no object", option);
    }
    return status == WEFT_E_NOMEM
               ? no_memory()
               : term_fail(EXIT_USAGE,
                           "%s; expected an object of JSON, such as {\"enable_thinking\": false}",
                           why.message);
}

int prompt_setup(const struct options *o, struct prompt_setup *p)
{
    *p = (struct prompt_setup){ .o = o };
    int code = read_source(o, &p->source);
    if (code == EXIT_OK && o->messages != NULL) {
        code = io_read_text(o->messages, &io_messages, &p->messages);
    }
    if (code == EXIT_OK && o->tools_file != NULL) {
        code = io_read_text(o->tools_file, &io_messages, &p->tools);
    }
    return code == EXIT_OK ? read_variables(o, &p->variables) : code;
}

void prompt_setup_free(struct prompt_setup *p)
{
    bytes_free(&p->source);
    bytes_free(&p->messages);
    bytes_free(&p->tools);
    json_decref(p->variables);
    p->variables = NULL;
}

int prompt_set_flag(struct prompt_setup *p, const char *name, bool value)
{
    return json_object_set_new(p->variables, name, json_boolean(value)) == 0 ? EXIT_OK
                                                                             : no_memory();
}

/* ---------------------------------------------------------------- messages */

int prompt_add_message(json_t *list, const char *role, const char *content, size_t n)
{
    struct bytes text = { 0 };
    size_t bad = 0;
    bool ok = io_utf8(n > 0 ? content : "", n, &text, &bad);
    if (ok && bad > 0) {
        term_note("weft: %zu parts of the message are not UTF-8; they become U+FFFD", bad);
    }
    json_t *string = ok ? json_stringn(text.n > 0 ? text.data : "", text.n) : NULL;
    json_t *m = ok ? json_pack("{s:s, s:o}", "role", role, "content", string) : NULL;
    ok = m != NULL && json_array_append_new(list, m) == 0;
    bytes_free(&text);
    return ok ? EXIT_OK : no_memory();
}

/* The clock that a template sees is that of the wall. */
static int64_t local_now(void)
{
    struct tm local;
    const time_t now = time(NULL);
    return localtime_r(&now, &local) != NULL ? (int64_t)now + local.tm_gmtoff : (int64_t)now;
}

static weft_prompt_params params_of(const struct prompt_setup *p, const struct prompt_form *form)
{
    const struct options *o = p->o;
    weft_prompt_params w = WEFT_PROMPT_PARAMS_INIT;
    w.tools = p->tools.n > 0 ? p->tools.data : NULL;
    w.n_tools = p->tools.n;
    w.template_source = p->source.n > 0 ? p->source.data : NULL;
    w.n_template_source = p->source.n;
    w.template_name = p->source.n == 0 ? o->chat_template : NULL;
    w.no_prompt = form->no_prompt;
    w.prefill = form->prefill;
    w.continues = form->continues;
    w.last = form->continues ? &form->last : NULL;
    w.now = o->now >= 0 ? o->now : local_now();
    return w;
}

int prompt_open(const struct session *s, const struct prompt_setup *p, const json_t *messages,
                const struct prompt_form *form, weft_prompt **out)
{
    weft_error err = { 0 };
    weft_prompt_params w = params_of(p, form);
    char *list = messages != NULL ? json_text(messages, 0) : NULL;
    char *variables = json_text(p->variables, 0);
    int code = EXIT_OK;
    if (variables == NULL || (messages != NULL && list == NULL)) {
        code = no_memory();
    } else {
        w.messages = list != NULL ? list : p->messages.n > 0 ? p->messages.data : "";
        w.n_messages = list != NULL ? strlen(list) : p->messages.n;
        w.variables = variables;
        w.n_variables = strlen(variables);
        weft_status status = weft_prompt_open(s->model, &w, out, &err);
        const bool own = w.template_source != NULL || w.template_name != NULL;
        code = status == WEFT_OK                     ? EXIT_OK
               : status == WEFT_E_ARG                ? term_fail(EXIT_RUNTIME, "%s", err.message)
               : status == WEFT_E_UNSUPPORTED && own ? term_fail(EXIT_USAGE, "%s", err.message)
                                                     : term_status(status, &err);
    }
    free(list);
    free(variables);
    return code;
}

int prompt_try(const struct session *s, const struct prompt_setup *p)
{
    static const char hello[] = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
    const struct prompt_form form = { 0 };
    weft_prompt_params w = params_of(p, &form);
    weft_prompt *prompt = NULL;
    weft_error err = { 0 };
    if (w.template_source == NULL && w.template_name == NULL) {
        return EXIT_OK;
    }
    w.messages = hello;
    w.n_messages = sizeof hello - 1;
    const weft_status status = weft_prompt_open(s->model, &w, &prompt, &err);
    weft_prompt_release(&prompt);
    return status == WEFT_OK || status == WEFT_E_ARG ? EXIT_OK
           : status == WEFT_E_UNSUPPORTED            ? term_fail(EXIT_USAGE, "%s", err.message)
                                                     : term_status(status, &err);
}

int prompt_ids(const weft_prompt *prompt, size_t from, struct ids *out)
{
    weft_error err = { 0 };
    size_t needed = 0;
    weft_status status = weft_prompt_tokens(prompt, from, NULL, 0, &needed, &err);
    if (status == WEFT_E_BUFFER) {
        if (!ids_reserve(out, needed)) {
            return no_memory();
        }
        status = weft_prompt_tokens(prompt, from, out->at, out->cap, &needed, &err);
    }
    out->n = status == WEFT_OK ? needed : 0;
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

int prompt_text(const weft_prompt *prompt, struct bytes *out)
{
    weft_error err = { 0 };
    size_t needed = 0;
    weft_status status = weft_prompt_text(prompt, NULL, 0, &needed, &err);
    if (status == WEFT_E_BUFFER) {
        if (!text_reserve(out, needed)) {
            return no_memory();
        }
        status = weft_prompt_text(prompt, out->data + out->n, needed, &needed, &err);
        out->n += status == WEFT_OK ? needed : 0;
    }
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}
