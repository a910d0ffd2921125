/* One rendering: the machine that runs the code of a template. */
#ifndef WEFT_JINJA_RUN_H
#define WEFT_JINJA_RUN_H

#include "text/jinja_code.h"
#include "text/jinja_string.h"

struct jmachine {
    struct jwork w;
    const struct jinja *t;
    const struct jins *pc; /* the instruction that comes next */
    struct jval *stack;
    size_t n, cap;
    struct jval *root; /* [names]: the variables outside of all scopes; J_MISSING = none */
    struct jscope *scope;
    struct jloop *loop;
    struct jframe *frames; /* [JINJA_MAX_CALLS] */
    size_t n_frames;
    size_t *captures; /* where each begins in `out` */
    size_t n_captures, cap_captures;
    struct jbuf out;
};

/* Makes the value of a caller's JSON. Strings are not copied. */
struct jval jvalue_of(struct jwork *w, const json_t *value, uint8_t who,
                      const struct jinja_params *params);

/* Runs the template to its end. */
void jrun(struct jmachine *m);

/* Variables. */
struct jval jload(struct jmachine *m, uint32_t name);
void jstore(struct jmachine *m, uint32_t name, struct jval v);
void jscope_enter(struct jmachine *m, struct jhidden hidden);
/* Returns a closure over the current scope. */
struct jval jclose_over(struct jmachine *m, const struct jmacro *macro);
/* Loops. */
void jfor_begin(struct jmachine *m, struct jval over, struct jhidden hidden);
bool jfor_next(struct jmachine *m, struct jval *item);
void jfor_body(struct jmachine *m);
void jfor_unwind(struct jmachine *m);
/* Begins a call of a macro: its arguments become variables of a new scope. */
void jmacro_begin(struct jmachine *m, const struct jclosure *f, const struct jargs *args);

#endif
