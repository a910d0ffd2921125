/* Turns the bytes of single tokens into text that may be shown: only whole UTF-8 characters come
 * out, and stop strings are found across token borders and cut off. Command line, API and server
 * all use this. */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include "base/error.h"
#include "base/mem.h"
#include "text/search.h"

struct stream {
    /* Bytes that are not decided yet: an incomplete character, or the possible start of a stop
     * string. */
    struct bytes in;
    /* Text that can be taken: valid UTF-8. */
    struct bytes out;
    struct search stops; /* the stop strings */
    struct search_at at;
    /* A stop string was found; later bytes are ignored. */
    bool stopped;
};

void stream_init(struct stream *s);
void stream_free(struct stream *s);
/* dst may be uninitialised; it is empty after a failure. */
weft_status stream_copy(struct stream *dst, const struct stream *src, weft_error *err);
/* Returns the bytes of memory besides *s. */
size_t stream_bytes(const struct stream *s);
/* Replaces the stop strings; the new ones are searched in what is pushed from now on. Bytes that
 * were held back for the old ones become text. WEFT_E_ARG: too many stop strings, an empty one, or
 * one that is too long. */
weft_status stream_set_stops(struct stream *s, const char *const *stops, size_t n, weft_error *err);
/* Adds the bytes of a token. The stop string that is complete first ends the text; if several end
 * with the same byte, the longest does. It makes no difference how the bytes are divided into
 * pushes. Bytes that can never become a character give one U+FFFD per maximal invalid part, as the
 * Unicode standard recommends; they never stall the stream. If memory is out, *s stays as it
 * was. */
weft_status stream_push(struct stream *s, const char *data, size_t n, weft_error *err);
/* Ends the stream: the bytes held back come out, an incomplete character as U+FFFD. */
weft_status stream_finish(struct stream *s, weft_error *err);
/* Pauses the stream: the bytes held back come out, but an incomplete character at the end is
 * dropped, so that later bytes may begin with it. Needs no memory if it follows a stream_push(). */
weft_status stream_cut(struct stream *s, weft_error *err);
/* Drops everything that was not taken yet, and starts again. Keeps the stop strings. */
void stream_reset(struct stream *s);

#endif
