#include "reply/pattern.h"

#include <string.h>

#include "reply/json_scan.h"

struct cursor {
    const struct reply_format *format;
    const struct reply_tools *tools;
    const char *text;
    size_t n, i;
    struct reply_found *found;
};

#define NEED(expr)                                                                                 \
    do {                                                                                           \
        enum reply_match need_ = (expr);                                                           \
        if (need_ != MATCH_YES) {                                                                  \
            return need_;                                                                          \
        }                                                                                          \
    } while (0)

/* ---------------------------------------------------------------- parts */

static enum reply_match byte(struct cursor *c, char expected)
{
    if (c->i == c->n) {
        return MATCH_MORE;
    }
    return c->text[c->i++] == expected ? MATCH_YES : MATCH_NO;
}

/* Moves behind white space. */
static enum reply_match space(struct cursor *c)
{
    while (c->i < c->n && reply_space(c->text[c->i])) {
        c->i++;
    }
    return c->i < c->n ? MATCH_YES : MATCH_MORE;
}

static enum reply_match begins_with(const struct cursor *c, const char *text)
{
    size_t n = strlen(text), left = c->n - c->i;
    if (strncmp(c->text + c->i, text, size_min(n, left)) != 0) {
        return MATCH_NO;
    }
    return left < n ? MATCH_MORE : MATCH_YES;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static enum reply_match letters(struct cursor *c)
{
    while (c->i < c->n && (is_letter(c->text[c->i]) || is_digit(c->text[c->i]))) {
        c->i++;
    }
    return c->i < c->n ? MATCH_YES : MATCH_MORE;
}

/* The name ends in front of `end`, or in front of white space and brackets if that is %. */
static enum reply_match name(struct cursor *c, char end)
{
    size_t from = c->i, i = from;
    while (i < c->n && i - from <= REPLY_MAX_NAME &&
           (end == '%' ? !reply_space(c->text[i]) && c->text[i] != '<' && c->text[i] != '{'
                       : c->text[i] != end)) {
        i++;
    }
    if (i == c->n) {
        return reply_tool_begins(c->tools, c->text + from, i - from) ? MATCH_MORE : MATCH_NO;
    }
    c->found->tool = reply_tool_named(c->tools, c->text + from, i - from);
    c->i = i;
    return c->found->tool != NULL ? MATCH_YES : MATCH_NO;
}

/* ---------------------------------------------------------------- what follows */

static enum reply_match object_follows(const struct cursor *c)
{
    return c->i == c->n ? MATCH_MORE : c->text[c->i] == '{' ? MATCH_YES : MATCH_NO;
}

static enum reply_match tags_follow(const struct cursor *c)
{
    enum reply_match key = begins_with(c, c->format->tags.key);
    return key != MATCH_NO ? key : begins_with(c, c->format->tags.close);
}

static enum reply_match names_follow(const struct cursor *c)
{
    if (c->i == c->n) {
        return MATCH_MORE;
    }
    return c->text[c->i] == ')' || is_letter(c->text[c->i]) ? MATCH_YES : MATCH_NO;
}

/* ---------------------------------------------------------------- objects around calls */

static enum reply_match value(struct cursor *c)
{
    size_t n = json_scan_value(c->text + c->i, c->n - c->i);
    if (n == 0 || n == SIZE_MAX) {
        return n == 0 ? MATCH_MORE : MATCH_NO;
    }
    c->i += n;
    return MATCH_YES;
}

/* Moves behind "key" : and the white space around it; *key is where it begins. */
static enum reply_match key(struct cursor *c, size_t *begin)
{
    NEED(space(c));
    *begin = c->i;
    if (c->text[c->i] != '"') {
        return MATCH_NO;
    }
    NEED(value(c));
    NEED(space(c));
    NEED(byte(c, ':'));
    return space(c);
}

static bool key_is(const struct cursor *c, size_t at, const char *quoted)
{
    return strncmp(c->text + at, quoted, strlen(quoted)) == 0;
}

static enum reply_match tool_name(struct cursor *c)
{
    size_t from = c->i;
    NEED(value(c));
    c->found->tool = reply_tool_quoted(c->tools, c->text + from, c->i - from);
    return c->found->tool != NULL ? MATCH_YES : MATCH_NO;
}

/* Reads a member; *begins says that the arguments begin here, behind the name. */
static enum reply_match member(struct cursor *c, bool *begins)
{
    size_t at;
    NEED(key(c, &at));
    if (key_is(c, at, "\"name\"")) {
        return tool_name(c);
    }
    if (!key_is(c, at, "\"arguments\"") && !key_is(c, at, "\"parameters\"")) {
        return value(c);
    }
    NEED(object_follows(c));
    *begins = c->found->tool != NULL;
    if (*begins) {
        return MATCH_YES;
    }
    c->found->at = c->i;
    NEED(value(c));
    c->found->n_arguments = c->i - c->found->at;
    return MATCH_YES;
}

/* Reads what stands behind a member; *more says that it is a comma. */
static enum reply_match behind_member(struct cursor *c, bool *more)
{
    NEED(space(c));
    *more = c->text[c->i] == ',';
    return byte(c, *more ? ',' : '}');
}

static enum reply_match object(struct cursor *c)
{
    bool more = true, begins = false;
    c->found->kind = 'o';
    NEED(byte(c, '{'));
    while (more) {
        NEED(member(c, &begins));
        if (begins) {
            return MATCH_YES;
        }
        NEED(behind_member(c, &more));
    }
    c->found->whole = true;
    return c->found->tool != NULL ? MATCH_YES : MATCH_NO;
}

static enum reply_match object_rest(struct cursor *c)
{
    bool more;
    size_t at;
    NEED(behind_member(c, &more));
    while (more) {
        NEED(key(c, &at));
        NEED(value(c));
        NEED(behind_member(c, &more));
    }
    return MATCH_YES;
}

/* ---------------------------------------------------------------- patterns */

static enum reply_match part(struct cursor *c, const char *pattern)
{
    char what = pattern[1];
    if (strchr("jxk", what) != NULL) {
        c->found->kind = what;
    }
    switch (what) {
    case 's': return space(c);
    case 'n': return name(c, pattern[2]);
    case 'i': return letters(c);
    case 'o': return object(c);
    case 'e': return object_rest(c);
    case 'j': return object_follows(c);
    case 'x': return tags_follow(c);
    default: return names_follow(c);
    }
}

enum reply_match reply_match(const struct reply_format *format, const struct reply_tools *tools,
                             const char *pattern, const char *text, size_t n,
                             struct reply_found *found)
{
    struct cursor c = { format, tools, text, n, 0, found };
    *found = (struct reply_found){ 0 };
    while (*pattern != '\0') {
        if (*pattern == '%') {
            NEED(part(&c, pattern));
            pattern += 2;
        } else {
            NEED(byte(&c, *pattern++));
        }
    }
    found->n = c.i;
    return MATCH_YES;
}
