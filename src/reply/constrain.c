/* Makes the grammar of an answer: of its calls, or of its content. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "reply/reply.h"
#include "schema/json_schema.h"

struct maker {
    const struct reply *r;
    struct bytes *out;
    bool ok;    /* memory is there */
    bool loose; /* parameters in tags may be any */
    /* The schemas of the arguments or, in tags, of the parameters that are no texts; in the order
     * of the tools. `next` is used while they are mentioned. */
    struct schema_item *items;
    size_t n_items, next;
};

/* ---------------------------------------------------------------- text */

__attribute__((format(printf, 2, 3))) static void put(struct maker *m, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    m->ok = m->ok && n >= 0 && text_add(m->out, text, (size_t)n);
}

static void literal(struct maker *m, const char *text, size_t n)
{
    if (n > 0) {
        m->ok = m->ok && json_gbnf_literal(m->out, text, n);
        put(m, " ");
    }
}

static void quote(struct maker *m, const char *text) { literal(m, text, strlen(text)); }

/* How many bytes at the end of text[n] and c begin the text again. */
static size_t border(const char *text, size_t n, char c)
{
    for (size_t len = n; len > 0; len--) {
        if (text[len - 1] == c && memcmp(text, text + n - len + 1, len - 1) == 0) {
            return len;
        }
    }
    return 0;
}

static void class_member(struct maker *m, char c)
{
    put(m, "%s%c", strchr("[]-^\\", c) != NULL ? "\\" : "", c);
}

/* Makes the rules name-0, name-1 ...: any text up to the first `end`, and `end`. In rule i the last
 * i bytes are the first of `end`. */
static void put_until(struct maker *m, const char *name, const char *end)
{
    size_t n = strlen(end);
    for (size_t i = 0; i < n; i++) {
        put(m, "%s-%zu ::= [^", name, i);
        for (size_t k = 0; k <= i; k++) {
            if (memchr(end, end[k], k) == NULL) {
                class_member(m, end[k]);
            }
        }
        put(m, "] %s-0", name);
        for (size_t k = 0; k <= i; k++) {
            size_t to = k == i ? i + 1 : border(end, i, end[k]);
            if (k == i || (end[k] != end[i] && memchr(end, end[k], k) == NULL)) {
                put(m, " | ");
                literal(m, &end[k], 1);
                if (to < n) {
                    put(m, "%s-%zu", name, to);
                }
            }
        }
        put(m, "\n");
    }
}

/* ---------------------------------------------------------------- parameters in tags */

static bool is_text(const struct reply_tool *tool, const char *key)
{
    unsigned types = reply_parameter_types(tool, key, strlen(key));
    return (types & REPLY_STRING) != 0;
}

/* Calls are objects of JSON, or the arguments stand between tags, or behind a name alone. */
static bool in_objects(const struct reply *r)
{
    return strncmp(r->format->shape.middle, "\", ", 3) == 0;
}
static bool in_tags(const struct reply *r) { return r->format->tags.key != NULL && !in_objects(r); }

/* Appends the texts of an enum, if there is one whose texts can stand between tags. */
static bool put_texts(struct maker *m, const json_t *schema)
{
    const json_t *list = json_object_get(schema, "enum");
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        const char *text = json_string_value(one);
        if (text == NULL || strpbrk(text, "<\n") != NULL || *text == '\0') {
            return false;
        }
    }
    json_array_foreach(list, i, one)
    {
        put(m, i == 0 ? "(" : "| ");
        quote(m, json_string_value(one));
    }
    put(m, json_array_size(list) > 0 ? ") " : "");
    return json_array_size(list) > 0;
}

static void put_value(struct maker *m, const struct reply_tool *tool, const char *key,
                      const json_t *schema)
{
    const struct reply_tags *tags = &m->r->format->tags;
    if (!is_text(tool, key)) {
        put(m, "%s ", m->items[m->next++].rule);
        quote(m, tags->lines ? "\n" : "");
        quote(m, tags->end);
    } else if (put_texts(m, schema)) {
        quote(m, tags->lines ? "\n" : "");
        quote(m, tags->end);
    } else {
        put(m, "text-0 ");
    }
}

/* Appends `between` of the tags, whose white space is a line break. */
static void put_between(struct maker *m)
{
    const struct reply_tags *tags = &m->r->format->tags;
    const char *space = strstr(tags->between, "%s");
    literal(m, tags->between,
            space != NULL ? (size_t)(space - tags->between) : strlen(tags->between));
    if (space != NULL) {
        put(m, "\"\\n\"? ");
        quote(m, space + 2);
    }
    quote(m, tags->lines ? "\n" : "");
}

/* Returns the set of the names that a schema requires; json_decref() it. */
static json_t *required_names(struct maker *m, const json_t *parameters)
{
    json_t *names = json_object(), *one;
    size_t i;
    m->ok = m->ok && names != NULL;
    json_array_foreach(json_object_get(parameters, "required"), i, one)
    {
        if (m->ok && json_is_string(one)) {
            m->ok = json_object_set_new(names, json_string_value(one), json_true()) == 0;
        }
    }
    return names;
}

/* Makes the rules tags-T-0, tags-T-1 ...: the parameters from one on, in the schema's order. */
static void put_tags(struct maker *m, size_t t)
{
    const struct reply_tool *tool = &m->r->tools.at[t];
    const struct reply_tags *tags = &m->r->format->tags;
    const char *key;
    json_t *schema;
    json_t *required = required_names(m, tool->parameters);
    size_t i = 0;
    json_object_foreach(json_object_get(tool->parameters, "properties"), key, schema)
    {
        put(m, "tags-%zu-%zu ::= ", t, i);
        quote(m, tags->key);
        quote(m, key);
        put_between(m);
        put_value(m, tool, key, schema);
        put(m, "\"\\n\"? tags-%zu-%zu", t, i + 1);
        if (json_object_get(required, key) == NULL) {
            put(m, " | tags-%zu-%zu", t, i + 1);
        }
        put(m, "\n");
        i++;
    }
    json_decref(required);
    put(m, "tags-%zu-%zu ::= ", t, i);
    quote(m, tags->close);
    put(m, "\n");
}

/* Any parameters of any tool. */
static void put_loose_tags(struct maker *m)
{
    const struct reply_tags *tags = &m->r->format->tags;
    put(m, "tags ::= ");
    quote(m, tags->close);
    put(m, "| ");
    quote(m, tags->key);
    put(m, "[A-Za-z0-9_.-]{1,64} ");
    put_between(m);
    put(m, "text-0 \"\\n\"? tags\n");
}

/* ---------------------------------------------------------------- calls */

/* Makes the rule tool-T: a call from the name on. */
static void put_tool(struct maker *m, size_t t)
{
    const struct reply_tool *tool = &m->r->tools.at[t];
    const struct reply_shape *shape = &m->r->format->shape;
    put(m, "tool-%zu ::= ", t);
    if (in_objects(m->r)) {
        literal(m, tool->quoted + 1, strlen(tool->quoted) - 2);
    } else {
        quote(m, tool->name);
    }
    quote(m, shape->middle);
    if (!in_tags(m->r)) {
        put(m, "%s ", m->items[m->next++].rule);
    } else if (m->loose) {
        put(m, "tags ");
    } else {
        put(m, "tags-%zu-0 ", t);
    }
    quote(m, shape->last);
    put(m, "\n");
}

static void put_tools(struct maker *m)
{
    const char * or = "call ::= ";
    for (size_t t = 0; t < m->r->tools.n; t++) {
        put(m, "%stool-%zu ", or, t);
        or = "| ";
    }
    put(m, "\n");
    bool tags = in_tags(m->r);
    for (size_t t = 0; t < m->r->tools.n; t++) {
        put_tool(m, t);
        if (tags && !m->loose) {
            put_tags(m, t);
        }
    }
    if (tags) {
        put_until(m, "text", m->r->format->tags.end);
    }
    if (tags && m->loose) {
        put_loose_tags(m);
    }
}

/* Appends the calls of an answer from the first name on. */
static void put_calls(struct maker *m)
{
    const struct reply_shape *shape = &m->r->format->shape;
    put(m, "call ");
    if (shape->next != NULL && !m->r->single) {
        put(m, "(");
        quote(m, shape->next);
        put(m, "call)* ");
    }
    quote(m, shape->final);
}

/* ---------------------------------------------------------------- the whole */

enum { MAX_TRIGGERS = 16, TRIGGER_BYTES = 256 };

/* Returns true if the model may reason before it answers, and the grammar must say so. */
static bool may_think(const struct reply *r) { return r->marks != NULL && !r->thinking; }

/* Makes the rules of what may stand in front of an answer that begins at once. */
static void put_thoughts(struct maker *m)
{
    const struct reply_marks *marks = m->r->marks;
    put(m, "gap ::= \"\\n\"{0,2}\n");
    if (may_think(m->r)) {
        put_until(m, "thoughts", marks->close);
        put(m, "thinking ::= (");
        quote(m, marks->open);
        put(m, "thoughts-0 gap)?\n");
    }
}

/* Behind the triggers with names: from the arguments on, of any tool. */
static void put_unnamed(struct maker *m)
{
    const struct reply_shape *shape = &m->r->format->shape;
    put(m, "| ");
    quote(m, shape->middle);
    for (size_t i = 0; i < m->n_items; i++) {
        put(m, "%s%s ", i == 0 ? "(" : "| ", m->items[i].rule);
    }
    put(m, ") ");
    quote(m, shape->last);
}

static bool is_forced(const struct reply *r)
{
    return r->choice == WEFT_TOOLS_REQUIRED || r->choice == WEFT_TOOLS_NAMED;
}

/* Returns true if the grammar begins behind a call's trigger, in free text. */
static bool is_lazy(const struct reply *r)
{
    return r->choice == WEFT_TOOLS_AUTO && r->schema == NULL;
}

static void put_root(struct maker *m, const char *answer)
{
    const struct reply *r = m->r;
    put(m, "root ::= ");
    if (is_lazy(r)) {
        quote(m, r->format->shape.behind);
        put_calls(m);
        if (r->format->names_free) {
            put_unnamed(m);
        }
        put(m, "\n");
        return;
    }
    put(m, "%s%s(", r->marks != NULL ? "gap " : "", may_think(r) ? "thinking " : "");
    if (r->schema != NULL && !is_forced(r)) {
        put(m, "%s%s", answer, r->choice == WEFT_TOOLS_AUTO ? " | " : "");
    }
    if (r->choice != WEFT_TOOLS_NONE) {
        quote(m, r->format->shape.first);
        put_calls(m);
    }
    put(m, ")\n");
}

/* Collects the schemas that the calls need; they are counted if m->items is NULL. */
static void add_item(struct maker *m, const json_t *root, const json_t *at, bool object)
{
    if (m->items != NULL) {
        m->items[m->n_items] = (struct schema_item){ .root = root, .at = at, .object = object };
    }
    m->n_items++;
}

static void add_parameters(struct maker *m, const struct reply_tool *tool)
{
    const char *key;
    json_t *schema;
    json_object_foreach(json_object_get(tool->parameters, "properties"), key, schema)
    {
        if (!is_text(tool, key)) {
            add_item(m, tool->parameters, schema, false);
        }
    }
}

static void collect(struct maker *m)
{
    bool tags = in_tags(m->r);
    m->n_items = 0;
    for (size_t t = 0; t < m->r->tools.n && m->r->choice != WEFT_TOOLS_NONE; t++) {
        const struct reply_tool *tool = &m->r->tools.at[t];
        if (!tags) {
            add_item(m, tool->parameters, tool->parameters, true);
        } else if (!m->loose) {
            add_parameters(m, tool);
        }
    }
    if (m->r->schema != NULL) {
        add_item(m, m->r->schema, m->r->schema, false);
    }
    if (m->r->schema != NULL && m->items != NULL) {
        m->items[m->n_items - 1].exact = m->r->strict_schema;
    }
}

/* Makes the whole grammar, given the room for its schemas. */
static void make(struct maker *m, struct schema_size room)
{
    const struct reply *r = m->r;
    const char *answer = "answer";
    m->out->n = m->next = 0;
    free(m->items);
    m->items = NULL;
    collect(m);
    m->items = mem_array(m->n_items, sizeof *m->items);
    m->ok = m->items != NULL;
    if (!m->ok) {
        return; /* what follows mentions the items */
    }
    collect(m);
    m->ok = json_schema_items(m->items, m->n_items, room, m->out);
    if (r->schema != NULL) {
        answer = m->items[m->n_items - 1].rule;
    }
    if (r->choice != WEFT_TOOLS_NONE) {
        put_tools(m);
    }
    put_thoughts(m);
    put_root(m, answer);
}

static bool within_limits(const struct bytes *gbnf)
{
    struct schema_size size = { 0 };
    json_schema_measure(gbnf->data, gbnf->n, &size);
    return size.bytes <= SCHEMA_TEXT && size.rules <= SCHEMA_RULES &&
           size.elements <= SCHEMA_ELEMENTS;
}

weft_status reply_check_grammar(const struct bytes *gbnf, weft_error *err)
{
    return within_limits(gbnf)
               ? WEFT_OK
               : error_set(err, WEFT_E_FORMAT,
                           "the grammar of the answer takes more than %d bytes, %d rules or %d "
                           "elements; give fewer tools, or a schema that is not strict",
                           SCHEMA_TEXT, SCHEMA_RULES, SCHEMA_ELEMENTS);
}

/* Makes the grammar with less and less room for schemas until it is within the limits. The names of
 * REPLY_MAX_TOOLS tools always are. */
static void make_within(struct maker *m)
{
    struct schema_size room = { SCHEMA_TEXT, SCHEMA_RULES, SCHEMA_ELEMENTS };
    for (int i = 0; i < 5; i++) {
        make(m, room);
        if (!m->ok || within_limits(m->out)) {
            return;
        }
        room = (struct schema_size){ room.bytes / 2, room.rules / 2, room.elements / 2 };
        m->loose = i >= 2;
    }
}

/* ---------------------------------------------------------------- triggers */

/* Adds the beginnings of calls by name, where nothing shorter is a sure sign of a call. */
static bool add_names(const struct reply *r, struct reply_constraint *c)
{
    size_t n_first = strlen(r->format->shape.first);
    if (!text_reserve(&c->names, r->tools.n * TRIGGER_BYTES)) {
        return false;
    }
    for (size_t t = 0; t < r->tools.n; t++) {
        size_t n = strlen(r->tools.at[t].quoted) - 2;
        if (n_first + n < TRIGGER_BYTES) {
            c->triggers[c->n_triggers++] = c->names.data + c->names.n;
            text_add(&c->names, r->format->shape.first, n_first);
            text_add(&c->names, r->tools.at[t].quoted + 1, n);
            bytes_add(&c->names, "", 1);
        }
    }
    return true;
}

/* Keeps triggers out of reasoning, where the parser knows no calls. If the prompt has opened it, it
 * is not opened again. */
static void add_hold(const struct reply *r, struct reply_constraint *c)
{
    if (r->marks != NULL) {
        c->hold_open = r->thinking ? NULL : r->marks->open;
        c->hold_close = r->marks->close;
        c->held = r->thinking;
    }
}

static bool add_triggers(const struct reply *r, struct reply_constraint *c)
{
    if (!is_lazy(r)) {
        c->triggers[0] = r->thinking ? r->marks->close : NULL;
        c->n_triggers = r->thinking;
        return true;
    }
    add_hold(r, c);
    c->triggers[0] = r->format->shape.trigger;
    c->n_triggers = 1;
    return !r->format->names_free || r->tools.n >= MAX_TRIGGERS || add_names(r, c);
}

weft_status reply_constrain(const struct reply *r, struct reply_constraint *out, weft_error *err)
{
    *out = (struct reply_constraint){ 0 };
    struct maker m = { .r = r, .out = &out->gbnf };
    weft_status status = WEFT_OK;
    if (r->choice == WEFT_TOOLS_NONE && r->schema == NULL) {
        return WEFT_OK;
    }
    make_within(&m);
    free(m.items);
    if (!m.ok || !add_triggers(r, out)) {
        status = error_nomem(err, "the grammar of an answer", out->gbnf.n);
    } else {
        status = reply_check_grammar(&out->gbnf, err);
    }
    if (status != WEFT_OK) {
        reply_constraint_free(out);
    }
    return status;
}

void reply_constraint_free(struct reply_constraint *c)
{
    bytes_free(&c->gbnf);
    bytes_free(&c->names);
    *c = (struct reply_constraint){ 0 };
}
