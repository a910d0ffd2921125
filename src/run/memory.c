#include "run/memory.h"

#include <string.h>

static size_t pages_for(size_t n_positions) { return ceil_div(n_positions, KV_PAGE); }

/* ---------------------------------------------------------------- free pages */

static void insert(struct kv_pool *pool, uint32_t page, uint32_t after)
{
    struct kv_links *l = pool->links;
    l[page] = (struct kv_links){ .before = after, .after = l[after].after };
    l[l[page].after].before = page;
    l[after].after = page;
    pool->n_free++;
}

static void unlink_page(struct kv_pool *pool, uint32_t page)
{
    struct kv_links *l = pool->links;
    l[l[page].before].after = l[page].after;
    l[l[page].after].before = l[page].before;
    pool->n_free--;
}

static uint32_t kv_take(struct kv_pool *pool)
{
    uint32_t page = pool->links[pool->n_pages].after;
    unlink_page(pool, page);
    prefix_forget(&pool->prefix, page);
    pool->refs[page] = 1;
    return page;
}

static void kv_drop(struct kv_pool *pool, uint32_t page)
{
    uint32_t ring = (uint32_t)pool->n_pages;
    if (--pool->refs[page] == 0) {
        bool known = prefix_serial(&pool->prefix, page) != 0;
        insert(pool, page, known ? pool->links[ring].before : ring);
    }
}

weft_status kv_open(struct kv_pool *pool, size_t n_pages, struct backend *backend, bool known,
                    weft_error *err)
{
    uint32_t ring = (uint32_t)n_pages;
    *pool = (struct kv_pool){ .n_pages = n_pages, .backend = backend };
    pool->links = mem_array(n_pages + 1, sizeof *pool->links);
    pool->refs = mem_array(n_pages, sizeof *pool->refs);
    pool->marks = mem_array(n_pages, sizeof *pool->marks);
    if (pool->links == NULL || pool->refs == NULL || pool->marks == NULL) {
        kv_close(pool);
        return error_nomem(err, "the list of KV pages", n_pages * sizeof *pool->links);
    }
    pool->links[ring] = (struct kv_links){ .before = ring, .after = ring };
    /* Low page numbers are taken first, so that a lightly used pool touches little memory. */
    for (uint32_t i = ring; i > 0; i--) {
        insert(pool, i - 1, ring);
    }
    weft_status status = known ? prefix_open(&pool->prefix, n_pages, err) : WEFT_OK;
    if (status != WEFT_OK) {
        kv_close(pool);
    }
    return status;
}

void kv_close(struct kv_pool *pool)
{
    prefix_close(&pool->prefix);
    free(pool->links);
    free(pool->refs);
    free(pool->marks);
    *pool = (struct kv_pool){ 0 };
}

/* ---------------------------------------------------------------- page tables */

/* Returns how many of the table's pages [first, end) are used by other sequences too. */
static size_t count_shared(const struct kv_pool *pool, const struct kv_table *t, size_t first,
                           size_t end)
{
    size_t n = 0;
    for (size_t i = first; i < t->n && i < end; i++) {
        n += pool->refs[t->pages[i]] > 1;
    }
    return n;
}

static weft_status pool_full(const struct kv_pool *pool, size_t need, size_t have, weft_error *err)
{
    return error_set(
        err, WEFT_E_KV_FULL,
        "the KV pool is full: it has %zu pages of %d positions, %zu of them free, and "
        "this needs %zu; release or rewind a sequence, or open the engine with a larger n_kv",
        pool->n_pages, KV_PAGE, have, need);
}

weft_status kv_reserve(struct kv_pool *pool, struct kv_table *t, size_t from, size_t to,
                       weft_error *err)
{
    size_t first = from / KV_PAGE, n = pages_for(to);
    size_t need = (n > t->n ? n - t->n : 0) + count_shared(pool, t, first, n);
    if (need > pool->n_free) {
        return pool_full(pool, need, pool->n_free, err);
    }
    if (!mem_reserve(&t->pages, &t->cap, n, sizeof *t->pages)) {
        return error_nomem(err, "a page table", n * sizeof *t->pages);
    }
    for (size_t i = first; i < t->n && i < n; i++) {
        uint32_t old = t->pages[i];
        if (pool->refs[old] == 1) {
            prefix_forget(&pool->prefix, old); /* the caller writes to the page in place */
        } else {
            uint32_t page = kv_take(pool);
            weft_status status = pool->backend->ops->copy_page(pool->backend, page, old, err);
            if (status != WEFT_OK) {
                kv_drop(pool, page);
                return status;
            }
            t->pages[i] = page;
            kv_drop(pool, old);
            pool->n_copies++;
        }
    }
    while (t->n < n) {
        t->pages[t->n++] = kv_take(pool);
    }
    return WEFT_OK;
}

/* Returns the number of free pages after the table has given back its pages from `keep` on. */
static size_t free_without(const struct kv_pool *pool, const struct kv_table *t, size_t keep)
{
    size_t n = pool->n_free;
    for (size_t i = keep; i < t->n; i++) {
        n += pool->refs[t->pages[i]] == 1;
    }
    return n;
}

weft_status kv_rewind(struct kv_pool *pool, struct kv_table *t, size_t from, size_t n,
                      weft_error *err)
{
    size_t keep = pages_for(n), have = free_without(pool, t, keep);
    size_t need = count_shared(pool, t, from / KV_PAGE, keep);
    if (need > have) {
        return pool_full(pool, need, have, err);
    }
    kv_trim(pool, t, n);
    return kv_reserve(pool, t, from, n, err);
}

weft_status kv_replace(struct kv_pool *pool, struct kv_table *t, size_t n, weft_error *err)
{
    size_t need = pages_for(n), have = free_without(pool, t, 0);
    if (need > have) {
        return pool_full(pool, need, have, err);
    }
    if (!mem_reserve(&t->pages, &t->cap, need, sizeof *t->pages)) {
        return error_nomem(err, "a page table", need * sizeof *t->pages);
    }
    kv_trim(pool, t, 0);
    weft_status status = kv_reserve(pool, t, 0, n, err);
    t->given = t->n > 0;
    return status;
}

void kv_trim(struct kv_pool *pool, struct kv_table *t, size_t n)
{
    size_t keep = pages_for(n);
    while (t->n > keep) {
        kv_drop(pool, t->pages[--t->n]);
    }
    t->given = t->given && t->n > 0;
}

weft_status kv_share(struct kv_pool *pool, const struct kv_table *src, size_t n,
                     struct kv_table *dst, weft_error *err)
{
    size_t n_pages = pages_for(n);
    if (!mem_reserve(&dst->pages, &dst->cap, n_pages, sizeof *dst->pages)) {
        return error_nomem(err, "a page table", n_pages * sizeof *dst->pages);
    }
    for (size_t i = 0; i < n_pages; i++) {
        dst->pages[i] = src->pages[i];
        pool->refs[src->pages[i]]++;
    }
    dst->n = n_pages;
    dst->rope_set = src->rope_set;
    dst->given = src->given && n_pages > 0;
    return WEFT_OK;
}

void kv_release(struct kv_pool *pool, struct kv_table *t)
{
    kv_trim(pool, t, 0);
    free(t->pages);
    *t = (struct kv_table){ 0 };
}

/* ---------------------------------------------------------------- counts */

void kv_mark(struct kv_pool *pool, const struct kv_table *t, size_t n)
{
    for (size_t i = 0; i < pages_for(n); i++) {
        size_t here = size_min(n - i * KV_PAGE, KV_PAGE);
        uint8_t *mark = &pool->marks[t->pages[i]];
        *mark = here > *mark ? (uint8_t)here : *mark;
    }
}

struct kv_counts kv_count(struct kv_pool *pool)
{
    struct kv_counts c = { 0 };
    for (uint32_t i = 0; i < pool->n_pages; i++) {
        c.n_known += pool->refs[i] == 0 && prefix_serial(&pool->prefix, i) != 0;
        c.n_shared += pool->refs[i] > 1;
        c.n_refs += pool->refs[i];
        c.n_marked += pool->marks[i];
        pool->marks[i] = 0;
    }
    return c;
}

/* ---------------------------------------------------------------- known pages */

/* Returns the serial of the page before page i of the table, or the start of a text if i is 0. */
static uint64_t parent_of(const struct kv_pool *pool, const struct kv_table *t, size_t i)
{
    return i == 0 ? prefix_start(t->rope_set) : prefix_serial(&pool->prefix, t->pages[i - 1]);
}

void kv_learn(struct kv_pool *pool, const struct kv_table *t, const int32_t *tokens, size_t n)
{
    for (size_t i = 0; !t->given && i < n / KV_PAGE && parent_of(pool, t, i) != 0; i++) {
        prefix_learn(&pool->prefix, t->pages[i], parent_of(pool, t, i), tokens + i * KV_PAGE);
    }
}

size_t kv_adopt(struct kv_pool *pool, struct kv_table *t, size_t from, const int32_t *tokens,
                size_t n)
{
    size_t i = from / KV_PAGE, found = 0;
    uint32_t page;
    for (; found + KV_PAGE <= n &&
           prefix_find(&pool->prefix, parent_of(pool, t, i), tokens + found, &page) &&
           mem_reserve(&t->pages, &t->cap, i + 1, sizeof *t->pages);
         i++, found += KV_PAGE) {
        if (pool->refs[page] == 0) {
            unlink_page(pool, page);
        }
        pool->refs[page]++;
        if (i < t->n) {
            kv_drop(pool, t->pages[i]);
        } else {
            t->n++;
        }
        t->pages[i] = page;
    }
    return found;
}
