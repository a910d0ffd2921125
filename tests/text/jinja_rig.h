/* For the tests of chat templates: renders a template, and compares the text or the fault. */
#ifndef JINJA_RIG_H
#define JINJA_RIG_H

#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "text/jinja.h"

enum { NOW = 1700000000, MAX_VARS = 16 };

/* A rendering: what went in, and what came out. */
struct job {
    const char *source;
    size_t n;
    const char *vars; /* JSON, written by the caller; NULL = none */
    const char *mark; /* the variable that is JINJA_MARKED; NULL = none */
    struct jinja_text text;
    enum jinja_fault fault;
    weft_status status;
    weft_error err;
};

static inline void do_job(struct job *j)
{
    struct jinja_var vars[MAX_VARS];
    struct jinja_params p = { .vars = vars, .now = NOW };
    struct jinja *t = NULL;
    const char *name;
    json_t *value, *all = json_loads(j->vars != NULL ? j->vars : "{}", JSON_ALLOW_NUL, NULL);
    assert_non_null(all);
    json_object_foreach(all, name, value)
    {
        assert_true(p.n_vars < MAX_VARS);
        vars[p.n_vars++] = (struct jinja_var){ name, value, JINJA_CALLER };
    }
    const struct jinja_writer marked = { j->mark != NULL ? json_object_get(all, j->mark) : NULL,
                                         JINJA_MARKED };
    p.writers = &marked;
    p.n_writers = 1;
    j->fault = JINJA_SYNTAX;
    j->status = jinja_parse(j->source, j->n, &t, &j->err);
    if (j->status == WEFT_OK) {
        j->status = jinja_render(t, &p, &j->text, &j->fault, &j->err);
        assert_int_equal(j->status == WEFT_OK, j->fault == JINJA_OK);
    }
    assert_true(j->status == WEFT_OK || j->text.text.n == 0);
    jinja_close(t);
    json_decref(all);
}

static inline struct job run(const char *source, const char *vars, const char *mark)
{
    struct job j = { .source = source, .n = strlen(source), .vars = vars, .mark = mark };
    do_job(&j);
    return j;
}

/* Expects a text. */
static inline void gives(const char *source, const char *vars, const char *text)
{
    struct job j = run(source, vars, NULL);
    if (j.status != WEFT_OK || j.text.text.n != strlen(text) ||
        (j.text.text.n > 0 && memcmp(j.text.text.data, text, j.text.text.n) != 0)) {
        fail_msg("%s: expected %s, found %s", source, text,
                 j.status != WEFT_OK ? j.err.message : j.text.text.data);
    }
    jinja_text_free(&j.text);
}

/* Expects a fault whose message holds the words. */
static inline void ends(const char *source, const char *vars, enum jinja_fault fault,
                        const char *words)
{
    struct job j = run(source, vars, NULL);
    if (j.status == WEFT_OK || j.fault != fault || strstr(j.err.message, words) == NULL) {
        fail_msg("%s: expected fault %d, %s; found %d, %s", source, fault, words, j.fault,
                 j.status != WEFT_OK ? j.err.message : "a text");
    }
    bool refused = fault == JINJA_SYNTAX || fault == JINJA_LIMIT;
    assert_int_equal(j.status, refused ? WEFT_E_UNSUPPORTED : WEFT_E_ARG);
    jinja_text_free(&j.text);
}

#endif
