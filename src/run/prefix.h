/* Finds pages of the KV pool by their text, so that a text that begins like an earlier one is not
 * computed again. A page is known by its tokens and by the page before it, which is known in the
 * same way. So a page that is found belongs to exactly the same text from the first token on. Pages
 * that no sequence uses any more stay known until they are taken for something else. */
#ifndef WEFT_PREFIX_H
#define WEFT_PREFIX_H

#include "backend.h"
#include "base/hash.h"

/* The parent of the first page of a text whose positions are computed with this set of RoPE
 * factors. */
static inline uint64_t prefix_start(uint8_t rope_set) { return 1 + (uint64_t)rope_set; }

struct prefix_page {
    /* Number of what the page holds, never used twice; 0 = the page is not known. */
    uint64_t serial;
    uint64_t parent; /* serial of the page before it */
    uint32_t next;   /* the next page in the same bucket; UINT32_MAX = none */
    int32_t tokens[KV_PAGE];
};

struct prefix_cache {
    /* [n_pages] of the pool. NULL = the cache is switched off, and the functions below do
     * nothing. */
    struct prefix_page *pages;
    /* [n_buckets] The first page of each bucket. n_buckets is a power of two. */
    uint32_t *buckets;
    size_t n_buckets;
    uint64_t last_serial;
    struct hash_seed seed; /* of the buckets */
};

weft_status prefix_open(struct prefix_cache *c, size_t n_pages, weft_error *err);
void prefix_close(struct prefix_cache *c);

/* Returns the serial of what the page holds, or 0 if the page is not known. */
uint64_t prefix_serial(const struct prefix_cache *c, uint32_t page);
/* Makes the page known: it holds tokens[KV_PAGE], computed, behind the page with the serial
 * `parent`. Does nothing if the parent is not known (0), if the page is known already, or if
 * another page is known for the same tokens and parent. */
void prefix_learn(struct prefix_cache *c, uint32_t page, uint64_t parent, const int32_t *tokens);
/* Finds the page that holds tokens[KV_PAGE] behind `parent`. Returns false if there is none. */
bool prefix_find(const struct prefix_cache *c, uint64_t parent, const int32_t *tokens,
                 uint32_t *page);
/* Forgets the page, because it is about to be written. Pages that followed it cannot be found any
 * more either. */
void prefix_forget(struct prefix_cache *c, uint32_t page);

#endif
