/* Messages to ids. The ids of a tokenizer depend on the neighbours of a text, so template text and
 * contents are joined, and cut only at the template's control tokens. The ids are therefore those
 * of the rendered conversation, but the text of a message never becomes a control token. */
#include "text/chat_templates.h"

#include <string.h>

/* A control token of the template, as it is in the vocabulary. */
struct control {
    const char *text;
    size_t n;
    int32_t id;
    /* The white space behind the token belongs to it. */
    bool strips;
    /* The tokenizer would find the token in ordinary text too. */
    bool guard;
};

struct builder {
    const struct tokenizer *t;
    const struct chat_template *c;
    struct control controls[2 * MAX_CONTROLS + 2];
    size_t n_controls;
    struct bytes run; /* plain text since the last control token */
    /* The last control token takes the white space behind it. */
    bool strip;
    /* The run follows an encoded text, not a control token. */
    bool mid_text;
    struct tokens *out;
};

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Finds out whether the tokenizer takes a line break behind this token as a part of the token, by
 * encoding both. */
static weft_status find_strips(const struct tokenizer *t, int32_t id, bool *strips, weft_error *err)
{
    struct gguf_str name = tokenizer_text(t, id);
    struct bytes text = { 0 };
    struct tokens ids = { 0 };
    weft_status status = WEFT_OK;
    if (!bytes_add(&text, name.s, name.n) || !bytes_add(&text, "\n", 1)) {
        status = error_nomem(err, "a control token", name.n);
    } else {
        status = tokenizer_encode(t, text.data, text.n, WEFT_TOKENIZE_SPECIAL, &ids, err);
    }
    *strips = status == WEFT_OK && ids.n == 1 && ids.data[0] == id;
    free(text.data);
    free(ids.data);
    return status;
}

/* Adds a control token if the vocabulary has it, which *found tells. */
static weft_status add_control(struct builder *b, const char *text, bool *found, weft_error *err)
{
    size_t n = strlen(text);
    int32_t id = tokenizer_find(b->t, text, n);
    enum token_type type = id < 0 ? TOKEN_NORMAL : tokenizer_type(b->t, id);
    *found = type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED;
    if (!*found) {
        return WEFT_OK;
    }
    struct control *control = &b->controls[b->n_controls++];
    *control = (struct control){ .text = text, .n = n, .id = id };
    control->guard = type == TOKEN_USER_DEFINED;
    return find_strips(b->t, id, &control->strips, err);
}

static weft_status open_controls(struct builder *b, weft_error *err)
{
    bool found;
    for (size_t i = 0; i < MAX_CONTROLS && b->c->controls[i] != NULL; i++) {
        TRY(add_control(b, b->c->controls[i], &found, err));
        if (!found) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "chat template %s needs the control token %s, which the model's "
                             "vocabulary lacks; choose the template it was trained with",
                             b->c->name, b->c->controls[i]);
        }
    }
    for (size_t i = 0; i < MAX_CONTROLS && b->c->optional[i] != NULL; i++) {
        TRY(add_control(b, b->c->optional[i], &found, err));
    }
    if (strchr(b->c->assistant.after, EOS[0]) != NULL) {
        int32_t eos = tokenizer_eos(b->t);
        if (eos < 0) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "chat template %s needs an end-of-text token, but the model's "
                             "vocabulary names none",
                             b->c->name);
        }
        struct gguf_str text = tokenizer_text(b->t, eos);
        bool strips;
        TRY(find_strips(b->t, eos, &strips, err));
        b->controls[b->n_controls++] = (struct control){ EOS, 1, eos, strips, false };
        bool guard = tokenizer_type(b->t, eos) == TOKEN_USER_DEFINED;
        b->controls[b->n_controls++] = (struct control){ text.s, text.n, eos, strips, guard };
    }
    return WEFT_OK;
}

/* Encodes the plain text collected so far. */
static weft_status flush(struct builder *b, weft_error *err)
{
    size_t skip = 0;
    while (b->strip && skip < b->run.n && is_space(b->run.data[skip])) {
        skip++;
    }
    weft_status status = WEFT_OK;
    if (b->run.n > skip) {
        unsigned flags = b->mid_text ? WEFT_TOKENIZE_NO_PREFIX : 0;
        status = tokenizer_encode(b->t, b->run.data + skip, b->run.n - skip, flags, b->out, err);
        b->strip = false;
    }
    b->run.n = 0;
    return status;
}

static weft_status add_id(struct builder *b, int32_t id, bool strips, weft_error *err)
{
    TRY(flush(b, err));
    if (!tokens_add(b->out, id)) {
        return error_nomem(err, "the tokens of a chat", (b->out->n + 1) * sizeof id);
    }
    b->strip = strips;
    b->mid_text = false;
    return WEFT_OK;
}

static weft_status add_plain(struct builder *b, const char *text, size_t n, weft_error *err)
{
    return bytes_add(&b->run, text, n) ? WEFT_OK
                                       : error_nomem(err, "the text of a chat", b->run.n + n);
}

/* Returns the control token that text[n] begins with, NULL if there is none. */
static const struct control *control_at(const struct builder *b, const char *text, size_t n)
{
    const struct control *best = NULL;
    for (size_t i = 0; i < b->n_controls; i++) {
        const struct control *c = &b->controls[i];
        if (c->n <= n && memcmp(c->text, text, c->n) == 0 && (best == NULL || c->n > best->n)) {
            best = c;
        }
    }
    return best;
}

static weft_status add_piece(struct builder *b, const char *piece, weft_error *err)
{
    size_t n = strlen(piece);
    for (size_t at = 0; at < n;) {
        const struct control *control = control_at(b, piece + at, n - at);
        if (control != NULL) {
            TRY(add_id(b, control->id, control->strips, err));
            at += control->n;
        } else {
            TRY(add_plain(b, piece + at++, 1, err));
        }
    }
    return WEFT_OK;
}

/* Adds the text of a message. A token that the tokenizer would find in it is cut in two. */
static weft_status add_content(struct builder *b, const char *text, size_t n, weft_error *err)
{
    size_t from = 0;
    for (size_t at = 0; at < n; at++) {
        const struct control *control = control_at(b, text + at, n - at);
        if (control != NULL && control->guard) {
            TRY(add_plain(b, text + from, at + 1 - from, err));
            TRY(flush(b, err));
            b->mid_text = true;
            from = at + 1;
        }
    }
    return add_plain(b, text + from, n - from, err);
}

struct span {
    const char *text;
    size_t n;
};

static struct span trimmed(const char *text, bool left, bool right)
{
    struct span s = { text, strlen(text) };
    while (left && s.n > 0 && is_space(s.text[0])) {
        s.text++;
        s.n--;
    }
    while (right && s.n > 0 && is_space(s.text[s.n - 1])) {
        s.n--;
    }
    return s;
}

static weft_status add_system(struct builder *b, const char *content, weft_error *err)
{
    struct span s = trimmed(content, b->c->trim_system, b->c->trim_system);
    TRY(add_piece(b, b->c->system.before, err));
    TRY(add_content(b, s.text, s.n, err));
    return add_piece(b, b->c->system.after, err);
}

/* Adds a user turn. `system`, if not NULL, is put in front of the content. Then only the end of the
 * content is trimmed here, because the template trims both as one text. */
static weft_status add_user(struct builder *b, const char *content, const char *system,
                            weft_error *err)
{
    struct span s = trimmed(content, b->c->trim_user && system == NULL, b->c->trim_user);
    TRY(add_piece(b, b->c->user.before, err));
    if (system != NULL) {
        TRY(add_system(b, system, err));
        while (b->c->trim_user && s.n == 0 && b->run.n > 0 && is_space(b->run.data[b->run.n - 1])) {
            b->run.n--;
        }
    }
    TRY(add_content(b, s.text, s.n, err));
    return add_piece(b, b->c->user.after, err);
}

static weft_status add_assistant(struct builder *b, const char *content, weft_error *err)
{
    struct span s = trimmed(content, b->c->trim_assistant, b->c->trim_assistant);
    TRY(add_piece(b, b->c->assistant.before, err));
    TRY(add_content(b, s.text, s.n, err));
    return add_piece(b, b->c->assistant.after, err);
}

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, N_ROLES };

static enum role role_of(const weft_message *m)
{
    static const char *const names[N_ROLES] = { "system", "user", "assistant" };
    size_t i = 0;
    while (i < N_ROLES && strcmp(m->role, names[i]) != 0) {
        i++;
    }
    return (enum role)i;
}

static weft_status check_messages(const struct chat_template *c, const weft_message *m, size_t n,
                                  bool continues, weft_error *err)
{
    if (n == 0 || m == NULL) {
        return error_set(err, WEFT_E_ARG, "chat: no messages, expected at least one");
    }
    for (size_t i = 0; i < n; i++) {
        if (m[i].role == NULL || m[i].content == NULL) {
            return error_set(err, WEFT_E_ARG, "chat: message %zu has no %s", i,
                             m[i].role == NULL ? "role" : "content");
        }
        if (role_of(&m[i]) == N_ROLES) {
            return error_set(
                err, WEFT_E_ARG,
                "chat: message %zu has the role \"%s\", expected system, user or assistant", i,
                m[i].role);
        }
    }
    if (!c->merges_system) {
        return WEFT_OK;
    }
    size_t first = !continues && role_of(&m[0]) == ROLE_SYSTEM ? 1 : 0;
    for (size_t i = first; i < n || i == first; i++) {
        enum role want = (i - first) % 2 == 0 ? ROLE_USER : ROLE_ASSISTANT;
        if (i >= n || role_of(&m[i]) != want) {
            return error_set(err, WEFT_E_ARG,
                             "chat: message %zu is %s, expected %s: template %s takes user and "
                             "assistant in turn%s",
                             i, i < n ? m[i].role : "missing",
                             want == ROLE_USER ? "user" : "assistant", c->name,
                             continues ? " when it continues a conversation"
                                       : ", after at most one system message");
        }
    }
    return WEFT_OK;
}

/* Adds the text that the template puts behind the token that ended the assistant's turn. If the
 * turn was cut before that token, adds the token too. */
static weft_status complete_turn(struct builder *b, bool cut, weft_error *err)
{
    const char *after = b->c->assistant.after;
    size_t n = strlen(after);
    for (size_t at = 0; at < n; at++) {
        const struct control *end = control_at(b, after + at, n - at);
        if (end != NULL) {
            if (cut) {
                TRY(add_id(b, end->id, end->strips, err));
            }
            b->strip = end->strips;
            return add_piece(b, after + at + end->n, err);
        }
    }
    return error_set(err, WEFT_E_INTERNAL, "chat template %s has no end of turn", b->c->name);
}

static weft_status build(struct builder *b, const weft_message *m, size_t n,
                         const weft_chat_params *p, weft_error *err)
{
    TRY(open_controls(b, err));
    bool wants_bos = tokenizer_adds_bos(b->t) && tokenizer_bos(b->t) >= 0;
    if (p->continues) {
        TRY(complete_turn(b, p->last != NULL && !tokenizer_is_end(b->t, *p->last), err));
    } else {
        if (wants_bos) {
            TRY(add_id(b, tokenizer_bos(b->t), false, err));
        }
        if (b->c->default_system != NULL && role_of(&m[0]) != ROLE_SYSTEM) {
            TRY(add_system(b, b->c->default_system, err));
        }
    }
    const char *merged = NULL;
    bool first_user = !p->continues;
    for (size_t i = 0; i < n; i++) {
        enum role role = role_of(&m[i]);
        if (role == ROLE_SYSTEM && b->c->merges_system) {
            merged = m[i].content;
        } else if (role == ROLE_SYSTEM) {
            TRY(add_system(b, m[i].content, err));
        } else if (role == ROLE_ASSISTANT) {
            TRY(add_assistant(b, m[i].content, err));
        } else {
            if (b->c->next_bos && wants_bos && !first_user) {
                TRY(add_id(b, tokenizer_bos(b->t), false, err));
            }
            TRY(add_user(b, m[i].content, merged, err));
            merged = NULL;
            first_user = false;
        }
    }
    if (!p->no_prompt) {
        TRY(add_piece(b, b->c->prompt, err));
    }
    return flush(b, err);
}

static weft_status unknown_template(weft_error *err)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; chat_at(i) != NULL; i++) {
        size_t n = strlen(chat_at(i)->name);
        if (used + n + 2 < sizeof names) {
            memcpy(names + used, chat_at(i)->name, n);
            names[used + n] = ' ';
            used += n + 1;
        }
    }
    names[used > 0 ? used - 1 : 0] = '\0';
    return error_set(err, WEFT_E_UNSUPPORTED,
                     "the chat template is not one that is built in; choose one of: %s", names);
}

weft_status chat_encode(const struct chat_template *c, const struct tokenizer *t,
                        const weft_message *messages, size_t n, const weft_chat_params *params,
                        struct tokens *out, weft_error *err)
{
    static const weft_chat_params defaults = WEFT_CHAT_PARAMS_INIT;
    const weft_chat_params *p = params == NULL ? &defaults : params;
    if (c == NULL) {
        return unknown_template(err);
    }
    TRY(check_messages(c, messages, n, p->continues, err));
    size_t before = out->n;
    struct builder b = { .t = t, .c = c, .out = out };
    weft_status status = build(&b, messages, n, p, err);
    if (status != WEFT_OK) {
        out->n = before;
    }
    free(b.run.data);
    return status;
}

static weft_status build_rank(struct builder *b, struct gguf_str query, struct gguf_str document,
                              weft_error *err)
{
    TRY(open_controls(b, err));
    TRY(add_piece(b, b->c->user.before, err));
    TRY(add_content(b, query.s, query.n, err));
    TRY(add_piece(b, b->c->user.after, err));
    TRY(add_content(b, document.s, document.n, err));
    TRY(add_piece(b, b->c->assistant.after, err));
    return flush(b, err);
}

weft_status chat_rank(const struct tokenizer *t, struct gguf_str query, struct gguf_str document,
                      struct tokens *out, weft_error *err)
{
    size_t before = out->n;
    struct builder b = { .t = t, .c = &chat_rank_template, .out = out };
    weft_status status = build_rank(&b, query, document, err);
    if (status != WEFT_OK) {
        out->n = before;
    }
    free(b.run.data);
    return status;
}
