/* Matrix products: the threads claim groups of tiles, which they multiply with a few rows of
 * activations after the other. What comes out of a tile is used while it is near. */
#include <string.h>

#include "cpu/job.h"

/* Tiles that a thread claims at a time: neighbours, since memory is fastest when it is read in
 * order, but not so many that threads wait for the last one. Even, for PAIR. */
enum { TASK_TILES_MIN = 4, TASK_TILES_MAX = 64, TASKS_PER_THREAD = 8 };

/* Tiles of gated rows computed together: as many columns as are quantised together. */
enum { PAIR = GATED_COLS / TILE_ROWS };

static size_t tiles_per_task(const struct product *products, size_t n, size_t n_threads)
{
    size_t n_tiles = 0;
    for (size_t i = 0; i < n; i++) {
        n_tiles += pack_n_tiles(products[i].w);
    }
    size_t size = n_tiles / (n_threads * TASKS_PER_THREAD) / PAIR * PAIR;
    size_t of_each = products[0].gate != NULL ? 2 : 1; /* a gate's tile comes with each */
    size_t least = TASK_TILES_MIN / of_each, most = TASK_TILES_MAX / of_each;
    size = size < most ? size : most;
    return size > least ? size : least;
}

static size_t n_tasks(const struct packed *w, size_t size)
{
    return (pack_n_tiles(w) + size - 1) / size;
}

/* Rows of activations that are multiplied together. */
struct rows {
    const struct acts *a;
    size_t first, n;
};

/* bias: of all rows of w, or NULL */
static void multiply_tile(struct scratch *s, const struct cpu_ops *ops, const struct packed *w,
                          const float *bias, size_t tile, const struct rows *r, bool add,
                          float *out, size_t ld)
{
    const uint8_t *at = s->tile;
    if (w->tiles != NULL) {
        at = w->tiles + tile * w->layout.n;
    } else {
        pack_tile(w, tile, s->tile);
    }
    size_t left = w->n_rows - tile * TILE_ROWS;
    left = left < TILE_ROWS ? left : TILE_ROWS;
    ops->matmul(w, at, left, r->a, r->first, r->n, add, out, ld, s->dot);
    for (size_t i = 0; bias != NULL && i < r->n; i++) {
        ops->add(out + i * ld, bias + tile * TILE_ROWS, left);
    }
}

/* Tiles [tile, tile + PAIR) of p and its gate, which end with the matrix. */
static void multiply_gated(struct scratch *s, const struct cpu_ops *ops, const struct product *p,
                           size_t tile, const struct rows *r)
{
    size_t n = pack_n_tiles(p->w) - tile, size = r->n * GATED_COLS;
    if ((tile + PAIR) * TILE_ROWS > p->w->n_rows) {
        memset(s->gate, 0, size * sizeof *s->gate);
        memset(s->up, 0, size * sizeof *s->up);
    }
    for (size_t i = 0; i < PAIR && i < n; i++) {
        float *gate = s->gate + i * TILE_ROWS, *up = s->up + i * TILE_ROWS;
        multiply_tile(s, ops, p->gate, p->gate_bias, tile + i, r, false, gate, GATED_COLS);
        multiply_tile(s, ops, p->w, p->bias, tile + i, r, false, up, GATED_COLS);
    }
    ops->swiglu(s->gate, s->up, size, s->gate);
    ops->quantize_part(s->gate, p->gated, r->first, r->n, tile * TILE_ROWS);
}

static void multiply_some(struct scratch *s, const struct cpu_ops *ops, const struct product *p,
                          size_t tile, size_t n, const struct rows *r)
{
    size_t all = pack_n_tiles(p->w), end = tile + n < all ? tile + n : all;
    if (p->gate != NULL) {
        for (; tile < end; tile += PAIR) {
            multiply_gated(s, ops, p, tile, r);
        }
        return;
    }
    for (; tile < end; tile++) {
        float *out = p->out + r->first * p->w->n_rows + tile * TILE_ROWS;
        multiply_tile(s, ops, p->w, p->bias, tile, r, p->add, out, p->w->n_rows);
    }
}

void cpu_multiply(struct job *j, size_t counter, size_t thread, const struct product *products,
                  size_t n_products, const struct acts *a, size_t n_rows)
{
    size_t size = tiles_per_task(products, n_products, j->c->n_threads), w_tasks = 0;
    size_t n_groups = (n_rows + DOT_ROWS - 1) / DOT_ROWS;
    for (size_t i = 0; i < n_products; i++) {
        w_tasks += n_tasks(products[i].w, size);
    }
    for (size_t task; claim(&j->next[counter], n_groups * w_tasks, &task);) {
        size_t at = task % w_tasks;
        const struct product *p = products;
        for (size_t n; at >= (n = n_tasks(p->w, size)); p++) {
            at -= n;
        }
        struct rows r = { .a = a, .first = task / w_tasks * DOT_ROWS };
        r.n = n_rows - r.first < DOT_ROWS ? n_rows - r.first : DOT_ROWS;
        multiply_some(&j->c->scratch[thread], j->c->ops, p, at * size, size, &r);
    }
}
