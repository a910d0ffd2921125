/* Builds strings and takes them apart. */
#include "text/jinja_string.h"

#include "base/utf8.h"

static void reserve(struct jbuf *b, size_t extra)
{
    size_t need = b->n + extra, had = b->cap;
    if (need <= b->cap) {
        return;
    }
    size_t cap = size_max(need, b->cap + b->cap / 2);
    cap = size_max(cap, 32);
    b->p = jgrow(b->w, b->p, b->n, cap);
    b->cap = cap;
    if (b->whos != NULL) {
        b->whos = jgrow(b->w, b->whos, size_min(b->n, had), cap);
    }
}

/* Makes room for n bytes and says who wrote them. */
static void claim(struct jbuf *b, size_t n, uint8_t who)
{
    jsteps(b->w, n / 64);
    reserve(b, n);
    if (b->n == 0 && b->whos == NULL) {
        b->who = who;
    }
    if (b->whos == NULL && who != b->who) {
        b->whos = jalloc(b->w, b->cap);
        memset(b->whos, b->who, b->n);
    }
    if (b->whos != NULL) {
        memset(b->whos + b->n, who, n);
    }
}

void jbuf_add(struct jbuf *b, const char *s, size_t n, uint8_t who)
{
    if (n > 0) {
        claim(b, n, who);
        memcpy(b->p + b->n, s, n);
        b->n += n;
    }
}

void jbuf_text(struct jbuf *b, const char *s, uint8_t who) { jbuf_add(b, s, strlen(s), who); }

void jbuf_fill(struct jbuf *b, char c, size_t n, uint8_t who)
{
    if (n > 0) {
        claim(b, n, who);
        memset(b->p + b->n, c, n);
        b->n += n;
    }
}

void jbuf_char(struct jbuf *b, uint32_t code_point, uint8_t who)
{
    char c[UTF8_MAX];
    jbuf_add(b, c, utf8_write(code_point, c), who);
}

/* Returns true if one writer wrote the bytes from..from+n, n > 0. */
static bool by_one(struct jval s, size_t from, size_t n)
{
    for (size_t i = 1; s.whos != NULL && i < n; i++) {
        if (s.whos[from + i] != s.whos[from]) {
            return false;
        }
    }
    return true;
}

void jbuf_part(struct jbuf *b, struct jval s, size_t from, size_t n)
{
    if (n == 0) {
        return;
    }
    jbuf_add(b, s.s + from, n, jstr_who(s, from));
    if (by_one(s, from, n)) {
        return;
    }
    if (b->whos == NULL) {
        b->whos = jalloc(b->w, b->cap);
        memset(b->whos, b->who, b->n);
    }
    memcpy(b->whos + b->n - n, s.whos + from, n);
}

void jbuf_str(struct jbuf *b, struct jval s) { jbuf_part(b, s, 0, s.n); }

struct jval jbuf_take(struct jbuf *b) { return jbuf_cut(b, 0); }

void jbuf_begin(struct jbuf *b, struct jval first)
{
    const struct jtail *t = &b->w->tail;
    if (t->n > 0 && first.s == t->p && first.n == t->n && first.whos == t->whos &&
        (first.whos != NULL || first.who == t->who)) {
        *b = (struct jbuf){ b->w, t->p, t->whos, t->n, t->cap, t->who };
    } else {
        jbuf_str(b, first);
    }
}

struct jval jbuf_join(struct jbuf *b)
{
    b->w->tail = (struct jtail){ b->p, b->whos, b->n, b->cap, b->who };
    return jbuf_take(b);
}

struct jval jbuf_cut(struct jbuf *b, size_t from)
{
    struct jval v = { .kind = J_STR, .who = b->who, .n = (uint32_t)(b->n - from) };
    if (from == 0) {
        v.s = b->p != NULL ? b->p : "";
        v.whos = b->whos;
        *b = (struct jbuf){ .w = b->w };
        return v;
    }
    struct jbuf part = { .w = b->w };
    v.s = b->p + from;
    v.whos = b->whos != NULL ? b->whos + from : NULL;
    reserve(&part, v.n);
    jbuf_str(&part, v);
    b->n = from;
    return jbuf_take(&part);
}

struct jval jstr_part(struct jval s, size_t from, size_t n)
{
    s.s += from;
    s.n = (uint32_t)n;
    s.whos = s.whos != NULL ? s.whos + from : NULL;
    return s;
}

uint8_t jstr_most(struct jwork *w, struct jval s)
{
    uint8_t who = s.who;
    if (s.whos != NULL && s.n > 0) {
        jsteps(w, s.n / 64);
        who = 0;
        for (size_t i = 0; i < s.n; i++) {
            who = jwho(who, s.whos[i]);
        }
    }
    return who;
}

size_t jstr_chars(struct jwork *w, struct jval s)
{
    size_t n = 0;
    jsteps(w, s.n / 64);
    for (size_t i = 0; i < s.n; i++) {
        n += !utf8_inside(s.s[i]);
    }
    return n;
}

size_t jstr_at(struct jwork *w, struct jval s, size_t i)
{
    size_t at = 0;
    for (; at < s.n && (i > 0 || utf8_inside(s.s[at])); at++) {
        i -= !utf8_inside(s.s[at]);
    }
    jsteps(w, at / 64);
    return at;
}

uint32_t jstr_char(struct jval s, size_t i, size_t *len)
{
    if ((unsigned char)s.s[i] < 0x80) {
        *len = 1;
        return (unsigned char)s.s[i];
    }
    if (utf8_next(s.s + i, s.n - i, len) != UTF8_CHAR) {
        return 0xfffd;
    }
    return utf8_code_point(s.s + i, *len);
}

bool jstr_has(struct jval s, size_t at, struct jval part)
{
    return at <= s.n && part.n <= s.n - at && memcmp(s.s + at, part.s, part.n) == 0;
}

size_t jstr_find(struct jwork *w, struct jval s, struct jval part, size_t from)
{
    if (from > s.n || part.n > s.n - from) {
        return SIZE_MAX;
    }
    const char *at = part.n > 0 ? memmem(s.s + from, s.n - from, part.s, part.n) : s.s + from;
    size_t found = at != NULL ? (size_t)(at - s.s) : SIZE_MAX;
    jsteps(w, ((at != NULL ? found : s.n) - from) / 64);
    return found;
}

size_t jstr_find_last(struct jwork *w, struct jval s, struct jval part, size_t end)
{
    if (part.n > end) {
        return SIZE_MAX;
    }
    for (size_t at = end - part.n;; at--) {
        jsteps(w, 1 + part.n / 64);
        if (jstr_has(s, at, part)) {
            return at;
        }
        if (at == 0) {
            return SIZE_MAX;
        }
    }
}
