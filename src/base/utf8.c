/* The table of well-formed UTF-8 byte sequences (Unicode standard, table 3-7) as code: only the
 * range of the second byte depends on the first; every further byte is 80..BF. */
#include "base/utf8.h"

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
    /* The first byte of a sequence begins with as many ones as the sequence has bytes, and a
     * zero. */
    uint32_t c = (unsigned char)s[0] & (len == 1 ? 0x7fu : 0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        c = c << 6 | ((unsigned char)s[i] & 0x3fu);
    }
    return c;
}

size_t utf8_partial(const char *s, size_t n)
{
    /* A first byte can never be a later byte, so it shows where the character begins. */
    for (size_t back = 1; back < UTF8_MAX && back <= n; back++) {
        size_t len;
        if (!utf8_inside(s[n - back])) {
            bool partial = utf8_next(s + n - back, back, &len) == UTF8_PARTIAL;
            return partial ? back : 0;
        }
    }
    return 0;
}

size_t utf8_write(uint32_t code_point, char dst[UTF8_MAX])
{
    static const unsigned char mark[UTF8_MAX + 1] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    const size_t n = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; code_point >>= 6) {
        dst[i] = (char)(0x80 | (code_point & 0x3f));
    }
    dst[0] = (char)(mark[n] | code_point);
    return n;
}

size_t utf8_fit(const char *s, size_t n, size_t most)
{
    if (n <= most) {
        return n;
    }
    while (most > 0 && utf8_inside(s[most])) {
        most--;
    }
    return most;
}

const char *utf8_start(const char *s)
{
    while (utf8_inside(*s)) {
        s++;
    }
    return s;
}

void utf8_printable(char *text, char kept)
{
    for (char *c = text; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != kept) || *c == 0x7f) {
            *c = '?';
        } else if ((unsigned char)*c == 0xc2 && ((unsigned char)c[1] & 0xe0) == 0x80) {
            c[0] = c[1] = '?';
        }
    }
}
