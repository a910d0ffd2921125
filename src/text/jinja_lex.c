#include "text/jinja_lex.h"

#include "base/utf8.h"
#include "text/jinja_string.h"

struct lexer {
    struct jwork *w;
    struct jval s;
    struct jtokens *out;
    size_t at;
    bool fresh_line;              /* what was read last ended with a line break */
    char open[JINJA_MAX_NESTING]; /* the brackets that are expected to close */
    size_t n_open;
};

static noreturn void fail(struct lexer *l, size_t pos, const char *message)
{
    l->w->pos = pos;
    jfail(l->w, JINJA_SYNTAX, "%s", message);
}

static void add(struct lexer *l, uint32_t type, size_t pos, size_t n)
{
    jsteps(l->w, 1);
    JRESERVE(l->w, l->out->data, l->out->cap, l->out->n + 1);
    l->out->data[l->out->n++] = (struct jtoken){ type, (uint32_t)pos, (uint32_t)n };
}

static bool at(const struct lexer *l, size_t pos, const char *text)
{
    return jstr_has(l->s, pos, jtext(text));
}

static char byte_at(const struct lexer *l, size_t pos) { return pos < l->s.n ? l->s.s[pos] : '\0'; }

static size_t skip_space(const struct lexer *l, size_t pos)
{
    size_t len;
    while (pos < l->s.n && jchar_space(jstr_char(l->s, pos, &len))) {
        pos += len;
    }
    return pos;
}

/* Returns the place behind an end like %}, with the white space that its sign swallows, or 0.
 * `trims`: a line break behind an end without a sign is swallowed. */
static size_t end_at(const struct lexer *l, size_t pos, const char *end, bool trims)
{
    if (at(l, pos, end)) {
        pos += 2;
        return pos + (trims && byte_at(l, pos) == '\n');
    }
    if (byte_at(l, pos) == '-' && at(l, pos + 1, end)) {
        return skip_space(l, pos + 3);
    }
    return trims && byte_at(l, pos) == '+' && at(l, pos + 1, end) ? pos + 3 : 0;
}

/* If a tag that says only `word` begins at pos, returns the place behind it, else 0. */
static size_t word_tag(const struct lexer *l, size_t pos, const char *word, bool trims)
{
    pos += 2;
    pos += byte_at(l, pos) == '-' || byte_at(l, pos) == '+';
    pos = skip_space(l, pos);
    if (!at(l, pos, word)) {
        return 0;
    }
    pos = skip_space(l, pos + strlen(word));
    return end_at(l, pos, "%}", trims);
}

/* Adds the text from..end in front of a tag whose sign is given; `block`: the white space between
 * the line's beginning and the tag is left out. */
static void add_data(struct lexer *l, size_t from, size_t end, char sign, bool block)
{
    struct jval text = jstr_part(l->s, from, end - from);
    if (sign == '-') {
        text = jstr_strip(l->w, text, jnone(), JSTRIP_RIGHT);
    } else if (sign != '+' && block) {
        const char *line = memrchr(text.s, '\n', text.n);
        size_t begin = line != NULL ? (size_t)(line + 1 - text.s) : 0;
        struct jval rest = jstr_part(text, begin, text.n - begin);
        if ((line != NULL || l->fresh_line) &&
            jstr_strip(l->w, rest, jnone(), JSTRIP_LEFT).n == 0) {
            text.n = (uint32_t)begin;
        }
    }
    if (text.n > 0) {
        add(l, JT_DATA, from, text.n);
    }
}

static char sign_at(const struct lexer *l, size_t pos)
{
    char c = byte_at(l, pos);
    return c == '-' || c == '+' ? c : '\0';
}

static void raw(struct lexer *l, size_t begin, size_t from)
{
    size_t end = from, behind = 0;
    l->fresh_line = byte_at(l, from - 1) == '\n';
    for (; end < l->s.n; end++) {
        if (at(l, end, "{%") && (behind = word_tag(l, end, "endraw", true)) > 0) {
            break;
        }
    }
    if (behind == 0) {
        fail(l, begin, "this raw block has no {% endraw %}");
    }
    add_data(l, from, end, sign_at(l, end + 2), true);
    l->at = behind;
}

static void comment(struct lexer *l, size_t begin)
{
    for (size_t i = begin + 2; i < l->s.n; i++) {
        size_t behind = end_at(l, i, "#}", true);
        if (behind > 0) {
            l->at = behind;
            return;
        }
    }
    fail(l, begin, "this comment has no #}");
}

/* Returns the length of a number that may have single underscores between its digits. */
static size_t digits(const struct lexer *l, size_t pos, const char *set)
{
    size_t n = 0;
    for (;;) {
        size_t joint = byte_at(l, pos + n) == '_';
        char c = byte_at(l, pos + n + joint);
        if (c == '\0' || strchr(set, c) == NULL) {
            return n;
        }
        n += 1 + joint;
    }
}

#define DIGITS "0123456789"

/* Returns the length of ".digits" and "e+digits", or 0. */
static size_t fraction(const struct lexer *l, size_t pos)
{
    size_t n = 0;
    if (byte_at(l, pos) == '.' && byte_at(l, pos + 1) != '_') {
        size_t more = digits(l, pos + 1, DIGITS);
        n = more > 0 ? 1 + more : 0;
    }
    if ((byte_at(l, pos + n) | 32) == 'e') {
        size_t sign = sign_at(l, pos + n + 1) != '\0';
        size_t more =
            byte_at(l, pos + n + 1 + sign) == '_' ? 0 : digits(l, pos + n + 1 + sign, DIGITS);
        n += more > 0 ? 1 + sign + more : 0;
    }
    return n;
}

static bool number(struct lexer *l)
{
    static const char *const sets[] = {
        "xX", "0123456789abcdefABCDEF", "oO", "01234567", "bB", "01"
    };
    size_t pos = l->at, n = digits(l, pos, DIGITS);
    bool behind_point = pos > 0 && byte_at(l, pos - 1) == '.';
    size_t more = behind_point ? 0 : fraction(l, pos + n);
    for (size_t i = 0; byte_at(l, pos) == '0' && n == 1 && more == 0 && i < 6; i += 2) {
        char c = byte_at(l, pos + 1);
        size_t k = c != '\0' && strchr(sets[i], c) != NULL ? digits(l, pos + 2, sets[i + 1]) : 0;
        if (k > 0) {
            add(l, JT_INT, pos, 2 + k);
            l->at = pos + 2 + k;
            return true;
        }
    }
    if (more == 0 && byte_at(l, pos) == '0') {
        n = digits(l, pos, "0"); /* 012 is the numbers 0 and 12 */
    }
    add(l, more > 0 ? JT_FLOAT : JT_INT, pos, n + more);
    l->at = pos + n + more;
    return true;
}

static size_t name_length(const struct lexer *l, size_t pos)
{
    size_t from = pos, len;
    while (pos < l->s.n) {
        uint32_t c = jstr_char(l->s, pos, &len);
        if (c != '_' && !jchar_word(c)) {
            break;
        }
        pos += len;
    }
    return pos - from;
}

static void string(struct lexer *l)
{
    size_t i = l->at + 1;
    char quote = byte_at(l, l->at);
    while (i < l->s.n && l->s.s[i] != quote) {
        i += l->s.s[i] == '\\' ? 2 : 1;
    }
    if (i >= l->s.n) {
        fail(l, l->at, "this string has no end");
    }
    add(l, JT_STRING, l->at, i + 1 - l->at);
    l->at = i + 1;
}

/* Notes an opening bracket, or checks a closing one. */
static void balance(struct lexer *l, char c)
{
    const char *kind = strchr("([{)]}", c);
    if (kind == NULL) {
        return;
    }
    if (strchr("([{", c) != NULL) {
        if (l->n_open == JINJA_MAX_NESTING) {
            l->w->pos = l->at;
            jfail(l->w, JINJA_LIMIT, "brackets are nested deeper than %d", JINJA_MAX_NESTING);
        }
        l->open[l->n_open++] = kind[3];
    } else if (l->n_open == 0 || l->open[--l->n_open] != c) {
        fail(l, l->at, "this bracket closes nothing that is open");
    }
}

static void operator(struct lexer *l)
{
    static const struct {
        const char *text;
        uint32_t type;
    } two[] = { { "**", JT_POW }, { "//", JT_FLOORDIV }, { "==", JT_EQ },
                { "!=", JT_NE },  { "<=", JT_LE },       { ">=", JT_GE } };
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (at(l, l->at, two[i].text)) {
            add(l, two[i].type, l->at, 2);
            l->at += 2;
            return;
        }
    }
    char c = byte_at(l, l->at);
    if (c == '\0' || strchr("+-/*%~[](){}><=.:|,;", c) == NULL) {
        fail(l, l->at, "a character that has no meaning here");
    }
    balance(l, c);
    add(l, (uint32_t)c, l->at, 1);
    l->at++;
}

/* Reads the inside of a tag, up to its end. */
static void inside(struct lexer *l, bool tag)
{
    for (;;) {
        l->at = skip_space(l, l->at);
        size_t begin = l->at;
        size_t end = l->n_open > 0 ? 0 : end_at(l, begin, tag ? "%}" : "}}", tag);
        if (end > 0) {
            add(l, tag ? JT_TAG_END : JT_PRINT_END, begin, end - begin);
            l->at = end;
            return;
        }
        if (begin >= l->s.n) {
            return; /* the parser will miss the end */
        }
        char c = byte_at(l, begin);
        if (c >= '0' && c <= '9') {
            number(l);
        } else if (c == '\'' || c == '"') {
            string(l);
        } else if (name_length(l, begin) > 0) {
            add(l, JT_NAME, begin, name_length(l, begin));
            l->at += name_length(l, begin);
        } else {
            operator(l);
        }
    }
}

/* Returns where the next tag, expression or comment begins. */
static size_t next_begin(const struct lexer *l)
{
    size_t i = l->at;
    while (i < l->s.n) {
        const char *brace = memchr(l->s.s + i, '{', l->s.n - i);
        if (brace == NULL) {
            break;
        }
        i = (size_t)(brace - l->s.s);
        char c = byte_at(l, i + 1);
        if (c == '{' || c == '%' || c == '#') {
            return i;
        }
        i++;
    }
    return l->s.n;
}

static void piece(struct lexer *l)
{
    size_t begin = next_begin(l);
    char kind = byte_at(l, begin + 1), sign = sign_at(l, begin + 2);
    size_t behind = kind == '%' ? word_tag(l, begin, "raw", false) : 0;
    if (begin == l->s.n) {
        add_data(l, l->at, begin, '+', false);
        l->at = begin;
        return;
    }
    add_data(l, l->at, begin, sign, kind != '{');
    if (behind > 0) {
        raw(l, begin, behind);
    } else if (kind == '#') {
        comment(l, begin);
    } else {
        l->at = begin + 2 + (sign != '\0');
        add(l, kind == '%' ? JT_TAG : JT_PRINT, begin, l->at - begin);
        inside(l, kind == '%');
    }
    l->fresh_line = byte_at(l, l->at - 1) == '\n';
}

void jlex(struct jwork *w, struct jval source, struct jtokens *out)
{
    struct lexer l = { .w = w, .s = source, .out = out, .fresh_line = true };
    while (l.at < l.s.n) {
        piece(&l);
    }
    add(&l, JT_EOF, l.s.n, 0);
}

/* Reads up to `most` digits of a base. Returns how many there were. */
static size_t read_code(struct jval s, size_t at, int base, size_t most, uint32_t *code)
{
    size_t n = 0;
    for (*code = 0; n < most && at + n < s.n; n++) {
        char c = s.s[at + n];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' ? (c | 32) - 'a' + 10 : 99;
        if (digit >= base) {
            break;
        }
        *code = *code * (uint32_t)base + (uint32_t)digit;
    }
    return n;
}

/* Appends what the escape at s.s[at], behind the backslash, means. Returns the bytes it takes. */
static size_t escape(struct jbuf *b, struct jval s, size_t at)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    static const char wide[] = "xuU";
    uint32_t code;
    char c = s.s[at];
    const char *simple = c != '\0' ? strchr(from, c) : NULL;
    const char *kind = c != '\0' ? strchr(wide, c) : NULL;
    if (simple != NULL) {
        jbuf_add(b, &to[simple - from], 1, 0);
        return 1;
    }
    if (c == '\n') {
        return 1;
    }
    size_t n = kind != NULL ? (size_t)2 << (kind - wide) : 3, head = kind != NULL;
    size_t got = read_code(s, at + head, kind != NULL ? 16 : 8, n, &code);
    if ((kind != NULL && got < n) || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
        c == 'N') {
        jfail(b->w, JINJA_SYNTAX, "an escape that is no character: \\%c", c);
    }
    if (got == 0) {
        jbuf_add(b, "\\", 1, 0);
        return 0;
    }
    jbuf_char(b, code, 0);
    return head + got;
}

struct jval jlex_string(struct jwork *w, struct jval source, struct jtoken t)
{
    struct jval s = jstr_part(source, t.pos + 1, t.n - 2);
    struct jbuf b = { .w = w };
    size_t i = 0;
    w->pos = t.pos;
    while (i < s.n) {
        const char *slash = memchr(s.s + i, '\\', s.n - i);
        size_t end = slash != NULL ? (size_t)(slash - s.s) : s.n;
        jbuf_part(&b, s, i, end - i);
        i = end < s.n ? end + 1 + escape(&b, s, end + 1) : end;
    }
    return jbuf_take(&b);
}
