#include "text/jinja.h"

#include "base/place.h"
#include "text/jinja_run.h"

/* Turns \r\n and \r into \n, and drops one line break at the end, as jinja2 does. */
static struct jval normal_source(struct jwork *w, const char *source, size_t n)
{
    char *to = jalloc(w, n + 1);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        to[len++] = source[i] == '\r' ? '\n' : source[i];
        i += source[i] == '\r' && i + 1 < n && source[i + 1] == '\n';
    }
    len -= len > 0 && to[len - 1] == '\n';
    return (struct jval){ .kind = J_STR, .s = to, .n = (uint32_t)len };
}

/* Reports how the work ended. */
static weft_status report(const struct jwork *w, struct jval source, weft_error *err)
{
    size_t line, column;
    switch (w->fault) {
    case JINJA_NO_MEMORY:
        return error_set(err, WEFT_E_NOMEM, "chat template: out of memory (%s)", w->message);
    case JINJA_RAISED: return error_set(err, WEFT_E_ARG, "%.*s", (int)w->words.n, w->words.s);
    default: break;
    }
    bool refused = w->fault == JINJA_SYNTAX || w->fault == JINJA_LIMIT;
    weft_status s = refused ? WEFT_E_UNSUPPORTED : WEFT_E_ARG;
    if (w->pos == JINJA_NOWHERE) {
        return error_set(err, s, "chat template: %s", w->message);
    }
    place_of(source.s, size_min(w->pos, source.n), &line, &column);
    return error_set(err, s, "chat template, line %zu, column %zu: %s", line, column, w->message);
}

/* Returns true if the template was compiled. */
static bool compile(struct jinja *t, const char *source, size_t n)
{
    if (setjmp(t->w.escape) != 0) {
        return false;
    }
    if (n > JINJA_MAX_SOURCE) {
        jfail(&t->w, JINJA_LIMIT, "%zu bytes, but at most %d are supported", n, JINJA_MAX_SOURCE);
    }
    t->source = normal_source(&t->w, source, n);
    jcompile(t);
    return true;
}

weft_status jinja_parse(const char *source, size_t n, struct jinja **out, weft_error *err)
{
    struct jinja *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (t == NULL) {
        return error_nomem(err, "chat template", sizeof *t);
    }
    jwork_init(&t->w, JINJA_MAX_BYTES, JINJA_MAX_STEPS);
    if (!compile(t, source, n)) {
        t->w.fault = t->w.fault == JINJA_RUNTIME ? JINJA_SYNTAX : t->w.fault;
        weft_status s = report(&t->w, t->source, err);
        jinja_close(t);
        return s;
    }
    *out = t;
    return WEFT_OK;
}

void jinja_close(struct jinja *t)
{
    if (t != NULL) {
        jwork_free(&t->w);
        free(t);
    }
}

/* Returns the number of a variable's name, or -1. No work is needed: a template has few names. */
static int64_t name_of(const struct jinja *t, const char *name)
{
    for (size_t i = 0; i < t->names->n; i++) {
        if (jis(t->names->pairs[i].key, name)) {
            return (int64_t)i;
        }
    }
    return -1;
}

bool jinja_reads(const struct jinja *t, const char *name)
{
    int64_t id = name_of(t, name);
    for (size_t i = 0; id >= 0 && i < t->n_code; i++) {
        if (t->code[i].op == JOP_LOAD && t->code[i].a == id) {
            return true;
        }
    }
    return false;
}

static void set_variables(struct jmachine *m, const struct jinja_params *p)
{
    size_t n = m->t->names->n;
    m->root = jalloc(&m->w, n * sizeof *m->root);
    memset(m->root, 0, n * sizeof *m->root); /* J_MISSING */
    for (size_t i = 0; i < p->n_vars; i++) {
        const struct jinja_var *v = &p->vars[i];
        int64_t id = name_of(m->t, v->name);
        if (id >= 0) {
            m->root[id] = jvalue_of(&m->w, v->value, v->who, p);
        }
    }
    for (size_t i = 0; i < m->t->hidden.n; i++) {
        uint32_t id = m->t->hides[m->t->hidden.from + i];
        struct jval name = m->t->names->pairs[id].key;
        m->root[id] = jundefined(name.s, name.n, J_MISSING);
    }
}

/* Returns true if the rendering came to its end. */
static bool run(struct jmachine *m, const struct jinja_params *p)
{
    if (setjmp(m->w.escape) != 0) {
        return false;
    }
    m->frames = jalloc(&m->w, JINJA_MAX_CALLS * sizeof *m->frames);
    set_variables(m, p);
    m->pc = m->t->code;
    jrun(m);
    return true;
}

void jinja_text_free(struct jinja_text *t)
{
    bytes_free(&t->text);
    free(t->runs);
    *t = (struct jinja_text){ 0 };
}

static bool add_run(struct jinja_text *out, size_t n, uint8_t who)
{
    if (!mem_reserve(&out->runs, &out->cap_runs, out->n_runs + 1, sizeof *out->runs)) {
        return false;
    }
    out->runs[out->n_runs++] = (struct jinja_run){ n, who };
    return true;
}

/* Copies the text, and says who wrote which part of it. */
static bool copy_out(struct jinja_text *out, struct jval text)
{
    if (!text_add(&out->text, text.s, text.n)) {
        return false;
    }
    for (size_t from = 0, end = 0; from < text.n; from = end) {
        uint8_t who = jstr_who(text, from);
        end = text.whos == NULL ? text.n : from + 1;
        while (end < text.n && jstr_who(text, end) == who) {
            end++;
        }
        if (!add_run(out, end - from, who)) {
            return false;
        }
    }
    return true;
}

weft_status jinja_render(const struct jinja *t, const struct jinja_params *p,
                         struct jinja_text *out, enum jinja_fault *fault, weft_error *err)
{
    struct jmachine m = { .t = t };
    weft_status s = WEFT_OK;
    jinja_text_free(out);
    jwork_init(&m.w, JINJA_MAX_BYTES, p->max_steps > 0 ? p->max_steps : JINJA_MAX_STEPS);
    m.w.now = p->now;
    m.out.w = &m.w;
    if (!run(&m, p)) {
        m.w.pos = m.pc != NULL ? m.pc[-1].pos : JINJA_NOWHERE;
        s = report(&m.w, t->source, err);
    } else if (!copy_out(out, jbuf_take(&m.out))) {
        m.w.fault = JINJA_NO_MEMORY;
        jinja_text_free(out);
        s = error_nomem(err, "rendered chat template", m.out.n);
    }
    if (fault != NULL) {
        *fault = m.w.fault;
    }
    jwork_free(&m.w);
    return s;
}
