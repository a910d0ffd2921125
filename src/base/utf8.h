/* Reads one UTF-8 character at a time from bytes that may be anything. */
#ifndef WEFT_UTF8_H
#define WEFT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum utf8_kind {
    UTF8_CHAR,    /* a whole, valid character */
    UTF8_PARTIAL, /* valid so far, but the bytes end before the character does */
    UTF8_INVALID  /* can never become a character */
};

/* Looks at s[n], n > 0. *len is the length of the character, of the incomplete character, or of the
 * maximal invalid part. The Unicode standard (chapter 3.9, "U+FFFD Substitution of Maximal
 * Subparts") replaces such a part by a single U+FFFD. */
enum utf8_kind utf8_next(const char *s, size_t n, size_t *len);

/* Returns the code point of the whole, valid character s[len]. */
uint32_t utf8_code_point(const char *s, size_t len);

/* Returns how many bytes at the end of s[n] are the beginning of an incomplete character, at most
 * UTF8_MAX - 1; 0 if there is none. Only the last UTF8_MAX - 1 bytes matter. */
enum { UTF8_MAX = 4 };
size_t utf8_partial(const char *s, size_t n);

/* Writes the character of a code point, which is at most U+10FFFF. Returns its length. */
size_t utf8_write(uint32_t code_point, char dst[UTF8_MAX]);

/* Returns true for a byte that continues a character, rather than beginning one. */
static inline bool utf8_inside(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

/* Returns how many bytes of s[n] to show if no more than `most` bytes fit: no character is cut. */
size_t utf8_fit(const char *s, size_t n, size_t most);

/* Returns the first character that begins at s or behind it. The text ends with NUL. */
const char *utf8_start(const char *s);

/* Replaces the control characters, except `kept`, of a text that ends with NUL by '?': files,
 * models and prompts may hold escape sequences. Terminals obey U+0080 to U+009F too. `kept` is NUL
 * if no control character is kept. */
void utf8_printable(char *text, char kept);

#endif
