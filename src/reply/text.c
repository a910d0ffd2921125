/* Reads reasoning and content. */
#include <string.h>

#include "base/utf8.h"
#include "reply/reply.h"

static const char *unread(const struct reply *r) { return r->in.data + r->at; }
static size_t n_unread(const struct reply *r) { return r->in.n - r->at; }

static void take(struct reply *r, size_t n)
{
    r->at += n;
    r->place += n;
    r->seen = r->seen > n ? r->seen - n : 0;
}

/* Returns the length of the white space at the beginning, or at the end, of text[n]; of a long one
 * that of its last part. */
static size_t space_before(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && reply_space(text[i])) {
        i++;
    }
    return i;
}

static size_t space_behind(const char *text, size_t n)
{
    size_t i = 0;
    while (i < size_min(n, REPLY_MAX_SPACE) && reply_space(text[n - 1 - i])) {
        i++;
    }
    return i;
}

/* Leaves out the white space that comes now. Returns false if there is nothing else. */
static bool trimmed(struct reply *r)
{
    if (r->trim) {
        take(r, space_before(unread(r), n_unread(r)));
        r->trim = n_unread(r) == 0;
    }
    return !r->trim;
}

/* Finds a marker: *at is its place, or that of its beginning at the end of the text, or the end. */
static bool find(const struct reply *r, const char *marker, size_t *at)
{
    const char *text = unread(r);
    size_t n = n_unread(r), len = strlen(marker);
    for (*at = 0; *at < n; ++*at) {
        size_t left = size_min(n - *at, len);
        if (memcmp(text + *at, marker, left) == 0 && (left == len || !r->ended)) {
            return left == len;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- reasoning */

bool reply_step_begin(struct reply *r)
{
    size_t space = space_before(unread(r), n_unread(r)), at, len = strlen(r->marks->open);
    bool found = find(r, r->marks->open, &at);
    if (space > REPLY_MAX_SPACE || at > space || (at == space && at == n_unread(r) && r->ended)) {
        r->state = REPLY_TEXT;
        return true;
    }
    if (!found) {
        return false;
    }
    if (r->keep_reasoning) {
        reply_emit(r, WEFT_REPLY_CONTENT, unread(r), at + len);
    }
    take(r, at + len);
    r->state = REPLY_REASONING;
    r->trim = !r->keep_reasoning;
    return true;
}

bool reply_step_reasoning(struct reply *r)
{
    size_t at, len = strlen(r->marks->close);
    if (!trimmed(r)) {
        return false;
    }
    bool found = find(r, r->marks->close, &at);
    size_t n = at, space = r->keep_reasoning ? 0 : space_behind(unread(r), at);
    n -= found || r->ended || at < n_unread(r) ? 0 : utf8_partial(unread(r), at);
    n = size_min(n, at - space) + (found && r->keep_reasoning ? len : 0);
    reply_emit(r, r->keep_reasoning ? WEFT_REPLY_CONTENT : WEFT_REPLY_REASONING, unread(r), n);
    take(r, found ? at + len : r->ended ? n_unread(r) : n);
    if (found) {
        r->state = REPLY_TEXT;
        r->trim = !r->keep_reasoning;
    }
    return found;
}

/* ---------------------------------------------------------------- content */

enum reply_match reply_try(const struct reply *r, const char *pattern, size_t at,
                           struct reply_found *found)
{
    size_t n = n_unread(r) - at;
    enum reply_match match = reply_match(r->format, &r->tools, pattern, unread(r) + at, n, found);
    bool over = match == MATCH_YES ? found->n > REPLY_MAX_HEAD
                                   : r->ended || n > REPLY_MAX_HEAD + REPLY_MAX_AHEAD;
    return over ? MATCH_NO : match;
}

/* Tries the heads of a call at a place in the unread text. */
static enum reply_match head_at(const struct reply *r, size_t at, struct reply_found *found)
{
    char c = unread(r)[at];
    for (size_t i = 0; i < REPLY_MAX_PATTERNS && r->format->heads[i] != NULL; i++) {
        const char *head = r->format->heads[i];
        bool first = *head == '^';
        head += first;
        if ((*head != '%' && *head != c) || (*head == '%' && c != '{') ||
            (first && (r->answered || space_before(unread(r), at) < at))) {
            continue;
        }
        enum reply_match match = reply_try(r, head, at, found);
        if (match != MATCH_NO) {
            return match;
        }
    }
    return MATCH_NO;
}

static bool may_call(const struct reply *r)
{
    return r->choice != WEFT_TOOLS_NONE && !(r->single && r->n_calls > 0);
}

/* Returns the first place where a call begins, or may begin; *match says which, MATCH_NO that it is
 * the end of the text. */
static size_t find_call(struct reply *r, enum reply_match *match, struct reply_found *found)
{
    size_t n = n_unread(r), i = r->seen;
    *match = MATCH_NO;
    while (may_call(r) && i < n && (*match = head_at(r, i, found)) == MATCH_NO) {
        i++;
    }
    return *match == MATCH_NO ? n : i;
}

/* Returns how much of the text in front of `at` is content that cannot change. */
static size_t certain(const struct reply *r, size_t at, enum reply_match match)
{
    bool end = match == MATCH_NO && r->ended;
    size_t n = at, space = end || !may_call(r) ? 0 : space_behind(unread(r), at);
    if (end && r->behind && space_before(unread(r), at) == at) {
        return 0; /* white space behind the last call */
    }
    n -= match == MATCH_NO && !end ? utf8_partial(unread(r), at) : 0;
    return size_min(n, at - space);
}

bool reply_step_text(struct reply *r)
{
    struct reply_found found;
    enum reply_match match;
    if (!trimmed(r)) {
        return false;
    }
    size_t at = find_call(r, &match, &found), n = certain(r, at, match);
    r->seen = at;
    reply_emit(r, WEFT_REPLY_CONTENT, unread(r), n);
    r->behind &= n == 0;
    if (match == MATCH_YES) {
        take(r, at);
        reply_begin_call(r, &found);
        return true;
    }
    take(r, match == MATCH_NO && r->ended ? n_unread(r) : n);
    return false;
}
