/* Prints values as Python's str() and repr() do. */
#include "text/jinja_code.h"
#include "text/jinja_string.h"

#include <stdio.h>

static void put(struct jbuf *b, struct jval v, size_t depth);

/* Characters that repr() writes as escapes: of control, format, space and private use. */
static bool hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || (c >= 0x600 && c <= 0x605) ||
           c == 0x61c || c == 0x6dd || c == 0x70f || c == 0x180e || (c > 0x7f && jchar_space(c)) ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff ||
           (c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || c >= 0xe0000;
}

static void put_escape(struct jbuf *b, uint32_t c, uint8_t who)
{
    char text[16];
    const char *format = c > 0xffff ? "\\U%08x" : c > 0xff ? "\\u%04x" : "\\x%02x";
    const char *simple = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    snprintf(text, sizeof text, format, c);
    jbuf_text(b, simple != NULL ? simple : text, who);
}

static void put_string(struct jbuf *b, struct jval s)
{
    bool single = s.n > 0 && memchr(s.s, '\'', s.n) != NULL;
    char quote = single && memchr(s.s, '"', s.n) == NULL ? '"' : '\'';
    size_t len, from = 0;
    jbuf_text(b, s.safe ? "Markup(" : "", s.who);
    jbuf_add(b, &quote, 1, jstr_first(s));
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t c = jstr_char(s, i, &len);
        bool slash = c == '\\' || c == (uint32_t)quote;
        if (slash || hidden(c)) {
            jbuf_part(b, s, from, i - from);
            from = i + (slash ? 0 : len);
            if (slash) {
                jbuf_add(b, "\\", 1, jstr_who(s, i));
            } else {
                put_escape(b, c, jstr_who(s, i));
            }
        }
    }
    jbuf_part(b, s, from, s.n - from);
    jbuf_add(b, &quote, 1, jstr_last(s));
    jbuf_text(b, s.safe ? ")" : "", s.who);
}

static void put_items(struct jbuf *b, const struct jlist *list, const char *brackets,
                      bool one_comma, size_t depth)
{
    jbuf_add(b, brackets, 1, 0);
    for (size_t i = 0; i < list->n; i++) {
        jbuf_text(b, i > 0 ? ", " : "", 0);
        put(b, list->items[i], depth + 1);
    }
    jbuf_text(b, one_comma && list->n == 1 ? "," : "", 0);
    jbuf_add(b, brackets + 1, 1, 0);
}

static void put_dict(struct jbuf *b, const struct jdict *d, size_t depth)
{
    jbuf_text(b, "{", 0);
    for (size_t i = 0; i < d->n; i++) {
        jbuf_text(b, i > 0 ? ", " : "", 0);
        put(b, d->pairs[i].key, depth + 1);
        jbuf_text(b, ": ", 0);
        put(b, d->pairs[i].value, depth + 1);
    }
    jbuf_text(b, "}", 0);
}

/* A type of which Python prints its name and an address; the address is left out. */
static void put_object(struct jbuf *b, struct jval v)
{
    char text[160];
    if (v.kind == J_LOOP) {
        snprintf(text, sizeof text, "<LoopContext %zu/%zu>", v.loop->at, v.loop->list->n);
    } else if (v.kind == J_MACRO) {
        struct jval name = v.macro->of->name;
        snprintf(text, sizeof text, "<Macro '%.*s'>", (int)size_min(name.n, 100), name.s);
    } else {
        snprintf(text, sizeof text, "<%s>", jtype(v));
    }
    jbuf_text(b, text, 0);
}

/* Values that hold others. */
static void put_container(struct jbuf *b, struct jval v, size_t depth)
{
    if (depth >= JINJA_MAX_DEPTH) {
        jfail(b->w, JINJA_LIMIT, "lists and dicts are nested deeper than %d", JINJA_MAX_DEPTH);
    }
    switch (v.kind) {
    case J_LIST: put_items(b, v.list, "[]", false, depth); break;
    case J_TUPLE: put_items(b, v.list, "()", true, depth); break;
    case J_DICT: put_dict(b, v.dict, depth); break;
    case J_NAMESPACE:
        jbuf_text(b, "<Namespace ", 0);
        put_dict(b, v.dict, depth);
        jbuf_text(b, ">", 0);
        break;
    case J_RANGE: jbuf_text(b, v.list->shown, 0); break;
    case J_VIEW:
        jbuf_text(b, v.list->shown, 0);
        jbuf_text(b, "(", 0);
        put_items(b, v.list, "[]", false, depth);
        jbuf_text(b, ")", 0);
        break;
    default: put_object(b, v); break;
    }
}

static void put(struct jbuf *b, struct jval v, size_t depth)
{
    jsteps(b->w, 1);
    switch (v.kind) {
    case J_UNDEFINED: jbuf_text(b, "Undefined", 0); break;
    case J_NONE: jbuf_text(b, "None", v.who); break;
    case J_BOOL: jbuf_text(b, v.b ? "True" : "False", v.who); break;
    case J_INT: jbuf_int(b, v.i, v.who); break;
    case J_FLOAT: jbuf_float(b, v.f, v.who); break;
    case J_STR: put_string(b, v); break;
    default: put_container(b, v, depth); break;
    }
}

void jbuf_repr(struct jbuf *b, struct jval v) { put(b, v, 0); }

void jbuf_value(struct jbuf *b, struct jval v)
{
    if (v.kind == J_STR) {
        jbuf_str(b, v);
    } else if (v.kind != J_UNDEFINED) {
        put(b, v, 0);
    }
}

struct jval jstr(struct jwork *w, struct jval v)
{
    struct jbuf b = { .w = w };
    if (v.kind == J_STR) {
        return v;
    }
    jbuf_value(&b, v);
    return jbuf_take(&b);
}
