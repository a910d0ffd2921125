/* Reads calls: their heads, their arguments in each form, and what stands behind them. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "reply/reply.h"

static const char *unread(const struct reply *r) { return r->in.data + r->at; }
static size_t n_unread(const struct reply *r) { return r->in.n - r->at; }

static void take(struct reply *r, size_t n)
{
    r->at += n;
    r->place += n;
    r->seen = 0;
}

static void emit(struct reply *r, const char *text)
{
    reply_emit(r, WEFT_REPLY_ARGUMENTS, text, strlen(text));
}

/* ---------------------------------------------------------------- ids */

enum { ID_LENGTH = 21, SHORT_ID_LENGTH = 9 };

/* Writes "call_" and 16 letters and digits, or nine of them. */
static void make_id(const struct reply *r, char id[ID_LENGTH + 1])
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = r->format->short_ids ? SHORT_ID_LENGTH : ID_LENGTH;
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) {
            const uint64_t words[3] = { r->seed, r->n_calls, i };
            bits = hash64(hash64(HASH64_START, words, sizeof words), words, sizeof words);
        }
        id[i] = letters[bits % 62];
        bits /= 62;
    }
    if (!r->format->short_ids) {
        memcpy(id, "call_", 5);
    }
    id[n] = '\0';
}

/* ---------------------------------------------------------------- begin and end */

/* Writes arguments that are there as a whole. */
static void emit_json(struct reply *r, const char *text, size_t n)
{
    struct json_scan scan = { 0 };
    size_t before = r->out.n;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        json_scan(&scan, text[i], &r->out, &ok);
    }
    r->no_memory |= !ok;
    reply_emitted(r, WEFT_REPLY_ARGUMENTS, before);
}

static void announce(struct reply *r, const struct reply_tool *tool)
{
    char id[ID_LENGTH + 1];
    size_t at = r->out.n;
    make_id(r, id);
    r->no_memory |= !bytes_add(&r->out, id, strlen(id) + 1);
    reply_put_event(
        r, (struct reply_event){
               .kind = WEFT_REPLY_CALL, .call = r->n_calls, .at = at, .name = tool->name });
    r->n_calls++;
    r->tool = tool;
    r->answered = true;
}

void reply_begin_call(struct reply *r, const struct reply_found *found)
{
    const char *text = unread(r);
    announce(r, found->tool);
    r->object = found->kind == 'o';
    r->first = true;
    r->scan = (struct json_scan){ 0 };
    if (found->whole) {
        r->object = false;
        emit_json(r, found->n_arguments > 0 ? text + found->at : "{}",
                  found->n_arguments > 0 ? found->n_arguments : 2);
        reply_end_call(r, true);
    } else if (found->kind == 'x' || found->kind == 'k') {
        emit(r, "{");
        r->state = found->kind == 'x' ? REPLY_TAG : REPLY_NAMED;
    } else {
        r->state = REPLY_JSON;
    }
    take(r, found->n);
}

void reply_end_call(struct reply *r, bool complete)
{
    reply_put_event(r, (struct reply_event){ .kind = WEFT_REPLY_CALL_END,
                                             .call = r->n_calls - 1,
                                             .complete = complete });
    r->state = complete ? REPLY_BEHIND : REPLY_TEXT;
    r->behind = complete;
}

/* Ends a call whose text goes on with something that cannot be part of it. */
static bool break_call(struct reply *r)
{
    reply_end_call(r, false);
    return true;
}

/* Waits for more text. At the end of the answer it ends the call; what was not certain yet is left
 * out. */
static bool wait(struct reply *r)
{
    if (r->ended) {
        take(r, n_unread(r));
        reply_end_call(r, false);
    }
    return r->ended;
}

/* ---------------------------------------------------------------- JSON */

/* Gives the scanner the unread text. What it has read and not written stays unread, and `seen`. */
static enum json_scan_result scan(struct reply *r)
{
    enum json_scan_result result = SCAN_MORE;
    size_t before = r->out.n, i = r->seen, n = n_unread(r);
    bool ok = true;
    while (result == SCAN_MORE && i < n) {
        result = json_scan(&r->scan, unread(r)[i], &r->out, &ok);
        i += result == SCAN_MORE || result == SCAN_DONE;
    }
    r->no_memory |= !ok;
    reply_emitted(r, WEFT_REPLY_ARGUMENTS, before);
    take(r, i - r->scan.n_hold);
    r->seen = result == SCAN_BAD ? 0 : r->scan.n_hold;
    return result;
}

bool reply_step_json(struct reply *r)
{
    enum json_scan_result result = scan(r);
    if (result == SCAN_DONE) {
        reply_end_call(r, true);
        return true;
    }
    return result == SCAN_MORE ? wait(r) : break_call(r);
}

/* ---------------------------------------------------------------- f(k="v") */

static size_t skip_space(const struct reply *r, size_t i)
{
    while (i < n_unread(r) && reply_space(unread(r)[i])) {
        i++;
    }
    return i;
}

static size_t skip_name(const struct reply *r, size_t i)
{
    while (i < n_unread(r) && strchr("=,()\"' \n\t\r", unread(r)[i]) == NULL) {
        i++;
    }
    return i;
}

static void emit_key(struct reply *r, const char *key, size_t n)
{
    emit(r, r->first ? "\"" : ", \"");
    reply_emit_escaped(r, key, n);
    emit(r, "\": ");
    r->first = false;
}

bool reply_step_named(struct reply *r)
{
    size_t i = skip_space(r, 0), n = n_unread(r);
    if (i > REPLY_MAX_HEAD) {
        return break_call(r);
    }
    if (i < n && unread(r)[i] == ')') {
        emit(r, "}");
        take(r, i + 1);
        reply_end_call(r, true);
        return true;
    }
    if (i < n && !r->first && unread(r)[i] != ',') {
        return break_call(r);
    }
    size_t name = skip_space(r, i + (i < n && !r->first)), end = skip_name(r, name);
    size_t equals = skip_space(r, end);
    if (equals > REPLY_MAX_HEAD || (equals < n && (unread(r)[equals] != '=' || end == name))) {
        return break_call(r);
    }
    if (equals == n) {
        return wait(r);
    }
    emit_key(r, unread(r) + name, end - name);
    r->scan = (struct json_scan){ 0 };
    r->state = REPLY_NAMED_IN;
    take(r, equals + 1);
    return true;
}

bool reply_step_named_in(struct reply *r)
{
    enum json_scan_result result = scan(r);
    if (result == SCAN_DONE || result == SCAN_BEFORE) {
        r->state = REPLY_NAMED;
        return true;
    }
    return result == SCAN_MORE ? wait(r) : break_call(r);
}

/* ---------------------------------------------------------------- parameters in tags */

/* Returns MATCH_YES if the unread text begins with this text. */
static enum reply_match begins(const struct reply *r, size_t at, const char *text)
{
    size_t n = strlen(text), left = n_unread(r) - at;
    if (memcmp(unread(r) + at, text, size_min(n, left)) != 0) {
        return MATCH_NO;
    }
    return left < n ? MATCH_MORE : MATCH_YES;
}

/* Finds a key and the beginning of its value; *value is where the value begins. */
static enum reply_match find_key(const struct reply *r, size_t at, size_t *end, size_t *value)
{
    const struct reply_tags *tags = &r->format->tags;
    struct reply_found found;
    enum reply_match match = begins(r, at, tags->key);
    if (match != MATCH_YES) {
        return match;
    }
    *end = at + strlen(tags->key);
    while (*end < n_unread(r) && unread(r)[*end] != *tags->between && unread(r)[*end] != '\n') {
        ++*end;
    }
    match = reply_match(r->format, &r->tools, tags->between, unread(r) + *end, n_unread(r) - *end,
                        &found);
    if (match != MATCH_YES) {
        return n_unread(r) > REPLY_MAX_HEAD ? MATCH_NO : match;
    }
    *value = *end + found.n;
    if (*value > REPLY_MAX_HEAD) {
        return MATCH_NO;
    }
    if (tags->lines && *value == n_unread(r)) {
        return MATCH_MORE;
    }
    *value += tags->lines && unread(r)[*value] == '\n';
    return MATCH_YES;
}

static bool begin_value(struct reply *r, const char *key, size_t n, size_t value)
{
    bool raw = reply_parameter_types(r->tool, key, n) == REPLY_STRING;
    emit_key(r, key, n);
    if (raw) {
        emit(r, "\"");
    }
    r->types = reply_parameter_types(r->tool, key, n);
    r->state = raw ? REPLY_RAW : REPLY_VALUE;
    take(r, value);
    return true;
}

bool reply_step_tag(struct reply *r)
{
    size_t at = skip_space(r, 0), end, value;
    const struct reply_tags *tags = &r->format->tags;
    if (at > REPLY_MAX_HEAD) {
        return break_call(r);
    }
    enum reply_match match = begins(r, at, tags->close);
    if (match == MATCH_YES) {
        emit(r, "}");
        take(r, at + strlen(tags->close));
        reply_end_call(r, true);
        return true;
    }
    enum reply_match key = find_key(r, at, &end, &value);
    if (key == MATCH_YES) {
        size_t begin = at + strlen(tags->key);
        return begin_value(r, unread(r) + begin, end - begin, value);
    }
    return match == MATCH_MORE || key == MATCH_MORE ? wait(r) : break_call(r);
}

/* Returns where the value ends, or may end. *whole says that its end is there. */
static size_t find_end(const struct reply *r, size_t from, bool *whole)
{
    const char *end = r->format->tags.end;
    size_t n = n_unread(r);
    enum reply_match match = MATCH_NO;
    for (size_t i = from; i < n; i++) {
        if ((match = begins(r, i, end)) != MATCH_NO) {
            *whole = match == MATCH_YES;
            return i;
        }
    }
    *whole = false;
    return n;
}

bool reply_step_raw(struct reply *r)
{
    bool whole, lines = r->format->tags.lines;
    size_t at = find_end(r, 0, &whole), n = at;
    if (r->ended && !whole) {
        reply_emit_escaped(r, unread(r), n_unread(r));
        return wait(r);
    }
    n -= lines && n > 0 && unread(r)[n - 1] == '\n';
    n -= whole || n < at ? 0 : utf8_partial(unread(r), n);
    reply_emit_escaped(r, unread(r), n);
    if (whole) {
        emit(r, "\"");
        r->state = REPLY_TAG;
    }
    take(r, whole ? at + strlen(r->format->tags.end) : n);
    return whole;
}

/* Returns the word of JSON that Python has for a text, if the parameter may be one. */
static const char *python_word(const char *text, size_t n, unsigned types)
{
    bool boolean = (types & REPLY_BOOLEAN) != 0, null = (types & REPLY_NULL) != 0;
    return boolean && n == 4 && memcmp(text, "True", 4) == 0    ? "true"
           : boolean && n == 5 && memcmp(text, "False", 5) == 0 ? "false"
           : null && n == 4 && memcmp(text, "None", 4) == 0     ? "null"
                                                                : NULL;
}

static unsigned type_by(char c)
{
    return c == '{'               ? REPLY_OBJECT
           : c == '['             ? REPLY_ARRAY
           : c == '"'             ? REPLY_STRING
           : c == 't' || c == 'f' ? REPLY_BOOLEAN
           : c == 'n'             ? REPLY_NULL
                                  : REPLY_NUMBER;
}

/* A value is JSON if it is JSON of a type that the parameter may have; otherwise it is a text. */
static void emit_value(struct reply *r, const char *text, size_t n)
{
    size_t from = 0, to = n;
    while (from < to && reply_space(text[from])) {
        from++;
    }
    while (to > from && reply_space(text[to - 1])) {
        to--;
    }
    /* The byte behind the value, which is there, ends a number. */
    size_t len = json_scan_value(text + from, to - from + 1);
    const char *word = python_word(text + from, to - from, r->types);
    if (word != NULL) {
        emit(r, word);
    } else if (to > from && len == to - from && (type_by(text[from]) & r->types) != 0) {
        emit_json(r, text + from, to - from);
    } else {
        emit(r, "\"");
        reply_emit_escaped(r, text, n);
        emit(r, "\"");
    }
}

bool reply_step_value(struct reply *r)
{
    bool whole;
    size_t at = find_end(r, r->seen, &whole), n = at;
    if (!whole) {
        r->seen = at;
        return wait(r);
    }
    n -= r->format->tags.lines && n > 0 && unread(r)[n - 1] == '\n';
    emit_value(r, unread(r), n);
    r->state = REPLY_TAG;
    take(r, at + strlen(r->format->tags.end));
    return true;
}

/* ---------------------------------------------------------------- behind a call */

/* Moves behind a pattern. A part of it at the end of the answer is left out. */
static enum reply_match closing(struct reply *r, const char *pattern)
{
    struct reply_found found;
    size_t n = n_unread(r);
    enum reply_match match = reply_match(r->format, &r->tools, pattern, unread(r), n, &found);
    size_t taken = match == MATCH_YES ? found.n : n;
    if (taken > REPLY_MAX_HEAD || (match == MATCH_MORE && r->ended && n == 0)) {
        return MATCH_NO;
    }
    bool rest = match == MATCH_MORE && r->ended;
    if (match == MATCH_YES || rest) {
        take(r, taken);
    }
    return rest ? MATCH_YES : match;
}

static enum reply_match tail(struct reply *r)
{
    for (size_t i = 0; i < REPLY_MAX_PATTERNS && r->format->tails[i] != NULL; i++) {
        enum reply_match match = closing(r, r->format->tails[i]);
        if (match != MATCH_NO) {
            return match;
        }
    }
    return MATCH_NO;
}

/* Begins the call that stands here. */
static enum reply_match next_call(struct reply *r)
{
    struct reply_found found;
    for (size_t i = 0; i < REPLY_MAX_PATTERNS && r->format->nexts[i] != NULL && !r->single; i++) {
        enum reply_match match = reply_try(r, r->format->nexts[i], 0, &found);
        if (match == MATCH_YES) {
            reply_begin_call(r, &found);
        }
        if (match != MATCH_NO) {
            return match;
        }
    }
    return MATCH_NO;
}

bool reply_step_behind(struct reply *r)
{
    enum reply_match match = r->object ? closing(r, "%e") : next_call(r);
    if (match == MATCH_YES && r->state == REPLY_BEHIND) {
        r->object = false;
    } else if (match == MATCH_NO) {
        match = r->object ? MATCH_NO : tail(r);
        r->state = match == MATCH_NO ? REPLY_TEXT : REPLY_BEHIND;
    }
    return match != MATCH_MORE;
}
