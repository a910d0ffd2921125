/* format() and the % operator of strings. */
#include "text/jinja_tables.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* A format: [[fill]align][sign][0][width][,][.precision][type] */
struct spec {
    struct jval fill;       /* one character */
    char align, sign, type; /* NUL = not given */
    bool comma;
    int64_t width, precision; /* < 0 = not given */
};

enum { MAX_PRECISION = 100, MAX_NUMBER = 512 };

static int64_t read_number(struct jval s, size_t *at)
{
    int64_t n = -1;
    for (; *at < s.n && s.s[*at] >= '0' && s.s[*at] <= '9'; ++*at) {
        n = n < 0 ? 0 : n;
        n = n < 100000000 ? 10 * n + (s.s[*at] - '0') : n;
    }
    return n;
}

static bool is_one_of(char c, const char *set) { return c != '\0' && strchr(set, c) != NULL; }

/* Takes a character of the set, if it comes next. */
static char take(struct jval s, size_t *at, const char *set)
{
    if (*at < s.n && is_one_of(s.s[*at], set)) {
        return s.s[(*at)++];
    }
    return '\0';
}

static struct spec read_spec(struct jwork *w, struct jval s)
{
    struct spec f = { .fill = jtext(" "), .width = -1, .precision = -1 };
    size_t at = 0, len = 0;
    bool filled = false;
    jsteps(w, 4);
    if (s.n > 0) {
        jstr_char(s, 0, &len);
    }
    if (s.n > len && len > 0 && is_one_of(s.s[len], "<>=^")) {
        f.fill = jstr_part(s, 0, len);
        filled = true;
        at = len;
    }
    f.align = take(s, &at, "<>=^");
    f.sign = take(s, &at, "+- ");
    if (take(s, &at, "0") != '\0') {
        f.fill = filled ? f.fill : jtext("0");
        f.align = f.align == '\0' ? '=' : f.align;
    }
    f.width = read_number(s, &at);
    f.comma = take(s, &at, ",") != '\0';
    if (take(s, &at, ".") != '\0') {
        f.precision = read_number(s, &at);
    }
    f.type = take(s, &at, "sdoxXeEfFgG%");
    if (at < s.n) {
        jfail(w, JINJA_RUNTIME, "the format '%.*s' is not supported", (int)size_min(s.n, 60), s.s);
    }
    return f;
}

/* Writes the digits of a whole number to text[MAX_NUMBER]. */
static void whole_digits(char *text, const struct spec *f, uint64_t n)
{
    const char *format = f->type == 'x'   ? "%" PRIx64
                         : f->type == 'X' ? "%" PRIX64
                         : f->type == 'o' ? "%" PRIo64
                                          : "%" PRIu64;
    snprintf(text, MAX_NUMBER, format, n);
}

/* Writes the digits of |v| to text[MAX_NUMBER]. */
static void float_digits(struct jwork *w, char *text, const struct spec *f, double v)
{
    int precision = f->precision < 0 ? 6 : (int)f->precision;
    bool percent = f->type == '%';
    char format[] = "%.*f", type = f->type == '\0' ? 'g' : percent ? 'f' : f->type;
    if (f->precision > MAX_PRECISION) {
        jfail(w, JINJA_RUNTIME, "more than %d digits behind the point", MAX_PRECISION);
    }
    if (f->type == '\0' && f->precision < 0) {
        struct jbuf b = { .w = w };
        jbuf_float(&b, v, 0);
        snprintf(text, MAX_NUMBER, "%s", jstr_z(w, jbuf_take(&b)));
        return;
    }
    format[3] = type;
    jsteps(w, 20);
    snprintf(text, MAX_NUMBER - 1, format, precision, percent ? v * 100 : v);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == ',' ? '.' : *c; /* some locales */
    }
    if (f->type == '\0' && strpbrk(text, ".en") == NULL) {
        strcat(text, ".0");
    }
    strcat(text, percent ? "%" : "");
}

/* Returns the digits with a comma between each three. */
static struct jval with_commas(struct jwork *w, struct jval s)
{
    size_t n = 0;
    struct jbuf b = { .w = w };
    while (n < s.n && s.s[n] >= '0' && s.s[n] <= '9') {
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        jbuf_text(&b, i > 0 && (n - i) % 3 == 0 ? "," : "", s.who);
        jbuf_part(&b, s, i, 1);
    }
    jbuf_part(&b, s, n, s.n - n);
    return jbuf_take(&b);
}

static void put_padded(struct jbuf *b, const struct spec *f, struct jval sign, struct jval s)
{
    int64_t pad = f->width - (int64_t)jstr_chars(b->w, s) - (int64_t)sign.n;
    pad = pad < 0 ? 0 : pad;
    int64_t left = f->align == '<' ? 0 : f->align == '^' ? pad / 2 : pad;
    if (f->align == '=') {
        jbuf_str(b, sign);
    }
    jbuf_str(b, jstr_repeat(b->w, f->fill, left));
    if (f->align != '=') {
        jbuf_str(b, sign);
    }
    jbuf_str(b, s);
    jbuf_str(b, jstr_repeat(b->w, f->fill, pad - left));
}

static void put_number(struct jbuf *b, struct jval v, struct spec f)
{
    char text[MAX_NUMBER];
    bool floats = v.kind == J_FLOAT || is_one_of(f.type, "eEfFgG%");
    bool minus = floats ? signbit(jdouble(v)) != 0 : jwhole(v) < 0;
    if (floats && is_one_of(f.type, "doxX")) {
        jfail(b->w, JINJA_RUNTIME, "the format '%c' needs an integer, not a float", f.type);
    }
    if (floats) {
        float_digits(b->w, text, &f, fabs(jdouble(v)));
    } else {
        uint64_t n = minus ? 0 - (uint64_t)jwhole(v) : (uint64_t)jwhole(v);
        whole_digits(text, &f, n);
    }
    struct jval digits = jtext(text), sign = jtext(minus           ? "-"
                                                   : f.sign == '+' ? "+"
                                                   : f.sign == ' ' ? " "
                                                                   : "");
    digits.who = sign.who = v.who;
    f.align = f.align == '\0' ? '>' : f.align;
    put_padded(b, &f, sign, f.comma ? with_commas(b->w, digits) : digits);
}

static void put_text(struct jbuf *b, struct jval s, struct spec f)
{
    if (f.precision >= 0) {
        s = jstr_part(s, 0, jstr_at(b->w, s, (size_t)f.precision));
    }
    f.align = f.align == '\0' || f.align == '=' ? '<' : f.align;
    put_padded(b, &f, jtext(""), s);
}

static void put_formatted(struct jbuf *b, struct jval v, struct jval text)
{
    struct spec f = read_spec(b->w, text);
    bool as_text = v.kind == J_STR && (f.type == '\0' || f.type == 's');
    bool as_whole = jis_whole(v) && (f.type == '\0' || is_one_of(f.type, "doxX"));
    if (text.n == 0) {
        jbuf_value(b, v);
    } else if (as_text && f.sign == '\0' && !f.comma) {
        put_text(b, v, f);
    } else if (jis_number(v) && f.type != 's' && !(as_whole && f.precision >= 0)) {
        put_number(b, v, f);
    } else {
        jfail(b->w, JINJA_RUNTIME, "the format '%.*s' does not fit a value of type '%s'",
              (int)size_min(text.n, 60), text.s, jtype(v));
    }
}

/* The field of format() that is being read, with what it can refer to. */
struct fields {
    const struct jargs *args;
    size_t next;
};

/* Returns the value of a field's name: empty, a number or a word, then .name and [key]. */
static struct jval field_value(struct jwork *w, struct fields *f, struct jval name)
{
    size_t n = 0, at = 0;
    while (n < name.n && name.s[n] != '.' && name.s[n] != '[') {
        n++;
    }
    struct jval head = jstr_part(name, 0, n), v = jmissing();
    int64_t index = n == 0 ? (int64_t)f->next++ : read_number(head, &at);
    if (n == 0 || (at == n && index >= 0)) {
        v = index < (int64_t)f->args->n ? f->args->pos[index] : v;
    } else {
        const struct jval *found = jkeyword(f->args, jstr_z(w, head));
        v = found != NULL ? *found : v;
    }
    if (v.kind == J_MISSING) {
        jfail(w, JINJA_RUNTIME, "format() has no value for {%.*s}", (int)size_min(name.n, 60),
              name.s);
    }
    while (n < name.n) {
        bool item = name.s[n++] == '[';
        size_t end = n;
        while (end < name.n && (item ? name.s[end] != ']' : !is_one_of(name.s[end], ".["))) {
            end++;
        }
        struct jval key = jstr_part(name, n, end - n);
        at = 0;
        index = read_number(key, &at);
        v = !item ? jattribute(w, v, key) : jitem(w, v, at == key.n ? jint(index) : key);
        n = end + item;
    }
    return v;
}

/* Appends what stands for {name!conversion:format}, without the braces. */
static void put_field(struct jbuf *b, struct fields *f, struct jval field)
{
    size_t colon = jstr_find(b->w, field, jtext(":"), 0);
    struct jval name = jstr_part(field, 0, size_min(colon, field.n)), spec = jtext("");
    if (colon != SIZE_MAX) {
        spec = jstr_part(field, colon + 1, field.n - colon - 1);
    }
    size_t mark = jstr_find(b->w, name, jtext("!"), 0);
    struct jval v = field_value(b->w, f, jstr_part(name, 0, size_min(mark, name.n)));
    if (mark != SIZE_MAX) {
        struct jbuf text = { .w = b->w };
        if (jstr_has(name, mark, jtext("!r"))) {
            jbuf_repr(&text, v);
        } else {
            jbuf_value(&text, v);
        }
        v = jbuf_take(&text);
    }
    put_formatted(b, v, spec);
}

struct jval jformat(struct jwork *w, struct jval format, const struct jargs *args)
{
    struct fields f = { args, 0 };
    struct jbuf b = { .w = w };
    for (size_t i = 0; i < format.n;) {
        const char *brace = memchr(format.s + i, '{', format.n - i);
        const char *close = memchr(format.s + i, '}', format.n - i);
        brace = brace == NULL || (close != NULL && close < brace) ? close : brace;
        size_t at = brace != NULL ? (size_t)(brace - format.s) : format.n;
        jsteps(w, 1 + (format.n - i) / 256);
        jbuf_part(&b, format, i, at - i);
        if (at < format.n && jstr_has(format, at + 1, jstr_part(format, at, 1))) {
            jbuf_part(&b, format, at, 1);
            i = at + 2;
        } else if (at < format.n) {
            size_t end = jstr_find(w, format, jtext("}"), at);
            if (format.s[at] == '}' || end == SIZE_MAX) {
                jfail(w, JINJA_RUNTIME, "format(): a single brace; write {{ or }}");
            }
            put_field(&b, &f, jstr_part(format, at + 1, end - at - 1));
            i = end + 1;
        } else {
            i = at;
        }
    }
    return jbuf_take(&b);
}

/* The arguments of %. */
struct percents {
    const struct jval *items;
    size_t n, next;
    struct jval named; /* a dict, or not */
};

static struct jval next_argument(struct jwork *w, struct percents *p)
{
    if (p->next >= p->n) {
        jfail(w, JINJA_RUNTIME, "%%: there are fewer values than places for them");
    }
    return p->items[p->next++];
}

/* Returns the value for %(name). */
static struct jval named_argument(struct jwork *w, struct percents *p, struct jval s, size_t *at)
{
    size_t end = jstr_find(w, s, jtext(")"), *at);
    if (end == SIZE_MAX || p->named.kind != J_DICT) {
        jfail(w, JINJA_RUNTIME, "%%(name) needs a dict of values");
    }
    struct jval name = jstr_part(s, *at + 1, end - *at - 1);
    const struct jval *found = jdict_find(w, p->named.dict, name);
    if (found == NULL) {
        jfail(w, JINJA_RUNTIME, "%%: there is no value '%.*s'", (int)size_min(name.n, 60), name.s);
    }
    *at = end + 1;
    p->next = p->n;
    return *found;
}

static void put_percent(struct jbuf *b, struct jval v, struct spec f)
{
    if (is_one_of(f.type, "sr")) {
        struct jbuf text = { .w = b->w };
        if (f.type == 's') {
            jbuf_value(&text, v);
        } else {
            jbuf_repr(&text, v);
        }
        f.align = f.align == '<' ? '<' : '>';
        f.fill = jtext(" ");
        put_text(b, jbuf_take(&text), f);
        return;
    }
    if (!jis_number(v)) {
        jfail(b->w, JINJA_RUNTIME, "%%%c needs a number, not '%s'", f.type, jtype(v));
    }
    if (f.type == 'd' && v.kind == J_FLOAT && fabs(v.f) < 9e18) {
        v.i = (int64_t)v.f;
        v.kind = J_INT;
    }
    put_number(b, v, f);
}

/* Reads a place from behind its % and appends the value. Returns where it ends. */
static size_t percent_at(struct jbuf *b, struct percents *p, struct jval s, size_t at)
{
    struct spec f = { .fill = jtext(" "), .width = -1, .precision = -1 };
    struct jval v = jmissing();
    if (at < s.n && s.s[at] == '(') {
        v = named_argument(b->w, p, s, &at);
    }
    for (char c; (c = take(s, &at, "-+ 0")) != '\0';) {
        f.sign = c == '+' || (c == ' ' && f.sign == '\0') ? c : f.sign;
        f.align = c == '-' ? '<' : c == '0' && f.align == '\0' ? '=' : f.align;
    }
    f.fill = f.align == '=' ? jtext("0") : f.fill;
    f.width = read_number(s, &at);
    if (take(s, &at, ".") != '\0') {
        f.precision = read_number(s, &at);
        f.precision = f.precision < 0 ? 0 : f.precision;
    }
    f.type = take(s, &at, "diusrxXofFeEgG%");
    if (f.type == '%') {
        jbuf_text(b, "%", 0);
        return at;
    }
    if (f.type == '\0') {
        jfail(b->w, JINJA_RUNTIME, "%%: this format is not supported");
    }
    f.type = f.type == 'i' || f.type == 'u' ? 'd' : f.type;
    put_percent(b, v.kind != J_MISSING ? v : next_argument(b->w, p), f);
    return at;
}

struct jval jpercent(struct jwork *w, struct jval format, struct jval args)
{
    struct percents p = { .items = &args, .n = 1, .named = args };
    struct jbuf b = { .w = w };
    if (args.kind == J_TUPLE) {
        p.items = args.list->items;
        p.n = args.list->n;
    }
    for (size_t i = 0; i < format.n;) {
        const char *sign = memchr(format.s + i, '%', format.n - i);
        size_t at = sign != NULL ? (size_t)(sign - format.s) : format.n;
        jsteps(w, 6);
        jbuf_part(&b, format, i, at - i);
        i = at < format.n ? percent_at(&b, &p, format, at + 1) : at;
    }
    if (p.next < p.n && args.kind != J_DICT && !(jis_items(args) && args.kind != J_TUPLE)) {
        jfail(w, JINJA_RUNTIME, "%%: there are more values than places for them");
    }
    return jbuf_take(&b);
}
