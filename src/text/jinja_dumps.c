/* Prints values as Python's json.dumps() does. What stands around a caller's string or number was
 * written by the template; quotes and escapes belong to who wrote what they quote. */
#include "text/jinja_tables.h"

#include <stdio.h>

#include "base/json_read.h"

struct dumper {
    struct jbuf b;
    const struct jdumps *how;
    size_t depth;
};

static void put(struct dumper *d, struct jval v);

static void put_escape(struct dumper *d, uint32_t c, uint8_t who)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    char text[16];
    const char *simple = c > 0 && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (simple != NULL) {
        snprintf(text, sizeof text, "\\%c", to[simple - from]);
    } else if (c > 0xffff) {
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
        snprintf(text, sizeof text, "\\u%04x", c);
    }
    jbuf_text(&d->b, text, who);
}

static void put_string(struct dumper *d, struct jval s)
{
    size_t len, from = 0;
    jbuf_text(&d->b, "\"", jstr_quote(s, true));
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t c = jstr_char(s, i, &len);
        bool plain = c >= 0x20 && c != '"' && c != '\\' && (c < 0x7f || !d->how->ascii);
        if (!plain) {
            jbuf_part(&d->b, s, from, i - from);
            put_escape(d, c, jstr_who(s, i));
            from = i + len;
        }
    }
    jbuf_part(&d->b, s, from, s.n - from);
    jbuf_text(&d->b, "\"", jstr_quote(s, false));
}

static void put_float(struct dumper *d, struct jval v)
{
    if (v.f != v.f || v.f - v.f != 0) {
        jbuf_text(&d->b, v.f != v.f ? "NaN" : v.f > 0 ? "Infinity" : "-Infinity", v.who);
    } else {
        jbuf_float(&d->b, v.f, v.who);
    }
}

static void line(struct dumper *d)
{
    if (d->how->indent.kind == J_STR) {
        jbuf_text(&d->b, "\n", 0);
        for (size_t i = 0; i < d->depth; i++) {
            jbuf_str(&d->b, d->how->indent);
        }
    }
}

static void put_list(struct dumper *d, const struct jlist *list)
{
    jbuf_text(&d->b, "[", 0);
    d->depth++;
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0) {
            jbuf_str(&d->b, d->how->item);
        }
        line(d);
        put(d, list->items[i]);
    }
    d->depth--;
    if (list->n > 0) {
        line(d);
    }
    jbuf_text(&d->b, "]", 0);
}

static void put_key(struct dumper *d, struct jval key)
{
    bool scalar = key.kind == J_STR || key.kind == J_NONE || jis_number(key);
    if (!scalar) {
        jfail(d->b.w, JINJA_RUNTIME, "tojson: a key of type '%s'", jtype(key));
    }
    if (key.kind == J_STR) {
        put_string(d, key);
    } else {
        jbuf_text(&d->b, "\"", key.who);
        put(d, key);
        jbuf_text(&d->b, "\"", key.who);
    }
}

/* Returns the pairs in the order of their keys. */
static const struct jlist *sorted(struct jwork *w, const struct jdict *dict)
{
    struct jval pairs = jlist_new(w, J_LIST, dict->n);
    for (size_t i = 0; i < dict->n; i++) {
        struct jval pair = jlist_new(w, J_TUPLE, 2);
        jlist_add(w, pair.list, dict->pairs[i].key);
        jlist_add(w, pair.list, jint((int64_t)i));
        jlist_add(w, pairs.list, pair);
    }
    jsort(w, pairs.list, pairs.list, false);
    return pairs.list;
}

static void put_dict(struct dumper *d, const struct jdict *dict)
{
    const struct jlist *order = d->how->sort ? sorted(d->b.w, dict) : NULL;
    jbuf_text(&d->b, "{", 0);
    d->depth++;
    for (size_t i = 0; i < dict->n; i++) {
        size_t at = order != NULL ? (size_t)order->items[i].list->items[1].i : i;
        if (i > 0) {
            jbuf_str(&d->b, d->how->item);
        }
        line(d);
        put_key(d, dict->pairs[at].key);
        jbuf_str(&d->b, d->how->key);
        put(d, dict->pairs[at].value);
    }
    d->depth--;
    if (dict->n > 0) {
        line(d);
    }
    jbuf_text(&d->b, "}", 0);
}

static void put(struct dumper *d, struct jval v)
{
    jsteps(d->b.w, 1);
    if (d->depth >= JINJA_MAX_DEPTH) {
        jfail(d->b.w, JINJA_LIMIT, "lists and dicts are nested deeper than %d", JINJA_MAX_DEPTH);
    }
    switch (v.kind) {
    case J_NONE: jbuf_text(&d->b, "null", v.who); break;
    case J_BOOL: jbuf_text(&d->b, v.b ? "true" : "false", v.who); break;
    case J_INT: jbuf_int(&d->b, v.i, v.who); break;
    case J_FLOAT: put_float(d, v); break;
    case J_STR: put_string(d, v); break;
    case J_LIST:
    case J_TUPLE: put_list(d, v.list); break;
    case J_DICT: put_dict(d, v.dict); break;
    default: jfail(d->b.w, JINJA_RUNTIME, "tojson: a value of type '%s' is not JSON", jtype(v));
    }
}

struct jval jdumps(struct jwork *w, struct jval v, const struct jdumps *how)
{
    struct dumper d = { .b = { .w = w }, .how = how };
    put(&d, v);
    return jbuf_take(&d.b);
}

/* Returns the argument `indent`: a string, or a number of spaces. */
static struct jval indent_of(struct jwork *w, struct jval v)
{
    if (v.kind == J_MISSING || v.kind == J_NONE || v.kind == J_STR) {
        return jarg(v, jnone());
    }
    return jstr_repeat(w, jtext(" "), jarg_int(w, v, 0));
}

JFUNCTION(tojson)
{
    struct jdumps how = { .ascii = jarg_bool(arg[0], false), .sort = jarg_bool(arg[3], false) };
    how.indent = indent_of(w, arg[1]);
    how.item = jtext(how.indent.kind == J_STR ? "," : ", ");
    how.key = jtext(": ");
    if (arg[2].kind != J_MISSING && arg[2].kind != J_NONE) {
        const struct jlist *both = jiterate(w, arg[2]);
        if (both->n != 2 || both->items[0].kind != J_STR || both->items[1].kind != J_STR) {
            jfail(w, JINJA_RUNTIME, "tojson: separators must be two strings");
        }
        how.item = both->items[0];
        how.key = both->items[1];
    }
    return jdumps(w, self, &how);
}

static noreturn void no_json(struct jwork *w, const struct json_fault *f)
{
    const enum jinja_fault fault = f->kind == JSON_FAULT_MEMORY  ? JINJA_NO_MEMORY
                                   : f->kind == JSON_FAULT_DEPTH ? JINJA_LIMIT
                                                                 : JINJA_RUNTIME;
    jfail(w, fault, "from_json: line %zu, column %zu: %s", f->line, f->column, f->text);
}

/* All that comes out was written by the caller if it wrote a single byte of the text. */
JFUNCTION(from_json)
{
    struct json_fault fault;
    struct jval text = jarg_str(w, self, "");
    jsteps(w, 2 * text.n);
    w->json = json_parse(text.s, text.n, JINJA_MAX_DEPTH, JSON_READ_NUL, &fault);
    if (w->json == NULL) {
        no_json(w, &fault);
    }
    struct jval v = jvalue_copy(w, w->json, jstr_most(w, text));
    json_decref(w->json);
    w->json = NULL;
    return v;
}

const struct jnative jjson_filters[] = {
    { "tojson", "ensure_ascii? indent? separators? sort_keys?", tojson },
    { "from_json", "", from_json },
    JEND,
};
