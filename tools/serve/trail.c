#include "serve/trail.h"

#include <string.h>

#include "base/utf8.h"

void trail_free(struct trail *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->at[i].logprobs);
    }
    free(t->at);
    free(t->last.logprobs);
    bytes_free(&t->text);
    bytes_free(&t->piece);
    *t = (struct trail){ 0 };
}

bool trail_begin(struct trail *t, const char *partial, size_t n)
{
    return bytes_add(&t->piece, partial, n);
}

/* ---------------------------------------------------------------- tokens */

/* Returns how many of the bytes are characters, or can never become one; *n_text is the length of
 * their text. Appends the text to `out`, unless that is NULL; *ok is false if memory was out. */
static size_t decode(const struct bytes *b, size_t *n_text, struct bytes *out, bool *ok)
{
    size_t at = 0, len;
    *n_text = 0;
    while (at < b->n) {
        const enum utf8_kind kind = utf8_next(b->data + at, b->n - at, &len);
        if (kind == UTF8_PARTIAL) {
            break;
        }
        const bool known = kind == UTF8_CHAR;
        const size_t n = known ? len : 3;
        *ok = *ok && (out == NULL || bytes_add(out, known ? b->data + at : "\xef\xbf\xbd", n));
        *n_text += n;
        at += len;
    }
    return at;
}

static bool copy_logprobs(struct trail_entry *e, const weft_logprob *logprobs, size_t n)
{
    e->logprobs = mem_array(n, sizeof *logprobs);
    if (e->logprobs == NULL) {
        return false;
    }
    if (n > 0) {
        memcpy(e->logprobs, logprobs, n * sizeof *logprobs);
    }
    e->n_logprobs = n;
    return true;
}

/* Puts an entry at a place in the list, which has room for it. */
static void insert(struct trail *t, size_t at, const struct trail_entry *e)
{
    memmove(&t->at[at + 1], &t->at[at], (t->n - at) * sizeof *t->at);
    t->at[at] = *e;
    t->n++;
}

/* Divides a token of which some text has come already. */
static bool divide(struct trail *t)
{
    if (t->n_filled == t->n || t->at[t->n_filled].from == t->at[t->n_filled].to) {
        return true;
    }
    if (!mem_reserve(&t->at, &t->cap, t->n + 1, sizeof *t->at)) {
        return false;
    }
    struct trail_entry *e = &t->at[t->n_filled++];
    struct trail_entry rest = { .token = e->token, .n = e->n - (e->to - e->from), .part = true };
    if (!copy_logprobs(&rest, e->logprobs, e->n_logprobs)) {
        return false;
    }
    e->n -= rest.n;
    e->part = true;
    insert(t, t->n_filled, &rest);
    return true;
}

/* Makes room for a control token: the tokens of an incomplete character come behind it, as their
 * text does. */
static bool part(struct trail *t)
{
    if (!divide(t)) {
        return false;
    }
    while (t->n_filled > 0 && t->at[t->n_filled - 1].n == 0 &&
           t->at[t->n_filled - 1].from == t->at[t->n_filled - 1].to) {
        t->n_filled--;
    }
    return true;
}

/* Keeps a token that begins a character behind its text. */
static bool keep_last(struct trail *t, const struct trail_entry *e)
{
    free(t->last.logprobs);
    t->last = (struct trail_entry){ .token = -1 };
    if (t->piece.n == 0 || e->n == 0) {
        return true;
    }
    t->last = (struct trail_entry){ .token = e->token, .part = true };
    return copy_logprobs(&t->last, e->logprobs, e->n_logprobs);
}

bool trail_token(struct trail *t, int32_t token, const char *piece, size_t n_piece, bool control,
                 const weft_logprob *logprobs, size_t n_logprobs)
{
    struct trail_entry e = { .token = token, .n = n_piece };
    if ((control && !part(t)) || !mem_reserve(&t->at, &t->cap, t->n + 1, sizeof *t->at) ||
        (!control && !bytes_add(&t->piece, piece, n_piece)) ||
        !copy_logprobs(&e, logprobs, n_logprobs)) {
        return false;
    }
    if (!control) {
        bool ok = true;
        const size_t taken = decode(&t->piece, &e.n, NULL, &ok);
        if (taken > 0) {
            t->piece.n -= taken;
            memmove(t->piece.data, t->piece.data + taken, t->piece.n);
        }
    }
    const bool kept = control || keep_last(t, &e);
    insert(t, control ? t->n_filled : t->n, &e);
    return kept;
}

/* ---------------------------------------------------------------- text */

size_t trail_end(const struct trail *t) { return t->begin + t->text.n; }

/* Gives the new text to the tokens that wait for it, up to place `end`. */
static void fill(struct trail *t, size_t place, size_t end)
{
    for (; t->n_filled < t->n; t->n_filled++) {
        struct trail_entry *e = &t->at[t->n_filled];
        const bool begun = e->to > e->from;
        const size_t take = size_min(e->n - (e->to - e->from), end - place);
        e->from = begun ? e->from : place;
        e->to = place + take;
        place = e->to;
        if (e->to - e->from < e->n) {
            return;
        }
    }
    /* The end of a text that was cut inside a character. */
    if (end > place && t->n == 0 && t->last.n_logprobs > 0 && t->cap > 0) {
        t->last.n = end - place;
        t->last.from = place;
        insert(t, 0, &t->last);
        t->n_filled = 1;
        t->last = (struct trail_entry){ .token = -1 };
    }
    if (t->n > 0 && end > place) {
        t->at[t->n - 1].to = end;
    }
}

bool trail_text(struct trail *t, const char *text, size_t n)
{
    const size_t place = trail_end(t);
    if (!bytes_add(&t->text, text, n)) {
        return false;
    }
    fill(t, place, place + n);
    return true;
}

/* ---------------------------------------------------------------- content */

void trail_content(struct trail *t, size_t from, size_t n)
{
    t->from = from == t->to ? t->from : from;
    t->to = from + n;
}

enum fate { WAITS, GIVEN, DROPPED };

bool trail_known(struct trail *t, int32_t token, const char *piece, size_t n_piece, bool control,
                 const weft_logprob *logprobs, size_t n_logprobs)
{
    struct bytes bytes = { 0 }, text = { 0 };
    size_t n;
    bool ok = bytes_add(&bytes, t->piece.data, control ? 0 : t->piece.n) &&
              bytes_add(&bytes, piece, n_piece);
    if (ok) {
        decode(&bytes, &n, &text, &ok);
    }
    ok = ok && trail_token(t, token, piece, n_piece, control, logprobs, n_logprobs) &&
         trail_text(t, text.data, text.n);
    bytes_free(&bytes);
    bytes_free(&text);
    return ok;
}

/* Says what becomes of a token, now that the content reaches up to t->to. One without a text goes
 * with the token behind it, which completes the character. */
static enum fate fate_of(const struct trail *t, size_t i, bool all)
{
    while (i < t->n && t->at[i].n == 0 && t->at[i].from == t->at[i].to) {
        i++;
    }
    if (i == t->n) {
        return t->ended ? GIVEN : WAITS;
    }
    const struct trail_entry *e = &t->at[i];
    const size_t came = e->to - e->from;
    if ((came < e->n && !all) || came == 0 || e->from >= t->to) {
        return WAITS;
    }
    if (e->to <= t->from) {
        return DROPPED;
    }
    return e->to <= t->to || all ? GIVEN : WAITS;
}

/* Takes the first token out. */
static void take_out(struct trail *t)
{
    t->n--;
    t->n_filled -= t->n_filled > 0;
    memmove(t->at, t->at + 1, t->n * sizeof *t->at);
}

static void give(struct trail *t, struct trail_item *item)
{
    const struct trail_entry *e = &t->at[0];
    const size_t from = size_max(e->from, t->from), to = size_min(e->to, t->to);
    const bool any = to > from;
    *item = (struct trail_item){ .entry = *e,
                                 .text = any ? t->text.data + (from - t->begin) : "",
                                 .n = any ? to - from : 0 };
    item->whole = item->n == e->n && !e->part;
    t->from = any ? to : t->from;
}

bool trail_next(struct trail *t, bool all, struct trail_item *item)
{
    enum fate fate;
    while (t->n > 0 && (fate = fate_of(t, 0, all)) != WAITS) {
        const bool given = fate == GIVEN;
        if (given) {
            give(t, item);
        } else {
            free(t->at[0].logprobs);
        }
        take_out(t);
        if (given) {
            return true;
        }
    }
    return false;
}

void trail_drop(struct trail *t)
{
    size_t keep = t->to > t->from ? t->from : trail_end(t);
    if (t->n > 0 && t->at[0].to > t->at[0].from) {
        keep = size_min(keep, t->at[0].from);
    }
    if (keep > t->begin) {
        t->text.n -= keep - t->begin;
        memmove(t->text.data, t->text.data + (keep - t->begin), t->text.n);
        t->begin = keep;
    }
}
