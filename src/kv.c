#include "kv.h"

#include <string.h>

static size_t pages_for(size_t n_positions)
{
    return n_positions / KV_PAGE + (n_positions % KV_PAGE != 0);
}

weft_status kv_open(struct kv_pool *pool, size_t n_pages, struct backend *backend, weft_error *err)
{
    *pool = (struct kv_pool){ .n_pages = n_pages, .n_free = n_pages, .backend = backend };
    pool->free = mem_array(n_pages, sizeof *pool->free);
    pool->refs = mem_array(n_pages, sizeof *pool->refs);
    if (pool->free == NULL || pool->refs == NULL) {
        kv_close(pool);
        return error_nomem(err, "the list of KV pages", 2 * n_pages * sizeof *pool->free);
    }
    /* low page numbers are taken first, so that a lightly used pool touches little memory */
    for (size_t i = 0; i < n_pages; i++) {
        pool->free[i] = (uint32_t)(n_pages - 1 - i);
    }
    return WEFT_OK;
}

void kv_close(struct kv_pool *pool)
{
    free(pool->free);
    free(pool->refs);
    *pool = (struct kv_pool){ 0 };
}

static uint32_t take(struct kv_pool *pool)
{
    uint32_t page = pool->free[--pool->n_free];
    pool->refs[page] = 1;
    return page;
}

static void drop(struct kv_pool *pool, uint32_t page)
{
    if (--pool->refs[page] == 0) {
        pool->free[pool->n_free++] = page;
    }
}

/* Pages [first, end) of the table that other sequences use too. */
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
        if (pool->refs[old] > 1) {
            uint32_t page = take(pool);
            weft_status status = pool->backend->ops->copy_page(pool->backend, page, old, err);
            if (status != WEFT_OK) {
                drop(pool, page);
                return status;
            }
            t->pages[i] = page;
            drop(pool, old);
        }
    }
    while (t->n < n) {
        t->pages[t->n++] = take(pool);
    }
    return WEFT_OK;
}

weft_status kv_rewind(struct kv_pool *pool, struct kv_table *t, size_t from, size_t n,
                      weft_error *err)
{
    size_t keep = pages_for(n), have = pool->n_free;
    size_t need = count_shared(pool, t, from / KV_PAGE, keep);
    for (size_t i = keep; i < t->n; i++) {
        have += pool->refs[t->pages[i]] == 1;
    }
    if (need > have) {
        return pool_full(pool, need, have, err);
    }
    kv_trim(pool, t, n);
    return kv_reserve(pool, t, from, n, err);
}

void kv_trim(struct kv_pool *pool, struct kv_table *t, size_t n)
{
    size_t keep = pages_for(n);
    while (t->n > keep) {
        drop(pool, t->pages[--t->n]);
    }
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
    return WEFT_OK;
}

void kv_release(struct kv_pool *pool, struct kv_table *t)
{
    kv_trim(pool, t, 0);
    free(t->pages);
    *t = (struct kv_table){ 0 };
}
