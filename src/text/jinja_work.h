/* What a piece of work on a template (its parsing, or one rendering) takes and how it ends: memory
 * that is freed as a whole, a budget of steps, and a fault. jinja_fail() leaves the work at once by
 * longjmp(): whoever began the work has called setjmp() on `escape`, and nothing but the arena and
 * `json` is held in between. */
#ifndef WEFT_JINJA_WORK_H
#define WEFT_JINJA_WORK_H

#include <jansson.h>
#include <setjmp.h>
#include <stdnoreturn.h>

#include "text/jinja.h"

struct jblock;

/* The string that was joined last: its bytes, who wrote them, and the room that it stands in. */
struct jtail {
    char *p;
    uint8_t *whos;
    size_t n, cap;
    uint8_t who;
};

struct jwork {
    struct jblock *blocks;
    char *at; /* the free part of the newest block */
    size_t left;
    size_t bytes_left, steps_left, max_steps;
    json_t *json; /* a value that is being read; NULL = none */
    struct jtail tail;
    size_t nested; /* filters that call filters */
    int64_t now;
    enum jinja_fault fault;
    size_t pos; /* where the fault is: a place in the source, or JINJA_NOWHERE */
    char message[sizeof((weft_error *)0)->message];
    struct {
        const char *s;
        size_t n;
    } words; /* of the template, with JINJA_RAISED */
    jmp_buf escape;
};

#define JINJA_NOWHERE SIZE_MAX

void jwork_init(struct jwork *w, size_t bytes, size_t steps);
void jwork_free(struct jwork *w);

/* Ends the work. */
__attribute__((format(printf, 3, 4))) noreturn void jfail(struct jwork *w, enum jinja_fault fault,
                                                          const char *fmt, ...);
noreturn void jfail_steps(struct jwork *w);

/* Takes n steps off the budget. */
static inline void jsteps(struct jwork *w, size_t n)
{
    if (n > w->steps_left) {
        jfail_steps(w);
    }
    w->steps_left -= n;
}

/* Returns n bytes, aligned for any type and not cleared. They live as long as the work. */
void *jalloc(struct jwork *w, size_t n);
/* Returns the n bytes at p with room for `more` bytes, more >= n; p may be NULL if n is 0. */
void *jgrow(struct jwork *w, void *p, size_t n, size_t more);

/* Makes room for `need` elements in *p (capacity *cap). */
#define JRESERVE(w, p, cap, need)                                                                  \
    do {                                                                                           \
        if ((need) > (cap)) {                                                                      \
            size_t more_ = (cap) + (cap) / 2 > (need) ? (cap) + (cap) / 2 : (need) + 3;            \
            (p) = jgrow(w, p, (cap) * sizeof *(p), more_ * sizeof *(p));                           \
            (cap) = more_;                                                                         \
        }                                                                                          \
    } while (0)

#endif
