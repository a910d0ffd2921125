/* Compiles expressions, with the precedences of jinja2. */
#include "text/jinja_compile.h"
#include "text/jinja_string.h"

static void binary(struct jcompiler *c, int least);
static void unary(struct jcompiler *c, bool with_filters);

/* A binary operator; those that bind tighter have a larger level. */
struct op {
    int level, arg;
    enum jop op;
    size_t n_tokens;
};
enum {
    LEVEL_OR = 1,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_CONCAT,
    LEVEL_MUL,
    LEVEL_POW,
    LEVEL_UNARY
};

static struct op operator_at(const struct jcompiler *c)
{
    static const struct {
        uint32_t token;
        struct op op;
    } ops[] = {
        { JT_EQ, { LEVEL_COMPARE, JCMP_EQ, JOP_COMPARE, 1 } },
        { JT_NE, { LEVEL_COMPARE, JCMP_NE, JOP_COMPARE, 1 } },
        { '<', { LEVEL_COMPARE, JCMP_LT, JOP_COMPARE, 1 } },
        { JT_LE, { LEVEL_COMPARE, JCMP_LE, JOP_COMPARE, 1 } },
        { '>', { LEVEL_COMPARE, JCMP_GT, JOP_COMPARE, 1 } },
        { JT_GE, { LEVEL_COMPARE, JCMP_GE, JOP_COMPARE, 1 } },
        { '+', { LEVEL_ADD, '+', JOP_ARITH, 1 } },
        { '-', { LEVEL_ADD, '-', JOP_ARITH, 1 } },
        { '~', { LEVEL_CONCAT, 0, JOP_CONCAT, 1 } },
        { '*', { LEVEL_MUL, '*', JOP_ARITH, 1 } },
        { '/', { LEVEL_MUL, '/', JOP_ARITH, 1 } },
        { JT_FLOORDIV, { LEVEL_MUL, JOP_FLOOR, JOP_ARITH, 1 } },
        { '%', { LEVEL_MUL, '%', JOP_ARITH, 1 } },
        { JT_POW, { LEVEL_POW, JOP_POWER, JOP_ARITH, 1 } },
    };
    struct jtoken t = jpeek(c);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (ops[i].token == t.type) {
            return ops[i].op;
        }
    }
    if (jtoken_is(c, t, "or") || jtoken_is(c, t, "and")) {
        bool or = jtoken_is(c, t, "or");
        return (struct op){ or ? LEVEL_OR : LEVEL_AND, 0, or ? JOP_OR : JOP_AND, 1 };
    }
    bool not = jtoken_is(c, t, "not");
    if (jtoken_is(c, not ? jpeek2(c) : t, "in")) {
        return (struct op){ LEVEL_COMPARE, not ? JCMP_NOT_IN : JCMP_IN, JOP_COMPARE, 1u + not };
    }
    return (struct op){ 0 };
}

static void concat(struct jcompiler *c)
{
    size_t n = 1;
    while (jaccept(c, '~')) {
        binary(c, LEVEL_MUL);
        n++;
    }
    jemit(c, JOP_CONCAT, n, 0);
}

/* A chain of comparisons: each but the last jumps to the end if it does not hold. */
static void compare(struct jcompiler *c, struct op op)
{
    size_t first = SIZE_MAX;
    for (;;) {
        c->at += op.n_tokens;
        binary(c, LEVEL_ADD);
        struct op next = operator_at(c);
        if (next.level != LEVEL_COMPARE) {
            break;
        }
        /* n of the jumps holds the comparison, a links them until the end is known. */
        first = jemit(c, JOP_COMPARE_AND, (size_t)op.arg, first == SIZE_MAX ? -1 : (int64_t)first);
        op = next;
    }
    jemit(c, JOP_COMPARE, (size_t)op.arg, 0);
    while (first != SIZE_MAX) {
        int32_t before = c->t->code[first].a;
        jland(c, first);
        first = before < 0 ? SIZE_MAX : (size_t)before;
    }
}

static void binary(struct jcompiler *c, int least)
{
    if (least <= LEVEL_NOT && jaccept_word(c, "not")) {
        jenter(c);
        binary(c, LEVEL_NOT);
        c->depth--;
        jemit(c, JOP_NOT, 0, 0);
    } else {
        unary(c, true);
    }
    for (;;) {
        struct op op = operator_at(c);
        if (op.level < least || op.level == 0) {
            return;
        }
        if (op.op == JOP_CONCAT) {
            concat(c);
        } else if (op.op == JOP_COMPARE) {
            compare(c, op);
        } else {
            uint32_t pos = jpeek(c).pos;
            c->at += op.n_tokens;
            size_t jump = op.op == JOP_ARITH ? 0 : jemit(c, op.op, 0, 0);
            binary(c, op.level + 1);
            if (op.op == JOP_ARITH) {
                size_t i = jemit(c, JOP_ARITH, 0, op.arg);
                c->t->code[i].pos = pos;
            } else {
                jland(c, jump);
            }
        }
    }
}

void jexpression_or(struct jcompiler *c) { binary(c, LEVEL_OR); }

/* The part behind the value: `if b else c`. */
static void condition(struct jcompiler *c, size_t begin)
{
    struct jpart value = jcut(c, begin);
    for (size_t i = 0; i < value.n; i++) {
        value.code[i].n |= value.code[i].op == JOP_ABSENT;
    }
    c->n_soft++;
    jexpression_or(c);
    size_t otherwise = jemit(c, JOP_JUMP_FALSE, 0, 0);
    jpaste(c, value);
    size_t end = jemit(c, JOP_JUMP, 0, 0);
    jland(c, otherwise);
    if (jaccept_word(c, "else")) {
        jexpression(c);
    } else {
        static const char none[] = "the inline if has no else, and its condition is false";
        jemit_const(c, JOP_CONST, jundefined(none, sizeof none - 1, J_UNDEFINED));
    }
    jland(c, end);
    c->n_soft--;
}

void jexpression(struct jcompiler *c)
{
    size_t begin = c->t->n_code, depth = c->depth;
    jenter(c);
    jexpression_or(c);
    while (jaccept_word(c, "if")) {
        condition(c, begin);
        jenter(c);
    }
    c->depth = depth;
}

/* Returns true where a tuple without brackets ends. */
static bool tuple_ends(const struct jcompiler *c)
{
    struct jtoken t = jpeek(c);
    return t.type == JT_PRINT_END || t.type == JT_TAG_END || t.type == ')';
}

void jtuple(struct jcompiler *c, void (*item)(struct jcompiler *), bool may_be_empty)
{
    size_t n = 0;
    bool is_tuple = false;
    while (!tuple_ends(c)) {
        item(c);
        n++;
        if (!jaccept(c, ',')) {
            break;
        }
        is_tuple = true;
    }
    if (n == 0 && !may_be_empty) {
        jsyntax(c, "an expression is missing here");
    }
    if (is_tuple || n == 0) {
        jemit(c, JOP_TUPLE, n, 0);
    }
}

static void list(struct jcompiler *c)
{
    size_t n = 0;
    while (!jaccept(c, ']')) {
        if (n > 0) {
            jexpect(c, ',', "a comma or ]");
            if (jaccept(c, ']')) {
                break;
            }
        }
        jexpression(c);
        n++;
    }
    jemit(c, JOP_LIST, n, 0);
}

static void dict(struct jcompiler *c)
{
    size_t n = 0;
    while (!jaccept(c, '}')) {
        if (n > 0) {
            jexpect(c, ',', "a comma or }");
            if (jaccept(c, '}')) {
                break;
            }
        }
        jexpression(c);
        jexpect(c, ':', "a colon");
        jexpression(c);
        n++;
    }
    jemit(c, JOP_DICT, n, 0);
}

static void strings(struct jcompiler *c)
{
    struct jbuf b = { .w = c->w };
    while (jpeek(c).type == JT_STRING) {
        jbuf_str(&b, jlex_string(c->w, c->t->source, jpeek(c)));
        c->at++;
    }
    jemit_const(c, JOP_CONST, jbuf_take(&b));
}

static void number(struct jcompiler *c)
{
    struct jtoken t = jpeek(c);
    struct jval v = jint(0);
    c->w->pos = t.pos;
    if (t.type == JT_INT) {
        jread_int(c->w, jtoken_text(c, t), 0, &v.i);
    } else {
        v = jfloat(0);
        jread_float(c->w, jtoken_text(c, t), &v.f);
    }
    c->at++;
    jemit_const(c, JOP_CONST, v);
}

/* Macros know whether they are given varargs, kwargs and a caller from the names in their bodies.
 */
static void note_name(struct jcompiler *c, uint32_t name)
{
    for (const struct jnest *m = c->macros; m != NULL; m = m->outer) {
        struct jmacro *macro = &c->t->macros[m->macro];
        macro->caller |= name == JNAME_CALLER;
        macro->varargs |= name == JNAME_VARARGS;
        macro->kwargs |= name == JNAME_KWARGS;
    }
}

static void name(struct jcompiler *c)
{
    static const char *const words[] = { "true", "True", "false", "False", "none", "None" };
    struct jval text = jexpect_name(c);
    for (size_t i = 0; i < 6; i++) {
        if (jis(text, words[i])) {
            jemit_const(c, JOP_CONST, i < 4 ? jbool(i < 2) : jnone());
            return;
        }
    }
    uint32_t id = jname(c, text);
    note_name(c, id);
    jnote_load(c, id);
    jemit(c, JOP_LOAD, 0, id);
}

static void primary(struct jcompiler *c)
{
    struct jtoken t = jpeek(c);
    switch (t.type) {
    case JT_NAME: name(c); break;
    case JT_STRING: strings(c); break;
    case JT_INT:
    case JT_FLOAT: number(c); break;
    case '(':
        c->at++;
        jtuple(c, jexpression, true);
        jexpect(c, ')', "a comma or )");
        break;
    case '[':
        c->at++;
        list(c);
        break;
    case '{':
        c->at++;
        dict(c);
        break;
    default: {
        struct jval text = jtoken_text(c, t);
        jsyntax(c, "expected an expression, found '%.*s'", (int)size_min(text.n, 40), text.s);
    }
    }
}

/* A bound of a slice, or None. */
static void bound(struct jcompiler *c)
{
    uint32_t next = jpeek(c).type;
    if (next == ':' || next == ']' || next == ',') {
        jemit_const(c, JOP_CONST, jnone());
    } else {
        jexpression(c);
    }
}

static void slice(struct jcompiler *c)
{
    bound(c);
    if (jaccept(c, ':')) {
        bound(c);
    } else {
        jemit_const(c, JOP_CONST, jnone());
    }
    jemit(c, JOP_SLICE, 0, 0);
}

/* What stands in [ ]: several values are a tuple. */
static void subscript(struct jcompiler *c)
{
    size_t n = 0;
    while (!jaccept(c, ']')) {
        if (n > 0) {
            jexpect(c, ',', "a comma or ]");
        }
        bound(c);
        if (n == 0 && jaccept(c, ':')) {
            slice(c);
            jexpect(c, ']', "]");
            return;
        }
        n++;
    }
    if (n != 1) {
        jemit(c, JOP_TUPLE, n, 0);
    }
    jemit(c, JOP_ITEM, 0, 0);
}

static void attribute(struct jcompiler *c)
{
    if (jpeek(c).type == JT_INT) {
        number(c);
        jemit(c, JOP_ITEM, 0, 0);
    } else {
        struct jval text = jexpect_name(c);
        jemit_const(c, JOP_ATTR, text);
    }
}

/* The name of an argument, and the = behind it. */
static void keyword(struct jcompiler *c, struct jdict *names)
{
    struct jval text = jexpect_name(c);
    if (jdict_find(c->w, names, text) != NULL) {
        jsyntax(c, "two arguments of a call are named '%.*s'", (int)size_min(text.n, 60), text.s);
    }
    jdict_set(c->w, names, text, jnone());
    jemit_const(c, JOP_CONST, text);
    c->at++;
}

void jcall(struct jcompiler *c, enum jop op, int64_t a, struct jtoken at)
{
    size_t n = 0, kw = 0;
    struct jdict *names = NULL;
    bool more = jaccept(c, '(');
    while (more && !jaccept(c, ')')) {
        if (n + kw > 0) {
            jexpect(c, ',', "a comma or )");
            if (jaccept(c, ')')) {
                break;
            }
        }
        if (jpeek(c).type == '*' || jpeek(c).type == JT_POW) {
            jsyntax(c, "* and ** in a call are not supported; write the arguments out");
        }
        if (jpeek(c).type == JT_NAME && jpeek2(c).type == '=') {
            if (names == NULL) {
                names = jdict_new(c->w, J_DICT).dict;
            }
            keyword(c, names);
            kw++;
        } else if (kw > 0) {
            jsyntax(c, "a positional argument behind one with a name");
        } else {
            n++;
        }
        jexpression(c);
    }
    if (kw > UINT8_MAX - 1) {
        jsyntax(c, "more than %d arguments with names", UINT8_MAX - 1);
    }
    size_t i = jemit(c, op, n, a);
    c->t->code[i].kw = (uint8_t)kw;
    c->t->code[i].pos = at.pos;
}

static void postfix(struct jcompiler *c)
{
    for (;;) {
        if (jpeek(c).type == '(') {
            jcall(c, JOP_CALL, 0, c->tokens.data[c->at > 0 ? c->at - 1 : 0]);
        } else if (jaccept(c, '.')) {
            attribute(c);
        } else if (jaccept(c, '[')) {
            subscript(c);
        } else {
            return;
        }
    }
}

/* Appends the instruction of a filter or test, whose arguments come next. */
static void apply(struct jcompiler *c, enum jop op, const struct jnative *f, struct jval text,
                  struct jtoken at)
{
    struct jinja *t = c->t;
    if (f == NULL) {
        size_t i = jemit_const(c, JOP_ABSENT, text);
        t->code[i].n = c->n_soft > 0;
        t->code[i].kw = op == JOP_TEST;
        t->code[i].pos = at.pos;
    }
    JRESERVE(c->w, t->natives, t->cap_natives, t->n_natives + 1);
    t->natives[t->n_natives] = f;
    jcall(c, op, (int64_t)t->n_natives++, at);
}

void jfilters(struct jcompiler *c, bool first)
{
    while (first || jaccept(c, '|')) {
        struct jtoken at = jpeek(c);
        struct jval text = jexpect_name(c);
        apply(c, JOP_FILTER, jfind_filter(text), text, at);
        first = false;
    }
}

/* The argument of a test without brackets, as in `x is divisibleby 3`. */
static bool bare_argument(const struct jcompiler *c)
{
    struct jtoken t = jpeek(c);
    bool begins = t.type == JT_NAME || t.type == JT_STRING || t.type == JT_INT ||
                  t.type == JT_FLOAT || t.type == '[' || t.type == '{';
    return begins && !jtoken_is(c, t, "else") && !jtoken_is(c, t, "or") && !jtoken_is(c, t, "and");
}

static void test(struct jcompiler *c)
{
    bool not = jaccept_word(c, "not");
    struct jtoken at = jpeek(c);
    struct jval text = jexpect_name(c);
    if (jtoken_is(c, jpeek(c), "is")) {
        jsyntax(c, "tests cannot be chained with is; write `and` between them");
    }
    bool bare = bare_argument(c);
    if (bare) {
        primary(c);
        postfix(c);
    }
    apply(c, JOP_TEST, jfind_test(text), text, at);
    c->t->code[c->t->n_code - 1].n += bare;
    if (not ) {
        jemit(c, JOP_NOT, 0, 0);
    }
}

static void sign(struct jcompiler *c)
{
    int sign = jpeek(c).type == '-' ? -1 : 1;
    c->at++;
    if (sign < 0 && jis(jtoken_text(c, jpeek(c)), "9223372036854775808")) {
        c->at++;
        jemit_const(c, JOP_CONST, jint(INT64_MIN));
        return;
    }
    jenter(c);
    unary(c, false);
    c->depth--;
    jemit(c, JOP_SIGN, 0, sign);
}

static void unary(struct jcompiler *c, bool with_filters)
{
    if (jpeek(c).type == '-' || jpeek(c).type == '+') {
        sign(c);
    } else {
        primary(c);
    }
    postfix(c);
    while (with_filters) {
        if (jpeek(c).type == '|') {
            jfilters(c, false);
        } else if (jaccept_word(c, "is")) {
            test(c);
        } else if (jpeek(c).type == '(') {
            jcall(c, JOP_CALL, 0, jpeek(c));
        } else {
            break;
        }
    }
}

static void target_item(struct jcompiler *c, bool spaces);

/* Emits the instructions that store what is on the stack; names are stored in the order in which
 * they stand. */
static void target_tuple(struct jcompiler *c, bool spaces)
{
    size_t begin = c->t->n_code, n = 0;
    bool is_tuple = false;
    while (!tuple_ends(c)) {
        target_item(c, spaces);
        n++;
        if (!jaccept(c, ',')) {
            break;
        }
        is_tuple = true;
    }
    if (n == 0) {
        jsyntax(c, "a name to assign to is missing here");
    }
    if (is_tuple) {
        struct jpart stores = jcut(c, begin);
        jemit(c, JOP_UNPACK, n, 0);
        jpaste(c, stores);
    }
}

static void target_item(struct jcompiler *c, bool spaces)
{
    jenter(c);
    if (jaccept(c, '(')) {
        target_tuple(c, spaces);
        jexpect(c, ')', "a comma or )");
    } else {
        struct jval text = jexpect_name(c);
        static const char *const words[] = { "true", "True", "false", "False", "none", "None" };
        for (size_t i = 0; i < 6; i++) {
            if (jis(text, words[i])) {
                jsyntax(c, "%s is a constant; choose another name", words[i]);
            }
        }
        uint32_t id = jname(c, text);
        if (spaces && jaccept(c, '.')) {
            struct jval attr = jexpect_name(c);
            size_t i = jemit_const(c, JOP_STORE_ATTR, attr);
            jemit(c, JOP_STORE, 0, id); /* the name of the namespace; it is never run */
            c->t->code[i].pos = c->t->code[i + 1].pos;
        } else {
            jemit(c, JOP_STORE, 0, id);
        }
    }
    c->depth--;
}

struct jpart jtarget(struct jcompiler *c, bool spaces)
{
    size_t begin = c->t->n_code;
    target_tuple(c, spaces);
    return jcut(c, begin);
}
