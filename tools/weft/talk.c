/* Conversations: this file decides which tokens have to be computed for the next turn. The template
 * renders the whole conversation each time. If the text only grew, its new part is appended to the
 * sequence. If not (a template may leave out what the model thought in earlier turns), the sequence
 * is rewound to the first token that differs. */
#include "weft/talk.h"

#include <stdlib.h>
#include <string.h>

#include "weft/answer.h"
#include "weft/term.h"

static const struct turn_start unknown = { SIZE_MAX, SIZE_MAX };

static int no_memory(void)
{
    return term_fail(EXIT_MEMORY, "not enough memory for the conversation");
}

static int push(struct talk *t, const char *role, const char *text, size_t n)
{
    if (t->n == t->cap) {
        struct turn_start *s = realloc(t->starts, (t->cap + 16) * sizeof *s);
        if (s == NULL) {
            return no_memory();
        }
        t->starts = s;
        t->cap += 16;
    }
    int code = prompt_add_message(t->messages, role, text, n);
    if (code == EXIT_OK) {
        t->starts[t->n++] = unknown;
    }
    return code;
}

static void pop(struct talk *t) { json_array_remove(t->messages, --t->n); }

static bool is_role(const struct talk *t, size_t i, const char *role)
{
    const char *name = json_string_value(json_object_get(json_array_get(t->messages, i), "role"));
    return name != NULL && strcmp(name, role) == 0;
}

static bool has_system(const struct talk *t) { return is_role(t, 0, "system"); }

/* Renders the conversation. After a loaded state, which has a system prompt of its own, the system
 * message is left out. */
static int render(const struct talk *t, bool answer, weft_prompt **prompt)
{
    const struct prompt_form form = { .no_prompt = !answer,
                                      .continues = t->base > 0,
                                      .last = t->base_last };
    json_t *list = json_copy(t->messages);
    if (list == NULL) {
        return no_memory();
    }
    if (t->base > 0 && has_system(t)) {
        json_array_remove(list, 0);
    }
    int code = prompt_open(t->session, &t->setup, list, &form, prompt);
    json_decref(list);
    return code;
}

/* Returns how many tokens an answer needs at least. */
static size_t answer_room(const struct talk *t) { return t->o->n_predict != 0; }

static int append(struct talk *t, const struct ids *ids, size_t from)
{
    weft_error err = { 0 };
    const size_t n = ids->n - from, n_ctx = session_n_ctx(t->session, t->o);
    const size_t left = n_ctx - weft_seq_len(t->answer.seq);
    if (n + answer_room(t) > left) {
        return term_fail(EXIT_RUNTIME,
                         "the message has %zu tokens%s, and %zu of the context's %zu are left; "
                         "/undo takes the last exchange back, /clear starts over, -c sets the "
                         "context",
                         n, n <= left ? ", the answer needs room" : "", left, n_ctx);
    }
    weft_status status = n > 0 ? weft_seq_append(t->answer.seq, ids->at + from, n, &err) : WEFT_OK;
    if (status == WEFT_OK) {
        return EXIT_OK;
    }
    int code = term_status(status, &err);
    if (status == WEFT_E_KV_FULL) {
        term_note("weft: /clear starts over, /undo takes the last exchange back");
    }
    return code;
}

/* Counts the tokens behind `base` with which both the sequence and the ids begin. */
static int count_same(const struct talk *t, const struct ids *ids, size_t *same)
{
    weft_error err = { 0 };
    size_t n = weft_seq_len(t->answer.seq);
    int32_t *old = malloc((n + 1) * sizeof *old);
    if (old == NULL) {
        return no_memory();
    }
    weft_status status = weft_seq_tokens(t->answer.seq, old, n, &n, &err);
    *same = 0;
    while (status == WEFT_OK && t->base + *same < n && *same < ids->n &&
           old[t->base + *same] == ids->at[*same]) {
        ++*same;
    }
    free(old);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

/* Makes the sequence hold the loaded state, if any, and then ids; only what follows the common
 * beginning is computed. */
static int replace(struct talk *t, const struct ids *ids)
{
    weft_error err = { 0 };
    const size_t n_ctx = session_n_ctx(t->session, t->o);
    size_t same;
    int code = count_same(t, ids, &same);
    if (code != EXIT_OK) {
        return code;
    }
    if (t->base + ids->n + answer_room(t) > n_ctx) {
        term_note("weft: the conversation has %zu tokens%s, and the context holds %zu; /clear "
                  "starts over, -c sets the context",
                  t->base + ids->n, t->base + ids->n <= n_ctx ? ", the answer needs room" : "",
                  n_ctx);
        return EXIT_RUNTIME;
    }
    weft_status status = weft_seq_rewind(t->answer.seq, t->base + same, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    t->text.n = 0;
    for (size_t i = 0; i < t->n; i++) {
        t->starts[i] = unknown;
    }
    return append(t, ids, same);
}

static bool begins_with(const struct bytes *text, const struct bytes *beginning)
{
    return beginning->n > 0 && beginning->n <= text->n &&
           memcmp(text->data, beginning->data, beginning->n) == 0;
}

/* Makes the sequence hold the rendered conversation, and keeps its text. *grew: nothing that the
 * sequence held had to go. */
static int hand_over(struct talk *t, const weft_prompt *prompt, bool *grew)
{
    struct ids ids = { 0 };
    struct bytes text = { 0 };
    int code = prompt_text(prompt, &text);
    if (code == EXIT_OK) {
        *grew = begins_with(&text, &t->text);
        code = prompt_ids(prompt, *grew ? t->text.n : 0, &ids);
        code = code != EXIT_OK ? code : *grew ? append(t, &ids, 0) : replace(t, &ids);
    }
    free(ids.at);
    if (code != EXIT_OK) {
        bytes_free(&text);
        return code;
    }
    bytes_free(&t->text);
    t->text = text;
    return EXIT_OK;
}

/* Hands the last message to the sequence. */
static int hand_in(struct talk *t, weft_prompt **prompt)
{
    const struct turn_start start = { weft_seq_len(t->answer.seq), t->text.n };
    const bool first = start.n_tokens == t->base;
    bool grew = false;
    int code = render(t, true, prompt);
    code = code == EXIT_OK ? hand_over(t, *prompt, &grew) : code;
    if (code == EXIT_OK && (grew || first)) {
        t->starts[t->n - 1] = start;
    }
    return code;
}

/* Adds the answer to the text of the sequence. Without its text, the next turn compares tokens. */
static void keep_text(struct talk *t)
{
    const struct ids *ids = &t->answer.ids;
    if (session_detokenize(t->session->model, ids->at, ids->n, WEFT_DETOKENIZE_SPECIAL, &t->text) !=
        EXIT_OK) {
        t->text.n = 0;
    }
}

static int answer(struct talk *t)
{
    struct generate_params p = { .model = t->session->model,
                                 .limit = t->o->n_predict,
                                 .stream = true };
    struct generated *g = &t->answer;
    generated_clear(g);
    term_on_interrupt(TERM_FLAG_ONCE);
    int code = generate(t->session->engine, g, 1, &p, &t->figures);
    if (!io_failed() && (g->text.n == 0 || g->text.data[g->text.n - 1] != '\n')) {
        int written = io_write("\n", 1);
        code = code != EXIT_OK ? code : written;
    }
    t->hash = ids_hash(t->hash, g->ids.at, g->ids.n);
    keep_text(t);
    return code;
}

/* Keeps the answer: what it thought is a member of its own, which templates show or leave out. */
static int keep_answer(struct talk *t, const weft_prompt *prompt)
{
    struct answer_parts parts = { 0 };
    int code = answer_split(t->session, prompt, &t->answer, &parts);
    code = code == EXIT_OK ? push(t, "assistant", parts.content.data, parts.content.n) : code;
    if (code == EXIT_OK && parts.reasoning.n > 0) {
        json_t *text = json_stringn(parts.reasoning.data, parts.reasoning.n);
        if (json_object_set_new(json_array_get(t->messages, t->n - 1), "reasoning_content", text) !=
            0) {
            code = no_memory();
            pop(t);
        }
    }
    answer_parts_free(&parts);
    return code;
}

static int say(struct talk *t)
{
    weft_prompt *prompt = NULL;
    int code = hand_in(t, &prompt);
    code = code == EXIT_OK ? answer(t) : code;
    code = code == EXIT_OK ? keep_answer(t, prompt) : code;
    weft_prompt_release(&prompt);
    return code;
}

int talk_say(struct talk *t, const char *text)
{
    int code = push(t, "user", text, strlen(text));
    if (code != EXIT_OK) {
        return code;
    }
    if (t->figures.started == 0) {
        t->figures.started = term_seconds();
    }
    code = say(t);
    if (code != EXIT_OK) {
        pop(t);
    }
    if (code == EXIT_OK && t->answer.end == TEXT_LENGTH) {
        size_t n = weft_seq_len(t->answer.seq);
        term_note("weft: the context is full, %zu of %zu tokens; /clear starts over", n, n);
    }
    return code;
}

int talk_undo(struct talk *t, char **text)
{
    *text = NULL;
    if (t->n < 2 || !is_role(t, t->n - 1, "assistant")) {
        return EXIT_OK;
    }
    const json_t *user = json_array_get(t->messages, t->n - 2);
    *text = strdup(json_string_value(json_object_get(user, "content")));
    if (*text == NULL) {
        return no_memory();
    }
    const struct turn_start start = t->starts[t->n - 2];
    pop(t);
    pop(t);
    /* At the beginning of the turn the sequence was sound, even if its answer was cut. */
    if (start.n_tokens != SIZE_MAX &&
        weft_seq_rewind(t->answer.seq, start.n_tokens, NULL) == WEFT_OK) {
        t->text.n = start.n_bytes;
    } else {
        t->text.n = 0;
    }
    return EXIT_OK;
}

int talk_restart(struct talk *t, const char *system)
{
    weft_error err = { 0 };
    if (system != NULL) {
        while (t->n > 0) {
            pop(t);
        }
        if (*system != '\0' && push(t, "system", system, strlen(system)) != EXIT_OK) {
            return EXIT_MEMORY;
        }
    }
    while (t->n > has_system(t)) {
        pop(t);
    }
    t->base = 0;
    t->text.n = 0;
    weft_status status = weft_seq_rewind(t->answer.seq, 0, &err);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

/* Makes the sequence end with the token that ends the last answer, even if that was cut, because a
 * text that continues the conversation expects that. */
static int tidy(struct talk *t)
{
    struct ids ids = { 0 };
    weft_prompt *prompt = NULL;
    int code = t->n > has_system(t) ? render(t, false, &prompt) : EXIT_OK;
    code = code == EXIT_OK && prompt != NULL ? prompt_ids(prompt, 0, &ids) : code;
    size_t n = ids.n;
    while (n > 0 && !weft_token_is_end(t->session->model, ids.at[n - 1])) {
        n--;
    }
    ids.n = n > 0 ? n : ids.n;
    code = code == EXIT_OK ? replace(t, &ids) : code;
    weft_prompt_release(&prompt);
    free(ids.at);
    return code;
}

/* Returns true if the sequence ends with a token that ends a turn, or with a loaded state. */
static bool is_tidy(const struct talk *t)
{
    int32_t last = -1;
    const size_t n = weft_seq_len(t->answer.seq);
    return n == t->base || session_last(t->answer.seq, &last) != EXIT_OK ||
           weft_token_is_end(t->session->model, last);
}

/* Returns true if the sequence has no room for the token that ends an answer. It is then saved as
 * it is: whoever goes on with such a state ends the turn first. */
static bool is_full(const struct talk *t)
{
    return weft_seq_len(t->answer.seq) + 1 + answer_room(t) > session_n_ctx(t->session, t->o);
}

int talk_save(struct talk *t, const char *path)
{
    const bool known = t->text.n > 0 || t->n <= has_system(t);
    int code = known && (is_tidy(t) || is_full(t)) ? EXIT_OK : tidy(t);
    return code != EXIT_OK ? code : session_save_state(t->answer.seq, path);
}

int talk_load(struct talk *t, const char *path)
{
    weft_seq *seq = t->answer.seq;
    int code = session_load_state(seq, path);
    if (code != EXIT_OK) {
        return code;
    }
    while (t->n > has_system(t)) {
        pop(t);
    }
    t->base = weft_seq_len(seq);
    t->text.n = 0;
    code = t->base > 0 ? session_last(seq, &t->base_last) : EXIT_OK;
    t->figures.n_state += t->base - weft_seq_pending(seq);
    return code;
}

int talk_set_thinking(struct talk *t, bool on)
{
    int code = prompt_set_flag(&t->setup, "enable_thinking", on);
    return code == EXIT_OK ? prompt_set_flag(&t->setup, "thinking", on) : code;
}

int talk_set_sampling(struct talk *t)
{
    weft_error err = { 0 };
    weft_sampling s = options_sampling(t->o);
    weft_status status = weft_seq_set_sampling(t->answer.seq, &s, &err);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

int talk_open(struct talk *t)
{
    weft_prompt *prompt = NULL;
    t->hash = IDS_HASH_START;
    t->messages = json_array();
    int code = t->messages != NULL ? prompt_setup(t->o, &t->setup) : no_memory();
    if (code == EXIT_OK && t->o->system != NULL && *t->o->system != '\0') {
        code = push(t, "system", t->o->system, strlen(t->o->system));
    }
    /* A template that cannot be used, or has no system prompt, is refused now rather than after the
     * first message. */
    code = code != EXIT_OK ? code : push(t, "user", "x", 1);
    if (code != EXIT_OK) {
        return code;
    }
    code = render(t, true, &prompt);
    weft_prompt_release(&prompt);
    pop(t);
    return code != EXIT_OK ? code : generated_open(&t->answer, t->session->engine, t->o);
}

void talk_close(struct talk *t)
{
    json_decref(t->messages);
    free(t->starts);
    bytes_free(&t->text);
    prompt_setup_free(&t->setup);
    generated_free(&t->answer);
}
