/* K and V of the CPU backend: they are stored into pages, and attention reads them. */
#include "base/mem.h"
#include "cpu/job.h"

void cpu_store_kv(const struct job *j, size_t row)
{
    const struct cpu *c = j->c;
    const float *rows[] = { [KV_K] = c->k, [KV_V] = c->v };
    const size_t store = j->what->attn.kv, n_heads = c->model->kv[store].n_heads;
    size_t pos = c->row_pos[row];
    uint32_t page = c->row_seq[row]->pages[c->model->kv[store].pool][pos / KV_PAGE];
    for (size_t i = 0; i < 2; i++) {
        struct kv_shape shape = cpu_kv_shape(c, i, store);
        for (size_t h = 0; h < n_heads; h++) {
            kv_block_store(c->ops, &shape, cpu_kv_block(c, i, store, page, h), pos % KV_PAGE,
                           rows[i] + (row * n_heads + h) * shape.head_dim);
        }
    }
}

/* The scratch of dot_attend.inc holds two rows of floats for each position of a page (K and V), and
 * two for each query (q and out). Each row is one vector longer than a head, which leaves room for
 * the query's sum and max. */
size_t attend_scratch_bytes(size_t n_queries, size_t head_dim)
{
    size_t row, bytes;
    return head_dim > SIZE_MAX / 64 || n_queries > SIZE_MAX - KV_PAGE ||
                   !mul_ok((head_dim + 15) / 16 * 16 + 16, 2 * sizeof(float), &row) ||
                   !mul_ok(n_queries + KV_PAGE, row, &bytes)
               ? SIZE_MAX
               : bytes;
}

/* Returns how many rows of one sequence a task takes. It is many, so that a page that was converted
 * to floats serves many queries. */
static size_t rows_of_task(size_t group)
{
    return group < ATTEND_QUERIES ? ATTEND_QUERIES / group : 1;
}

/* Where a thread is in the list of tasks, which it gets in ascending order. */
struct place {
    /* The sequences [seq, n_seqs) are done. */
    size_t seq;
    /* The number of blocks in the done sequences. */
    size_t block;
};

/* Finds block i of the step, counted from its end. Later rows see more positions, so they go first,
 * and the threads finish together. Returns the block's sequence, and sets *first and *n to its rows
 * in that sequence. */
static const struct step_seq *find_block(const struct step *s, size_t n_rows, size_t i,
                                         struct place *at, size_t *first, size_t *n)
{
    const struct step_seq *q = &s->seqs[at->seq - 1];
    size_t blocks;
    while (i - at->block >= (blocks = ceil_div(q->n_rows, n_rows))) {
        at->block += blocks;
        at->seq--;
        q--;
    }
    *first = (blocks - 1 - (i - at->block)) * n_rows;
    *n = q->n_rows - *first < n_rows ? q->n_rows - *first : n_rows;
    return q;
}

/* Computes attention for rows [first, first + n) of a sequence in the query heads [head, head +
 * n_heads), which share a KV head. */
static void attend_block(const struct job *j, const struct step_seq *seq, size_t first, size_t n,
                         size_t head, size_t n_heads, void *scratch)
{
    const struct cpu *c = j->c;
    const struct attn *what = &j->what->attn;
    const struct kv *kv = &c->model->kv[what->kv];
    size_t kv_head = head / (what->n_heads / kv->n_heads), ld = what->n_heads * kv->k_dim;
    size_t at = (seq->row + first) * ld + head * kv->k_dim;
    struct attention a = { .q = c->q + at,
                           .out = c->o + at,
                           .ld = ld,
                           .n_rows = n,
                           .n_heads = n_heads,
                           .head_dim = kv->k_dim,
                           .scale = what->scale,
                           .pos = seq->pos + first,
                           .window = what->window,
                           .pages = seq->pages[kv->pool],
                           .scratch = scratch };
    for (size_t i = 0; i < 2; i++) {
        a.kv[i].type = c->params.kv_type[i];
        a.kv[i].blocks = cpu_kv_block(c, i, what->kv, 0, kv_head);
        a.kv[i].ld = c->page_bytes[i];
    }
    c->ops->attend(&a);
}

/* Returns how many of the `group` query heads that share a KV head a task takes. It takes all of
 * them, so that K and V are read once, unless there are more threads than such tasks. */
static size_t heads_of_task(size_t group, size_t n_groups, size_t n_threads)
{
    size_t parts = ceil_div(n_threads, n_groups);
    parts = size_min(parts, group);
    return ceil_div(group, parts);
}

void cpu_attend_part(void *arg, size_t thread)
{
    struct job *j = arg;
    const struct step *s = j->step;
    const size_t n_kv_heads = layer_kv(j->c->model, j->what)->n_heads;
    size_t group = j->what->attn.n_heads / n_kv_heads, n_rows = rows_of_task(group), n_blocks = 0;
    for (size_t i = 0; i < s->n_seqs; i++) {
        n_blocks += ceil_div(s->seqs[i].n_rows, n_rows);
    }
    size_t n_heads = heads_of_task(group, n_blocks * n_kv_heads, j->c->n_threads);
    size_t parts = ceil_div(group, n_heads), of_block = n_kv_heads * parts;
    struct place at = { .seq = s->n_seqs };
    for (size_t task; claim(&j->next[0], n_blocks * of_block, &task);) {
        size_t first, n, in_group = task % parts * n_heads, left = group - in_group;
        const struct step_seq *seq = find_block(s, n_rows, task / of_block, &at, &first, &n);
        attend_block(j, seq, first, n, task % of_block / parts * group + in_group,
                     size_min(left, n_heads), j->c->scratch[thread].attend);
    }
}
