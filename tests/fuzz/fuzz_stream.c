/* Any bytes, cut in any way, with any stop strings: valid UTF-8 comes out, and the cuts make no
 * difference. */
#include "fuzz.h"
#include "text/stream.h"

static bool valid_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t len = c < 0x80                ? 1
                     : c >= 0xc2 && c < 0xe0 ? 2
                     : (c & 0xf0) == 0xe0    ? 3
                     : c >= 0xf0 && c < 0xf5 ? 4
                                             : 0;
        if (len == 0 || len > n - i) {
            return false;
        }
        for (size_t k = 1; k < len; k++) {
            if (((unsigned char)s[i + k] & 0xc0) != 0x80) {
                return false;
            }
        }
        unsigned char second = len > 1 ? (unsigned char)s[i + 1] : 0;
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
            (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f)) {
            return false;
        }
        i += len;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    char stops[3][20];
    const char *list[3] = { stops[0], stops[1], stops[2] };
    size_t n_stops = fuzz_byte(&in) % 4;
    for (size_t i = 0; i < n_stops; i++) {
        size_t n;
        const char *s = fuzz_bytes(&in, 1 + fuzz_byte(&in) % 16, &n);
        memcpy(stops[i], s, n);
        stops[i][n] = '\0';
    }
    struct stream cut, whole;
    weft_error err;
    stream_init(&cut);
    stream_init(&whole);
    weft_status s = stream_set_stops(&cut, list, n_stops, &err);
    MUST(s == stream_set_stops(&whole, list, n_stops, &err));
    MUST(s == WEFT_OK || s == WEFT_E_ARG);
    MUST(stream_push(&whole, (const char *)in.data, in.n, &err) == WEFT_OK);
    MUST(stream_finish(&whole, &err) == WEFT_OK);
    uint32_t cuts = (uint32_t)size * 2654435761u;
    while (in.n > 0) {
        size_t n;
        cuts = cuts * 1664525u + 1013904223u;
        const char *piece = fuzz_bytes(&in, 1 + (cuts >> 28), &n);
        MUST(stream_push(&cut, piece, n, &err) == WEFT_OK);
        MUST(valid_utf8(cut.out.data, cut.out.n));
    }
    MUST(stream_finish(&cut, &err) == WEFT_OK);
    MUST(cut.out.n == whole.out.n && cut.stopped == whole.stopped);
    MUST(cut.out.n == 0 || memcmp(cut.out.data, whole.out.data, cut.out.n) == 0);
    stream_free(&cut);
    stream_free(&whole);
    return 0;
}
