/* The work after parsing: it checks that every rule is defined and that none calls itself before
 * reading a character, and finds the characters that need not be distinguished. */
#include "draw/grammar.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/place.h"

struct grammar *grammar_retain(struct grammar *g)
{
    atomic_fetch_add(&g->refs, 1);
    return g;
}

void grammar_release(struct grammar *g)
{
    if (g != NULL && atomic_fetch_sub(&g->refs, 1) == 1) {
        free(g->text);
        free(g->ops);
        free(g->ranges);
        free(g->rules);
        u64map_free(&g->names);
        free(g->class_first);
        free(g);
    }
}

weft_status grammar_error(const struct grammar *g, size_t at, weft_error *err, const char *fmt, ...)
{
    size_t line, column;
    char what[400];
    va_list args;
    place_of(g->text, at, &line, &column);
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return error_set(err, WEFT_E_FORMAT, "grammar, line %zu, column %zu: %s", line, column, what);
}

/* ---------------------------------------------------------------- rules */

/* Returns how many bytes of a name a message shows: enough to find it. */
static int shown(const struct grammar_rule *r) { return r->n_name < 60 ? (int)r->n_name : 60; }

static weft_status check_defined(struct grammar *g, weft_error *err)
{
    bool found = false;
    for (size_t i = 0; i < g->n_rules; i++) {
        const struct grammar_rule *r = &g->rules[i];
        if (r->defined == SIZE_MAX) {
            return grammar_error(g, r->mentioned, err, "rule '%.*s' is not defined", shown(r),
                                 r->name);
        }
        if (r->n_name == 4 && memcmp(r->name, "root", 4) == 0) {
            g->root = (uint32_t)i;
            found = true;
        }
    }
    return found ? WEFT_OK
                 : grammar_error(g, g->n_text, err,
                                 "there is no rule 'root', with which every text begins");
}

/* The search for operations that can be reached from the start of their rule without a
 * character. */
struct reach {
    bool *reached;  /* [n_ops] */
    uint32_t *work; /* [n_ops] operations that are still to be followed */
    size_t n_work;
    /* [n_ops] The next call that waits until the same rule is known to be empty. */
    uint32_t *waiting;
    uint32_t *first;   /* [n_rules] the first of these calls */
    uint32_t *rule_of; /* [n_ops] */
    uint8_t *empty;    /* [n_rules] the rule matches the empty text */
    /* [n_rules] For the search for cycles: 0 new, 1 on the path, 2 done. */
    uint8_t *colour;
    uint32_t *path;    /* [n_rules] */
    uint32_t *next_op; /* [n_rules] */
};

static void reach_free(struct reach *r)
{
    void *all[] = { r->reached, r->work,   r->waiting, r->first,  r->rule_of,
                    r->empty,   r->colour, r->path,    r->next_op };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static bool reach_open(struct reach *r, const struct grammar *g)
{
    size_t n = g->n_ops, m = g->n_rules;
    *r = (struct reach){
        .reached = mem_array(n, sizeof *r->reached),
        .work = mem_array(n, sizeof *r->work),
        .waiting = mem_array(n, sizeof *r->waiting),
        .first = mem_array(m, sizeof *r->first),
        .rule_of = mem_array(n, sizeof *r->rule_of),
        .empty = mem_array(m, 1),
        .colour = mem_array(m, 1),
        .path = mem_array(m, sizeof *r->path),
        .next_op = mem_array(m, sizeof *r->next_op),
    };
    return r->reached && r->work && r->waiting && r->first && r->rule_of && r->empty && r->colour &&
           r->path && r->next_op;
}

static void reach_add(struct reach *r, size_t op)
{
    if (!r->reached[op]) {
        r->reached[op] = true;
        r->work[r->n_work++] = (uint32_t)op;
    }
}

/* Follows an operation to the operations that it leads to without a character. A call of a rule
 * waits until the rule is known to match the empty text. The lists of waiting calls hold the
 * numbers of operations plus 1; 0 ends a list. */
static void reach_follow(struct reach *r, const struct grammar *g, uint32_t at)
{
    const struct grammar_op *op = &g->ops[at];
    uint32_t rule = (uint32_t)op->arg;
    switch ((enum grammar_kind)op->kind) {
    case GRAMMAR_CHAR: break;
    case GRAMMAR_SPLIT: reach_add(r, at + 1u); /* fall through */
    case GRAMMAR_JUMP: reach_add(r, (size_t)((int64_t)at + op->arg)); break;
    case GRAMMAR_CALL:
        if (r->empty[rule]) {
            reach_add(r, at + 1u);
        } else {
            r->waiting[at] = r->first[rule];
            r->first[rule] = at + 1u;
        }
        break;
    case GRAMMAR_RETURN:
        rule = r->rule_of[at];
        r->empty[rule] = true;
        for (uint32_t w = r->first[rule]; w != 0; w = r->waiting[w - 1]) {
            reach_add(r, w);
        }
        r->first[rule] = 0;
        break;
    }
}

static void reach_all(struct reach *r, const struct grammar *g)
{
    for (size_t i = 0; i < g->n_rules; i++) {
        /* A rule's operations stand together and end with its only return. */
        for (uint32_t at = g->rules[i].start;; at++) {
            r->rule_of[at] = (uint32_t)i;
            if (g->ops[at].kind == GRAMMAR_RETURN) {
                break;
            }
        }
        reach_add(r, g->rules[i].start);
    }
    while (r->n_work > 0) {
        reach_follow(r, g, r->work[--r->n_work]);
    }
}

/* Follows the calls that need no character from rule `from`, depth first. Refuses a cycle. */
static weft_status check_from(struct reach *r, const struct grammar *g, uint32_t from,
                              weft_error *err)
{
    size_t n = 0;
    r->path[n++] = from;
    r->colour[from] = 1;
    r->next_op[from] = g->rules[from].start;
    while (n > 0) {
        uint32_t rule = r->path[n - 1], at = r->next_op[rule]++;
        const struct grammar_op *op = &g->ops[at];
        if (op->kind == GRAMMAR_RETURN) {
            r->colour[rule] = 2;
            n--;
            continue;
        }
        if (op->kind != GRAMMAR_CALL || !r->reached[at]) {
            continue;
        }
        uint32_t called = (uint32_t)op->arg;
        const struct grammar_rule *c = &g->rules[called];
        if (r->colour[called] == 1) {
            return grammar_error(g, c->defined, err,
                                 "rule '%.*s' calls itself before it has read a character (left "
                                 "recursion); put what repeats behind something, or use * or +",
                                 shown(c), c->name);
        }
        if (r->colour[called] == 0) {
            r->colour[called] = 1;
            r->next_op[called] = c->start;
            r->path[n++] = called;
        }
    }
    return WEFT_OK;
}

static weft_status check_recursion(const struct grammar *g, weft_error *err)
{
    struct reach r;
    weft_status status = WEFT_OK;
    if (!reach_open(&r, g)) {
        reach_free(&r);
        return error_nomem(err, "a grammar", g->n_ops * 4 * sizeof(uint32_t));
    }
    reach_all(&r, g);
    for (uint32_t i = 0; i < g->n_rules && status == WEFT_OK; i++) {
        if (r.colour[i] == 0) {
            status = check_from(&r, g, i, err);
        }
    }
    reach_free(&r);
    return status;
}

/* Marks calls with nothing behind them. They need not come back, so recursion at the end of a rule
 * takes no stack. */
static void mark_last_calls(struct grammar *g)
{
    for (size_t i = 0; i < g->n_ops; i++) {
        if (g->ops[i].kind == GRAMMAR_CALL) {
            size_t at = i + 1;
            while (g->ops[at].kind == GRAMMAR_JUMP) {
                at = (size_t)((int64_t)at + g->ops[at].arg);
            }
            g->ops[i].n = g->ops[at].kind == GRAMMAR_RETURN;
        }
    }
}

/* ---------------------------------------------------------------- characters */

bool grammar_holds(const struct char_range *ranges, size_t n, uint32_t c)
{
    size_t low = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (ranges[low + half].last < c) {
            low += half + 1;
            n -= half + 1;
        } else if (ranges[low + half].first > c) {
            n = half;
        } else {
            return true;
        }
    }
    return false;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t grammar_class(const struct grammar *g, uint32_t c)
{
    size_t low = 0, n = g->n_classes;
    if (c >= g->class_first[n - 1]) {
        return (uint32_t)n - 1; /* in most grammars the class of all that is not ASCII */
    }
    while (n > 1) {
        size_t half = n / 2;
        low += g->class_first[low + half] <= c ? half : 0;
        n -= half;
    }
    return (uint32_t)low;
}

static weft_status make_classes(struct grammar *g, weft_error *err)
{
    uint32_t *first = mem_array(2 * g->n_ranges + 1, sizeof *first);
    size_t n = 1;
    if (first == NULL) {
        return error_nomem(err, "a grammar", (2 * g->n_ranges + 1) * sizeof *first);
    }
    for (size_t i = 0; i < g->n_ranges; i++) {
        first[n++] = g->ranges[i].first;
        first[n++] = g->ranges[i].last + 1;
    }
    qsort(first, n, sizeof *first, by_value);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++) {
        if (first[i] != first[kept - 1]) {
            first[kept++] = first[i];
        }
    }
    g->class_first = first;
    g->n_classes = kept;
    for (uint32_t c = 0; c < 128; c++) {
        g->ascii[c] = grammar_class(g, c);
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- the whole grammar */

static weft_status build(struct grammar *g, weft_error *err)
{
    TRY(grammar_read(g, err));
    TRY(check_defined(g, err));
    TRY(check_recursion(g, err));
    mark_last_calls(g);
    return make_classes(g, err);
}

weft_status grammar_parse(const char *text, size_t n, struct grammar **out, weft_error *err)
{
    if (n > GRAMMAR_MAX_TEXT) {
        return error_set(err, WEFT_E_FORMAT, "the grammar has %zu bytes, at most %d are allowed", n,
                         GRAMMAR_MAX_TEXT);
    }
    struct grammar *g = mem_array(1, sizeof *g);
    if (g == NULL) {
        return error_nomem(err, "a grammar", sizeof *g);
    }
    atomic_init(&g->refs, 1);
    g->text = mem_array(n, 1);
    g->n_text = n;
    weft_status status;
    if (g->text == NULL) {
        status = error_nomem(err, "the text of a grammar", n);
    } else {
        memcpy(g->text, n > 0 ? text : "", n);
        status = build(g, err);
    }
    if (status != WEFT_OK) {
        grammar_release(g);
        return status;
    }
    *out = g;
    return WEFT_OK;
}
