#include "base/mem.h"

#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, LARGE_PAGE = 2 << 20 };

void *mem_large(size_t n)
{
    const size_t align = n < LARGE_PAGE ? ALIGN : LARGE_PAGE;
    if (n > SIZE_MAX - align) {
        return NULL;
    }
    void *p = aligned_alloc(align, round_up(n, align));
    if (p != NULL && align == LARGE_PAGE) {
        (void)madvise(p, n, MADV_HUGEPAGE); /* only a hint */
    }
    return p;
}

bool mem_reserve(void *p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) {
        return true;
    }
    size_t grown = *cap + *cap / 2 + 16;
    size_t n = need > grown ? need : grown;
    size_t bytes;
    if (grown < *cap || !mul_ok(n, size, &bytes)) {
        return false;
    }
    /* p points to some pointer; memcpy keeps the access legal for every pointee type. */
    void *old;
    memcpy(&old, p, sizeof old);
    void *fresh = realloc(old, bytes);
    if (fresh == NULL) {
        return false;
    }
    memcpy(p, &fresh, sizeof fresh);
    *cap = n;
    return true;
}

bool bytes_add(struct bytes *b, const void *data, size_t n)
{
    size_t need;
    if (!add_ok(b->n, n, &need) || !mem_reserve(&b->data, &b->cap, need, 1)) {
        return false;
    }
    if (n > 0) {
        memcpy(b->data + b->n, data, n);
    }
    b->n = need;
    return true;
}

bool text_reserve(struct bytes *b, size_t extra)
{
    size_t need;
    return add_ok(b->n, extra, &need) && add_ok(need, 1, &need) &&
           mem_reserve(&b->data, &b->cap, need, 1);
}

bool text_add(struct bytes *b, const void *data, size_t n)
{
    if (!text_reserve(b, n)) {
        return false;
    }
    if (n > 0) {
        memcpy(b->data + b->n, data, n);
    }
    b->n += n;
    b->data[b->n] = '\0';
    return true;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){ 0 };
}

bool tokens_add(struct tokens *t, int32_t token)
{
    if (!mem_reserve(&t->data, &t->cap, t->n + 1, sizeof *t->data)) {
        return false;
    }
    t->data[t->n++] = token;
    return true;
}
