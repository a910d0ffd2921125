/* Matrix products. The threads claim tasks: a run of neighbouring tiles, and up to MATMUL_ROWS rows
 * of activations that each of these tiles is multiplied with. The results of gate and up are
 * combined and quantised while they are still in the cache. */
#include <string.h>

#include "cpu/job.h"

/* How many tiles a thread claims at a time. They are neighbours, because memory is fastest when it
 * is read in order. Near the end a thread claims fewer and fewer tiles, so that no thread waits
 * long for the last one. */
enum { TASK_TILES_MAX = 64, SHARES_PER_THREAD = 2 };

/* How many bytes ahead of the multiplication memory is requested: as many as one core reads in the
 * time of one access to memory. With a few rows of activations, multiplying a line of weights takes
 * less time than that access. 25 GB/s times 300 ns is 7.5 KB. With 2 KiB, decode lost 8 to 24 %;
 * there was no measurable difference between 4 and 32 KiB. */
enum { PREFETCH_DISTANCE = 8192 };

/* The number of tiles that are computed together if there is a gate. Their results are the columns
 * of one block of activations, which is quantised as a whole. */
enum { PAIR = GATED_COLS / TILE_ROWS };

/* Products that threads compute together. */
struct work {
    struct job *j;
    /* The next tile to claim. Tiles are counted over all groups of rows, and in each group over all
     * products. */
    atomic_size_t *next;
    const struct product *products;
    const struct acts *a;
    size_t n_rows, n_groups, n_tiles; /* tiles of all products */
};

/* The tiles [tile, end) of p, multiplied with rows [first, first + n) of activations. */
struct task {
    const struct product *p;
    size_t tile, end, first, n;
};

/* Returns the task that begins at tile `at`, counted over everything. */
static struct task task_at(const struct work *w, size_t at)
{
    const size_t left = w->n_groups * w->n_tiles - at, first = at / w->n_tiles * MATMUL_ROWS;
    const struct product *p = w->products;
    at %= w->n_tiles;
    for (size_t n; at >= (n = pack_n_tiles(p->w)); p++) {
        at -= n;
    }
    size_t n = left / (w->j->c->n_threads * SHARES_PER_THREAD), of_p = pack_n_tiles(p->w) - at;
    if (p->gate != NULL) {
        n = round_up(n / 2, PAIR); /* a tile of the gate comes with each tile */
    }
    n = n < TASK_TILES_MAX ? n : TASK_TILES_MAX;
    n = n > 0 ? n : p->gate != NULL ? PAIR : 1;
    return (struct task){ .p = p,
                          .tile = at,
                          .end = at + size_min(n, of_p),
                          .first = first,
                          .n = w->n_rows - first < MATMUL_ROWS ? w->n_rows - first : MATMUL_ROWS };
}

static bool claim_task(const struct work *w, struct task *t)
{
    size_t at = atomic_load_explicit(w->next, memory_order_relaxed);
    do {
        if (at >= w->n_groups * w->n_tiles) {
            return false;
        }
        *t = task_at(w, at);
    } while (!atomic_compare_exchange_weak_explicit(w->next, &at, at + t->end - t->tile,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* The state of one thread: its task, and the next task, which it may have claimed already. */
struct worker {
    const struct work *w;
    struct scratch *s;
    struct task now, next;
    enum { UNKNOWN, CLAIMED, NONE_LEFT } then;
};

static void claim_next(struct worker *k)
{
    if (k->then == UNKNOWN) {
        k->then = claim_task(k->w, &k->next) ? CLAIMED : NONE_LEFT;
    }
}

/* Returns the address of tile i of a task. With a gate, the gate's tile is read first, so its
 * address is returned. */
static uintptr_t tile_at(const struct task *t, size_t i)
{
    return (uintptr_t)pack_tile_at(t->p->gate != NULL ? t->p->gate : t->p->w, i);
}

/* Returns the memory to request while the tile `tile` of n bytes is read: the bytes that are read
 * PREFETCH_DISTANCE bytes later. At the end of a task they belong to the next task, which is
 * claimed only at that moment: other threads would wait for a task that was claimed too early. */
static struct prefetch prefetch_from(struct worker *k, const uint8_t *tile, size_t n)
{
    const uintptr_t end = tile_at(&k->now, k->now.end), at = (uintptr_t)tile + PREFETCH_DISTANCE;
    if (at + n <= end) {
        return (struct prefetch){ .at = at, .end = UINTPTR_MAX };
    }
    claim_next(k);
    const uintptr_t next = k->then == CLAIMED ? tile_at(&k->next, k->next.tile) : end;
    return at < end ? (struct prefetch){ at, end, next }
                    : (struct prefetch){ .at = next + (at - end), .end = UINTPTR_MAX };
}

/* `bias` is for all rows of w, or NULL. */
static void multiply_tile(struct worker *k, const struct packed *w, const float *bias, size_t tile,
                          bool add, float *out, size_t ld)
{
    const struct cpu_ops *ops = k->w->j->c->ops;
    const struct task *t = &k->now;
    const size_t left = w->n_rows - tile * TILE_ROWS, n = left < TILE_ROWS ? left : TILE_ROWS;
    if (w->tiles == NULL) {
        pack_tile(w, tile, k->s->tile);
        ops->matmul(w, k->s->tile, n, k->w->a, t->first, t->n, add, out, ld, NULL, k->s->dot);
    } else {
        const uint8_t *at = pack_tile_at(w, tile);
        const bool few = t->n <= MATMUL_FEW;
        struct prefetch prefetch = few ? prefetch_from(k, at, w->layout.n) : (struct prefetch){ 0 };
        ops->matmul(w, at, n, k->w->a, t->first, t->n, add, out, ld, few ? &prefetch : NULL,
                    k->s->dot);
    }
    for (size_t i = 0; bias != NULL && i < t->n; i++) {
        ops->add(out + i * ld, bias + tile * TILE_ROWS, n);
    }
}

/* Computes tiles [tile, tile + PAIR) of a product with a gate, or as many as there are. */
static void multiply_gated(struct worker *k, size_t tile)
{
    const struct product *p = k->now.p;
    struct scratch *s = k->s;
    const size_t size = k->now.n * GATED_COLS;
    if ((tile + PAIR) * TILE_ROWS > p->w->n_rows) {
        memset(s->gate, 0, size * sizeof *s->gate);
        memset(s->up, 0, size * sizeof *s->up);
    }
    for (size_t i = 0; i < PAIR && tile + i < k->now.end; i++) {
        float *gate = s->gate + i * TILE_ROWS, *up = s->up + i * TILE_ROWS;
        multiply_tile(k, p->gate, p->gate_bias, tile + i, false, gate, GATED_COLS);
        multiply_tile(k, p->w, p->bias, tile + i, false, up, GATED_COLS);
    }
    const struct cpu_ops *ops = k->w->j->c->ops;
    switch (p->act) {
    case ACT_SILU: ops->swiglu(s->gate, s->up, size, s->gate); break;
    }
    ops->quantize_part(s->gate, p->gated, k->now.first, k->now.n, tile * TILE_ROWS);
}

static void do_task(struct worker *k)
{
    const struct product *p = k->now.p;
    if (p->gate != NULL) {
        for (size_t tile = k->now.tile; tile < k->now.end; tile += PAIR) {
            multiply_gated(k, tile);
        }
        return;
    }
    for (size_t tile = k->now.tile; tile < k->now.end; tile++) {
        float *out = p->out + k->now.first * p->w->n_rows + tile * TILE_ROWS;
        multiply_tile(k, p->w, p->bias, tile, p->add, out, p->w->n_rows);
    }
}

void cpu_multiply(struct job *j, size_t counter, size_t thread, const struct product *products,
                  size_t n_products, const struct acts *a, size_t n_rows)
{
    struct work w = { .j = j,
                      .next = &j->next[counter],
                      .products = products,
                      .a = a,
                      .n_rows = n_rows,
                      .n_groups = ceil_div(n_rows, MATMUL_ROWS) };
    for (size_t i = 0; i < n_products; i++) {
        w.n_tiles += pack_n_tiles(products[i].w);
    }
    struct worker k = { .w = &w, .s = &j->c->scratch[thread] };
    for (claim_next(&k); k.then == CLAIMED; claim_next(&k)) {
        k.now = k.next;
        k.then = UNKNOWN;
        do_task(&k);
    }
}
