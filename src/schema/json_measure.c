/* Measures what a text of GBNF takes. The text was made by the converter: it has no mistakes. */
#include <string.h>

#include "base/utf8.h"
#include "schema/json_schema.h"

enum { MAX_DEPTH = 256 };

struct measure {
    const char *at, *end;
    size_t n;    /* elements so far */
    size_t last; /* elements in front of the last element, which an operator repeats */
    size_t copied;
    size_t groups[MAX_DEPTH], depth;
};

static size_t limited(size_t a, size_t b, bool product)
{
    size_t r;
    bool ok = product ? mul_ok(a, b, &r) : add_ok(a, b, &r);
    return ok && r < SIZE_MAX / 2 ? r : SIZE_MAX / 2;
}

static void add(struct measure *m, size_t n)
{
    m->last = m->n;
    m->n = limited(m->n, n, false);
}

/* Moves behind a character, which may be an escape. */
static void skip_character(struct measure *m)
{
    if (*m->at == '\\' && m->at + 1 < m->end) {
        char c = m->at[1];
        m->at += c == 'x' ? 4 : c == 'u' ? 6 : c == 'U' ? 10 : 2;
    } else {
        m->at++;
        while (m->at < m->end && utf8_inside(*m->at)) {
            m->at++;
        }
    }
}

/* A character of a literal or a class is an operation and a range at most. */
static void add_until(struct measure *m, char end)
{
    size_t n = 1;
    for (m->at++; m->at < m->end && *m->at != end; n++) {
        skip_character(m);
    }
    m->at++;
    add(m, 2 * n);
}

static size_t number(struct measure *m)
{
    size_t n = 0;
    for (; m->at < m->end && *m->at >= '0' && *m->at <= '9'; m->at++) {
        n = limited(limited(n, 10, true), (size_t)(*m->at - '0'), false);
    }
    return n;
}

/* Reads an operator; returns the most copies that it makes of the last element. */
static size_t copies(struct measure *m)
{
    if (*m->at++ != '{') {
        return 2; /* * + ? */
    }
    size_t min = number(m), max = min;
    if (m->at < m->end && *m->at == ',') {
        m->at++;
        max = m->at < m->end && *m->at == '}' ? limited(min, 1, false) : number(m);
    }
    m->at++;
    return max > min ? max : min;
}

static void repeat(struct measure *m)
{
    size_t body = m->n - m->last;
    m->copied = limited(m->copied, body, false);
    m->n = limited(m->last, limited(limited(body, 1, false), copies(m), true), false);
}

static void group(struct measure *m, bool begins)
{
    m->at++;
    if (begins && m->depth < MAX_DEPTH) {
        m->groups[m->depth++] = m->n;
    } else if (!begins && m->depth > 0) {
        m->last = m->groups[--m->depth];
    }
}

static void name(struct measure *m)
{
    while (m->at < m->end && strchr(" \n(){}[]\"|*+?", *m->at) == NULL) {
        m->at++;
    }
    add(m, 1);
}

static void step(struct measure *m)
{
    switch (*m->at) {
    case '"':
    case '[': add_until(m, *m->at == '"' ? '"' : ']'); break;
    case '{':
    case '*':
    case '+':
    case '?': repeat(m); break;
    case '(':
    case ')': group(m, *m->at == '('); break;
    case '|':
    case '\n': /* behind a rule stands an operation */
        add(m, 2);
        m->at++;
        break;
    case ' ': m->at++; break;
    default: name(m); break;
    }
}

void json_schema_measure(const char *gbnf, size_t n, struct schema_size *size)
{
    struct measure m = { .at = gbnf, .end = gbnf + n };
    size_t rules = 0;
    while (m.at < m.end) {
        rules += *m.at == '\n';
        step(&m);
    }
    /* The parser also bounds what repetitions copy, twenty times as high. */
    size->elements = limited(size->elements, limited(m.n, m.copied / 16, false), false);
    size->rules = limited(size->rules, rules, false);
    size->bytes = limited(size->bytes, n, false);
}
