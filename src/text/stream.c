/* Bytes wait in `in` until they are certain to be text. The search for stop strings says how many
 * of the last bytes may still become one; the UTF-8 table says how many may still become a
 * character. Both look at each byte once, so the time is linear in the bytes pushed. */
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
    search_free(&s->stops);
    *s = (struct stream){ 0 };
}

size_t stream_bytes(const struct stream *s)
{
    return s->in.cap + s->out.cap + search_bytes(&s->stops);
}

weft_status stream_copy(struct stream *dst, const struct stream *src, weft_error *err)
{
    *dst = (struct stream){ .at = src->at, .stopped = src->stopped };
    TRY(search_copy(&dst->stops, &src->stops, err));
    if (!bytes_add(&dst->in, src->in.data, src->in.n) ||
        !bytes_add(&dst->out, src->out.data, src->out.n)) {
        stream_free(dst);
        return error_nomem(err, "the copy of a text stream", src->in.n + src->out.n);
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

static void stops_rewind(struct stream *s) { s->at = (struct search_at){ 0 }; }

weft_status stream_set_stops(struct stream *s, const char *const *stops, size_t n, weft_error *err)
{
    struct search fresh;
    TRY(search_open(&fresh, "stop string", stops, n, err));
    weft_status status = reserve(s, 0, err);
    if (status != WEFT_OK) {
        search_free(&fresh);
        return status;
    }
    search_free(&s->stops);
    s->stops = fresh;
    stops_rewind(s);
    release(s, 0, false);
    return WEFT_OK;
}

weft_status stream_push(struct stream *s, const char *data, size_t n, weft_error *err)
{
    if (s->stopped) {
        return WEFT_OK;
    }
    TRY(reserve(s, n, err));
    for (size_t i = 0; i < n; i++) {
        s->in.data[s->in.n++] = data[i];
        size_t complete = search_feed(&s->stops, &s->at, data[i]);
        if (complete > 0) {
            release(s, complete, true);
            s->in.n = 0;
            s->stopped = true;
            stops_rewind(s);
            return WEFT_OK;
        }
    }
    release(s, search_held(&s->stops, &s->at), false);
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
