#include "text/jinja_work.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BLOCK = 1 << 14, LARGEST_BLOCK = 1 << 20, ALIGNMENT = 16 };

struct jblock {
    struct jblock *next;
    size_t n;
    _Alignas(ALIGNMENT) char data[];
};

void jwork_init(struct jwork *w, size_t bytes, size_t steps)
{
    memset(w, 0, sizeof *w);
    w->bytes_left = bytes;
    w->steps_left = w->max_steps = steps;
    w->pos = JINJA_NOWHERE;
}

void jwork_free(struct jwork *w)
{
    while (w->blocks != NULL) {
        struct jblock *next = w->blocks->next;
        free(w->blocks);
        w->blocks = next;
    }
    json_decref(w->json);
    w->json = NULL;
    w->left = 0;
}

noreturn void jfail(struct jwork *w, enum jinja_fault fault, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->message, sizeof w->message, fmt, args);
    va_end(args);
    w->fault = fault;
    longjmp(w->escape, 1);
}

noreturn void jfail_steps(struct jwork *w)
{
    jfail(w, JINJA_LIMIT, "it takes more than %zu steps; does a loop never end?", w->max_steps);
}

/* Takes a block of at least n bytes. The remainder of the block before is not used again. */
static void add_block(struct jwork *w, size_t n)
{
    size_t size = w->blocks == NULL ? FIRST_BLOCK : size_min(2 * w->blocks->n, LARGEST_BLOCK);
    size = size_max(size, n);
    if (size > w->bytes_left) {
        jfail(w, JINJA_LIMIT, "it takes more than %d MiB of memory", JINJA_MAX_BYTES >> 20);
    }
    struct jblock *b = malloc(sizeof *b + size);
    if (b == NULL) {
        jfail(w, JINJA_NO_MEMORY, "%zu bytes", size);
    }
    w->bytes_left -= size;
    *b = (struct jblock){ w->blocks, size };
    w->blocks = b;
    w->at = b->data;
    w->left = size;
}

void *jalloc(struct jwork *w, size_t n)
{
    if (n > JINJA_MAX_BYTES) {
        n = JINJA_MAX_BYTES + 1; /* more than any budget, and rounding it up does not wrap */
    }
    n = round_up(n, ALIGNMENT);
    if (n > w->left) {
        add_block(w, n);
    }
    void *p = w->at;
    w->at += n;
    w->left -= n;
    return p;
}

void *jgrow(struct jwork *w, void *p, size_t n, size_t more)
{
    size_t had = round_up(n, ALIGNMENT);
    if (p != NULL && (char *)p + had == w->at && more <= JINJA_MAX_BYTES &&
        round_up(more, ALIGNMENT) - had <= w->left) {
        jalloc(w, round_up(more, ALIGNMENT) - had);
        return p;
    }
    void *q = jalloc(w, more);
    if (n > 0) {
        jsteps(w, n / 64);
        memcpy(q, p, n);
    }
    return q;
}
