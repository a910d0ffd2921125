/* Text of an answer on its way: through the reply, beside its tokens, to the stream or the whole
 * answer. */
#include <string.h>

#include "serve/answer_parts.h"
#include "serve/piece.h"

void answer_text(struct answer *a, struct choice *c, enum part part, const char *text, size_t n)
{
    if (n == 0) {
        return;
    }
    if (a->begun) {
        a->shape->delta(a, c, part, text, n);
        answer_event(a);
    } else {
        a->failed |= !text_add(part == PART_CONTENT ? &c->content : &c->reasoning, text, n);
    }
}

/* ---------------------------------------------------------------- tokens */

void answer_token(struct answer *a, struct choice *c, const weft_logprob *logprobs,
                  size_t n_logprobs, const struct bytes *bytes, const char *text, size_t n)
{
    a->shape->token(a, c, logprobs, n_logprobs, bytes, text, n);
    for (size_t i = 0; i < N_LISTS; i++) {
        a->failed |= c->lists[i].failed;
    }
}

/* Writes the tokens whose text is there, and gives their text. */
static void give_tokens(struct answer *a, struct choice *c, bool all)
{
    struct trail *t = &c->trail;
    struct trail_item item;
    const size_t from = t->from;
    while (trail_next(t, all, &item)) {
        a->piece.n = 0;
        a->failed |=
            item.whole ? !piece_add(a->scope->model, item.entry.token, c->reply != NULL, &a->piece)
                       : !text_add(&a->piece, item.text, item.n);
        answer_token(a, c, item.entry.logprobs, item.entry.n_logprobs, &a->piece, item.text,
                     item.n);
        free(item.entry.logprobs);
    }
    const size_t to = all ? t->to : t->from;
    t->from = to;
    if (to > from) {
        answer_text(a, c, PART_CONTENT, t->text.data + (from - t->begin), to - from);
    }
}

void answer_flush(struct answer *a, struct choice *c)
{
    if (answer_wants_logprobs(a)) {
        give_tokens(a, c, true);
    }
}

void answer_content(struct answer *a, struct choice *c, const char *text, size_t n, size_t from)
{
    if (!answer_wants_logprobs(a)) {
        answer_text(a, c, PART_CONTENT, text, n);
        return;
    }
    if (n == 0) {
        return;
    }
    if (from != c->trail.to) {
        give_tokens(a, c, true);
    }
    trail_content(&c->trail, from, n);
    give_tokens(a, c, false);
    trail_drop(&c->trail);
}

/* The text of a control token stands in the text of an answer only where a reply reads it. */
void answer_trail(struct answer *a, struct choice *c, const struct drawn *d)
{
    const weft_model *model = a->scope->model;
    const bool token = d->token >= 0 && !weft_token_is_end(model, d->token);
    const bool control = token && c->reply != NULL && a->scope->is_control[d->token];
    a->piece.n = 0;
    a->failed |= token && !piece_add(model, d->token, control, &a->piece);
    const size_t n_own = control ? size_min(a->piece.n, d->n_text) : 0;
    bool ok = !control || trail_text(&c->trail, d->text, d->n_text - n_own);
    ok = ok &&
         (!token || trail_token(&c->trail, d->token, a->piece.data, control ? n_own : a->piece.n,
                                control, d->logprobs, d->n_logprobs));
    const size_t done = control ? d->n_text - n_own : 0;
    ok = ok && (d->n_text == 0 || trail_text(&c->trail, d->text + done, d->n_text - done));
    a->failed |= !ok;
}

/* ---------------------------------------------------------------- replies */

/* Forgets the tokens of reasoning. */
static void skip(struct answer *a, struct choice *c, size_t to)
{
    if (answer_wants_logprobs(a)) {
        give_tokens(a, c, true);
        trail_content(&c->trail, to, 0);
        c->trail.from = c->trail.to;
        give_tokens(a, c, false);
        trail_drop(&c->trail);
    }
}

static void on_reasoning(struct answer *a, struct choice *c, const weft_reply_event *e)
{
    skip(a, c, e->from + e->n_text);
    answer_text(a, c, PART_REASONING, e->text, e->n_text);
    if (a->style->both_reasonings) {
        if (!c->in_reasoning) {
            answer_text(a, c, PART_CONTENT, "<think>", 7);
        }
        c->in_reasoning = true;
        answer_text(a, c, PART_CONTENT, e->text, e->n_text);
    }
}

static void end_reasoning(struct answer *a, struct choice *c)
{
    if (c->in_reasoning) {
        c->in_reasoning = false;
        answer_text(a, c, PART_CONTENT, "</think>", 8);
    }
}

/* Adds an event of a call to the whole answer. */
static void add_call(struct answer *a, struct choice *c, const weft_reply_event *e)
{
    if (e->kind == WEFT_REPLY_ARGUMENTS) {
        a->failed |= !text_add(&c->arguments, e->text, e->n_text);
    } else if (e->kind == WEFT_REPLY_CALL_END) {
        json_put(&c->calls, "%.*s}}", (int)c->arguments.n,
                 c->arguments.n > 0 ? c->arguments.data : "");
        c->arguments.n = 0;
    } else {
        json_put_raw(&c->calls, ",", c->n_calls > 0);
        json_put(&c->calls, "{'id':%s,'type':'function','function':{'name':%s,'arguments':", e->id,
                 e->name);
    }
}

static void on_call(struct answer *a, struct choice *c, const weft_reply_event *e)
{
    answer_flush(a, c);
    c->call_is_cut = e->kind == WEFT_REPLY_CALL_END && !e->complete;
    if (!a->begun) {
        add_call(a, c, e);
    } else if (e->kind != WEFT_REPLY_CALL_END) {
        a->shape->call(a, c, e);
        answer_event(a);
    }
    c->n_calls += e->kind == WEFT_REPLY_CALL;
}

/* Returns true for the beginning of a call that was cut before its name was complete. Clients would
 * show it as text. */
static bool is_torn_call(const struct choice *c, const weft_reply_event *e)
{
    return c->ending && c->n_calls > 0 && c->finish != WEFT_FINISH_END &&
           e->kind == WEFT_REPLY_CONTENT;
}

static void on_event(struct answer *a, struct choice *c, const weft_reply_event *e)
{
    if (is_torn_call(c, e)) {
        return;
    }
    if (e->kind == WEFT_REPLY_REASONING) {
        on_reasoning(a, c, e);
        return;
    }
    end_reasoning(a, c);
    if (e->kind == WEFT_REPLY_CONTENT) {
        answer_content(a, c, e->text, e->n_text, e->from);
    } else {
        on_call(a, c, e);
    }
}

void answer_reply(struct answer *a, struct choice *c, const char *text, size_t n, bool ends)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    c->ending = ends;
    const weft_status status =
        ends ? weft_reply_end(c->reply, NULL) : weft_reply_add(c->reply, text, n, NULL);
    a->failed |= status != WEFT_OK;
    while (!a->failed && weft_reply_next(c->reply, &e)) {
        on_event(a, c, &e);
    }
    if (ends) {
        end_reasoning(a, c);
    }
}
