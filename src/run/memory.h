/* The page pool of the KV cache. A page holds KV_PAGE consecutive positions of one sequence in
 * every store. Sequences share pages by reference count, and get a private copy before they write
 * (fork, rewind). Free pages whose text is known are taken last; among them, the page that was
 * given back first is taken first. */
#ifndef WEFT_MEMORY_H
#define WEFT_MEMORY_H

#include "run/prefix.h"

/* The neighbours of a page in the ring of free pages. */
struct kv_links {
    uint32_t before, after;
};

struct kv_pool {
    size_t n_pages, n_free;
    /* [n_pages + 1] The last entry is the ring's beginning and end. */
    struct kv_links *links;
    /* [n_pages] The number of tables that hold the page. */
    uint32_t *refs;
    uint8_t *marks;    /* [n_pages] marks of kv_mark() */
    uint64_t n_copies; /* shared pages copied since the pool was opened */
    struct prefix_cache prefix;
    struct backend *backend; /* copies pages */
};

/* The pages of a sequence: pages[p / KV_PAGE] holds position p. */
struct kv_table {
    uint32_t *pages;
    size_t n, cap;
    /* The set of RoPE factors with which the K of all its positions is computed. */
    uint8_t rope_set;
    /* True if some K and V were not computed here but come from a saved state, which may hold
     * anything. Then no other text may find the pages. It stays true until all pages are given
     * back, or all positions are to be computed again. */
    bool given;
};

/* If `known` is true, a text that begins like an earlier one finds the pages of that text. */
weft_status kv_open(struct kv_pool *pool, size_t n_pages, struct backend *backend, bool known,
                    weft_error *err);
void kv_close(struct kv_pool *pool);

/* Makes positions [from, to) writable: allocates the missing pages and copies the shared ones. Does
 * all or nothing; the message of WEFT_E_KV_FULL says how many pages are needed and how many are
 * free. */
weft_status kv_reserve(struct kv_pool *pool, struct kv_table *t, size_t from, size_t to,
                       weft_error *err);
/* Gives back the pages past the first n positions, and makes [from, n) writable as kv_reserve()
 * does; it can use the pages just given back. If the pool is still too full, nothing changes. */
weft_status kv_rewind(struct kv_pool *pool, struct kv_table *t, size_t from, size_t n,
                      weft_error *err);
/* Gives back all pages of the table and takes as many as n positions need, none of them shared.
 * They are for K and V that come from outside. If the pool is too full, nothing changes. */
weft_status kv_replace(struct kv_pool *pool, struct kv_table *t, size_t n, weft_error *err);
/* Gives back the pages past the first n positions. */
void kv_trim(struct kv_pool *pool, struct kv_table *t, size_t n);
/* Lets dst, which is empty, share the pages of src that hold the first n positions. */
weft_status kv_share(struct kv_pool *pool, const struct kv_table *src, size_t n,
                     struct kv_table *dst, weft_error *err);
void kv_release(struct kv_pool *pool, struct kv_table *t);

/* What the pool holds at this moment. */
struct kv_counts {
    size_t n_known;  /* free pages whose text is known */
    size_t n_shared; /* pages that more than one table uses */
    /* Pages of all tables, each counted once for every table that uses it. */
    size_t n_refs;
    /* Positions that were marked. Counting removes the marks. */
    size_t n_marked;
};
/* Marks the first n positions of the table, for the next kv_count(). */
void kv_mark(struct kv_pool *pool, const struct kv_table *t, size_t n);
struct kv_counts kv_count(struct kv_pool *pool);

/* Makes the full pages of the first n positions, which are computed, known by their tokens. Does
 * nothing if some K and V were loaded: otherwise the writer of a saved state could change what
 * other sequences read for the same text. */
void kv_learn(struct kv_pool *pool, const struct kv_table *t, const int32_t *tokens, size_t n);
/* Finds known pages that hold tokens[n] from position `from` on, a multiple of KV_PAGE. They follow
 * the table's pages, or take their places. Returns the number of positions found, a multiple of
 * KV_PAGE. */
size_t kv_adopt(struct kv_pool *pool, struct kv_table *t, size_t from, const int32_t *tokens,
                size_t n);

#endif
