/* What the methods and filters of strings have in common. */
#include "text/jinja_string.h"

#include "base/utf8.h"

struct jval jstr_join(struct jwork *w, struct jval separator, const struct jlist *items)
{
    struct jbuf b = { .w = w };
    for (size_t i = 0; i < items->n; i++) {
        jsteps(w, 1);
        if (i > 0) {
            jbuf_str(&b, separator);
        }
        jbuf_value(&b, items->items[i]);
    }
    return jbuf_take(&b);
}

/* Puts `with` in front of every character and behind the last one. */
static struct jval replace_empty(struct jwork *w, struct jval s, struct jval with, int64_t most)
{
    struct jbuf b = { .w = w };
    size_t len = 0;
    for (size_t i = 0; i < s.n; i += len) {
        jsteps(w, 1);
        if (most-- > 0) {
            jbuf_str(&b, with);
        }
        jstr_char(s, i, &len);
        jbuf_part(&b, s, i, len);
    }
    if (most > 0) {
        jbuf_str(&b, with);
    }
    return jbuf_take(&b);
}

struct jval jstr_replace(struct jwork *w, struct jval s, struct jval old, struct jval with,
                         int64_t most)
{
    struct jbuf b = { .w = w };
    size_t from = 0;
    most = most < 0 ? INT64_MAX : most;
    if (old.n == 0) {
        return replace_empty(w, s, with, most);
    }
    for (; most > 0; most--) {
        size_t at = jstr_find(w, s, old, from);
        if (at == SIZE_MAX) {
            break;
        }
        jsteps(w, 1);
        jbuf_part(&b, s, from, at - from);
        jbuf_str(&b, with);
        from = at + old.n;
    }
    jbuf_part(&b, s, from, s.n - from);
    struct jval v = jbuf_take(&b);
    v.who = v.n > 0 ? v.who : s.who;
    v.safe = s.safe;
    return v;
}

static bool strips(struct jval set, struct jval s, size_t at)
{
    size_t len;
    uint32_t c = jstr_char(s, at, &len);
    if (set.kind != J_STR) {
        return jchar_space(c);
    }
    return len <= set.n && memmem(set.s, set.n, s.s + at, len) != NULL;
}

/* Returns the byte at which the character that ends before `end` begins. */
static size_t before(struct jval s, size_t end)
{
    do {
        end--;
    } while (end > 0 && utf8_inside(s.s[end]));
    return end;
}

struct jval jstr_strip(struct jwork *w, struct jval s, struct jval set, int sides)
{
    size_t from = 0, end = s.n, len, cost = set.kind == J_STR ? 1 + set.n / 64 : 1;
    while ((sides & JSTRIP_LEFT) != 0 && from < end && strips(set, s, from)) {
        jsteps(w, cost);
        jstr_char(s, from, &len);
        from += len;
    }
    while ((sides & JSTRIP_RIGHT) != 0 && from < end && strips(set, s, before(s, end))) {
        jsteps(w, cost);
        end = before(s, end);
    }
    return jstr_part(s, from, end - from);
}

struct jval jstr_repeat(struct jwork *w, struct jval s, int64_t times)
{
    struct jbuf b = { .w = w };
    for (int64_t i = 0; i < times && s.n > 0; i++) {
        jsteps(w, 1);
        jbuf_str(&b, s);
    }
    struct jval v = jbuf_take(&b);
    v.safe = s.safe;
    return v;
}

struct jval jstr_pad(struct jwork *w, struct jval s, int64_t width, struct jval fill, int side)
{
    int64_t pad = (width < 0 ? 0 : width) - (int64_t)jstr_chars(w, s);
    int64_t left = side == 0 ? pad / 2 + (pad & width & 1) : side > 0 ? pad : 0;
    struct jbuf b = { .w = w };
    if (pad <= 0) {
        return s;
    }
    jbuf_str(&b, jstr_repeat(w, fill, left));
    jbuf_str(&b, s);
    jbuf_str(&b, jstr_repeat(w, fill, pad - left));
    return jbuf_take(&b);
}

const char *jstr_z(struct jwork *w, struct jval s)
{
    char *z = jalloc(w, s.n + 1u);
    jsteps(w, s.n / 64);
    memcpy(z, s.s, s.n);
    z[s.n] = '\0';
    return z;
}

struct jval jstr_escape(struct jwork *w, struct jval s)
{
    static const struct {
        char c;
        const char *text;
    } escapes[] = {
        { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&#34;" }, { '\'', "&#39;" },
    };
    struct jbuf b = { .w = w };
    jsteps(w, s.n / 2);
    for (size_t i = 0, from = 0; i <= s.n; i++) {
        const char *text = i == s.n ? "" : NULL;
        for (size_t k = 0; text == NULL && k < 5; k++) {
            text = escapes[k].c == s.s[i] ? escapes[k].text : NULL;
        }
        if (text != NULL) {
            jbuf_part(&b, s, from, i - from);
            jbuf_text(&b, text, i < s.n ? jstr_who(s, i) : 0);
            from = i + 1;
        }
    }
    struct jval v = jbuf_take(&b);
    v.safe = true;
    return v;
}

/* Returns the length of the line break at byte `at`, or 0. */
static size_t line_break(struct jval s, size_t at)
{
    size_t len;
    uint32_t c = jstr_char(s, at, &len);
    if (c == '\r' && at + 1 < s.n && s.s[at + 1] == '\n') {
        return 2;
    }
    bool is = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
              c == 0x2029;
    return is ? len : 0;
}

struct jval jstr_lines(struct jwork *w, struct jval s, bool ends)
{
    struct jval lines = jlist_new(w, J_LIST, 0);
    size_t from = 0, len;
    for (size_t i = 0; i < s.n;) {
        size_t n = line_break(s, i);
        if (n > 0) {
            jlist_add(w, lines.list, jstr_part(s, from, i - from + (ends ? n : 0)));
            from = i + n;
        }
        jstr_char(s, i, &len);
        i += n > 0 ? n : len;
    }
    if (from < s.n) {
        jlist_add(w, lines.list, jstr_part(s, from, s.n - from));
    }
    jsteps(w, s.n / 16);
    return lines;
}

/* Splits at white space from the left. */
static void split_space(struct jwork *w, struct jval s, int64_t most, struct jlist *out)
{
    size_t len;
    s = jstr_strip(w, s, jnone(), JSTRIP_LEFT);
    while (s.n > 0) {
        size_t end = 0;
        if (most-- == 0) {
            jlist_add(w, out, s);
            return;
        }
        while (end < s.n && !jchar_space(jstr_char(s, end, &len))) {
            end += len;
        }
        jsteps(w, 1 + end / 16);
        jlist_add(w, out, jstr_part(s, 0, end));
        s = jstr_strip(w, jstr_part(s, end, s.n - end), jnone(), JSTRIP_LEFT);
    }
}

/* Splits at white space from the right; the parts come last first. */
static void rsplit_space(struct jwork *w, struct jval s, int64_t most, struct jlist *out)
{
    size_t len;
    s = jstr_strip(w, s, jnone(), JSTRIP_RIGHT);
    while (s.n > 0) {
        size_t from = s.n;
        if (most-- == 0) {
            jlist_add(w, out, s);
            return;
        }
        while (from > 0 && !jchar_space(jstr_char(s, before(s, from), &len))) {
            from = before(s, from);
        }
        jsteps(w, 1 + (s.n - from) / 16);
        jlist_add(w, out, jstr_part(s, from, s.n - from));
        s = jstr_strip(w, jstr_part(s, 0, from), jnone(), JSTRIP_RIGHT);
    }
}

static void split_at(struct jwork *w, struct jval s, struct jval separator, int64_t most,
                     struct jlist *out)
{
    size_t from = 0, at;
    while (most-- != 0 && (at = jstr_find(w, s, separator, from)) != SIZE_MAX) {
        jsteps(w, 1);
        jlist_add(w, out, jstr_part(s, from, at - from));
        from = at + separator.n;
    }
    jlist_add(w, out, jstr_part(s, from, s.n - from));
}

static void rsplit_at(struct jwork *w, struct jval s, struct jval separator, int64_t most,
                      struct jlist *out)
{
    size_t end = s.n, at;
    while (most-- != 0 && (at = jstr_find_last(w, s, separator, end)) != SIZE_MAX) {
        jlist_add(w, out, jstr_part(s, at + separator.n, end - at - separator.n));
        end = at;
    }
    jlist_add(w, out, jstr_part(s, 0, end));
}

static void reverse(struct jlist *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        struct jval v = list->items[i];
        list->items[i] = list->items[list->n - 1 - i];
        list->items[list->n - 1 - i] = v;
    }
}

struct jval jstr_split(struct jwork *w, struct jval s, struct jval separator, int64_t most,
                       bool from_right)
{
    struct jval out = jlist_new(w, J_LIST, 0);
    most = most < 0 ? INT64_MAX : most;
    if (separator.kind == J_STR && separator.n == 0) {
        jfail(w, JINJA_RUNTIME, "split() with an empty separator");
    }
    if (separator.kind != J_STR) {
        (from_right ? rsplit_space : split_space)(w, s, most, out.list);
    } else {
        (from_right ? rsplit_at : split_at)(w, s, separator, most, out.list);
    }
    if (from_right) {
        reverse(out.list);
    }
    return out;
}
