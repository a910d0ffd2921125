#include "chat/prompt.h"

#include <string.h>

#include "chat/without_tools.h"
#include "text/special.h"

/* ---------------------------------------------------------------- variables */

/* A rendering under way. */
struct render {
    const struct chat_template *c;
    const struct tokenizer *t;
    const struct messages *m;
    const struct prompt_how *how;
};

/* The variables of a rendering. */
struct variables {
    struct jinja_var *at; /* [n] */
    size_t n;
    json_t *first; /* the messages, if not all are rendered */
    json_t *bos, *eos;
};

/* The names that the engine gives values to. */
static const char *const taken[] = { "messages", "tools", "add_generation_prompt", "bos_token",
                                     "eos_token" };
enum { N_TAKEN = sizeof taken / sizeof *taken };

static void variables_free(struct variables *v)
{
    json_decref(v->first);
    json_decref(v->bos);
    json_decref(v->eos);
    free(v->at);
}

/* Returns the text of a token as a string; "" if there is no token. */
static json_t *token_string(const struct tokenizer *t, int32_t id)
{
    struct gguf_str s = { "", 0 };
    if (id >= 0) {
        s = tokenizer_text(t, id);
    }
    return json_stringn_nocheck(s.s, s.n);
}

/* Returns the first n messages as an array of their own. */
static json_t *beginning(const json_t *list, size_t n)
{
    json_t *first = json_array();
    for (size_t i = 0; i < n && first != NULL; i++) {
        if (json_array_append(first, json_array_get(list, i)) != 0) {
            json_decref(first);
            first = NULL;
        }
    }
    return first;
}

static void set(struct variables *v, const char *name, const json_t *value, uint8_t who)
{
    v->at[v->n++] = (struct jinja_var){ name, value, who };
}

static weft_status set_more(struct variables *v, const json_t *more, weft_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)more, name, value)
    {
        for (size_t i = 0; i < N_TAKEN; i++) {
            if (strcmp(name, taken[i]) == 0) {
                return error_set(err, WEFT_E_ARG,
                                 "the template's variable %s is set by the conversation; expected "
                                 "others, such as enable_thinking",
                                 name);
            }
        }
        set(v, name, value, JINJA_CALLER);
    }
    return WEFT_OK;
}

static weft_status variables_make(const struct render *r, size_t n, bool add_prompt,
                                  struct variables *v, weft_error *err)
{
    /* Built-in templates leave the first BOS to the model. */
    const bool bos = r->c->builtin == NULL || tokenizer_adds_bos(r->t);
    v->at = mem_array(N_TAKEN + 1 + json_object_size(r->how->variables), sizeof *v->at);
    v->first = beginning(r->m->list, n);
    v->bos = token_string(r->t, bos ? tokenizer_bos(r->t) : -1);
    v->eos = token_string(r->t, tokenizer_eos(r->t));
    if (v->at == NULL || v->first == NULL || v->bos == NULL || v->eos == NULL) {
        return error_nomem(err, "the variables of a template", n);
    }
    set(v, "messages", v->first, JINJA_CALLER);
    set(v, "tools", r->how->tools != NULL ? r->how->tools : json_null(), JINJA_CALLER);
    if (json_object_get(r->how->variables, "documents") == NULL) {
        set(v, "documents", json_null(), JINJA_CALLER);
    }
    set(v, "add_generation_prompt", json_boolean(add_prompt), JINJA_TEMPLATE);
    set(v, "bos_token", v->bos, JINJA_TEMPLATE);
    set(v, "eos_token", v->eos, JINJA_TEMPLATE);
    return set_more(v, r->how->variables, err);
}

/* ---------------------------------------------------------------- text */

/* Returns the string with which the content of message i ends. */
static const json_t *last_text(const struct messages *m, size_t i)
{
    const json_t *content = json_object_get(json_array_get(m->list, i), "content");
    return json_is_array(content)
               ? json_object_get(json_array_get(content, json_array_size(content) - 1), "text")
               : content;
}

/* Renders the first n messages. The string `marked` counts as written by JINJA_MARKED. */
static weft_status render(const struct render *r, size_t n, bool add_prompt, const json_t *marked,
                          struct jinja_text *out, weft_error *err)
{
    struct jinja_writer writers[N_ROLES + 1] = { { marked, JINJA_MARKED } };
    struct variables v = { 0 };
    for (size_t i = 0; i < N_ROLES; i++) {
        writers[i + 1] = (struct jinja_writer){ r->m->roles[i], JINJA_TEMPLATE };
    }
    weft_status status = variables_make(r, n, add_prompt, &v, err);
    if (status == WEFT_OK) {
        const struct jinja_params p = { .vars = v.at,
                                        .n_vars = v.n,
                                        .writers = writers,
                                        .n_writers = N_ROLES + 1,
                                        .now = r->how->now };
        enum jinja_fault fault;
        status = jinja_render(r->c->jinja, &p, out, &fault, err);
        if (status != WEFT_OK && fault == JINJA_RAISED) {
            status = error_prefix(err, status, "the chat template refuses the conversation");
        }
    }
    variables_free(&v);
    return status;
}

/* Returns the end of the last byte that `who` wrote, 0 if there is none. */
static size_t end_of(const struct jinja_text *text, uint8_t who)
{
    size_t end = 0;
    for (size_t i = 0, at = 0; i < text->n_runs; i++) {
        at += text->runs[i].n;
        end = text->runs[i].who == who ? at : end;
    }
    return end;
}

/* Keeps only the first n bytes. */
static void keep_first(struct jinja_text *text, size_t n)
{
    size_t at = 0, i = 0;
    while (i < text->n_runs && at + text->runs[i].n <= n) {
        at += text->runs[i++].n;
    }
    if (i < text->n_runs && at < n) {
        text->runs[i++].n = n - at;
    }
    text->n_runs = i;
    text->text.n = n;
}

/* Drops the first n bytes. */
static void drop_first(struct jinja_text *text, size_t n)
{
    size_t i = 0, left = n;
    while (i < text->n_runs && text->runs[i].n <= left) {
        left -= text->runs[i++].n;
    }
    if (left > 0) {
        text->runs[i].n -= left;
    }
    if (n > 0) {
        memmove(text->runs, text->runs + i, (text->n_runs - i) * sizeof *text->runs);
        memmove(text->text.data, text->text.data + n, text->text.n - n);
    }
    text->n_runs -= i;
    text->text.n -= n;
}

/* Renders the last message up to the end of its content. */
static weft_status render_prefill(const struct render *r, size_t n, struct jinja_text *out,
                                  weft_error *err)
{
    if (messages_role(r->m, n - 1) != ROLE_ASSISTANT) {
        return error_set(err, WEFT_E_ARG,
                         "the last message cannot be continued: it is not an assistant's");
    }
    TRY(render(r, n, false, last_text(r->m, n - 1), out, err));
    const size_t end = end_of(out, JINJA_MARKED);
    if (end == 0) {
        return error_set(err, WEFT_E_ARG,
                         "the last message cannot be continued: the chat template writes nothing "
                         "of its content");
    }
    keep_first(out, end);
    return WEFT_OK;
}

/* Finds where the assistant's turn begins: where the text departs from a text without this turn. If
 * the template refuses that text, the turn begins behind the last byte of a caller. */
static weft_status find_opening(const struct render *r, size_t n, const struct jinja_text *text,
                                size_t *at, weft_error *err)
{
    struct jinja_text without = { 0 };
    size_t same = 0;
    n -= r->how->prefill ? 1 : 0;
    const weft_status status = n > 0 ? render(r, n, false, NULL, &without, err) : WEFT_E_ARG;
    if (status == WEFT_E_NOMEM) {
        return status;
    }
    if (status == WEFT_OK) {
        const size_t most = size_min(text->text.n, without.text.n);
        while (same < most && text->text.data[same] == without.text.data[same]) {
            same++;
        }
    } else if (!r->how->prefill) {
        same = end_of(text, JINJA_CALLER);
    }
    jinja_text_free(&without);
    *at = same;
    return WEFT_OK;
}

static weft_status make_text(const struct render *r, struct prompt *out, weft_error *err)
{
    const struct prompt_how *how = r->how;
    if (how->prefill && how->continues) {
        return error_set(
            err, WEFT_E_ARG,
            "prefill and continues contradict each other: the first continues the last "
            "message, the second what the sequence holds");
    }
    const size_t n = json_array_size(r->m->list);
    if (how->prefill) {
        TRY(render_prefill(r, n, &out->text, err));
    } else {
        const json_t *marked = how->continues ? last_text(r->m, MESSAGES_ANSWER) : NULL;
        TRY(render(r, n, how->add_prompt, marked, &out->text, err));
    }
    out->opening = out->text.text.n;
    if (how->prefill || how->add_prompt) {
        TRY(find_opening(r, n, &out->text, &out->opening, err));
    }
    if (!bytes_add(&out->own, r->c->own.data, r->c->own.n) ||
        !template_add_own(&out->own, &out->text)) {
        return error_nomem(err, "the texts of a template", r->c->own.n);
    }
    if (how->continues) {
        const size_t from = end_of(&out->text, JINJA_MARKED);
        if (from == 0) {
            return error_set(
                err, WEFT_E_UNSUPPORTED,
                "a conversation cannot be continued with this chat template: it writes "
                "nothing of an answer; render the whole conversation");
        }
        drop_first(&out->text, from);
        out->opening = size_max(out->opening, from) - from;
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- ids */

/* Returns an array with 1 for each byte that the template did not write. */
static uint8_t *foreign_bytes(const struct jinja_text *text)
{
    uint8_t *foreign = mem_array(text->text.n, 1);
    size_t at = 0;
    for (size_t i = 0; i < text->n_runs && foreign != NULL; i++) {
        memset(foreign + at, text->runs[i].who != JINJA_TEMPLATE, text->runs[i].n);
        at += text->runs[i].n;
    }
    return foreign;
}

weft_status prompt_encode(const struct prompt *p, const struct tokenizer *t, size_t from,
                          unsigned flags, struct tokens *out, weft_error *err)
{
    const size_t n = p->text.text.n;
    uint8_t *foreign = foreign_bytes(&p->text);
    if (foreign == NULL) {
        return error_nomem(err, "who wrote a prompt", n);
    }
    const struct written by = { foreign + from, p->own.data, p->own.n };
    const char *text = n > 0 ? p->text.text.data : "";
    weft_status status = tokenizer_encode_written(t, text + from, n - from, &by, flags, out, err);
    free(foreign);
    return status;
}

/* Drops the ids up to the token that ends the turn before the messages; if that turn was cut, keeps
 * the token. */
static void drop_end(const struct tokenizer *t, bool cut, struct tokens *ids)
{
    size_t end = 0;
    while (end < ids->n && !tokenizer_is_end(t, ids->data[end])) {
        end++;
    }
    if (end < ids->n) {
        const size_t from = cut ? end : end + 1;
        memmove(ids->data, ids->data + from, (ids->n - from) * sizeof *ids->data);
        ids->n -= from;
    }
}

static weft_status make_ids(const struct render *r, struct prompt *out, weft_error *err)
{
    out->source = mem_array(r->c->n + 1, 1);
    if (out->source == NULL) {
        return error_nomem(err, "the source of a template", r->c->n);
    }
    memcpy(out->source, r->c->source, r->c->n);
    out->n_source = r->c->n;
    out->told = without_tools(&r->c->traits);
    const unsigned flags = r->how->continues ? WEFT_TOKENIZE_NO_PREFIX : WEFT_TOKENIZE_BOS;
    TRY(prompt_encode(out, r->t, 0, flags, &out->ids, err));
    if (r->how->continues) {
        drop_end(r->t, r->how->cut, &out->ids);
    }
    return WEFT_OK;
}

weft_status prompt_make(const struct chat_template *c, const struct tokenizer *t,
                        const json_t *messages, const struct prompt_how *how, struct prompt *out,
                        weft_error *err)
{
    struct messages m;
    const json_t *tools = how->continues ? NULL : how->tools;
    TRY(messages_open(messages, &c->traits, tools, how->continues, &m, err));
    const struct render r = { c, t, &m, how };
    weft_status status = make_text(&r, out, err);
    if (status == WEFT_OK) {
        status = make_ids(&r, out, err);
    }
    if (status != WEFT_OK) {
        prompt_free(out);
    }
    messages_close(&m);
    return status;
}

void prompt_free(struct prompt *p)
{
    jinja_text_free(&p->text);
    free(p->ids.data);
    free(p->source);
    bytes_free(&p->own);
    memset(p, 0, sizeof *p);
}
