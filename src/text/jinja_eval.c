/* Runs the code of a template. */
#include "text/jinja_run.h"

static struct jval pop(struct jmachine *m) { return m->stack[--m->n]; }

static void push(struct jmachine *m, struct jval v)
{
    JRESERVE(&m->w, m->stack, m->cap, m->n + 1);
    m->stack[m->n++] = v;
}

static struct jval *top(struct jmachine *m) { return &m->stack[m->n - 1]; }

static void print(struct jmachine *m, struct jval v)
{
    if (v.kind == J_STR) {
        jbuf_str(&m->out, v);
    } else {
        jbuf_value(&m->out, v);
    }
}

static void jump_if(struct jmachine *m, bool condition, const struct jins *i)
{
    m->pc += condition ? i->a : 0;
}

static bool compare(struct jmachine *m, int op, struct jval a, struct jval b)
{
    static const char *const names[] = { "==", "!=", "<", "<=", ">", ">=", "in", "not in" };
    struct jwork *w = &m->w;
    switch (op) {
    case JCMP_EQ: return jequal(w, a, b);
    case JCMP_NE: return !jequal(w, a, b);
    case JCMP_IN: return jcontains(w, b, a);
    case JCMP_NOT_IN: return !jcontains(w, b, a);
    default: break;
    }
    int r = jcompare(w, a, b, names[op]);
    return op == JCMP_LT   ? r == -1
           : op == JCMP_LE ? r <= 0
           : op == JCMP_GT ? r == 1
                           : r == 0 || r == 1;
}

static void compare_top(struct jmachine *m, const struct jins *i)
{
    struct jval b = pop(m);
    *top(m) = jbool(compare(m, i->n, *top(m), b));
}

/* A comparison that is followed by another one of its right side. */
static void compare_and(struct jmachine *m, const struct jins *i)
{
    struct jval b = pop(m), a = pop(m);
    bool holds = compare(m, i->n, a, b);
    push(m, holds ? b : jbool(false));
    jump_if(m, !holds, i);
}

static void make_list(struct jmachine *m, enum jkind kind, size_t n)
{
    struct jval v = jlist_new(&m->w, kind, n);
    for (size_t i = m->n - n; i < m->n; i++) {
        jlist_add(&m->w, v.list, m->stack[i]);
    }
    m->n -= n;
    push(m, v);
}

static void make_dict(struct jmachine *m, size_t n)
{
    struct jval v = jdict_new(&m->w, J_DICT);
    for (size_t i = m->n - 2 * n; i < m->n; i += 2) {
        jdict_set(&m->w, v.dict, m->stack[i], m->stack[i + 1]);
    }
    m->n -= 2 * n;
    push(m, v);
}

static void concat(struct jmachine *m, size_t n)
{
    struct jbuf b = { .w = &m->w };
    const struct jval *first = &m->stack[m->n - n];
    size_t i = 0;
    if (first->kind == J_STR) {
        jbuf_begin(&b, first[i++]);
    }
    for (; i < n; i++) {
        jbuf_value(&b, first[i]);
    }
    m->n -= n;
    push(m, jbuf_join(&b));
}

static void unpack(struct jmachine *m, size_t n)
{
    const struct jlist *list = jiterate(&m->w, pop(m));
    if (list->n != n) {
        jfail(&m->w, JINJA_RUNTIME, "%zu names cannot take %zu values", n, list->n);
    }
    for (size_t i = n; i > 0; i--) {
        push(m, list->items[i - 1]);
    }
}

static void slice(struct jmachine *m)
{
    m->n -= 3;
    *top(m) = jslice(&m->w, *top(m), top(m) + 1);
}

static void need_namespace(struct jmachine *m, const struct jins *i)
{
    struct jval space = jload(m, (uint32_t)i->a);
    if (space.kind != J_NAMESPACE) {
        jfail(&m->w, JINJA_RUNTIME, "attributes can be assigned to a namespace only, not to '%s'",
              jtype(space));
    }
}

static void store_attribute(struct jmachine *m, const struct jins *i)
{
    const struct jins *name = m->pc++;
    need_namespace(m, name); /* once more: what was evaluated since may have set the variable */
    jdict_set(&m->w, jload(m, (uint32_t)name->a).dict, m->t->consts[i->a], pop(m));
}

/* Returns the arguments on top of the stack. */
static struct jargs arguments(const struct jmachine *m, const struct jins *i)
{
    const struct jval *kw = m->stack + m->n - 2 * (size_t)i->kw;
    return (struct jargs){ kw - i->n, i->n, kw, i->kw };
}

static void call_macro(struct jmachine *m, const struct jclosure *f, const struct jargs *args)
{
    if (m->n_frames == JINJA_MAX_CALLS) {
        jfail(&m->w, JINJA_LIMIT, "more than %d macros are inside each other", JINJA_MAX_CALLS);
    }
    m->frames[m->n_frames++] = (struct jframe){ m->pc, m->scope, m->loop };
    jmacro_begin(m, f, args);
    JRESERVE(&m->w, m->captures, m->cap_captures, m->n_captures + 1);
    m->captures[m->n_captures++] = m->out.n;
    m->pc = m->t->code + f->of->entry;
}

static void call(struct jmachine *m, const struct jins *i)
{
    struct jargs args = arguments(m, i);
    size_t base = m->n - i->n - 2 * (size_t)i->kw - 1;
    struct jval f = m->stack[base];
    if (f.kind == J_MACRO) {
        call_macro(m, f.macro, &args);
        m->n = base;
        return;
    }
    if (f.kind == J_UNDEFINED) {
        jfail_undefined(&m->w, f);
    }
    if (f.kind != J_BOUND) {
        jfail(&m->w, JINJA_RUNTIME, "a value of type '%s' cannot be called", jtype(f));
    }
    struct jval v = jcall_native(&m->w, f.bound->native, f.bound->self, &args);
    m->n = base;
    push(m, v);
}

static void filter(struct jmachine *m, const struct jins *i)
{
    struct jargs args = arguments(m, i);
    size_t base = m->n - i->n - 2 * (size_t)i->kw - 1;
    struct jval v = jcall_native(&m->w, m->t->natives[i->a], m->stack[base], &args);
    m->n = base;
    push(m, v);
}

static void capture(struct jmachine *m)
{
    JRESERVE(&m->w, m->captures, m->cap_captures, m->n_captures + 1);
    m->captures[m->n_captures++] = m->out.n;
}

static void capture_end(struct jmachine *m)
{
    push(m, jbuf_cut(&m->out, m->captures[--m->n_captures]));
}

static void return_from(struct jmachine *m)
{
    const struct jframe *f = &m->frames[--m->n_frames];
    m->pc = f->back;
    m->scope = f->scope;
    m->loop = f->loop;
    capture_end(m);
}

static void parameter_default(struct jmachine *m, const struct jins *i)
{
    uint32_t name = (uint32_t)m->pc->a;
    for (size_t k = 0; k < m->scope->n; k++) {
        if (m->scope->slots[k].name == name && m->scope->slots[k].value.kind != J_MISSING) {
            m->pc += i->a;
            return;
        }
    }
    m->pc++;
}

static void absent(struct jmachine *m, const struct jins *i)
{
    struct jval name = m->t->consts[i->a];
    jfail(&m->w, JINJA_RUNTIME, "there is no %s named '%.*s'", i->kw != 0 ? "test" : "filter",
          (int)size_min(name.n, 60), name.s);
}

static void for_next(struct jmachine *m, const struct jins *i)
{
    struct jval item;
    if (jfor_next(m, &item)) {
        push(m, item);
    } else {
        m->pc += i->a;
    }
}

static void for_keep(struct jmachine *m)
{
    struct jloop *l = m->loop;
    if (l->kept == NULL) {
        l->kept = jlist_new(&m->w, J_LIST, 0).list;
    }
    if (jtruth(pop(m))) {
        jlist_add(&m->w, l->kept, l->list->items[l->at - 1]);
    }
}

static bool for_end(struct jmachine *m)
{
    bool whole = m->loop->whole;
    m->scope = m->loop->around;
    m->loop = m->loop->outer;
    return whole;
}

static void for_kept(struct jmachine *m)
{
    struct jlist *kept = m->loop->kept;
    for_end(m);
    push(m, kept != NULL ? (struct jval){ .kind = J_LIST, .list = kept }
                         : jlist_new(&m->w, J_LIST, 0));
}

static struct jhidden hidden(const struct jins *i)
{
    return (struct jhidden){ (size_t)i->a, i->n };
}

/* Instructions of loops, scopes and macros. */
static void control(struct jmachine *m, const struct jins *i)
{
    switch (i->op) {
    case JOP_FOR: jfor_begin(m, pop(m), hidden(i)); break;
    case JOP_FOR_NEXT: for_next(m, i); break;
    case JOP_FOR_KEEP: for_keep(m); break;
    case JOP_FOR_KEPT: for_kept(m); break;
    case JOP_FOR_BODY: jfor_body(m); break;
    case JOP_FOR_ROUND: m->loop->whole = true; break;
    case JOP_FOR_END: jump_if(m, for_end(m), i); break;
    case JOP_FOR_RESTART:
        jfor_unwind(m);
        m->pc += i->a;
        break;
    case JOP_SCOPE: jscope_enter(m, hidden(i)); break;
    case JOP_SCOPE_END: m->scope = m->scope->parent; break;
    case JOP_CAPTURE: capture(m); break;
    case JOP_CAPTURE_END: capture_end(m); break;
    case JOP_MACRO: push(m, jclose_over(m, &m->t->macros[i->a])); break;
    case JOP_DEFAULT: parameter_default(m, i); break;
    default: return_from(m); break;
    }
}

static void arith(struct jmachine *m, const struct jins *i)
{
    struct jval b = pop(m);
    *top(m) = jarith(&m->w, i->a, *top(m), b);
}

static void item(struct jmachine *m)
{
    struct jval key = pop(m);
    *top(m) = jitem(&m->w, *top(m), key);
}

/* Jumps, or drops the value that decided it. */
static void and_or(struct jmachine *m, const struct jins *i)
{
    if (jtruth(*top(m)) == (i->op == JOP_OR)) {
        m->pc += i->a;
    } else {
        m->n--;
    }
}

void jrun(struct jmachine *m)
{
    const struct jval *consts = m->t->consts;
    for (;;) {
        const struct jins *i = m->pc++;
        jsteps(&m->w, 1);
        switch (i->op) {
        case JOP_TEXT: jbuf_add(&m->out, consts[i->a].s, consts[i->a].n, JINJA_TEMPLATE); break;
        case JOP_PRINT: print(m, pop(m)); break;
        case JOP_CONST: push(m, consts[i->a]); break;
        case JOP_LOAD: push(m, jload(m, (uint32_t)i->a)); break;
        case JOP_STORE: jstore(m, (uint32_t)i->a, pop(m)); break;
        case JOP_STORE_ATTR: store_attribute(m, i); break;
        case JOP_NAMESPACE: need_namespace(m, i); break;
        case JOP_ATTR: *top(m) = jattribute(&m->w, *top(m), consts[i->a]); break;
        case JOP_ITEM: item(m); break;
        case JOP_SLICE: slice(m); break;
        case JOP_ARITH: arith(m, i); break;
        case JOP_SIGN: *top(m) = jnegate(&m->w, *top(m), i->a); break;
        case JOP_NOT: *top(m) = jbool(!jtruth(*top(m))); break;
        case JOP_CONCAT: concat(m, i->n); break;
        case JOP_COMPARE: compare_top(m, i); break;
        case JOP_COMPARE_AND: compare_and(m, i); break;
        case JOP_JUMP: m->pc += i->a; break;
        case JOP_JUMP_FALSE: jump_if(m, !jtruth(pop(m)), i); break;
        case JOP_AND:
        case JOP_OR: and_or(m, i); break;
        case JOP_LIST: make_list(m, J_LIST, i->n); break;
        case JOP_TUPLE: make_list(m, J_TUPLE, i->n); break;
        case JOP_DICT: make_dict(m, i->n); break;
        case JOP_UNPACK: unpack(m, i->n); break;
        case JOP_CALL: call(m, i); break;
        case JOP_FILTER:
        case JOP_TEST: filter(m, i); break;
        case JOP_ABSENT: absent(m, i); break;
        case JOP_END: return;
        default: control(m, i); break;
        }
    }
}
