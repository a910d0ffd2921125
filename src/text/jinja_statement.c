/* Compiles statements. */
#include "text/jinja_compile.h"
#include "text/jinja_string.h"

#define BODY(c, ...) jbody(c, (const char *const[]){ __VA_ARGS__, NULL })

/* What a function of its own, or a loop, hides from what stands inside it. */
struct hidden {
    size_t n_soft, loop, last_break;
};

static struct hidden hide(struct jcompiler *c, size_t loop)
{
    struct hidden h = { c->n_soft, c->loop, c->last_break };
    c->n_soft = 0;
    c->loop = loop;
    c->last_break = SIZE_MAX;
    return h;
}

static void show(struct jcompiler *c, struct hidden h)
{
    c->n_soft = h.n_soft;
    c->loop = h.loop;
    c->last_break = h.last_break;
}

static void scope_begin(struct jcompiler *c)
{
    jpart_begin(c, JPART_BLOCK, jemit(c, JOP_SCOPE, 0, 0));
}

static void scope_end(struct jcompiler *c)
{
    jpart_end(c);
    jemit(c, JOP_SCOPE_END, 0, 0);
}

static void if_statement(struct jcompiler *c)
{
    size_t end = SIZE_MAX;
    const char *word = "elif";
    c->n_soft++;
    c->names->n_branches++;
    while (strcmp(word, "elif") == 0) {
        jtuple(c, jexpression_or, false);
        size_t skip = jemit(c, JOP_JUMP_FALSE, 0, 0);
        word = BODY(c, "elif", "else", "endif");
        /* The jumps to the end are linked until it is known. */
        end = jemit(c, JOP_JUMP, 0, end == SIZE_MAX ? -1 : (int64_t)end);
        jland(c, skip);
    }
    if (strcmp(word, "else") == 0) {
        BODY(c, "endif");
    }
    while (end != SIZE_MAX) {
        int32_t before = c->t->code[end].a;
        jland(c, end);
        end = before < 0 ? SIZE_MAX : (size_t)before;
    }
    c->n_soft--;
    c->names->n_branches--;
}

/* Returns true if the name `loop` stands between here and the end of this loop. */
static bool reads_loop(const struct jcompiler *c)
{
    size_t open = 1;
    for (size_t i = c->at; i + 1 < c->tokens.n && open > 0; i++) {
        struct jtoken t = c->tokens.data[i], next = c->tokens.data[i + 1];
        if (jtoken_is(c, t, "loop")) {
            return true;
        }
        if (t.type == JT_TAG) {
            open += jtoken_is(c, next, "for");
            open -= jtoken_is(c, next, "endfor");
        }
    }
    return false;
}

/* Pastes what stores into names; they are mentioned here, as parameters or as set. */
static void paste_target(struct jcompiler *c, struct jpart target, bool set)
{
    for (size_t i = 0; i < target.n; i++) {
        bool space = i > 0 && target.code[i - 1].op == JOP_STORE_ATTR;
        if (target.code[i].op == JOP_STORE) {
            (set && !space ? jnote_store : jnote_load)(c, (uint32_t)target.code[i].a);
        }
    }
    jpaste(c, target);
}

/* The condition of a loop, in a part of its own. */
static void test_item(struct jcompiler *c, struct jpart target)
{
    jpart_begin(c, JPART_BLOCK, 0);
    paste_target(c, target, false);
    jexpression(c);
    jpart_end(c);
}

/* A loop that only finds out which items pass the filter: `loop` must know them all. */
static void filter_first(struct jcompiler *c, struct jpart target)
{
    jemit(c, JOP_FOR, 0, 0);
    size_t next = jemit(c, JOP_FOR_NEXT, 0, 0);
    test_item(c, target);
    jemit(c, JOP_FOR_KEEP, 0, 0);
    jemit_to(c, JOP_JUMP, next);
    jland(c, next);
    jemit(c, JOP_FOR_KEPT, 0, 0);
}

static void for_body(struct jcompiler *c, struct jpart target, bool filter, bool loop)
{
    size_t begin = jemit(c, JOP_FOR, 0, 0);
    size_t next = jemit(c, JOP_FOR_NEXT, 0, 0);
    if (filter) {
        test_item(c, target);
        jemit_to(c, JOP_JUMP_FALSE, next);
    }
    jpart_begin(c, JPART_BLOCK, begin);
    if (filter) {
        target.n = 0; /* it has been stored */
    }
    paste_target(c, target, false);
    jnote_load(c, JNAME_LOOP);
    if (jtoken_is(c, jpeek(c), "recursive")) {
        jsyntax(c, "recursive loops are not supported; use a macro that calls itself");
    }
    if (loop) {
        jemit(c, JOP_FOR_BODY, 0, 0);
    }
    struct hidden h = hide(c, next);
    const char *word = BODY(c, "else", "endfor");
    if (strcmp(word, "else") == 0) {
        jemit(c, JOP_FOR_ROUND, 0, 0);
    }
    jemit_to(c, JOP_JUMP, next);
    jland(c, next);
    while (c->last_break != SIZE_MAX) {
        int32_t before = c->t->code[c->last_break].a;
        jland(c, c->last_break);
        c->last_break = before < 0 ? SIZE_MAX : (size_t)before;
    }
    show(c, h);
    jpart_end(c);
    size_t end = jemit(c, JOP_FOR_END, 0, 0);
    if (strcmp(word, "else") == 0) {
        scope_begin(c);
        BODY(c, "endfor");
        scope_end(c);
    }
    jland(c, end);
}

static void for_statement(struct jcompiler *c)
{
    struct jpart target = jtarget(c, false);
    if (!jaccept_word(c, "in")) {
        jsyntax(c, "expected `in` behind the names of a for");
    }
    bool loop = reads_loop(c);
    jtuple(c, jexpression_or, false);
    bool filter = jaccept_word(c, "if");
    if (filter && loop) {
        filter_first(c, target);
        filter = false;
    }
    for_body(c, target, filter, loop);
}

static void leave_loop(struct jcompiler *c, bool for_good)
{
    if (c->loop == SIZE_MAX) {
        jsyntax(c, "this is outside of a loop");
    }
    if (for_good) {
        c->last_break =
            jemit(c, JOP_FOR_RESTART, 0, c->last_break == SIZE_MAX ? -1 : (int64_t)c->last_break);
    } else {
        jemit_to(c, JOP_FOR_RESTART, c->loop);
    }
}

/* Statements whose text becomes a value on the stack. */
static void captured(struct jcompiler *c, const char *end)
{
    scope_begin(c);
    jemit(c, JOP_CAPTURE, 0, 0);
    BODY(c, end);
    jemit(c, JOP_CAPTURE_END, 0, 0);
    scope_end(c);
}

static void set_statement(struct jcompiler *c)
{
    struct jpart target = jtarget(c, true);
    for (size_t i = 1; i < target.n; i++) {
        if (target.code[i - 1].op == JOP_STORE_ATTR) {
            jemit(c, JOP_NAMESPACE, 0, target.code[i].a);
        }
    }
    if (jaccept(c, '=')) {
        jtuple(c, jexpression, false);
    } else {
        size_t begin = c->t->n_code;
        paste_target(c, target, true); /* the block is inside of what sets the name */
        jcut(c, begin);
        jfilters(c, false);
        struct jpart filters = jcut(c, begin);
        captured(c, "endset");
        jpaste(c, filters);
    }
    paste_target(c, target, true);
}

static void filter_statement(struct jcompiler *c)
{
    size_t begin = c->t->n_code;
    jfilters(c, true);
    struct jpart filters = jcut(c, begin);
    captured(c, "endfilter");
    jpaste(c, filters);
    jemit(c, JOP_PRINT, 0, 0);
}

static void with_statement(struct jcompiler *c)
{
    struct jpart *targets = NULL;
    size_t n = 0, cap = 0;
    while (jpeek(c).type != JT_TAG_END) {
        if (n > 0) {
            jexpect(c, ',', "a comma");
        }
        JRESERVE(c->w, targets, cap, n + 1);
        targets[n++] = jtarget(c, false);
        jexpect(c, '=', "=");
        jexpression(c);
    }
    scope_begin(c);
    while (n > 0) {
        paste_target(c, targets[--n], false);
    }
    BODY(c, "endwith");
    scope_end(c);
}

/* The parameters of macro m, and instructions that set those that were not given. */
static void parameters(struct jcompiler *c, size_t m)
{
    size_t cap = 0;
    bool defaults = false;
    jexpect(c, '(', "(");
    while (!jaccept(c, ')')) {
        struct jmacro *macro = &c->t->macros[m];
        if (macro->n_params > 0) {
            jexpect(c, ',', "a comma or )");
        }
        uint32_t id = jname(c, jexpect_name(c));
        jnote_load(c, id);
        JRESERVE(c->w, macro->params, cap, macro->n_params + 1);
        macro->params[macro->n_params++] = id;
        if (jaccept(c, '=')) {
            defaults = true;
            size_t given = jemit(c, JOP_DEFAULT, 0, 0);
            jemit(c, JOP_JUMP, 0, id); /* the parameter's name; it is never run */
            jexpression(c);
            jemit(c, JOP_STORE, 0, id);
            jland(c, given);
        } else if (defaults) {
            jsyntax(c, "a parameter without a default behind one that has one");
        }
    }
}

static size_t new_macro(struct jcompiler *c, struct jval name)
{
    struct jinja *t = c->t;
    JRESERVE(c->w, t->macros, t->cap_macros, t->n_macros + 1);
    t->macros[t->n_macros] = (struct jmacro){ .name = name, .names = t->names };
    return t->n_macros++;
}

static void macro_body(struct jcompiler *c, size_t m, const char *end)
{
    struct jnest nest = { c->macros, m };
    struct hidden h = hide(c, SIZE_MAX);
    c->macros = &nest;
    BODY(c, end);
    c->macros = nest.outer;
    show(c, h);
    jpart_end(c);
    jemit(c, JOP_RETURN, 0, 0);
}

static void macro_statement(struct jcompiler *c)
{
    struct jval name = jexpect_name(c);
    size_t m = new_macro(c, name), over = jemit(c, JOP_JUMP, 0, 0);
    c->t->macros[m].entry = c->t->n_code;
    jpart_begin(c, JPART_MACRO, m);
    parameters(c, m);
    macro_body(c, m, "endmacro");
    jland(c, over);
    jemit(c, JOP_MACRO, 0, (int64_t)m);
    jnote_store(c, jname(c, name));
    jemit(c, JOP_STORE, 0, jname(c, name));
}

/* The body becomes a macro that the called one is given as `caller`. */
static void call_statement(struct jcompiler *c)
{
    size_t m = new_macro(c, jtext("caller")), begin = c->t->n_code;
    struct jnames *around = c->names;
    jpart_begin(c, JPART_MACRO, m);
    struct jnames *inside = c->names;
    if (jpeek(c).type == '(') {
        parameters(c, m);
    }
    struct jpart defaults = jcut(c, begin);
    c->names = around;
    jexpression(c);
    c->names = inside;
    struct jpart call = jcut(c, begin);
    if (call.code[call.n - 1].op != JOP_CALL) {
        jsyntax(c, "a call block needs the call of a macro");
    }
    size_t over = jemit(c, JOP_JUMP, 0, 0);
    c->t->macros[m].entry = c->t->n_code;
    jpaste(c, defaults);
    macro_body(c, m, "endcall");
    jland(c, over);
    struct jins last = call.code[--call.n];
    last.kw++;
    jpaste(c, call);
    jemit_const(c, JOP_CONST, jtext("caller"));
    jemit(c, JOP_MACRO, 0, (int64_t)m);
    jpaste(c, (struct jpart){ &last, 1 });
    jemit(c, JOP_PRINT, 0, 0);
}

/* What the template marks as the model's words: it is printed like everything else. */
static void generation_statement(struct jcompiler *c)
{
    struct hidden h = hide(c, SIZE_MAX);
    scope_begin(c);
    BODY(c, "endgeneration");
    scope_end(c);
    show(c, h);
}

static void break_statement(struct jcompiler *c) { leave_loop(c, true); }
static void continue_statement(struct jcompiler *c) { leave_loop(c, false); }

static void statement(struct jcompiler *c)
{
    static const struct {
        const char *word;
        void (*compile)(struct jcompiler *);
    } statements[] = {
        { "if", if_statement },       { "for", for_statement },
        { "set", set_statement },     { "macro", macro_statement },
        { "call", call_statement },   { "filter", filter_statement },
        { "with", with_statement },   { "generation", generation_statement },
        { "break", break_statement }, { "continue", continue_statement },
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (jaccept_word(c, statements[i].word)) {
            statements[i].compile(c);
            return;
        }
    }
    struct jval found = jtoken_text(c, jpeek(c));
    jsyntax(c, "the tag '%.*s' is not supported", (int)size_min(found.n, 40), found.s);
}

static void print(struct jcompiler *c)
{
    jtuple(c, jexpression, false);
    jexpect(c, JT_PRINT_END, "}}");
    jemit(c, JOP_PRINT, 0, 0);
}

static const char *one_of(struct jcompiler *c, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (jaccept_word(c, *words)) {
            return *words;
        }
    }
    return NULL;
}

/* Compiles up to a word of the list, and returns it; at the end of the template it returns NULL. */
static const char *statements(struct jcompiler *c, const char *const *ends)
{
    while (!jaccept(c, JT_EOF)) {
        if (jpeek(c).type == JT_DATA) {
            struct jval text = jtoken_text(c, jpeek(c));
            c->at++;
            jemit_const(c, JOP_TEXT, text);
        } else if (jaccept(c, JT_PRINT)) {
            print(c);
        } else {
            jexpect(c, JT_TAG, "a tag");
            const char *word = one_of(c, ends);
            if (word != NULL) {
                return word;
            }
            statement(c);
            jexpect(c, JT_TAG_END, "%}");
        }
    }
    return NULL;
}

const char *jbody(struct jcompiler *c, const char *const *ends)
{
    jenter(c);
    jaccept(c, ':');
    jexpect(c, JT_TAG_END, "%}");
    size_t begin = c->at;
    const char *word = statements(c, ends);
    if (word == NULL) {
        while (ends[1] != NULL) {
            ends++;
        }
        c->at = begin - 1;
        jsyntax(c, "this block has no {%% %s %%}", *ends);
    }
    c->depth--;
    return word;
}

void jcompile(struct jinja *t)
{
    struct jcompiler c = { .t = t, .w = &t->w, .loop = SIZE_MAX, .last_break = SIZE_MAX };
    static const char *const known[] = { "loop", "caller", "varargs", "kwargs" };
    t->names = jdict_new(c.w, J_DICT).dict;
    for (size_t i = 0; i < JNAME_FIRST_FREE; i++) {
        jname(&c, jtext(known[i]));
    }
    jlex(c.w, t->source, &c.tokens);
    jpart_begin(&c, JPART_ALL, 0);
    statements(&c, (const char *const[]){ NULL });
    c.at = c.tokens.n - 1;
    jemit(&c, JOP_END, 0, 0);
    jnames_resolve(&c);
    for (size_t i = 0; i < t->n_code; i++) {
        if (t->code[i].op == JOP_ABSENT && t->code[i].n == 0) {
            struct jval name = t->consts[t->code[i].a];
            c.w->pos = t->code[i].pos;
            jfail(c.w, JINJA_SYNTAX, "there is no %s named '%.*s'",
                  t->code[i].kw != 0 ? "test" : "filter", (int)size_min(name.n, 60), name.s);
        }
    }
}
