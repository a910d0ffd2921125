/* Matrix products: the threads claim groups of tiles, which they multiply with a few rows of
 * activations after the other. */
#include "cpu/job.h"

/* Tiles that a thread claims at a time: neighbours, since memory is fastest when it is read in
 * order, but not so many that threads wait for the last one. */
enum { TASK_TILES_MIN = 4, TASK_TILES_MAX = 64, TASKS_PER_THREAD = 8 };

static size_t tiles_per_task(const struct product *products, size_t n, size_t n_threads)
{
    size_t n_tiles = 0;
    for (size_t i = 0; i < n; i++) {
        n_tiles += pack_n_tiles(products[i].w);
    }
    size_t size = n_tiles / (n_threads * TASKS_PER_THREAD);
    size = size < TASK_TILES_MAX ? size : TASK_TILES_MAX;
    return size > TASK_TILES_MIN ? size : TASK_TILES_MIN;
}

static size_t n_tasks(const struct packed *w, size_t size)
{
    return (pack_n_tiles(w) + size - 1) / size;
}

static void multiply_tile(struct scratch *s, const struct cpu_ops *ops, const struct product *p,
                          size_t tile, const struct acts *a, size_t row, size_t n_rows)
{
    const struct packed *w = p->w;
    const uint8_t *at = w->tiles + tile * w->layout.n;
    if (w->tiles == NULL) {
        pack_tile(w, tile, s->tile);
        at = s->tile;
    }
    size_t first = tile * TILE_ROWS, left = w->n_rows - first;
    ops->matmul(w, at, left < TILE_ROWS ? left : TILE_ROWS, a, row, n_rows,
                p->out + row * w->n_rows + first, w->n_rows, s->dot);
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
        size_t row = task / w_tasks * DOT_ROWS, at = task % w_tasks;
        const struct product *p = products;
        for (size_t n; at >= (n = n_tasks(p->w, size)); p++) {
            at -= n;
        }
        size_t n = n_rows - row < DOT_ROWS ? n_rows - row : DOT_ROWS;
        size_t tile = at * size, end = tile + size, all = pack_n_tiles(p->w);
        for (; tile < end && tile < all; tile++) {
            multiply_tile(&j->c->scratch[thread], j->c->ops, p, tile, a, row, n);
        }
    }
}
