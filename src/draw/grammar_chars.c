/* Literals and classes of characters in a grammar. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "draw/grammar_parse.h"

enum { LAST_CHAR = 0x10ffff };

static weft_status emit_char(struct grammar_parser *p, uint32_t first, uint32_t last)
{
    size_t at = p->g->n_ranges;
    TRY(parser_add_range(p, first, last));
    return parser_emit(p, GRAMMAR_CHAR, at, 1);
}

static weft_status hex_digits(struct grammar_parser *p, size_t n, uint32_t *c)
{
    *c = 0;
    for (size_t i = 0; i < n; i++) {
        int d = parser_peek(p);
        uint32_t value = d >= '0' && d <= '9'   ? (uint32_t)(d - '0')
                         : d >= 'a' && d <= 'f' ? (uint32_t)(d - 'a' + 10)
                         : d >= 'A' && d <= 'F' ? (uint32_t)(d - 'A' + 10)
                                                : 16;
        if (value == 16) {
            return parser_expected(p, "a hexadecimal digit; \\x has two, \\u four and \\U eight");
        }
        *c = *c << 4 | value;
        p->at++;
    }
    if (*c > LAST_CHAR || (*c >= 0xd800 && *c <= 0xdfff)) {
        p->at -= n;
        return grammar_error(p->g, p->at, p->err, "U+%04X is no character", *c);
    }
    return WEFT_OK;
}

/* Reads an escape from behind its backslash. */
static weft_status escape(struct grammar_parser *p, uint32_t *c)
{
    static const char names[] = "nrt\\\"[]-^", values[] = "\n\r\t\\\"[]-^";
    int name = parser_peek(p);
    const char *simple = name != -1 && name != 0 ? strchr(names, name) : NULL;
    if (simple != NULL) {
        *c = (unsigned char)values[simple - names];
        p->at++;
        return WEFT_OK;
    }
    if (name != 'x' && name != 'u' && name != 'U') {
        return parser_expected(p, "n r t \\ \" [ ] - ^ xHH uHHHH or UHHHHHHHH behind a backslash");
    }
    p->at++;
    return hex_digits(p, name == 'x' ? 2 : name == 'u' ? 4 : 8, c);
}

/* Reads one character of a literal or class that ends with `end`. */
static weft_status character(struct grammar_parser *p, const char *end, uint32_t *c)
{
    size_t len;
    int lead = parser_peek(p);
    if (lead == -1 || lead == '\n' || lead == '\r') {
        return parser_expected(p, end);
    }
    if (parser_take(p, '\\')) {
        return escape(p, c);
    }
    if (utf8_next(p->text + p->at, p->n - p->at, &len) != UTF8_CHAR) {
        return parser_expected(p, "UTF-8");
    }
    *c = utf8_code_point(p->text + p->at, len);
    p->at += len;
    return WEFT_OK;
}

weft_status parser_literal(struct grammar_parser *p)
{
    while (!parser_take(p, '"')) {
        uint32_t c = 0;
        TRY(character(p, "\" at the end of the literal", &c));
        TRY(emit_char(p, c, c));
    }
    return WEFT_OK;
}

static int by_first(const void *a, const void *b)
{
    uint32_t x = ((const struct char_range *)a)->first, y = ((const struct char_range *)b)->first;
    return (x > y) - (x < y);
}

/* Emits the characters that the ranges of the class hold, or, if negated, those that they do not
 * hold. */
static weft_status emit_class(struct grammar_parser *p, bool negated)
{
    size_t at = p->g->n_ranges;
    if (p->n_set > 1) { /* the set of [^] is empty, and has no memory */
        qsort(p->set, p->n_set, sizeof *p->set, by_first);
    }
    uint32_t next = 0; /* the first character behind all ranges so far */
    for (size_t i = 0; i < p->n_set;) {
        struct char_range r = p->set[i++];
        while (i < p->n_set && p->set[i].first <= r.last + 1) {
            r.last = p->set[i].last > r.last ? p->set[i].last : r.last;
            i++;
        }
        if (!negated) {
            TRY(parser_add_range(p, r.first, r.last));
        } else if (r.first > next) {
            TRY(parser_add_range(p, next, r.first - 1));
        }
        next = r.last + 1;
    }
    if (negated && next <= LAST_CHAR) {
        TRY(parser_add_range(p, next, LAST_CHAR));
    }
    return parser_emit(p, GRAMMAR_CHAR, at, p->g->n_ranges - at);
}

weft_status parser_class(struct grammar_parser *p)
{
    static const char end[] = "] at the end of the class";
    bool negated = parser_take(p, '^');
    size_t start = p->at;
    p->n_set = 0;
    while (!parser_take(p, ']')) {
        uint32_t first, last;
        size_t from = p->at;
        TRY(character(p, end, &first));
        last = first;
        if (parser_peek(p) == '-' && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
            p->at++;
            TRY(character(p, end, &last));
        }
        if (last < first) {
            return grammar_error(p->g, from, p->err,
                                 "a range from U+%04X to U+%04X; the smaller one comes first",
                                 first, last);
        }
        if (p->n_set == GRAMMAR_MAX_ELEMENTS) {
            return parser_room(p, GRAMMAR_MAX_ELEMENTS + 1u);
        }
        if (!mem_reserve(&p->set, &p->cap_set, p->n_set + 1, sizeof *p->set)) {
            return parser_no_memory(p);
        }
        p->set[p->n_set++] = (struct char_range){ first, last };
    }
    if (p->n_set == 0 && !negated) {
        p->at = start;
        return parser_expected(p, "a character in the class; [] matches nothing");
    }
    size_t before = p->g->n_ranges;
    TRY(emit_class(p, negated));
    if (p->g->n_ranges == before) {
        return grammar_error(p->g, start, p->err, "this class leaves no character to match");
    }
    return WEFT_OK;
}

weft_status parser_any(struct grammar_parser *p) { return emit_char(p, 0, LAST_CHAR); }
