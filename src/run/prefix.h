/* Finds pages of the KV pool by the text they hold, so that a text that begins like an earlier one
 * is not computed again. A page is known by its tokens and by the page before it, which is known in
 * the same way: what is found is the same text from its first token on, not one that is likely the
 * same. Pages that nobody uses any more stay known until they are taken for something else. */
#ifndef WEFT_PREFIX_H
#define WEFT_PREFIX_H

#include "backend.h"
#include "base/hash.h"

/* Nothing stands before the first page of a text. */
#define PREFIX_START UINT64_C(1)

struct prefix_page {
    uint64_t serial; /* of what the page holds, never used twice; 0 = not known */
    uint64_t parent; /* serial of the page before it */
    uint32_t next;   /* in the same bucket; UINT32_MAX = none */
    int32_t tokens[KV_PAGE];
};

struct prefix_cache {
    struct prefix_page *pages; /* [n_pages] of the pool; NULL = switched off, and all below do
                                  nothing */
    uint32_t *buckets;         /* [n_buckets] first page of each; a power of two */
    size_t n_buckets;
    uint64_t last_serial;
    struct hash_seed seed; /* of the buckets */
};

weft_status prefix_open(struct prefix_cache *c, size_t n_pages, weft_error *err);
void prefix_close(struct prefix_cache *c);

/* The serial of what the page holds; 0 if that is not known. */
uint64_t prefix_serial(const struct prefix_cache *c, uint32_t page);
/* The page holds tokens[KV_PAGE], computed, behind the page with the serial `parent`. Does nothing
 * if the parent is not known (0), or if this page or another one is already known for that. */
void prefix_learn(struct prefix_cache *c, uint32_t page, uint64_t parent, const int32_t *tokens);
/* The page that holds tokens[KV_PAGE] behind `parent`; false if there is none. */
bool prefix_find(const struct prefix_cache *c, uint64_t parent, const int32_t *tokens,
                 uint32_t *page);
/* The page is about to be written. What came behind it can no longer be found either. */
void prefix_forget(struct prefix_cache *c, uint32_t page);

#endif
