/* One UTF-8 character at a time, from bytes that may be anything. */
#ifndef WEFT_UTF8_H
#define WEFT_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum utf8_kind {
    UTF8_CHAR,    /* a whole, valid character */
    UTF8_PARTIAL, /* valid so far, but the bytes end before the character does */
    UTF8_INVALID  /* can never become a character */
};

/* Looks at s[n], n > 0. *len = length of the character, of the incomplete one, or of the maximal
 * invalid part, which the Unicode standard (chapter 3.9, "U+FFFD Substitution of Maximal Subparts")
 * replaces by a single U+FFFD. */
enum utf8_kind utf8_next(const char *s, size_t n, size_t *len);

/* The code point of the whole, valid character s[len]. */
uint32_t utf8_code_point(const char *s, size_t len);

/* Bytes at the end of s[n] that are the beginning of a character, at most UTF8_MAX - 1; 0 if its
 * last character is whole, or none. No bytes before the last UTF8_MAX - 1 matter. */
enum { UTF8_MAX = 4 };
size_t utf8_partial(const char *s, size_t n);

#endif
