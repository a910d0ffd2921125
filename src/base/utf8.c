/* The table of well-formed UTF-8 byte sequences (Unicode standard, table 3-7) as code: only the
 * second byte has ranges that depend on the first, every further byte is 80..BF. */
#include "base/utf8.h"

#include <stdbool.h>

enum utf8_kind utf8_next(const char *s, size_t n, size_t *len)
{
    unsigned char lead = (unsigned char)s[0];
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t want;
    *len = 1;
    if (lead < 0x80) {
        return UTF8_CHAR;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return UTF8_INVALID;
    }
    if (lead < 0xe0) {
        want = 2;
    } else if (lead < 0xf0) {
        want = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else {
        want = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    }
    while (*len < want) {
        if (*len == n) {
            return UTF8_PARTIAL;
        }
        unsigned char next = (unsigned char)s[*len];
        if (next < low || next > high) {
            return UTF8_INVALID;
        }
        low = 0x80;
        high = 0xbf;
        (*len)++;
    }
    return UTF8_CHAR;
}

uint32_t utf8_code_point(const char *s, size_t len)
{
    /* the first byte of several begins with as many ones, and a zero */
    uint32_t c = (unsigned char)s[0] & (len == 1 ? 0x7fu : 0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        c = c << 6 | ((unsigned char)s[i] & 0x3fu);
    }
    return c;
}

size_t utf8_partial(const char *s, size_t n)
{
    /* a first byte is never one of the others, so it says where the character begins */
    for (size_t back = 1; back < UTF8_MAX && back <= n; back++) {
        size_t len;
        if (((unsigned char)s[n - back] & 0xc0) != 0x80) {
            bool partial = utf8_next(s + n - back, back, &len) == UTF8_PARTIAL;
            return partial ? back : 0;
        }
    }
    return 0;
}
