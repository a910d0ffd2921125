/* A step as kernels see it. Its parts stand at fixed places, so that one captured graph finds the
 * parts of every step. */
#include <string.h>

#include "cuda.h"

_Static_assert(MAX_POOLS == 1, "a step's image has one table of pages");
_Static_assert((int)KV_PAGE == (int)ATTEND_PAGE, "a page is as long for kernels as for sequences");
_Static_assert((int)BACKEND_TOP == (int)TOP_MAX,
               "kernels give as many candidates as are asked for");

/* Returns true if sequences with many rows attend in tiles: the heads of every layer must allow
 * it. */
static bool tiles_rows(const struct cuda *c, const struct step *s)
{
    bool able = cuda_many(c, s->n_rows);
    for (size_t i = 0; able && i < c->model->n_stores; i++) {
        able = attend_tiled_supports((uint32_t)c->model->kv[i].k_dim);
    }
    return able;
}

/* Attention is launched for the next of these bounds above the number of positions, so that one
 * graph serves many steps. A short step then has some blocks that find nothing to do. */
static const size_t bounds[IMAGE_BUCKETS - 1] = { 512, 4096 };

static size_t bucket_of(size_t n_positions)
{
    size_t i = 0;
    while (i < IMAGE_BUCKETS - 1 && n_positions > bounds[i]) {
        i++;
    }
    return i;
}

size_t image_bound(const struct cuda *c)
{
    size_t i = c->image.bucket, n_ctx = c->params.n_ctx;
    return i < IMAGE_BUCKETS - 1 ? size_min(bounds[i], n_ctx) : n_ctx;
}

static void pack_rows(struct cuda *c, const struct step *s, size_t n_steps)
{
    struct image *m = &c->image;
    struct drow *rows = (struct drow *)(void *)(m->host + m->rows);
    uint32_t *list = (uint32_t *)(void *)(m->host + m->list);
    struct attend_tile *tiles = (struct attend_tile *)(void *)(m->host + m->tiles);
    uint32_t *pages = (uint32_t *)(void *)(m->host + m->pages);
    bool tiled = tiles_rows(c, s);
    m->n_list = m->n_tiles = m->bucket = 0;
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct step_seq *q = &s->seqs[i];
        size_t end = q->pos + q->n_rows + n_steps - 1, n_pages = ceil_div(end, KV_PAGE);
        m->bucket = size_max(bucket_of(end), m->bucket);
        memcpy(pages + i * m->page_stride, q->pages[0], n_pages * sizeof *pages);
        for (size_t r = 0; r < q->n_rows; r++) {
            rows[q->row + r] = (struct drow){ .token = s->tokens[q->row + r],
                                              .pos = (uint32_t)(q->pos + r),
                                              .seq = (uint32_t)i,
                                              .rope_set = q->rope_set };
        }
        bool in_tiles = tiled && q->n_rows >= ATTEND_TILE_FROM;
        for (size_t r = 0; r < q->n_rows; r += in_tiles ? ATTEND_TILE : 1) {
            size_t left = q->n_rows - r;
            if (in_tiles) {
                tiles[m->n_tiles++] =
                    (struct attend_tile){ .row = (uint32_t)(q->row + r),
                                          .n_rows = (uint32_t)size_min(left, ATTEND_TILE) };
            } else {
                list[m->n_list++] = (uint32_t)(q->row + r);
            }
        }
    }
    if (s->n_out > 0) {
        memcpy(m->host + m->out_rows, s->out_rows, s->n_out * sizeof *s->out_rows);
    }
}

weft_status image_send(struct cuda *c, const struct step *s, size_t n_steps, weft_error *err)
{
    struct image *m = &c->image;
    CU(c, cudaEventSynchronize, m->copied);
    pack_rows(c, s, n_steps);
    c->n_out = s->n_out;
    CU(c, cudaMemcpyAsync, (void *)m->device.at, m->host,
       m->pages + s->n_seqs * m->page_stride * sizeof(uint32_t), cudaMemcpyHostToDevice,
       c->queue.stream);
    CU(c, cudaEventRecord, m->copied, c->queue.stream);
    return WEFT_OK;
}

struct dstep image_step(const struct cuda *c)
{
    return (struct dstep){ .rows = dptr_at(c->image.device, c->image.rows),
                           .pages = dptr_at(c->image.device, c->image.pages),
                           .page_stride = (uint32_t)c->image.page_stride };
}
