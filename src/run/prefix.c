#include "run/prefix.h"

#include <string.h>

#include "base/mem.h"

enum { NONE = -1 };

weft_status prefix_open(struct prefix_cache *c, size_t n_pages, weft_error *err)
{
    *c = (struct prefix_cache){ .n_buckets = 1,
                                .last_serial = prefix_start(ROPE_SETS - 1),
                                .seed = hash_seed_draw() };
    while (c->n_buckets < n_pages) {
        c->n_buckets *= 2;
    }
    c->pages = mem_array(n_pages, sizeof *c->pages);
    c->buckets = mem_array(c->n_buckets, sizeof *c->buckets);
    if (c->pages == NULL || c->buckets == NULL) {
        prefix_close(c);
        return error_nomem(err, "the list of known pages", n_pages * sizeof *c->pages);
    }
    memset(c->buckets, NONE, c->n_buckets * sizeof *c->buckets);
    return WEFT_OK;
}

void prefix_close(struct prefix_cache *c)
{
    free(c->pages);
    free(c->buckets);
    *c = (struct prefix_cache){ 0 };
}

uint64_t prefix_serial(const struct prefix_cache *c, uint32_t page)
{
    return c->pages != NULL ? c->pages[page].serial : 0;
}

static uint32_t *bucket_of(const struct prefix_cache *c, uint64_t parent, const int32_t *tokens)
{
    uint64_t h = hash_bytes(&c->seed, tokens, KV_PAGE * sizeof *tokens);
    return &c->buckets[hash_step(&c->seed, h, parent) & (c->n_buckets - 1)];
}

bool prefix_find(const struct prefix_cache *c, uint64_t parent, const int32_t *tokens,
                 uint32_t *page)
{
    if (c->pages == NULL || parent == 0) {
        return false;
    }
    for (uint32_t i = *bucket_of(c, parent, tokens); i != UINT32_MAX; i = c->pages[i].next) {
        if (c->pages[i].parent == parent &&
            memcmp(c->pages[i].tokens, tokens, sizeof c->pages[i].tokens) == 0) {
            *page = i;
            return true;
        }
    }
    return false;
}

void prefix_learn(struct prefix_cache *c, uint32_t page, uint64_t parent, const int32_t *tokens)
{
    uint32_t other;
    if (c->pages == NULL || parent == 0 || c->pages[page].serial != 0 ||
        prefix_find(c, parent, tokens, &other)) {
        return;
    }
    struct prefix_page *p = &c->pages[page];
    uint32_t *bucket = bucket_of(c, parent, tokens);
    p->serial = ++c->last_serial;
    p->parent = parent;
    p->next = *bucket;
    memcpy(p->tokens, tokens, sizeof p->tokens);
    *bucket = page;
}

void prefix_forget(struct prefix_cache *c, uint32_t page)
{
    if (prefix_serial(c, page) == 0) {
        return;
    }
    struct prefix_page *p = &c->pages[page];
    uint32_t *at = bucket_of(c, p->parent, p->tokens);
    while (*at != page) {
        at = &c->pages[*at].next;
    }
    *at = p->next;
    p->serial = 0;
}
