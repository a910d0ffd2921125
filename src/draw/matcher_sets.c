/* Stacks, sets of stacks, and the moves between sets. */
#include "draw/matcher.h"

#include <string.h>

#include "base/mem.h"

static weft_status no_memory(weft_error *err, size_t bytes)
{
    return error_nomem(err, "the state of a grammar", bytes);
}

static uint64_t key_of(uint32_t high, uint32_t low) { return (uint64_t)high << 32 | low; }

/* ---------------------------------------------------------------- stacks and sets */

weft_status matcher_node(struct matcher *m, uint32_t op, uint32_t below, uint32_t *node,
                         weft_error *err)
{
    uint64_t key = key_of(op, below);
    const uint32_t *known = u64map_find(&m->node_of, key);
    if (known != NULL) {
        *node = *known;
        return WEFT_OK;
    }
    if (m->nodes[below].depth == MATCHER_MAX_DEPTH) {
        *node = 0;
        return WEFT_OK;
    }
    if (!mem_reserve(&m->nodes, &m->cap_nodes, m->n_nodes + 1, sizeof *m->nodes) ||
        !u64map_add(&m->node_of, key, (uint32_t)m->n_nodes)) {
        return no_memory(err, m->n_nodes * sizeof *m->nodes);
    }
    m->nodes[m->n_nodes] =
        (struct matcher_node){ .op = op, .below = below, .depth = m->nodes[below].depth + 1 };
    *node = (uint32_t)m->n_nodes++;
    return WEFT_OK;
}

static int by_thread(const void *a, const void *b)
{
    const struct matcher_thread *x = a, *y = b;
    return x->op != y->op ? (x->op > y->op) - (x->op < y->op)
                          : (x->node > y->node) - (x->node < y->node);
}

weft_status matcher_set(struct matcher *m, size_t from, bool ends, uint32_t *set, weft_error *err)
{
    size_t n = m->n_threads - from;
    uint64_t hash = hash_number(&m->seed, ends);
    *set = MATCHER_DEAD;
    if (n == 0 && !ends) {
        return WEFT_OK;
    }
    struct matcher_thread *t = n > 0 ? m->threads + from : NULL;
    if (n > 0) {
        qsort(t, n, sizeof *t, by_thread);
    }
    for (size_t i = 0; i < n; i++) {
        hash = hash_step(&m->seed, hash, key_of(t[i].op, t[i].node));
    }
    const uint32_t *known = u64map_find(&m->set_of, hash);
    uint32_t last = 0;
    for (uint32_t i = known != NULL ? *known : 0; i != 0; i = m->sets[i].same_hash) {
        const struct matcher_set *s = &m->sets[i];
        if (s->n == n && s->ends == ends &&
            (n == 0 || memcmp(m->threads + s->from, t, n * sizeof *t) == 0)) {
            m->n_threads = from;
            *set = i;
            return WEFT_OK;
        }
        last = i;
    }
    if (!mem_reserve(&m->sets, &m->cap_sets, m->n_sets + 1, sizeof *m->sets) ||
        (last == 0 && !u64map_add(&m->set_of, hash, (uint32_t)m->n_sets))) {
        return no_memory(err, m->n_sets * sizeof *m->sets);
    }
    if (last != 0) {
        m->sets[last].same_hash = (uint32_t)m->n_sets;
    }
    m->sets[m->n_sets] = (struct matcher_set){ .from = from, .n = (uint32_t)n, .ends = ends };
    *set = (uint32_t)m->n_sets++;
    return WEFT_OK;
}

/* ---------------------------------------------------------------- following the grammar */

static weft_status visit(struct matcher *m, uint32_t op, uint32_t node, weft_error *err)
{
    if (!mem_reserve(&m->work, &m->cap_work, m->n_work + 1, sizeof *m->work)) {
        return no_memory(err, m->n_work * sizeof *m->work);
    }
    m->work[m->n_work++] = (struct matcher_thread){ op, node };
    return WEFT_OK;
}

static weft_status wait_here(struct matcher *m, struct matcher_thread t, size_t from,
                             weft_error *err)
{
    if (m->n_threads - from == MATCHER_MAX_STACKS) {
        m->over = true;
        return WEFT_OK;
    }
    if (!mem_reserve(&m->threads, &m->cap_threads, m->n_threads + 1, sizeof *m->threads)) {
        return no_memory(err, m->n_threads * sizeof *m->threads);
    }
    m->threads[m->n_threads++] = t;
    return WEFT_OK;
}

static weft_status call(struct matcher *m, struct matcher_thread t, weft_error *err)
{
    const struct grammar_op *op = &m->g->ops[t.op];
    uint32_t node = t.node;
    if (op->n == 0) {
        TRY(matcher_node(m, t.op + 1, t.node, &node, err));
        if (node == 0) {
            return WEFT_OK; /* too deep */
        }
    }
    return visit(m, m->g->rules[op->arg].start, node, err);
}

/* Follows one operation of a thread to the next operations. */
static weft_status follow(struct matcher *m, struct matcher_thread t, size_t from, weft_error *err)
{
    const struct grammar_op *op = &m->g->ops[t.op];
    uint32_t target = t.op + (uint32_t)op->arg;
    switch ((enum grammar_kind)op->kind) {
    case GRAMMAR_CHAR: return wait_here(m, t, from, err);
    case GRAMMAR_SPLIT: TRY(visit(m, t.op + 1, t.node, err)); return visit(m, target, t.node, err);
    case GRAMMAR_JUMP: return visit(m, target, t.node, err);
    case GRAMMAR_CALL: return call(m, t, err);
    case GRAMMAR_RETURN:
        if (t.node == 0) {
            m->ends = true;
            return WEFT_OK;
        }
        return visit(m, m->nodes[t.node].op, m->nodes[t.node].below, err);
    }
    return WEFT_OK;
}

/* Follows all threads of m->work, and adds those that wait for a character to threads[from ...]. */
static weft_status follow_all(struct matcher *m, size_t from, weft_error *err)
{
    while (m->n_work > 0 && !m->over) {
        struct matcher_thread t = m->work[--m->n_work];
        uint64_t key = key_of(t.op, t.node);
        m->over = ++m->steps > MATCHER_MAX_STEPS;
        if (u64map_find(&m->seen, key) != NULL) {
            continue;
        }
        if (!u64map_add(&m->seen, key, 0)) {
            return no_memory(err, m->seen.n * 2 * sizeof *m->seen.slots);
        }
        TRY(follow(m, t, from, err));
    }
    return WEFT_OK;
}

/* Computes the set that the characters of a class lead to. */
static weft_status lead(struct matcher *m, uint32_t set, uint32_t class, uint32_t *to,
                        weft_error *err)
{
    const struct grammar *g = m->g;
    const struct matcher_set s = m->sets[set];
    uint32_t c = g->class_first[class];
    size_t from = m->n_threads;
    m->n_work = m->steps = 0;
    m->over = m->ends = false;
    u64map_clear(&m->seen);
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < s.n && status == WEFT_OK; i++) {
        struct matcher_thread t = m->threads[s.from + i];
        const struct grammar_op *op = &g->ops[t.op];
        m->steps++;
        if (grammar_holds(g->ranges + op->arg, op->n, c)) {
            status = visit(m, t.op + 1, t.node, err);
            status = status == WEFT_OK ? follow_all(m, from, err) : status;
        }
    }
    if (m->over) {
        m->n_threads = from;
        m->ends = false;
    }
    if (status == WEFT_OK) {
        status = matcher_set(m, from, m->ends, to, err);
    }
    if (status != WEFT_OK) {
        m->n_threads = from;
    }
    return status;
}

weft_status matcher_move(struct matcher *m, uint32_t set, uint32_t class, uint32_t *to,
                         weft_error *err)
{
    uint64_t key = key_of(set, class);
    const uint32_t *known = u64map_find(&m->move_of, key);
    struct matcher_move *found;
    if (known == NULL) {
        TRY(lead(m, set, class, to, err));
        if (!mem_reserve(&m->moves, &m->cap_moves, m->n_moves + 1, sizeof *m->moves) ||
            !u64map_add(&m->move_of, key, (uint32_t)m->n_moves)) {
            return no_memory(err, m->n_moves * sizeof *m->moves);
        }
        found = &m->moves[m->n_moves++];
        *found = (struct matcher_move){ .to = *to, .steps = (uint32_t)m->steps + 1 };
    } else {
        found = &m->moves[*known];
        *to = found->to;
    }
    if (found->mask != m->mask_number) {
        found->mask = m->mask_number;
        m->mask_steps += found->steps;
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- the beginning */

/* Makes the bottom of all stacks, and the set that allows nothing. */
static weft_status set_up(struct matcher *m, weft_error *err)
{
    if (!mem_reserve(&m->nodes, &m->cap_nodes, 1, sizeof *m->nodes) ||
        !mem_reserve(&m->sets, &m->cap_sets, 1, sizeof *m->sets)) {
        return no_memory(err, sizeof *m->nodes);
    }
    m->nodes[0] = (struct matcher_node){ 0 };
    m->sets[MATCHER_DEAD] = (struct matcher_set){ 0 };
    m->n_nodes = m->n_sets = 1;
    return WEFT_OK;
}

weft_status matcher_begin(struct matcher *m, weft_error *err)
{
    TRY(set_up(m, err));
    TRY(visit(m, m->g->rules[m->g->root].start, 0, err));
    TRY(follow_all(m, 0, err));
    if (m->over) {
        m->n_threads = 0;
        m->ends = false;
    }
    return matcher_set(m, 0, m->ends, &m->start, err);
}
