/* The page pool of the KV cache. A page holds KV_PAGE consecutive positions of one sequence in
 * every store; sequences share pages by reference count and get a private copy before they write
 * (fork, rewind). Free pages whose text is known are taken last, the one that was given back first
 * before the others. */
#ifndef WEFT_MEMORY_H
#define WEFT_MEMORY_H

#include "run/prefix.h"

/* Neighbours in the ring of free pages. */
struct kv_links {
    uint32_t before, after;
};

struct kv_pool {
    size_t n_pages, n_free;
    struct kv_links *links; /* [n_pages + 1]; the last one is the ring's beginning and end */
    uint32_t *refs;         /* [n_pages] sequences that use a page */
    uint8_t *marks;         /* [n_pages] for kv_mark() */
    uint64_t n_copies;      /* of shared pages, since the pool was opened */
    struct prefix_cache prefix;
    struct backend *backend; /* copies pages */
};

/* The pages of one sequence: pages[p / KV_PAGE] holds position p. */
struct kv_table {
    uint32_t *pages;
    size_t n, cap;
    /* Some K and V were not computed here but came from a saved state, which may hold anything, so
     * this text alone may use its pages. Holds until all pages are given back. */
    bool given;
};

/* `known`: texts that begin like an earlier one find its pages. */
weft_status kv_open(struct kv_pool *pool, size_t n_pages, struct backend *backend, bool known,
                    weft_error *err);
void kv_close(struct kv_pool *pool);

/* Makes positions [from, to) writable: allocates the missing pages and copies the shared ones. All
 * or nothing; WEFT_E_KV_FULL gives need and have. */
weft_status kv_reserve(struct kv_pool *pool, struct kv_table *t, size_t from, size_t to,
                       weft_error *err);
/* Gives back the pages past the first n positions, and makes [from, n) writable: as kv_reserve(),
 * with the pages given back at hand. Nothing changes when the pool is too full for that. */
weft_status kv_rewind(struct kv_pool *pool, struct kv_table *t, size_t from, size_t n,
                      weft_error *err);
/* Gives back all pages of the table and takes as many as n positions need, none of them shared, for
 * K and V that come from outside. Nothing changes when the pool is too full for that. */
weft_status kv_replace(struct kv_pool *pool, struct kv_table *t, size_t n, weft_error *err);
/* Gives back the pages past the first n positions. */
void kv_trim(struct kv_pool *pool, struct kv_table *t, size_t n);
/* dst (empty) shares the pages of src that hold the first n positions. */
weft_status kv_share(struct kv_pool *pool, const struct kv_table *src, size_t n,
                     struct kv_table *dst, weft_error *err);
void kv_release(struct kv_pool *pool, struct kv_table *t);

/* What the pool holds now. */
struct kv_counts {
    size_t n_known;  /* free pages whose text is known */
    size_t n_shared; /* pages of more than one table */
    size_t n_refs;   /* pages of all tables, each as often as it is used */
    size_t n_marked; /* positions marked; the marks are gone then */
};
/* Marks the first n positions of the table, for the next kv_count(). */
void kv_mark(struct kv_pool *pool, const struct kv_table *t, size_t n);
struct kv_counts kv_count(struct kv_pool *pool);

/* The full pages of the first n positions, which are computed, can be found by their tokens; not if
 * some were given: whoever wrote a saved state could otherwise answer for its text elsewhere. */
void kv_learn(struct kv_pool *pool, const struct kv_table *t, const int32_t *tokens, size_t n);
/* For a table whose pages are all full: adds pages that hold what comes next, tokens[n], as far as
 * they are known. Returns the number of positions added, a multiple of KV_PAGE. */
size_t kv_adopt(struct kv_pool *pool, struct kv_table *t, const int32_t *tokens, size_t n);

#endif
