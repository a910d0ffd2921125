/* K and V of the CPU backend: stored into pages, and read by attention. */
#include <math.h>

#include "cpu/job.h"

void cpu_store_kv(const struct cpu *c, size_t layer, size_t row)
{
    const struct config *g = &c->model->config;
    size_t pos = c->row_pos[row], kv_dim = g->n_kv_heads * g->head_dim;
    uint32_t page = c->row_seq[row]->pages[pos / KV_PAGE];
    for (size_t h = 0; h < g->n_kv_heads; h++) {
        size_t at = (pos % KV_PAGE) * g->head_dim;
        c->ops->to_f16(c->k + row * kv_dim + h * g->head_dim, g->head_dim,
                       cpu_kv_block(c, 0, layer, page, h) + at);
        c->ops->to_f16(c->v + row * kv_dim + h * g->head_dim, g->head_dim,
                       cpu_kv_block(c, 1, layer, page, h) + at);
    }
}

/* The positions that `row` sees, as runs within pages. A run never crosses a page. */
static size_t visible(const struct cpu *c, size_t layer, size_t row, size_t kv_head,
                      struct kv_span *spans)
{
    const struct config *g = &c->model->config;
    size_t end = c->row_pos[row] + 1, n_spans = 0;
    size_t p = g->sliding_window > 0 && end > g->sliding_window ? end - g->sliding_window : 0;
    while (p < end) {
        size_t at = p % KV_PAGE, n = KV_PAGE - at < end - p ? KV_PAGE - at : end - p;
        uint32_t page = c->row_seq[row]->pages[p / KV_PAGE];
        spans[n_spans++] =
            (struct kv_span){ .k = cpu_kv_block(c, 0, layer, page, kv_head) + at * g->head_dim,
                              .v = cpu_kv_block(c, 1, layer, page, kv_head) + at * g->head_dim,
                              .n = n };
        p += n;
    }
    return n_spans;
}

void cpu_attend_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    const struct config *g = &c->model->config;
    struct scratch *s = &c->scratch[thread];
    size_t n_tasks = j->step->n_rows * g->n_kv_heads, group = g->n_heads / g->n_kv_heads;
    float scale = 1.0f / sqrtf((float)g->head_dim);
    for (size_t task; claim(&j->next[0], n_tasks, &task);) {
        /* later rows see more positions: they go first, so that the threads finish together */
        size_t row = j->step->n_rows - 1 - task / g->n_kv_heads, head = task % g->n_kv_heads;
        size_t at = (row * g->n_heads + head * group) * g->head_dim;
        size_t n_spans = visible(c, j->layer, row, head, s->spans);
        c->ops->attend(c->q + at, group, g->head_dim, scale, s->spans, n_spans, s->scores,
                       c->o + at);
    }
}
