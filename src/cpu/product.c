/* Matrix products: the threads claim groups of tiles, which they multiply with a few rows of
 * activations after the other. */
#include "cpu/job.h"

/* 64 rows of a matrix: enough work to be worth a claim, and many enough to share out. */
enum { TASK_TILES = 4 };

static size_t n_tasks(const struct packed *w)
{
    return (pack_n_tiles(w) + TASK_TILES - 1) / TASK_TILES;
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
    size_t n_groups = (n_rows + DOT_ROWS - 1) / DOT_ROWS, w_tasks = 0;
    for (size_t i = 0; i < n_products; i++) {
        w_tasks += n_tasks(products[i].w);
    }
    for (size_t task; claim(&j->next[counter], n_groups * w_tasks, &task);) {
        size_t row = task / w_tasks * DOT_ROWS, at = task % w_tasks;
        const struct product *p = products;
        for (size_t n; at >= (n = n_tasks(p->w)); p++) {
            at -= n;
        }
        size_t n = n_rows - row < DOT_ROWS ? n_rows - row : DOT_ROWS;
        size_t tile = at * TASK_TILES, end = tile + TASK_TILES, all = pack_n_tiles(p->w);
        for (; tile < end && tile < all; tile++) {
            multiply_tile(&j->c->scratch[thread], j->c->ops, p, tile, a, row, n);
        }
    }
}
