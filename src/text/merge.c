/* A linked list of symbols and a heap of candidates. A candidate whose pair has changed is
 * recognised when it comes up. */
#include "text/merge.h"

void merger_free(struct merger *m)
{
    free(m->symbols);
    free(m->heap);
    *m = (struct merger){ 0 };
}

bool merger_add(struct merger *m, size_t start, size_t n, int32_t id)
{
    if (m->n >= INT32_MAX ||
        !mem_reserve(&m->symbols, &m->symbols_cap, m->n + 1, sizeof *m->symbols)) {
        return false;
    }
    int32_t i = (int32_t)m->n;
    if (i > 0) {
        m->symbols[i - 1].next = i;
    }
    m->symbols[i] = (struct symbol){ (uint32_t)start, (uint32_t)n, i - 1, -1, id };
    m->n++;
    return true;
}

/* A node of the heap has four children: that halves the levels of a binary heap, and siblings share
 * a cache line. */
enum { CHILDREN = 4 };

static void sift_down(struct candidate *heap, size_t n, size_t i)
{
    struct candidate moving = heap[i];
    for (size_t first = CHILDREN * i + 1; first < n; first = CHILDREN * i + 1) {
        size_t end = size_min(first + CHILDREN, n);
        size_t least = first;
        for (size_t child = first + 1; child < end; child++) {
            least = heap[child].key < heap[least].key ? child : least;
        }
        if (moving.key <= heap[least].key) {
            break;
        }
        heap[i] = heap[least];
        i = least;
    }
    heap[i] = moving;
}

static void sift_up(struct candidate *heap, size_t i)
{
    struct candidate moving = heap[i];
    while (i > 0 && moving.key < heap[(i - 1) / CHILDREN].key) {
        heap[i] = heap[(i - 1) / CHILDREN];
        i = (i - 1) / CHILDREN;
    }
    heap[i] = moving;
}

/* Puts the pair that starts at `left` at the end of the heap array if it may merge. */
static bool consider(struct merger *m, merge_rule rule, const void *user, int32_t left)
{
    if (left < 0 || m->symbols[left].next < 0) {
        return true;
    }
    const struct symbol *l = &m->symbols[left];
    const struct symbol *r = &m->symbols[l->next];
    uint32_t order;
    int32_t id;
    if (!rule(user, l, r, &order, &id)) {
        return true;
    }
    if (!mem_reserve(&m->heap, &m->heap_cap, m->n_heap + 1, sizeof *m->heap)) {
        return false;
    }
    m->heap[m->n_heap++] =
        (struct candidate){ (uint64_t)order << 32 | (uint32_t)left, l->n + r->n, id };
    return true;
}

static bool push(struct merger *m, merge_rule rule, const void *user, int32_t left)
{
    size_t n = m->n_heap;
    if (!consider(m, rule, user, left)) {
        return false;
    }
    if (m->n_heap > n) {
        sift_up(m->heap, n);
    }
    return true;
}

static struct candidate pop(struct merger *m)
{
    struct candidate top = m->heap[0];
    m->n_heap--;
    if (m->n_heap > 0) {
        m->heap[0] = m->heap[m->n_heap];
        sift_down(m->heap, m->n_heap, 0);
    }
    return top;
}

bool merger_run(struct merger *m, merge_rule rule, const void *user)
{
    m->n_heap = 0;
    for (size_t i = 0; i + 1 < m->n; i++) {
        if (!consider(m, rule, user, (int32_t)i)) {
            return false;
        }
    }
    for (size_t i = (m->n_heap + CHILDREN - 2) / CHILDREN; i-- > 0;) {
        sift_down(m->heap, m->n_heap, i);
    }
    while (m->n_heap > 0) {
        struct candidate c = pop(m);
        int32_t left = (int32_t)(uint32_t)c.key;
        struct symbol *l = &m->symbols[left];
        if (l->n == 0 || l->next < 0 || l->n + m->symbols[l->next].n != c.n) {
            continue;
        }
        struct symbol *r = &m->symbols[l->next];
        l->n = c.n;
        l->id = c.id;
        l->next = r->next;
        r->n = 0;
        if (r->next >= 0) {
            m->symbols[r->next].prev = left;
        }
        if (!push(m, rule, user, l->prev) || !push(m, rule, user, left)) {
            return false;
        }
    }
    return true;
}
