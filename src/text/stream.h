/* From the bytes of single tokens to text that may be shown: whole UTF-8 characters only, stop
 * strings found across token borders and cut off. One mechanism for command line, API and server.
 */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include "base/error.h"
#include "base/mem.h"

enum { STREAM_MAX_STOPS = 16, STREAM_MAX_STOP = 256 };

/* A stop string and how much of it the text ends with (Knuth, Morris and Pratt). border[i] is the
 * length of the longest proper prefix of text that text[0..i] ends with. */
struct stop {
    size_t n, matched;
    char text[STREAM_MAX_STOP];
    uint16_t border[STREAM_MAX_STOP];
};

struct stream {
    struct bytes in; /* raw bytes not yet decided: an incomplete character, or a possible start of a
                        stop string */
    struct bytes out; /* text ready to be taken: valid UTF-8 */
    struct stop *stops;
    size_t n_stops;
    bool stopped; /* a stop string was found; what follows is ignored */
};

void stream_init(struct stream *s);
void stream_free(struct stream *s);
weft_status stream_copy(struct stream *dst, const struct stream *src,
                        weft_error *err);    /* dst uninitialised, empty after a failure */
size_t stream_bytes(const struct stream *s); /* of memory, besides *s */
/* Replaces the stop strings; they are looked for in what is pushed from now on. What was held back
 * for the old ones becomes text. WEFT_E_ARG: too many, empty, or too long. */
weft_status stream_set_stops(struct stream *s, const char *const *stops, size_t n, weft_error *err);
/* Adds the bytes of a token. The stop string that is complete first ends the text, of several that
 * end with the same byte the longest; how the bytes are divided into pushes makes no difference.
 * Bytes that can never become a character give one U+FFFD per maximal invalid part, as the Unicode
 * standard recommends; they never stall the stream. Memory failure leaves *s as it was. */
weft_status stream_push(struct stream *s, const char *data, size_t n, weft_error *err);
/* No more tokens: what is held back comes out; an incomplete character as U+FFFD. */
weft_status stream_finish(struct stream *s, weft_error *err);
/* No more tokens for now: what is held back comes out, but an incomplete character at the end is
 * dropped, so that what goes on may begin with it. Needs no memory behind a stream_push(). */
weft_status stream_cut(struct stream *s, weft_error *err);
/* Drops everything not yet taken and runs again. Keeps the stop strings. */
void stream_reset(struct stream *s);

#endif
