/* The page pool of the KV cache. A page holds KV_PAGE consecutive positions of one sequence in
 * every layer; sequences share pages by reference count and get a private copy before they write
 * (fork, rewind). */
#ifndef WEFT_KV_H
#define WEFT_KV_H

#include "backend.h"

struct kv_pool {
    size_t n_pages, n_free;
    uint32_t *free;          /* [n_free] page numbers, the next one taken from the end */
    uint32_t *refs;          /* [n_pages] sequences that use a page */
    struct backend *backend; /* copies pages */
};

/* The pages of one sequence: pages[p / KV_PAGE] holds position p. */
struct kv_table {
    uint32_t *pages;
    size_t n, cap;
};

weft_status kv_open(struct kv_pool *pool, size_t n_pages, struct backend *backend, weft_error *err);
void kv_close(struct kv_pool *pool);

/* Makes positions [from, to) writable: allocates the missing pages and copies the shared ones. All
 * or nothing; WEFT_E_KV_FULL gives need and have. */
weft_status kv_reserve(struct kv_pool *pool, struct kv_table *t, size_t from, size_t to,
                       weft_error *err);
/* Gives back the pages past the first n positions, and makes [from, n) writable: as kv_reserve(),
 * with the pages given back at hand. Nothing changes when the pool is too full for that. */
weft_status kv_rewind(struct kv_pool *pool, struct kv_table *t, size_t from, size_t n,
                      weft_error *err);
/* Gives back the pages past the first n positions. */
void kv_trim(struct kv_pool *pool, struct kv_table *t, size_t n);
/* dst (empty) shares the pages of src that hold the first n positions. */
weft_status kv_share(struct kv_pool *pool, const struct kv_table *src, size_t n,
                     struct kv_table *dst, weft_error *err);
void kv_release(struct kv_pool *pool, struct kv_table *t);

#endif
