/* What the core tells of an answer, and what becomes of it. */
#include "serve/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"
#include "serve/answer_parts.h"
#include "serve/piece.h"

/* ---------------------------------------------------------------- open and close */

static const struct shape *shape_of(enum route route)
{
    return route == ROUTE_CHAT          ? &shape_chat
           : route == ROUTE_COMPLETIONS ? &shape_completions
                                        : &shape_completion;
}

static void free_choice(struct choice *c)
{
    trail_free(&c->trail);
    bytes_free(&c->content);
    bytes_free(&c->reasoning);
    bytes_free(&c->calls.text);
    bytes_free(&c->arguments);
    bytes_free(&c->tail);
    free(c->tokens.data);
    for (size_t i = 0; i < N_LISTS; i++) {
        bytes_free(&c->lists[i].text);
    }
}

void answer_close(struct answer *a)
{
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < a->n_choices; i++) {
        free_choice(&a->choices[i]);
    }
    free(a->choices);
    bytes_free(&a->out.text);
    bytes_free(&a->piece);
    free(a);
}

static void set_id(struct answer *a, const char *id)
{
    const char *prefix = a->shape->prefix;
    const bool has = strncmp(id, prefix, strlen(prefix)) == 0;
    snprintf(a->id, sizeof a->id, "%s%.*s", has ? "" : prefix, JOB_ID_MAX, id);
}

/* Finds the bytes at the end of a prompt that are the beginning of a character; the text begins
 * with that character. */
static bool begin_trail(struct answer *a, struct choice *c)
{
    const struct generation *g = &a->request->generation;
    const struct token_list *prompt = &g->prompts[c->index / g->n_choices];
    size_t from = prompt->n;
    while (from > 0 && prompt->n - from < UTF8_MAX - 1 &&
           !weft_token_is_end(a->scope->model, prompt->at[from - 1])) {
        from--;
    }
    a->piece.n = 0;
    for (size_t i = from; i < prompt->n; i++) {
        if (!piece_add(a->scope->model, prompt->at[i], false, &a->piece)) {
            return false;
        }
    }
    const size_t n = a->piece.n > 0 ? utf8_partial(a->piece.data, a->piece.n) : 0;
    return n == 0 || trail_begin(&c->trail, a->piece.data + a->piece.n - n, n);
}

static bool open_choices(struct answer *a)
{
    const struct generation *g = &a->request->generation;
    const size_t n = g->n_prompts * g->n_choices;
    a->choices = mem_array(n, sizeof *a->choices);
    if (a->choices == NULL) {
        return false;
    }
    a->n_choices = n;
    for (size_t i = 0; i < n; i++) {
        a->choices[i].index = i;
        a->choices[i].stop = "";
        a->choices[i].reply = g->replies != NULL ? g->replies[i] : NULL;
        if (g->n_top >= 0 && !g->echo_logprobs && !begin_trail(a, &a->choices[i])) {
            return false;
        }
    }
    return true;
}

struct answer *answer_open(const struct scope *scope, const struct request *request, const char *id,
                           const struct sink *sink, void *user)
{
    struct answer *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return NULL;
    }
    a->scope = scope;
    a->request = request;
    a->style = request->style;
    a->shape = shape_of(request->route);
    a->sink = sink;
    a->user = user;
    a->created = (long long)time(NULL);
    set_id(a, id);
    if (!open_choices(a)) {
        answer_close(a);
        return NULL;
    }
    return a;
}

bool answer_wants_logprobs(const struct answer *a) { return a->request->generation.n_top >= 0; }

/* ---------------------------------------------------------------- events */

void answer_event(struct answer *a)
{
    a->failed |= a->out.failed;
    if (!a->failed) {
        a->sink->event(a->user, NULL, a->out.text.data, a->out.text.n);
    }
    a->out.text.n = 0;
}

/* Gives the text of the prompts, where it is wanted and does not come with log-probabilities. */
static void echo(struct answer *a)
{
    const struct generation *g = &a->request->generation;
    for (size_t i = 0; i < a->n_choices && a->style->echo && !g->echo_logprobs; i++) {
        const char *text = a->style->prompts[i / g->n_choices];
        answer_text(a, &a->choices[i], PART_CONTENT, text, strlen(text));
    }
}

bool answer_begin(struct answer *a)
{
    a->begun = a->request->stream;
    for (size_t i = 0; i < a->n_choices && a->begun && a->shape->first != NULL; i++) {
        a->shape->first(a, &a->choices[i]);
        answer_event(a);
    }
    echo(a);
    return !a->failed;
}

bool answer_progress(struct answer *a, const struct job_figures *figures, size_t n_done)
{
    if (a->begun && a->style->return_progress) {
        a->shape->progress(a, figures, n_done);
        answer_event(a);
    }
    return !a->failed;
}

/* ---------------------------------------------------------------- the prompt */

/* Adds token i of a prompt. BOS in front has no text; the first token has no space in front of it
 * that the prompt has not. *begun: some text has come. */
static void add_prompt_token(struct answer *a, struct choice *c, const struct prompt_logprobs *p,
                             size_t i, bool *begun)
{
    const struct scope *scope = a->scope;
    const int32_t token = a->request->generation.prompts[p->prompt].at[i];
    const weft_logprob *known = &p->at[i * (1 + p->n_top)];
    const bool bos = i == 0 && token == scope->info.bos && scope->info.adds_bos;
    struct bytes *piece = &a->piece;
    size_t n = 0;
    piece->n = 0;
    a->failed |= !bos && !piece_add(scope->model, token, true, piece);
    const bool space =
        !*begun && piece->n > 0 && piece->data[0] == ' ' && a->style->prompts[p->prompt][0] != ' ';
    while (known->token >= 0 && n < 1 + p->n_top && known[n].token >= 0) {
        n++;
    }
    *begun |= piece->n > 0;
    a->failed |= !trail_known(&c->trail, token, piece->n > 0 ? piece->data + space : "",
                              piece->n - space, scope->is_control[token] != 0, known, n);
}

bool answer_prompt(struct answer *a, const struct prompt_logprobs *p)
{
    const struct generation *g = &a->request->generation;
    for (size_t i = 0; i < g->n_choices && g->echo_logprobs; i++) {
        struct choice *c = &a->choices[p->prompt * g->n_choices + i];
        bool begun = false;
        for (size_t k = 0; k < p->n && !a->failed; k++) {
            add_prompt_token(a, c, p, k, &begun);
        }
        answer_content(a, c, "", trail_end(&c->trail), 0);
    }
    return !a->failed;
}

/* ---------------------------------------------------------------- tokens */

/* Finds the stop string that the last token has completed. */
static void find_stop(const struct answer *a, struct choice *c, size_t n_before)
{
    const struct generation *g = &a->request->generation;
    for (size_t end = n_before + 1; end <= c->tail.n && c->stop[0] == '\0'; end++) {
        for (size_t i = 0; i < g->n_stops; i++) {
            const size_t n = strlen(g->stops[i]);
            if (n <= end && n > strlen(c->stop) &&
                memcmp(c->tail.data + end - n, g->stops[i], n) == 0) {
                c->stop = g->stops[i];
            }
        }
    }
}

/* Keeps the last bytes, so that a stop string can be named. */
static void add_tail(struct answer *a, struct choice *c, const struct drawn *d)
{
    if (a->request->generation.n_stops == 0 || a->request->route != ROUTE_COMPLETION) {
        return;
    }
    if (c->tail.n > 2 * MAX_STOP_BYTES) {
        memmove(c->tail.data, c->tail.data + c->tail.n - MAX_STOP_BYTES, MAX_STOP_BYTES);
        c->tail.n = MAX_STOP_BYTES;
    }
    const size_t before = c->tail.n;
    a->failed |= !piece_add(a->scope->model, d->token, false, &c->tail);
    if (d->finish == WEFT_FINISH_STOP) {
        find_stop(a, c, before);
    }
}

static void add_token(struct answer *a, struct choice *c, const struct drawn *d)
{
    if (d->token >= 0) {
        a->failed |= a->request->route == ROUTE_COMPLETION && !tokens_add(&c->tokens, d->token);
        add_tail(a, c, d);
    }
    if (answer_wants_logprobs(a)) {
        answer_trail(a, c, d);
    }
}

static void add_text(struct answer *a, struct choice *c, const struct drawn *d, size_t from)
{
    if (c->reply != NULL) {
        answer_reply(a, c, d->text, d->n_text, false);
    } else {
        answer_content(a, c, d->text, d->n_text, from);
    }
}

static void finish(struct answer *a, struct choice *c, const struct drawn *d)
{
    c->done = true;
    c->finish = d->finish;
    if (c->reply != NULL) {
        answer_reply(a, c, "", 0, true);
    }
    c->trail.ended = c->reply == NULL;
    answer_flush(a, c);
    if (a->begun) {
        a->shape->last(a, c);
        answer_event(a);
    }
}

bool answer_drawn(struct answer *a, const struct drawn *d)
{
    struct choice *c = &a->choices[d->choice];
    const size_t from = trail_end(&c->trail);
    c->figures = d->figures;
    c->has_line |= d->n_text > 0 && memchr(d->text, '\n', d->n_text) != NULL;
    add_token(a, c, d);
    add_text(a, c, d, from);
    if (d->finish != WEFT_RUNNING) {
        finish(a, c, d);
    }
    return !a->failed;
}

/* ---------------------------------------------------------------- the end */

static void set_body(struct answer *a, int status, struct outcome *out)
{
    out->status = status;
    out->body = a->begun ? NULL : a->out.text.data;
    out->n_body = a->begun ? 0 : a->out.text.n;
}

bool answer_end(struct answer *a, const struct job_figures *figures, struct outcome *out)
{
    a->out.text.n = 0;
    if (!a->begun) {
        a->shape->whole(a, figures);
    } else if (a->style->include_usage && a->shape->usage != NULL) {
        a->shape->usage(a, figures);
        answer_event(a);
    }
    a->failed |= a->out.failed;
    if (a->failed) {
        return false;
    }
    if (a->begun && a->shape->ends_with_done) {
        a->sink->event(a->user, NULL, "[DONE]", 6);
    }
    set_body(a, 200, out);
    out->finish = finish_name(&a->choices[0]);
    return true;
}

void answer_fail(struct answer *a, const struct fault *fault, struct outcome *out)
{
    static const char no_memory[] = "{\"error\":{\"message\":\"not enough memory\",\"type\":"
                                    "\"server_error\",\"code\":500,\"param\":null}}";
    bytes_free(&a->out.text);
    a->out.text.data = fault_json(fault);
    a->out.text.n = a->out.text.data != NULL ? strlen(a->out.text.data) : 0;
    const char *body = a->out.text.data != NULL ? a->out.text.data : no_memory;
    if (a->begun) {
        a->sink->event(a->user, NULL, body, strlen(body));
    }
    out->status = a->begun ? 200 : fault->status;
    out->body = a->begun ? NULL : body;
    out->n_body = a->begun ? 0 : strlen(body);
    out->retry_after = fault->retry_after;
    out->finish = "error";
}
