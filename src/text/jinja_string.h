/* Strings that remember who wrote each byte, and the builder that makes them. */
#ifndef WEFT_JINJA_STRING_H
#define WEFT_JINJA_STRING_H

#include "text/jinja_value.h"

/* A string under construction. Set it to zeros and w at first. */
struct jbuf {
    struct jwork *w;
    char *p;
    uint8_t *whos; /* [cap]; NULL as long as `who` wrote all of it */
    size_t n, cap;
    uint8_t who;
};

void jbuf_add(struct jbuf *b, const char *s, size_t n, uint8_t who);
void jbuf_text(struct jbuf *b, const char *s, uint8_t who);
void jbuf_fill(struct jbuf *b, char c, size_t n, uint8_t who);
void jbuf_char(struct jbuf *b, uint32_t code_point, uint8_t who);
/* Appends a string, or its bytes from..from+n. */
void jbuf_str(struct jbuf *b, struct jval s);
void jbuf_part(struct jbuf *b, struct jval s, size_t from, size_t n);
/* Returns the bytes behind `from` as a string; the builder is used up or continues at `from`. */
struct jval jbuf_take(struct jbuf *b);
/* These begin and end a builder that joins strings. If the first string is the one that was joined
 * last, the others are appended in its place, which does not change it: a text that grows piece by
 * piece is not copied for each piece. */
void jbuf_begin(struct jbuf *b, struct jval first);
struct jval jbuf_join(struct jbuf *b);
struct jval jbuf_cut(struct jbuf *b, size_t from);

/* Returns bytes from..from+n of a string, without copying them. */
struct jval jstr_part(struct jval s, size_t from, size_t n);
static inline uint8_t jstr_who(struct jval s, size_t at)
{
    return s.whos != NULL ? s.whos[at] : s.who;
}
/* Who writes the quotes around a string: who wrote its first or last byte, but a mark is not made
 * longer. */
static inline uint8_t jstr_quote(struct jval s, bool first)
{
    uint8_t who = s.n > 0 ? jstr_who(s, first ? 0 : s.n - 1u) : s.who;
    return who == JINJA_MARKED ? JINJA_CALLER : who;
}
/* The caller, if it wrote any byte. */
uint8_t jstr_most(struct jwork *w, struct jval s);

/* Returns the characters in a string, and the byte at which the i-th begins. */
size_t jstr_chars(struct jwork *w, struct jval s);
size_t jstr_at(struct jwork *w, struct jval s, size_t i);
/* Returns the character at byte i < n; *len is its length. */
uint32_t jstr_char(struct jval s, size_t i, size_t *len);
/* Returns the byte at which `part` begins at or behind `from`, or SIZE_MAX. */
size_t jstr_find(struct jwork *w, struct jval s, struct jval part, size_t from);
size_t jstr_find_last(struct jwork *w, struct jval s, struct jval part, size_t end);
bool jstr_has(struct jval s, size_t at, struct jval part);

struct jval jstr_join(struct jwork *w, struct jval separator, const struct jlist *items);
/* Replaces at most `most` occurrences; < 0 = all. */
struct jval jstr_replace(struct jwork *w, struct jval s, struct jval old, struct jval with,
                         int64_t most);
/* Strips characters of `set` (J_NONE or J_MISSING = white space) on the sides. */
enum { JSTRIP_LEFT = 1, JSTRIP_RIGHT = 2 };
struct jval jstr_strip(struct jwork *w, struct jval s, struct jval set, int sides);
struct jval jstr_repeat(struct jwork *w, struct jval s, int64_t times);
/* Pads with a character to a width: behind the text (-1), in front of it (1) or on both sides. */
struct jval jstr_pad(struct jwork *w, struct jval s, int64_t width, struct jval fill, int side);
/* Returns a copy that ends with NUL. */
const char *jstr_z(struct jwork *w, struct jval s);
struct jval jstr_escape(struct jwork *w, struct jval s);
/* The lines of a string, with their ends or without. */
struct jval jstr_lines(struct jwork *w, struct jval s, bool ends);
/* split() and rsplit(): separator J_NONE = white space; most < 0 = no bound. */
struct jval jstr_split(struct jwork *w, struct jval s, struct jval separator, int64_t most,
                       bool from_right);

/* Cases of letters: of the Latin, Greek, Cyrillic and Armenian letters up to U+058F, from U+1E00 to
 * U+1FFF, and of the full-width ones, as far as the other case is a single character (and of the
 * German ß). Other characters have no case. */
enum jcase { JCASE_LOWER, JCASE_UPPER, JCASE_TITLE, JCASE_CAPITALIZE, JCASE_SWAP };
struct jval jstr_case(struct jwork *w, struct jval s, enum jcase to);
uint32_t jchar_lower(uint32_t c);
uint32_t jchar_upper(uint32_t c);
bool jchar_space(uint32_t c);
bool jchar_is_lower(uint32_t c);
bool jchar_is_upper(uint32_t c);
/* Letters and digits: beyond ASCII those that have a case, and others from U+00AA on that are no
 * white space, no punctuation and no symbol of the blocks that this knows. */
bool jchar_word(uint32_t c);

/* Returns whether all characters are of a class, as Python's islower(), isupper() and so on. */
enum jstr_class { JSTR_LOWER, JSTR_UPPER, JSTR_SPACE, JSTR_DIGIT, JSTR_ALPHA, JSTR_ALNUM };
bool jstr_is(struct jwork *w, struct jval s, enum jstr_class class);

/* Returns str(v). */
struct jval jstr(struct jwork *w, struct jval v);
/* Appends repr(v), or str(v). */
void jbuf_repr(struct jbuf *b, struct jval v);
void jbuf_value(struct jbuf *b, struct jval v);
/* Appends what Python's repr() prints of a number. */
void jbuf_float(struct jbuf *b, double f, uint8_t who);
void jbuf_int(struct jbuf *b, int64_t i, uint8_t who);
/* Reads all of s as Python's float() and int(s, base) do. Returns false if it is none. An integer
 * that does not fit is a fault. */
bool jread_float(struct jwork *w, struct jval s, double *out);
bool jread_int(struct jwork *w, struct jval s, int base, int64_t *out);

#endif
