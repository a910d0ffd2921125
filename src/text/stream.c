/* Bytes wait in `in` until they are certain to be text. One Knuth-Morris-Pratt state per stop
 * string says how many of the last bytes may still become that stop string; the UTF-8 table says
 * how many may still become a character. Both look at each byte once, so the time is linear in the
 * bytes pushed. */
#include "text/stream.h"

#include <string.h>

#include "base/utf8.h"

/* U+FFFD in UTF-8, which is the most that one byte of input can become. */
enum { REPLACEMENT_BYTES = 3 };

void stream_init(struct stream *s) { *s = (struct stream){ 0 }; }

void stream_free(struct stream *s)
{
    free(s->in.data);
    free(s->out.data);
    free(s->stops);
    *s = (struct stream){ 0 };
}

size_t stream_bytes(const struct stream *s)
{
    return s->in.cap + s->out.cap + s->n_stops * sizeof *s->stops;
}

weft_status stream_copy(struct stream *dst, const struct stream *src, weft_error *err)
{
    *dst = (struct stream){ .n_stops = src->n_stops, .stopped = src->stopped };
    size_t stop_bytes = src->n_stops * sizeof *src->stops;
    if (src->n_stops > 0) {
        dst->stops = malloc(stop_bytes);
    }
    bool whole = src->n_stops == 0 || dst->stops != NULL;
    whole = whole && bytes_add(&dst->in, src->in.data, src->in.n);
    whole = whole && bytes_add(&dst->out, src->out.data, src->out.n);
    if (!whole) {
        stream_free(dst);
        return error_nomem(err, "the copy of a text stream", src->in.n + src->out.n + stop_bytes);
    }
    if (src->n_stops > 0) {
        memcpy(dst->stops, src->stops, stop_bytes);
    }
    return WEFT_OK;
}

/* Makes sure that n more bytes of input, and all output that they can give, need no further
 * memory. */
static weft_status reserve(struct stream *s, size_t n, weft_error *err)
{
    size_t in;
    size_t out;
    if (!add_ok(s->in.n, n, &in) || !mul_ok(in, REPLACEMENT_BYTES, &out) ||
        !add_ok(s->out.n, out, &out) || !mem_reserve(&s->in.data, &s->in.cap, in, 1) ||
        !mem_reserve(&s->out.data, &s->out.cap, out, 1)) {
        return error_nomem(err, "the text of a sequence", n);
    }
    return WEFT_OK;
}

/* Moves in[0, n) to the text, invalid parts as U+FFFD. An incomplete character at the end stays
 * unless `flush` is set. Returns how many bytes were moved. The memory must have been reserved. */
static size_t decode(struct stream *s, size_t n, bool flush)
{
    size_t at = 0;
    while (at < n) {
        size_t len;
        enum utf8_kind kind = utf8_next(s->in.data + at, n - at, &len);
        if (kind == UTF8_PARTIAL && !flush) {
            break;
        }
        if (kind == UTF8_CHAR) {
            memcpy(s->out.data + s->out.n, s->in.data + at, len);
            s->out.n += len;
        } else {
            memcpy(s->out.data + s->out.n, "\xef\xbf\xbd", REPLACEMENT_BYTES);
            s->out.n += REPLACEMENT_BYTES;
        }
        at += len;
    }
    return at;
}

/* Turns all but the last `held` bytes of `in` into text. */
static void release(struct stream *s, size_t held, bool flush)
{
    size_t moved = decode(s, s->in.n - held, flush);
    if (moved > 0) {
        s->in.n -= moved;
        memmove(s->in.data, s->in.data + moved, s->in.n);
    }
}

static void stops_rewind(struct stream *s)
{
    for (size_t i = 0; i < s->n_stops; i++) {
        s->stops[i].matched = 0;
    }
}

static void stop_init(struct stop *stop, const char *text, size_t n)
{
    memcpy(stop->text, text, n);
    stop->n = n;
    size_t border = 0;
    for (size_t i = 1; i < n; i++) {
        while (border > 0 && text[i] != text[border]) {
            border = stop->border[border - 1];
        }
        border += text[i] == text[border];
        stop->border[i] = (uint16_t)border;
    }
}

weft_status stream_set_stops(struct stream *s, const char *const *stops, size_t n, weft_error *err)
{
    if (n > STREAM_MAX_STOPS) {
        return error_set(err, WEFT_E_ARG, "%zu stop strings given, at most %d are possible", n,
                         STREAM_MAX_STOPS);
    }
    if (n > 0 && stops == NULL) {
        return error_set(err, WEFT_E_ARG, "stops is NULL, but n is %zu", n);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = stops[i] == NULL ? 0 : strlen(stops[i]);
        if (len == 0 || len > STREAM_MAX_STOP) {
            return error_set(err, WEFT_E_ARG,
                             "stop string %zu is %s, expected 1 to %d bytes (it has %zu)", i,
                             stops[i] == NULL ? "NULL"
                             : len == 0       ? "empty"
                                              : "too long",
                             STREAM_MAX_STOP, len);
        }
    }
    struct stop *fresh = NULL;
    if (n > 0) {
        fresh = mem_array(n, sizeof *fresh);
        if (fresh == NULL) {
            return error_nomem(err, "the stop strings", n * sizeof *fresh);
        }
    }
    weft_status status = reserve(s, 0, err);
    if (status != WEFT_OK) {
        free(fresh);
        return status;
    }
    for (size_t i = 0; i < n; i++) {
        stop_init(&fresh[i], stops[i], strlen(stops[i]));
    }
    free(s->stops);
    s->stops = fresh;
    s->n_stops = n;
    release(s, 0, false);
    return WEFT_OK;
}

/* Advances every stop string by one byte. Returns the length of the longest one that is now
 * complete, 0 if there is none. */
static size_t stops_feed(struct stream *s, char byte)
{
    size_t complete = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        struct stop *stop = &s->stops[i];
        while (stop->matched > 0 && stop->text[stop->matched] != byte) {
            stop->matched = stop->border[stop->matched - 1];
        }
        stop->matched += stop->text[stop->matched] == byte;
        if (stop->matched == stop->n && stop->n > complete) {
            complete = stop->n;
        }
    }
    return complete;
}

weft_status stream_push(struct stream *s, const char *data, size_t n, weft_error *err)
{
    if (s->stopped) {
        return WEFT_OK;
    }
    TRY(reserve(s, n, err));
    for (size_t i = 0; i < n; i++) {
        s->in.data[s->in.n++] = data[i];
        size_t complete = stops_feed(s, data[i]);
        if (complete > 0) {
            release(s, complete, true);
            s->in.n = 0;
            s->stopped = true;
            stops_rewind(s);
            return WEFT_OK;
        }
    }
    size_t held = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        held = size_max(s->stops[i].matched, held);
    }
    release(s, held, false);
    return WEFT_OK;
}

weft_status stream_finish(struct stream *s, weft_error *err)
{
    TRY(reserve(s, 0, err));
    release(s, 0, true);
    stops_rewind(s);
    return WEFT_OK;
}

weft_status stream_cut(struct stream *s, weft_error *err)
{
    TRY(reserve(s, 0, err));
    s->in.n -= utf8_partial(s->in.data, s->in.n);
    release(s, 0, true);
    stops_rewind(s);
    return WEFT_OK;
}

void stream_reset(struct stream *s)
{
    s->in.n = 0;
    s->out.n = 0;
    s->stopped = false;
    stops_rewind(s);
}
