/* Converts regular expressions of strings to GBNF, which has most of their parts. A part that is
 * not understood is refused. */
#include <string.h>

#include "base/utf8.h"
#include "schema/json_rules.h"

enum { MAX_NESTING = 100, MOST_EXCLUDED = 1000000 };

struct pattern {
    struct schema *c;
    struct bytes *b;
    const char *text, *at;
    int depth;       /* of groups */
    bool choice;     /* there is a | outside of all groups */
    bool end;        /* a $ at the end was read */
    size_t excluded; /* characters that the current class names, counted with each range */
};

static bool odd(const struct pattern *p, const char *what)
{
    schema_refuse(p->c, "pattern: %s is not supported (byte %zu)", what,
                  (size_t)(p->at - p->text) + 1);
    return false;
}

/* Takes the code point of the next character. It is valid UTF-8, because the text has been a JSON
 * string. */
static uint32_t next(struct pattern *p)
{
    size_t len;
    utf8_next(p->at, UTF8_MAX, &len); /* the NUL at the end is not part of a character */
    uint32_t c = utf8_code_point(p->at, len);
    p->at += len;
    return c;
}

/* Takes a character that stands for itself, or sets *set to d, w or s. */
static bool character(struct pattern *p, uint32_t *c, char *set)
{
    *set = 0;
    if (*p->at == '\\') {
        p->at++;
        if (*p->at != '\0' && strchr("dws", *p->at) != NULL) {
            *set = *p->at++;
            return true;
        }
        if (*p->at == '\0' || strchr("^$.*+?()[]{}|/-", *p->at) == NULL) {
            return odd(p, "this escape");
        }
    }
    if (*p->at == '"' || (unsigned char)*p->at < 0x20 || *p->at == 0x7f) {
        return odd(p, "a character that is escaped in JSON");
    }
    *c = next(p);
    return true;
}

static const char *members(char set)
{
    return set == 'd' ? "0-9" : set == 'w' ? "a-zA-Z0-9_" : " ";
}

static bool class_members(struct pattern *p, bool negated)
{
    uint32_t first, last;
    char set, other;
    if (*p->at == '[' || !character(p, &first, &set)) {
        return *p->at == '[' ? odd(p, "[ in a class") : false;
    }
    if (set != 0) {
        schema_put(p->c, p->b, "%s", members(set));
        return true;
    }
    last = first;
    if (p->at[0] == '-' && p->at[1] != ']') {
        p->at++;
        if (!character(p, &last, &other)) {
            return false;
        }
        if (other != 0 || last < first) {
            return odd(p, "this range");
        }
    }
    if (!negated && ((first <= '"' && last >= '"') || (first <= '\\' && last >= '\\'))) {
        return odd(p, "a range that holds \" or \\");
    }
    p->excluded += last - first + 1;
    if (negated && p->excluded > MOST_EXCLUDED) {
        return odd(p, "a class that excludes nearly all characters");
    }
    schema_put(p->c, p->b, "\\U%08X-\\U%08X", (unsigned)first, (unsigned)last);
    return true;
}

static bool class(struct pattern *p)
{
    bool negated = *++p->at == '^';
    p->at += negated;
    p->excluded = 0;
    schema_put(p->c, p->b, "%s", negated ? JSON_PLAIN : "[");
    do {
        if (*p->at == '\0' || *p->at == ']') {
            return odd(p, "this class");
        }
        if (!class_members(p, negated)) {
            return false;
        }
    } while (*p->at != ']');
    p->at++;
    schema_put(p->c, p->b, "]");
    return true;
}

static bool quantifier(struct pattern *p)
{
    size_t n = 0;
    if (*p->at == '{') {
        n = 1 + strspn(p->at + 1, "0123456789,");
        if (p->at[1] < '0' || p->at[1] > '9' || p->at[n] != '}') {
            return odd(p, "this repetition");
        }
        const char *comma = memchr(p->at, ',', n), *last = p->at + n;
        if (comma != NULL && memchr(comma + 1, ',', (size_t)(last - comma - 1)) != NULL) {
            return odd(p, "this repetition of three numbers");
        }
        if (comma != NULL && comma + 1 < last &&
            strtoul(comma + 1, NULL, 10) < strtoul(p->at + 1, NULL, 10)) {
            return odd(p, "this repetition, whose smaller number comes last,");
        }
    }
    if (*p->at != '\0' && strchr("*+?{", *p->at) != NULL) {
        schema_put(p->c, p->b, "%.*s", (int)n + 1, p->at);
        p->at += n + 1;
        if (*p->at != '\0' && strchr("*+?{", *p->at) != NULL) {
            return odd(p, "a second repetition");
        }
    }
    schema_put(p->c, p->b, " ");
    return true;
}

static bool choices(struct pattern *p);

static bool group(struct pattern *p)
{
    p->at++;
    if (*p->at == '?' && p->at[1] != ':') {
        return odd(p, "this group");
    }
    p->at += *p->at == '?' ? 2 : 0;
    if (++p->depth > MAX_NESTING) {
        return odd(p, "a group so deep");
    }
    schema_put(p->c, p->b, "(");
    if (!choices(p)) {
        return false;
    }
    if (*p->at != ')') {
        return odd(p, "a group without end");
    }
    p->at++;
    p->depth--;
    schema_put(p->c, p->b, ")");
    return true;
}

static bool atom(struct pattern *p)
{
    uint32_t c;
    char set;
    switch (*p->at) {
    case '(': return group(p);
    case '[': return class(p);
    case '.':
        p->at++;
        schema_put(p->c, p->b, JSON_PLAIN "]");
        return true;
    case '*':
    case '+':
    case '?':
    case '{':
    case '^':
    case '$': return odd(p, "this place for a repetition or anchor");
    default: break;
    }
    if (!character(p, &c, &set)) {
        return false;
    }
    if (set != 0) {
        schema_put(p->c, p->b, "[%s]", members(set));
    } else {
        schema_put(p->c, p->b, "\"\\U%08X\"", (unsigned)c);
    }
    return true;
}

static bool choices(struct pattern *p)
{
    schema_put(p->c, p->b, "\"\" ");
    while (*p->at != '\0' && *p->at != ')') {
        if (*p->at == '|') {
            p->at++;
            p->choice |= p->depth == 0;
            schema_put(p->c, p->b, "| \"\" ");
        } else if (p->depth == 0 && p->at[0] == '$' && p->at[1] == '\0') {
            p->at++;
            p->end = true;
        } else if (!atom(p) || !quantifier(p)) {
            return false;
        }
    }
    return true;
}

bool json_pattern(struct schema *c, struct bytes *b, const char *pattern)
{
    struct pattern p = { .c = c, .b = b, .text = pattern, .at = pattern };
    bool begin = *p.at == '^';
    p.at += begin;
    schema_put(c, b, begin ? "(" : "char* (");
    if (!choices(&p)) {
        return false;
    }
    if (*p.at != '\0') {
        return odd(&p, "this )");
    }
    if (p.choice && (begin || p.end)) {
        return odd(&p, "^ or $ beside a | that is in no group");
    }
    schema_put(c, b, p.end ? ")" : ") char*");
    return true;
}
