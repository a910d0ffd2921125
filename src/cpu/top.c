/* Finds the best logits of each row. Each task searches a part of a row. Few logits are better than
 * the best so far, so most logits are only compared with the least of these. */
#include <math.h>
#include <string.h>

#include "cpu/job.h"

/* Logits that are compared at once. */
enum { BLOCK = 64 };

/* The best logits of a part of a row, the best first, equal ones by ascending id. */
struct best {
    size_t n;
    bool nan; /* true if a logit was a NaN */
    int32_t ids[BACKEND_TOP];
    float values[BACKEND_TOP];
};

size_t cpu_top_bytes(size_t n_out, size_t n_threads)
{
    return (n_out + n_threads) * sizeof(struct best);
}

struct search {
    const struct cpu *c;
    size_t k, n_rows, n_parts; /* n_parts: parts of a row */
    struct best *best;         /* [n_rows, n_parts] */
    atomic_size_t next;        /* the next part, counted over all rows */
};

/* Keeps a logit if it is good enough. `id` is larger than all ids that are kept. */
static void keep(struct best *b, size_t k, int32_t id, float value)
{
    if (b->n == k && !(value > b->values[k - 1])) {
        return;
    }
    size_t at = b->n < k ? b->n++ : k - 1;
    for (; at > 0 && value > b->values[at - 1]; at--) {
        b->ids[at] = b->ids[at - 1];
        b->values[at] = b->values[at - 1];
    }
    b->ids[at] = id;
    b->values[at] = value;
}

/* Returns true if a logit is above `least` or is a NaN. */
static bool any_above(const float *x, size_t n, float least)
{
    int any = 0;
    for (size_t i = 0; i < n; i++) {
        any |= !(x[i] <= least);
    }
    return any != 0;
}

static void search_range(struct best *b, size_t k, const float *logits, size_t first, size_t end)
{
    for (size_t at = first; at < end; at += BLOCK) {
        const size_t n = size_min(end - at, BLOCK);
        if (b->n == k && !any_above(logits + at, n, b->values[k - 1])) {
            continue;
        }
        for (size_t i = at; i < at + n; i++) {
            b->nan |= isnan(logits[i]);
            keep(b, k, (int32_t)i, logits[i]);
        }
    }
}

static void search_part(void *arg, size_t thread)
{
    struct search *s = arg;
    const size_t n_vocab = s->c->model->config.n_vocab;
    const size_t size = ceil_div(n_vocab, s->n_parts);
    (void)thread;
    for (size_t task; claim(&s->next, s->n_rows * s->n_parts, &task);) {
        const size_t first = task % s->n_parts * size, end = first + size;
        s->best[task].n = 0;
        s->best[task].nan = false;
        search_range(&s->best[task], s->k, s->c->logits + task / s->n_parts * n_vocab, first,
                     size_min(end, n_vocab));
    }
}

weft_status cpu_top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    struct search s = { .c = c, .k = k, .n_rows = c->n_logits, .best = c->best };
    (void)err;
    s.n_parts = ceil_div(c->n_threads, s.n_rows);
    threads_run(c->threads, search_part, &s);
    for (size_t row = 0; row < s.n_rows; row++) {
        struct best all = { 0 };
        for (const struct best *part = s.best + row * s.n_parts, *end = part + s.n_parts;
             part < end; part++) {
            all.nan |= part->nan;
            for (size_t i = 0; i < part->n; i++) {
                keep(&all, k, part->ids[i], part->values[i]);
            }
        }
        memcpy(ids + row * k, all.ids, k * sizeof *ids);
        memcpy(values + row * k, all.values, k * sizeof *values);
        ids[row * k] = all.nan ? -1 : ids[row * k];
    }
    return WEFT_OK;
}
