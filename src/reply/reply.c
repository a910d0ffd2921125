/* Opens the parser, feeds it, and keeps its events. */
#include "reply/reply.h"

#include <string.h>

#include "base/hash.h"
#include "schema/json_schema.h"

/* ---------------------------------------------------------------- opening */

/* Returns true if the text, in which the assistant's turn begins, ends inside reasoning. */
static bool is_open(const char *text, size_t n, const struct reply_marks *marks)
{
    const char *last_open = NULL, *last_close = NULL;
    size_t n_open = strlen(marks->open), n_close = strlen(marks->close);
    for (size_t i = 0; i < n; i++) {
        last_open =
            n - i >= n_open && memcmp(text + i, marks->open, n_open) == 0 ? text + i : last_open;
        last_close = n - i >= n_close && memcmp(text + i, marks->close, n_close) == 0 ? text + i
                                                                                      : last_close;
    }
    return last_open != NULL && (last_close == NULL || last_close < last_open);
}

static weft_status schema_error_of(const struct schema_error *e, weft_error *err)
{
    return e->text[0] == '\0' ? error_nomem(err, "a schema", 0)
                              : error_set(err, WEFT_E_FORMAT, "schema: %s", e->text);
}

/* A strict schema must be held as it is; its grammar is made again with that of the calls. */
static weft_status check_strict(const weft_reply_params *p, weft_error *err)
{
    struct schema_error e;
    struct bytes gbnf = { 0 };
    weft_status status = json_schema_grammar(p->schema, p->n_schema, false, &gbnf, &e)
                             ? reply_check_grammar(&gbnf, err)
                             : schema_error_of(&e, err);
    bytes_free(&gbnf);
    return status;
}

static weft_status open_schema(const weft_reply_params *p, struct reply *r, weft_error *err)
{
    struct schema_error e;
    r->strict_schema = p->strict_schema;
    if (p->schema == NULL) {
        return WEFT_OK;
    }
    if (p->strict_schema) {
        TRY(check_strict(p, err));
    }
    r->schema = json_schema_load(p->schema, p->n_schema, !p->strict_schema, &e);
    return r->schema != NULL ? WEFT_OK : schema_error_of(&e, err);
}

static weft_status open_choice(const weft_reply_params *p, struct reply *r, weft_error *err)
{
    r->choice = r->tools.n == 0 && p->choice == WEFT_TOOLS_AUTO ? WEFT_TOOLS_NONE : p->choice;
    if ((unsigned)p->choice > WEFT_TOOLS_NAMED) {
        return error_set(err, WEFT_E_ARG, "choice is %d, expected WEFT_TOOLS_AUTO to %d",
                         (int)p->choice, (int)WEFT_TOOLS_NAMED);
    }
    if ((p->choice == WEFT_TOOLS_NAMED) != (p->choice_name != NULL)) {
        return error_set(err, WEFT_E_ARG, "choice_name is %s; it goes with WEFT_TOOLS_NAMED only",
                         p->choice_name != NULL ? "set" : "NULL");
    }
    if (p->choice == WEFT_TOOLS_REQUIRED && r->tools.n == 0) {
        return error_set(err, WEFT_E_ARG, "a call is required, but there are no tools");
    }
    if (p->choice == WEFT_TOOLS_NAMED) {
        return reply_tools_choose(&r->tools, p->choice_name) != NULL
                   ? WEFT_OK
                   : error_set(err, WEFT_E_ARG, "no tool has the name '%.128s'", p->choice_name);
    }
    return WEFT_OK;
}

weft_status reply_open(const struct reply_source *source, const weft_reply_params *params,
                       struct reply *r, weft_error *err)
{
    *r = (struct reply){ .single = params->no_parallel, .keep_reasoning = params->keep_reasoning };
    /* The instruction asks for the form of templates that do not know tools. */
    r->format = reply_format_of(source->told ? "" : source->template_source,
                                source->told ? 0 : source->n_template_source);
    r->marks = reply_marks_of(source->template_source, source->n_template_source);
    r->thinking = r->marks != NULL && is_open(source->opening, source->n_opening, r->marks);
    r->state = r->thinking ? REPLY_REASONING : r->marks != NULL ? REPLY_BEGIN : REPLY_TEXT;
    r->trim = r->thinking && !r->keep_reasoning;
    r->seed = params->seed != 0 ? params->seed : hash_seed_draw().start;
    weft_status status = reply_tools_open(source->tools, source->n_tools, &r->tools, err);
    status = status == WEFT_OK ? open_choice(params, r, err) : status;
    status = status == WEFT_OK ? open_schema(params, r, err) : status;
    status = status == WEFT_OK ? reply_constrain(r, &r->constraint, err) : status;
    if (status != WEFT_OK) {
        reply_close(r);
    }
    return status;
}

void reply_close(struct reply *r)
{
    reply_tools_close(&r->tools);
    json_decref(r->schema);
    reply_constraint_free(&r->constraint);
    bytes_free(&r->in);
    bytes_free(&r->out);
    free(r->events);
    *r = (struct reply){ 0 };
}

/* ---------------------------------------------------------------- events */

void reply_put_event(struct reply *r, struct reply_event event)
{
    if (!mem_reserve(&r->events, &r->cap_events, r->n_events + 1, sizeof *r->events)) {
        r->no_memory = true;
        return;
    }
    r->events[r->n_events++] = event;
}

void reply_emitted(struct reply *r, weft_reply_kind kind, size_t before)
{
    size_t n = r->out.n - before;
    struct reply_event *last = r->n_events > r->next_event ? &r->events[r->n_events - 1] : NULL;
    if (n == 0) {
        return;
    }
    r->answered |= kind != WEFT_REPLY_REASONING;
    if (last != NULL && last->kind == kind) {
        last->n += n;
        return;
    }
    size_t call = kind == WEFT_REPLY_ARGUMENTS ? r->n_calls - 1 : 0;
    reply_put_event(r, (struct reply_event){
                           .kind = kind, .call = call, .at = before, .n = n, .from = r->place });
}

void reply_emit(struct reply *r, weft_reply_kind kind, const char *text, size_t n)
{
    size_t before = r->out.n;
    r->no_memory |= !bytes_add(&r->out, text, n);
    reply_emitted(r, kind, before);
}

void reply_emit_escaped(struct reply *r, const char *text, size_t n)
{
    size_t before = r->out.n;
    r->no_memory |= !json_escape(&r->out, text, n);
    reply_emitted(r, WEFT_REPLY_ARGUMENTS, before);
}

bool reply_next(struct reply *r, weft_reply_event *event)
{
    if (r->next_event == r->n_events) {
        return false;
    }
    const struct reply_event *e = &r->events[r->next_event++];
    const char *text = r->out.data + e->at;
    bool call = e->kind == WEFT_REPLY_CALL;
    *event = (weft_reply_event){ .size = event->size,
                                 .kind = e->kind,
                                 .index = e->call,
                                 .id = call ? text : NULL,
                                 .name = e->name,
                                 .text = call || e->n == 0 ? NULL : text,
                                 .n_text = call ? 0 : e->n,
                                 .complete = e->complete,
                                 .from = e->from };
    return true;
}

/* ---------------------------------------------------------------- reading */

static bool step(struct reply *r)
{
    static bool (*const steps[])(struct reply *) = {
        [REPLY_BEGIN] = reply_step_begin,       [REPLY_REASONING] = reply_step_reasoning,
        [REPLY_TEXT] = reply_step_text,         [REPLY_JSON] = reply_step_json,
        [REPLY_TAG] = reply_step_tag,           [REPLY_RAW] = reply_step_raw,
        [REPLY_VALUE] = reply_step_value,       [REPLY_NAMED] = reply_step_named,
        [REPLY_NAMED_IN] = reply_step_named_in, [REPLY_BEHIND] = reply_step_behind,
    };
    if (r->in.n - r->at < r->again && !r->ended) {
        return false;
    }
    bool more = steps[r->state](r);
    size_t left = r->in.n - r->at;
    r->again = more || left < r->seen ? 0 : left + (left - r->seen) / 16;
    return more;
}

/* Gives back most of a buffer that is large and nearly empty. */
static void shrink(struct bytes *b)
{
    if (b->cap > 8 * REPLY_SLICE && b->n < b->cap / 4) {
        char *less = realloc(b->data, b->n + REPLY_SLICE);
        b->cap = less != NULL ? b->n + REPLY_SLICE : b->cap;
        b->data = less != NULL ? less : b->data;
    }
}

/* Drops the events that were taken. */
static void drop_events(struct reply *r)
{
    if (r->next_event < r->n_events) {
        return;
    }
    r->n_events = r->next_event = r->out.n = 0;
    shrink(&r->out);
    if (r->cap_events > REPLY_SLICE / sizeof *r->events) {
        free(r->events);
        r->events = NULL;
        r->cap_events = 0;
    }
}

/* Drops the text that was read, behind the bytes that are kept. */
static void drop_read(struct reply *r)
{
    if (r->at > r->kept) {
        size_t unread = r->in.n - r->at;
        memmove(r->in.data + r->kept, r->in.data + r->at, unread);
        r->in.n = r->kept + unread;
        r->at = r->kept;
    }
}

/* Makes *r what it was, apart from the room that was made. */
static void restore(struct reply *r, const struct reply *old)
{
    const struct reply now = *r;
    *r = *old;
    r->in.data = now.in.data;
    r->in.cap = now.in.cap;
    r->out.data = now.out.data;
    r->out.cap = now.out.cap;
    r->events = now.events;
    r->cap_events = now.cap_events;
}

static void read_slices(struct reply *r, const char *text, size_t n)
{
    for (size_t i = 0, len; i < n && !r->no_memory; i += len) {
        len = size_min(n - i, REPLY_SLICE);
        drop_read(r);
        r->no_memory |= !bytes_add(&r->in, text + i, len);
        while (!r->no_memory && step(r)) {
        }
    }
}

/* Reads text[n], or nothing of it. */
static weft_status run(struct reply *r, const char *text, size_t n, bool ends, weft_error *err)
{
    drop_events(r);
    r->kept = 0;
    drop_read(r);
    shrink(&r->in);
    if (!text_reserve(&r->in, 0)) {
        return error_nomem(err, "an answer", n);
    }
    r->kept = r->in.n;
    const struct reply old = *r;
    const struct reply_event last =
        r->n_events > 0 ? r->events[r->n_events - 1] : (struct reply_event){ 0 };
    r->ended = ends;
    read_slices(r, text, n);
    while (ends && !r->no_memory && step(r)) {
    }
    if (r->no_memory) {
        restore(r, &old);
        if (r->n_events > 0) {
            r->events[r->n_events - 1] = last;
        }
        return error_nomem(err, "an answer", n);
    }
    return WEFT_OK;
}

weft_status reply_add(struct reply *r, const char *text, size_t n, weft_error *err)
{
    if (r->ended) {
        return error_set(err, WEFT_E_STATE, "weft_reply_end() was called for this answer");
    }
    if (n > REPLY_MAX_PIECE) {
        return error_set(err, WEFT_E_ARG, "%zu bytes of an answer at once, expected at most %d", n,
                         REPLY_MAX_PIECE);
    }
    return n > 0 ? run(r, text, n, false, err) : WEFT_OK;
}

weft_status reply_end(struct reply *r, weft_error *err)
{
    return r->ended ? WEFT_OK : run(r, "", 0, true, err);
}
