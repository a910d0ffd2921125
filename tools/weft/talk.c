/* Conversations: this file decides which tokens have to be computed for the next turn. An answer
 * that ended by itself is simply continued. An answer that was cut has no end token, so the whole
 * conversation is tokenized again, and the sequence is rewound to the first difference. */
#include "weft/talk.h"

#include <stdlib.h>
#include <string.h>

#include "weft/term.h"

static int no_memory(void)
{
    return term_fail(EXIT_MEMORY, "not enough memory for the conversation");
}

static int push(struct talk *t, const char *role, const char *text, size_t n)
{
    if (t->n == t->cap) {
        struct turn_message *m = realloc(t->messages, (t->cap + 16) * sizeof *m);
        if (m == NULL) {
            return no_memory();
        }
        t->messages = m;
        t->cap += 16;
    }
    char *copy = malloc(n + 1);
    if (copy == NULL) {
        return no_memory();
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    t->messages[t->n++] = (struct turn_message){ role, copy, UNKNOWN_START };
    return EXIT_OK;
}

static void pop(struct talk *t) { free(t->messages[--t->n].content); }

static bool has_system(const struct talk *t) { return t->n > 0 && t->messages[0].role[0] == 's'; }

/* Returns the index of the first message that goes into the sequence. After a loaded state, which
 * has a system prompt of its own, the system message is left out. */
static size_t first_message(const struct talk *t) { return t->base > 0 && has_system(t) ? 1 : 0; }

/* Makes the ids of the messages from `from` on. */
static int render(const struct talk *t, size_t from, bool continues, bool answer, struct ids *ids)
{
    weft_chat_params p = WEFT_CHAT_PARAMS_INIT;
    size_t n = t->n - from;
    weft_message *list = calloc(n + 1, sizeof *list);
    if (list == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < n; i++) {
        list[i] = (weft_message){ t->messages[from + i].role, t->messages[from + i].content };
    }
    p.template_name = t->o->template_name;
    p.continues = continues;
    p.last = continues && from == first_message(t) && t->base > 0 ? &t->base_last : NULL;
    p.no_prompt = !answer;
    int code = session_chat_tokens(t->session, list, n, &p, ids);
    free(list);
    return code;
}

/* Returns how many tokens an answer needs at least. */
static size_t answer_room(const struct talk *t) { return t->o->n_predict != 0; }

static int append(struct talk *t, const int32_t *ids, size_t n)
{
    weft_error err = { 0 };
    size_t n_ctx = session_n_ctx(t->session, t->o), left = n_ctx - weft_seq_len(t->answer.seq);
    if (n + answer_room(t) > left) {
        return term_fail(EXIT_RUNTIME,
                         "the message has %zu tokens%s, and %zu of the context's %zu are left; "
                         "/undo takes the last exchange back, /clear starts over, -c sets the "
                         "context",
                         n, n <= left ? ", the answer needs room" : "", left, n_ctx);
    }
    weft_status status = weft_seq_append(t->answer.seq, ids, n, &err);
    if (status == WEFT_OK) {
        return EXIT_OK;
    }
    int code = term_status(status, &err);
    if (status == WEFT_E_KV_FULL) {
        term_note("weft: /clear starts over, /undo takes the last exchange back");
    }
    return code;
}

/* Makes the sequence hold the loaded state, if any, and then ids; only what follows the common
 * beginning is computed. */
static int replace(struct talk *t, const struct ids *ids)
{
    weft_error err = { 0 };
    weft_engine_info info = { .size = sizeof info };
    size_t old_n = weft_seq_len(t->answer.seq), same = 0;
    int32_t *old = malloc((old_n + 1) * sizeof *old);
    if (old == NULL) {
        return no_memory();
    }
    weft_status status = weft_seq_tokens(t->answer.seq, old, old_n, &old_n, &err);
    while (status == WEFT_OK && t->base + same < old_n && same < ids->n &&
           old[t->base + same] == ids->at[same]) {
        same++;
    }
    free(old);
    if (status == WEFT_OK) {
        status = weft_engine_get_info(t->session->engine, &info, &err);
    }
    if (status == WEFT_OK && t->base + ids->n + answer_room(t) > info.n_ctx) {
        term_note("weft: the conversation has %zu tokens%s, and the context holds %zu; /clear "
                  "starts over, -c sets the context",
                  t->base + ids->n, t->base + ids->n <= info.n_ctx ? ", the answer needs room" : "",
                  info.n_ctx);
        return EXIT_RUNTIME;
    }
    if (status == WEFT_OK) {
        status = weft_seq_rewind(t->answer.seq, t->base + same, &err);
    }
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    t->rebuild = true;
    return same < ids->n ? append(t, ids->at + same, ids->n - same) : EXIT_OK;
}

/* Hands the last message to the sequence. */
static int hand_in(struct talk *t)
{
    struct ids ids = { 0 };
    bool first = t->n == has_system(t) + 1u;
    bool all = first || t->rebuild;
    size_t start = first ? t->base : all ? UNKNOWN_START : weft_seq_len(t->answer.seq);
    int code = render(t, all ? first_message(t) : t->n - 1, !all || t->base > 0, true, &ids);
    if (code == EXIT_OK) {
        code = all ? replace(t, &ids) : append(t, ids.at, ids.n);
    }
    free(ids.at);
    if (code == EXIT_OK) {
        for (size_t i = 0; all && i < t->n; i++) {
            t->messages[i].start = UNKNOWN_START;
        }
        t->messages[t->n - 1].start = start;
    }
    return code;
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
    t->rebuild = g->end != TEXT_END;
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
    code = hand_in(t);
    if (code == EXIT_OK) {
        code = answer(t);
        const struct bytes *b = &t->answer.text;
        code = code != EXIT_OK ? code : push(t, "assistant", b->n > 0 ? b->data : "", b->n);
        /* Without a kept answer, the next turn compares the sequence with the messages. */
        t->rebuild = t->rebuild || code != EXIT_OK;
    }
    if (code != EXIT_OK) {
        pop(t);
    }
    if (code == EXIT_OK && t->answer.end == TEXT_LENGTH) {
        size_t n = weft_seq_len(t->answer.seq);
        term_note("weft: the context is full, %zu of %zu tokens; /clear starts over", n, n);
    }
    return code;
}

char *talk_undo(struct talk *t)
{
    if (t->n < 2 || t->messages[t->n - 1].role[0] != 'a') {
        return NULL;
    }
    pop(t);
    struct turn_message *m = &t->messages[--t->n];
    /* At the beginning of the turn the sequence was sound, even if its answer was cut. */
    t->rebuild =
        m->start == UNKNOWN_START || weft_seq_rewind(t->answer.seq, m->start, NULL) != WEFT_OK;
    return m->content;
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
    t->rebuild = false;
    weft_status status = weft_seq_rewind(t->answer.seq, 0, &err);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

/* Makes the sequence hold exactly the messages. The last answer is ended even if it was cut,
 * because a text that continues the conversation expects that. */
static int tidy(struct talk *t)
{
    struct ids ids = { 0 };
    bool any = t->n > has_system(t);
    int code = any ? render(t, first_message(t), t->base > 0, false, &ids) : EXIT_OK;
    size_t n = ids.n;
    while (n > 0 && !weft_token_is_end(t->session->model, ids.at[n - 1])) {
        n--;
    }
    ids.n = n > 0 ? n : ids.n;
    code = code != EXIT_OK ? code : replace(t, &ids);
    free(ids.at);
    for (size_t i = 0; code == EXIT_OK && i < t->n; i++) {
        t->messages[i].start = UNKNOWN_START;
    }
    t->rebuild = code != EXIT_OK;
    return code;
}

int talk_save(struct talk *t, const char *path)
{
    int code = t->rebuild ? tidy(t) : EXIT_OK;
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
    code = t->base > 0 ? session_last(seq, &t->base_last) : EXIT_OK;
    t->figures.n_state += t->base - weft_seq_pending(seq);
    t->rebuild = false;
    return code;
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
    struct ids ids = { 0 };
    t->hash = IDS_HASH_START;
    int code = EXIT_OK;
    if (t->o->system != NULL && *t->o->system != '\0') {
        code = push(t, "system", t->o->system, strlen(t->o->system));
    }
    /* A template that is unknown, or has no system prompt, is refused now rather than after the
     * first message. */
    code = code != EXIT_OK ? code : push(t, "user", "x", 1);
    if (code != EXIT_OK) {
        return code;
    }
    code = render(t, 0, false, true, &ids);
    free(ids.at);
    pop(t);
    return code != EXIT_OK ? code : generated_open(&t->answer, t->session->engine, t->o);
}

void talk_close(struct talk *t)
{
    while (t->n > 0) {
        pop(t);
    }
    free(t->messages);
    generated_free(&t->answer);
}
