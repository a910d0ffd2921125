/* An allocator whose k-th allocation fails, for programs that are linked with --wrap for malloc(),
 * calloc(), realloc() and free(). Code in shared libraries is not reached by --wrap: jansson is
 * only if json_set_alloc_funcs() is given these functions. For one thread. */
#ifndef TESTS_FAILING_H
#define TESTS_FAILING_H

#include <stdbool.h>
#include <stddef.h>

static long countdown; /* the allocation that brings it to 0 fails; < 0 = none */
static long n_live;    /* blocks */

static bool fails(void)
{
    countdown -= countdown >= 0;
    return countdown == 0;
}

static void *counted(void *block)
{
    n_live += block != NULL;
    return block;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) { return fails() ? NULL : counted(__real_malloc(n)); }

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (fails()) {
        return NULL;
    }
    void *q = __real_realloc(p, n);
    n_live += p == NULL && q != NULL;
    return q;
}

void __wrap_free(void *p)
{
    n_live -= p != NULL;
    __real_free(p);
}

#endif
