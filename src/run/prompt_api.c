/* The public functions of chat: the templates of a model, messages to ids, prompts. */
#include <string.h>
#include <time.h>

#include "base/json_read.h"
#include "chat/chat.h"
#include "chat/prompt.h"
#include "run/model_api.h"
#include "run/prompt_api.h"

enum { PROMPT_MAGIC = 0x706d7270 };

/* ---------------------------------------------------------------- templates */

/* Opens the template under a key of the file. Only WEFT_E_NOMEM is an error of the model: *why says
 * what is wrong with the template. */
static weft_status open_key(const struct gguf *g, const char *key, struct chat_template **out,
                            weft_error *why, weft_error *err)
{
    struct gguf_str source = { "", 0 };
    weft_status status = gguf_opt_str(g, key, &source, why);
    if (status == WEFT_OK && source.n == 0) {
        error_set(why, WEFT_E_UNSUPPORTED, "the file has no chat template (%s)", key);
        return WEFT_OK;
    }
    status = status == WEFT_OK ? template_open(source.s, source.n, out, why) : status;
    if (status == WEFT_E_NOMEM && err != NULL) {
        *err = *why;
    }
    return status == WEFT_E_NOMEM ? status : WEFT_OK;
}

weft_status model_open_chat(struct weft_model *m, weft_error *err)
{
    const struct gguf *g = m->model->file;
    weft_error ignored;
    TRY(open_key(g, "tokenizer.chat_template", &m->chat, &m->no_chat, err));
    return open_key(g, "tokenizer.chat_template.tool_use", &m->chat_tools, &ignored, err);
}

const char *weft_chat_template_name(size_t i)
{
    const struct builtin *b = builtin_at(i);
    return b != NULL ? b->name : NULL;
}

/* Says which template a call uses. If *owned is not NULL, the caller closes it after use. */
static weft_status choose(const weft_model *model, const char *name, bool tools,
                          const struct chat_template **out, struct chat_template **owned,
                          weft_error *err)
{
    *owned = NULL;
    if (name != NULL) {
        TRY(template_open_builtin(name, model->model->tokenizer, owned, err));
        *out = *owned;
        return WEFT_OK;
    }
    *out = tools && model->chat_tools != NULL ? model->chat_tools : model->chat;
    return *out != NULL
               ? WEFT_OK
               : error_set(err, WEFT_E_UNSUPPORTED,
                           "%s; choose the template that the model was trained with, such as "
                           "chatml",
                           model->no_chat.message);
}

/* ---------------------------------------------------------------- messages */

weft_status weft_chat_tokens(const weft_model *model, const weft_message *messages, size_t n,
                             const weft_chat_params *params, int32_t *dst, size_t cap,
                             size_t *needed, weft_error *err)
{
    weft_chat_params p = WEFT_CHAT_PARAMS_INIT;
    const struct chat_template *c;
    struct chat_template *owned;
    TRY(model_check(model, err));
    TRY(array_check(messages, n, sizeof *messages, "messages", err));
    TRY(params_copy(&p, sizeof p, params, "weft_chat_params", err));
    const struct tokenizer *t = model->model->tokenizer;
    TRY(tokenizer_check(t, p.last, p.last != NULL ? 1 : 0, err));
    TRY(choose(model, p.template_name, false, &c, &owned, err));
    struct tokens ids = { 0 };
    weft_status status = chat_encode(c, t, messages, n, &p, &ids, err);
    if (status == WEFT_OK) {
        status = copy_out(ids.data, ids.n, sizeof *dst, dst, cap, needed, err);
    }
    free(ids.data);
    template_close(owned);
    return status;
}

/* ---------------------------------------------------------------- prompts */

/* The JSON of a call. */
struct given {
    json_t *messages, *tools, *variables;
};

static void given_free(struct given *g)
{
    json_decref(g->messages);
    json_decref(g->tools);
    json_decref(g->variables);
}

static weft_status read_given(const weft_prompt_params *p, struct given *g, weft_error *err)
{
    TRY(array_check(p->messages, p->n_messages, 1, "messages", err));
    TRY(array_check(p->tools, p->n_tools, 1, "tools", err));
    TRY(array_check(p->variables, p->n_variables, 1, "variables", err));
    TRY(json_read("messages", p->messages != NULL ? p->messages : "", p->n_messages, &g->messages,
                  err));
    if (p->tools != NULL) {
        TRY(json_read("tools", p->tools, p->n_tools, &g->tools, err));
        TRY(messages_check_tools(g->tools, err));
    }
    if (p->variables != NULL) {
        TRY(json_read("variables", p->variables, p->n_variables, &g->variables, err));
    }
    return g->variables == NULL || json_is_object(g->variables)
               ? WEFT_OK
               : error_set(err, WEFT_E_ARG,
                           "variables: no object, expected {\"name\": value, ...}");
}

static weft_status choose_for(const weft_model *model, const weft_prompt_params *p,
                              const struct given *g, const struct chat_template **c,
                              struct chat_template **owned, weft_error *err)
{
    *owned = NULL;
    if (p->template_source == NULL) {
        return choose(model, p->template_name, json_array_size(g->tools) > 0, c, owned, err);
    }
    if (p->template_name != NULL) {
        return error_set(err, WEFT_E_ARG,
                         "both template_name and template_source are given, expected one");
    }
    TRY(array_check(p->template_source, p->n_template_source, 1, "template_source", err));
    TRY(template_open(p->template_source, p->n_template_source, owned, err));
    *c = *owned;
    return WEFT_OK;
}

static weft_status make(const weft_model *model, const weft_prompt_params *p, const struct given *g,
                        struct weft_prompt *out, weft_error *err)
{
    const struct tokenizer *t = model->model->tokenizer;
    const struct prompt_how how = {
        .tools = json_array_size(g->tools) > 0 ? g->tools : NULL,
        .variables = g->variables,
        .add_prompt = !p->no_prompt,
        .prefill = p->prefill,
        .continues = p->continues,
        .cut = p->last != NULL && !tokenizer_is_end(t, *p->last),
        .now = p->now != 0 ? p->now : (int64_t)time(NULL),
    };
    const struct chat_template *c;
    struct chat_template *owned;
    TRY(choose_for(model, p, g, &c, &owned, err));
    weft_status status = prompt_make(c, t, g->messages, &how, &out->prompt, err);
    template_close(owned);
    return status;
}

weft_status weft_prompt_open(const weft_model *model, const weft_prompt_params *params,
                             weft_prompt **out, weft_error *err)
{
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    TRY(model_check(model, err));
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(params_copy(&p, sizeof p, params, "weft_prompt_params", err));
    TRY(tokenizer_check(model->model->tokenizer, p.last, p.last != NULL ? 1 : 0, err));
    struct weft_prompt *made = mem_array(1, sizeof *made);
    if (made == NULL) {
        return error_nomem(err, "a prompt", sizeof *made);
    }
    struct given g = { 0 };
    weft_status status = read_given(&p, &g, err);
    status = status == WEFT_OK ? make(model, &p, &g, made, err) : status;
    given_free(&g);
    if (status == WEFT_OK && !bytes_add(&made->tools, p.tools, p.tools != NULL ? p.n_tools : 0)) {
        prompt_free(&made->prompt);
        status = error_nomem(err, "the tools of a prompt", p.n_tools);
    }
    if (status != WEFT_OK) {
        free(made);
        return status;
    }
    made->magic = PROMPT_MAGIC;
    made->model = (weft_model *)(uintptr_t)model;
    model_retain(made->model);
    *out = made;
    return WEFT_OK;
}

weft_status prompt_check(const weft_prompt *p, weft_error *err)
{
    return handle_check(p, p != NULL ? &p->magic : NULL, PROMPT_MAGIC, "prompt", err);
}

void weft_prompt_release(weft_prompt **prompt)
{
    if (prompt != NULL && prompt_check(*prompt, NULL) == WEFT_OK) {
        (*prompt)->magic = 0;
        prompt_free(&(*prompt)->prompt);
        bytes_free(&(*prompt)->tools);
        weft_model_release(&(*prompt)->model);
        free(*prompt);
        *prompt = NULL;
    }
}

weft_status weft_prompt_tokens(const weft_prompt *prompt, size_t from, int32_t *dst, size_t cap,
                               size_t *needed, weft_error *err)
{
    struct tokens rest = { 0 };
    TRY(prompt_check(prompt, err));
    const struct prompt *p = &prompt->prompt;
    if (from == 0) {
        return copy_out(p->ids.data, p->ids.n, sizeof *dst, dst, cap, needed, err);
    }
    if (from > p->text.text.n) {
        return error_set(err, WEFT_E_ARG, "from is %zu, expected at most %zu, the prompt's bytes",
                         from, p->text.text.n);
    }
    weft_status status = prompt_encode(p, prompt->model->model->tokenizer, from,
                                       WEFT_TOKENIZE_NO_PREFIX, &rest, err);
    if (status == WEFT_OK) {
        status = copy_out(rest.data, rest.n, sizeof *dst, dst, cap, needed, err);
    }
    free(rest.data);
    return status;
}

weft_status weft_prompt_text(const weft_prompt *prompt, char *dst, size_t cap, size_t *needed,
                             weft_error *err)
{
    TRY(prompt_check(prompt, err));
    const struct bytes *text = &prompt->prompt.text.text;
    return copy_out(text->data, text->n, 1, dst, cap, needed, err);
}

/* Writes the runs to dst, if it is not NULL, and returns their number. Different callers count as
 * one. */
static size_t write_runs(const struct jinja_text *text, weft_run *dst)
{
    size_t n = 0;
    bool before = false;
    for (size_t i = 0; i < text->n_runs; i++) {
        const bool caller = text->runs[i].who != JINJA_TEMPLATE, grows = n > 0 && caller == before;
        n += !grows;
        if (dst != NULL) {
            dst[n - 1] = (weft_run){ (grows ? dst[n - 1].n : 0) + text->runs[i].n, caller };
        }
        before = caller;
    }
    return n;
}

weft_status weft_prompt_runs(const weft_prompt *prompt, weft_run *dst, size_t cap, size_t *needed,
                             weft_error *err)
{
    TRY(prompt_check(prompt, err));
    const struct jinja_text *text = &prompt->prompt.text;
    TRY(copy_check(write_runs(text, NULL), dst, cap, needed, err));
    write_runs(text, dst);
    return WEFT_OK;
}
