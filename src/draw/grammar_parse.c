/* Turns the text of a grammar into operations, in one pass by recursive descent. A rule ends at the
 * end of its line, but inside parentheses, behind ::= and around | line breaks do not matter. */
#include <string.h>

#include "base/mem.h"
#include "base/place.h"
#include "draw/grammar_parse.h"

enum { REPEAT_MAX = GRAMMAR_MAX_ELEMENTS, ENDLESS = REPEAT_MAX + 1 };

static weft_status alternatives(struct grammar_parser *p, bool nested);

/* ---------------------------------------------------------------- the text */

weft_status parser_expected(const struct grammar_parser *p, const char *what)
{
    char found[PLACE_FOUND];
    return grammar_error(p->g, p->at, p->err, "found %s, expected %s",
                         place_found(p->text, p->n, p->at, "grammar", found), what);
}

static void skip(struct grammar_parser *p, bool lines)
{
    for (;;) {
        int c = parser_peek(p);
        if (c == '#') {
            while (parser_peek(p) != -1 && parser_peek(p) != '\n') {
                p->at++;
            }
        } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
            p->at++;
        } else {
            return;
        }
    }
}

static bool in_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static size_t name_length(const struct grammar_parser *p)
{
    size_t n = 0;
    while (p->at + n < p->n && in_name((unsigned char)p->text[p->at + n])) {
        n++;
    }
    return n;
}

/* ---------------------------------------------------------------- the program */

weft_status parser_no_memory(const struct grammar_parser *p)
{
    return error_nomem(p->err, "a grammar", p->g->n_ops * sizeof *p->g->ops);
}

weft_status parser_room(const struct grammar_parser *p, uint64_t n)
{
    const struct grammar *g = p->g;
    if (n > GRAMMAR_MAX_ELEMENTS || g->n_ops + g->n_ranges + n > GRAMMAR_MAX_ELEMENTS) {
        return grammar_error(g, p->at, p->err,
                             "the grammar has more than %d elements by here; x{100} counts x a "
                             "hundred times",
                             GRAMMAR_MAX_ELEMENTS);
    }
    return WEFT_OK;
}

weft_status parser_emit(struct grammar_parser *p, enum grammar_kind kind, size_t arg, size_t n)
{
    struct grammar *g = p->g;
    TRY(parser_room(p, 1));
    if (!mem_reserve(&g->ops, &g->cap_ops, g->n_ops + 1, sizeof *g->ops)) {
        return parser_no_memory(p);
    }
    g->ops[g->n_ops++] = (struct grammar_op){ .kind = kind, .arg = (int32_t)arg, .n = (uint32_t)n };
    return WEFT_OK;
}

static weft_status emit_jump(struct grammar_parser *p, enum grammar_kind kind, size_t to)
{
    return parser_emit(p, kind, (size_t)(int64_t)((int64_t)to - (int64_t)p->g->n_ops), 0);
}

weft_status parser_add_range(struct grammar_parser *p, uint32_t first, uint32_t last)
{
    struct grammar *g = p->g;
    TRY(parser_room(p, 1));
    if (!mem_reserve(&g->ranges, &g->cap_ranges, g->n_ranges + 1, sizeof *g->ranges)) {
        return parser_no_memory(p);
    }
    g->ranges[g->n_ranges++] = (struct char_range){ first, last };
    return WEFT_OK;
}

/* ---------------------------------------------------------------- names */

/* Finds the rule of this name, which stands at the current place; makes a new one the first
 * time. */
static weft_status rule_of(struct grammar_parser *p, size_t n, uint32_t *rule)
{
    struct grammar *g = p->g;
    const char *name = p->text + p->at;
    uint64_t hash = hash_bytes(&p->seed, name, n);
    const uint32_t *known = u64map_find(&g->names, hash);
    uint32_t last = UINT32_MAX;
    for (uint32_t i = known != NULL ? *known : UINT32_MAX; i != UINT32_MAX;
         i = g->rules[i].same_hash) {
        if (g->rules[i].n_name == n && memcmp(g->rules[i].name, name, n) == 0) {
            *rule = i;
            return WEFT_OK;
        }
        last = i;
    }
    if (g->n_rules == GRAMMAR_MAX_RULES) {
        return grammar_error(g, p->at, p->err, "more than %d rules", GRAMMAR_MAX_RULES);
    }
    if (!mem_reserve(&g->rules, &g->cap_rules, g->n_rules + 1, sizeof *g->rules) ||
        (last == UINT32_MAX && !u64map_add(&g->names, hash, (uint32_t)g->n_rules))) {
        return parser_no_memory(p);
    }
    if (last != UINT32_MAX) {
        g->rules[last].same_hash = (uint32_t)g->n_rules;
    }
    *rule = (uint32_t)g->n_rules;
    g->rules[g->n_rules++] = (struct grammar_rule){
        .name = name, .n_name = n, .mentioned = p->at, .defined = SIZE_MAX, .same_hash = UINT32_MAX
    };
    return WEFT_OK;
}

/* ---------------------------------------------------------------- repetition */

static weft_status number(struct grammar_parser *p, uint32_t *n)
{
    if (parser_peek(p) < '0' || parser_peek(p) > '9') {
        return parser_expected(p, "a number");
    }
    for (*n = 0; parser_peek(p) >= '0' && parser_peek(p) <= '9'; p->at++) {
        *n = *n * 10 + (uint32_t)(parser_peek(p) - '0');
        if (*n > REPEAT_MAX) {
            return grammar_error(p->g, p->at, p->err, "a repetition of more than %d", REPEAT_MAX);
        }
    }
    return WEFT_OK;
}

/* Reads the two numbers from behind {. */
static weft_status bounds(struct grammar_parser *p, uint32_t *min, uint32_t *max)
{
    size_t start = p->at;
    skip(p, false);
    bool open = parser_peek(p) == ','; /* {,n} begins with 0 */
    *min = 0;
    if (!open) {
        TRY(number(p, min));
        skip(p, false);
    }
    *max = *min;
    if (parser_take(p, ',')) {
        skip(p, false);
        *max = ENDLESS;
        if (open || parser_peek(p) != '}') {
            TRY(number(p, max));
            skip(p, false);
        }
    }
    if (!parser_take(p, '}')) {
        return parser_expected(p, "} at the end of the repetition");
    }
    if (*max < *min) {
        return grammar_error(p->g, start, p->err,
                             "a repetition of at least %u and at most %u; the smaller number comes "
                             "first",
                             *min, *max);
    }
    return WEFT_OK;
}

static weft_status emit_copy(struct grammar_parser *p, const struct grammar_op *body, size_t n)
{
    struct grammar *g = p->g;
    TRY(parser_room(p, n));
    if (!mem_reserve(&g->ops, &g->cap_ops, g->n_ops + n, sizeof *g->ops)) {
        return parser_no_memory(p);
    }
    memcpy(g->ops + g->n_ops, body, n * sizeof *body);
    g->n_ops += n;
    return WEFT_OK;
}

static weft_status emit_repeated(struct grammar_parser *p, const struct grammar_op *body, size_t n,
                                 uint32_t min, uint32_t max)
{
    const struct grammar *g = p->g;
    TRY(parser_room(p, (uint64_t)(n + 1) * (max == ENDLESS ? min + 1u : max)));
    for (uint32_t i = 0; i < min; i++) {
        TRY(emit_copy(p, body, n));
    }
    if (max == ENDLESS && min > 0) {
        return emit_jump(p, GRAMMAR_SPLIT, g->n_ops - n);
    }
    if (max == ENDLESS) {
        size_t start = g->n_ops;
        TRY(emit_jump(p, GRAMMAR_SPLIT, start + n + 2));
        TRY(emit_copy(p, body, n));
        return emit_jump(p, GRAMMAR_JUMP, start);
    }
    size_t end = g->n_ops + (size_t)(max - min) * (n + 1);
    for (uint32_t i = min; i < max; i++) {
        TRY(emit_jump(p, GRAMMAR_SPLIT, end));
        TRY(emit_copy(p, body, n));
    }
    return WEFT_OK;
}

/* Repeats the operations that were emitted from `start` on. */
static weft_status repeat(struct grammar_parser *p, size_t start, uint32_t min, uint32_t max)
{
    struct grammar *g = p->g;
    size_t n = g->n_ops - start;
    if (n == 0 || (min == 1 && max == 1)) {
        return WEFT_OK;
    }
    /* In x????? each operator copies what the operators before it have made. */
    p->copied += n;
    if (p->copied > GRAMMAR_MAX_COPIED) {
        return grammar_error(g, p->at, p->err,
                             "repetitions of repetitions copy more than %d elements by here; write "
                             "x* for x*?+ and the like",
                             GRAMMAR_MAX_COPIED);
    }
    struct grammar_op *body = mem_array(n, sizeof *body);
    if (body == NULL) {
        return parser_no_memory(p);
    }
    memcpy(body, g->ops + start, n * sizeof *body);
    g->n_ops = start;
    weft_status status = emit_repeated(p, body, n, min, max);
    free(body);
    return status;
}

/* Reads the operators behind the element that was emitted from `start` on. */
static weft_status operators(struct grammar_parser *p, size_t start, bool nested)
{
    for (;;) {
        uint32_t min = 0, max = ENDLESS;
        skip(p, nested);
        if (parser_take(p, '{')) {
            TRY(bounds(p, &min, &max));
        } else if (parser_take(p, '+')) {
            min = 1;
        } else if (parser_take(p, '?')) {
            max = 1;
        } else if (!parser_take(p, '*')) {
            return WEFT_OK;
        }
        TRY(repeat(p, start, min, max));
    }
}

/* ---------------------------------------------------------------- rules */

static weft_status group(struct grammar_parser *p)
{
    if (p->depth == GRAMMAR_MAX_NESTING) {
        return grammar_error(p->g, p->at, p->err, "parentheses nested more than %d deep",
                             GRAMMAR_MAX_NESTING);
    }
    p->depth++;
    TRY(alternatives(p, true));
    p->depth--;
    return parser_take(p, ')') ? WEFT_OK : parser_expected(p, "an element, | or )");
}

static weft_status call(struct grammar_parser *p)
{
    uint32_t rule;
    size_t n = name_length(p);
    TRY(rule_of(p, n, &rule));
    p->at += n;
    return parser_emit(p, GRAMMAR_CALL, rule, 0);
}

/* Reads elements until something else follows. */
static weft_status sequence(struct grammar_parser *p, bool nested)
{
    for (;;) {
        size_t start = p->g->n_ops;
        skip(p, nested);
        int c = parser_peek(p);
        if (in_name(c)) {
            TRY(call(p));
        } else if (parser_take(p, '"')) {
            TRY(parser_literal(p));
        } else if (parser_take(p, '[')) {
            TRY(parser_class(p));
        } else if (parser_take(p, '(')) {
            TRY(group(p));
        } else if (parser_take(p, '.')) {
            TRY(parser_any(p));
        } else if (c == '<' || c == '!') {
            return grammar_error(p->g, p->at, p->err,
                                 "tokens such as <think> cannot be part of a grammar; write the "
                                 "characters as a literal in \" \"");
        } else if (c == '*' || c == '+' || c == '?' || c == '{') {
            return parser_expected(p, "an element for it to repeat");
        } else {
            return WEFT_OK;
        }
        TRY(operators(p, start, nested));
    }
}

/* Returns true if another alternative follows; a | may begin the next line. */
static bool another(struct grammar_parser *p)
{
    size_t at = p->at;
    skip(p, true);
    if (parser_take(p, '|')) {
        return true;
    }
    p->at = at;
    return false;
}

/* Puts SPLIT (to the next alternative) before each alternative but the last, and JUMP (to the end)
 * behind it. */
static weft_status alternatives(struct grammar_parser *p, bool nested)
{
    struct grammar *g = p->g;
    /* The last jump to the end. Its arg is the distance to the jump before it; 0 = none. */
    size_t jump = SIZE_MAX;
    for (;;) {
        size_t start = g->n_ops;
        skip(p, true);
        TRY(sequence(p, nested));
        if (!another(p)) {
            break;
        }
        TRY(parser_emit(p, GRAMMAR_JUMP, 0, 0));
        TRY(parser_emit(p, GRAMMAR_JUMP, 0, 0));
        memmove(g->ops + start + 1, g->ops + start, (g->n_ops - 2 - start) * sizeof *g->ops);
        g->ops[start] =
            (struct grammar_op){ .kind = GRAMMAR_SPLIT, .arg = (int32_t)(g->n_ops - start) };
        size_t last = g->n_ops - 1;
        g->ops[last].kind = GRAMMAR_JUMP;
        g->ops[last].arg = jump == SIZE_MAX ? 0 : (int32_t)(last - jump);
        jump = last;
    }
    while (jump != SIZE_MAX) {
        int32_t before = g->ops[jump].arg;
        g->ops[jump].arg = (int32_t)(g->n_ops - jump);
        jump = before == 0 ? SIZE_MAX : jump - (size_t)before;
    }
    return WEFT_OK;
}

static weft_status rule(struct grammar_parser *p)
{
    struct grammar *g = p->g;
    uint32_t index;
    size_t start = p->at, n = name_length(p);
    if (n == 0) {
        return parser_expected(p, "the name of a rule");
    }
    TRY(rule_of(p, n, &index));
    p->at += n;
    skip(p, false);
    if (p->n - p->at < 3 || memcmp(p->text + p->at, "::=", 3) != 0) {
        return parser_expected(p, "::= behind the name of a rule");
    }
    p->at += 3;
    if (g->rules[index].defined != SIZE_MAX) {
        return grammar_error(g, start, p->err, "rule '%.*s' is defined a second time",
                             n < 60 ? (int)n : 60, p->text + start);
    }
    g->rules[index].defined = start;
    g->rules[index].start = (uint32_t)g->n_ops;
    TRY(alternatives(p, false));
    TRY(parser_emit(p, GRAMMAR_RETURN, 0, 0));
    int c = parser_peek(p);
    return c == -1 || c == '\n' || c == '\r'
               ? WEFT_OK
               : parser_expected(p, "an element, | or the end of the line");
}

weft_status grammar_read(struct grammar *g, weft_error *err)
{
    struct grammar_parser p = {
        .g = g, .text = g->text, .n = g->n_text, .err = err, .seed = hash_seed_draw()
    };
    weft_status status = WEFT_OK;
    skip(&p, true);
    while (status == WEFT_OK && p.at < p.n) {
        status = rule(&p);
        skip(&p, true);
    }
    free(p.set);
    return status;
}
