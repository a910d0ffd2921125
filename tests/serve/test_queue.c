/* The requests that wait: order, turns, bounds, expiry, and a random test against a model that is
 * an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/queue.h"

static struct queued make(const char *key, double since)
{
    return (struct queued){ .key = key, .since = since };
}

static void order_in_a_key(void **state)
{
    (void)state;
    struct queue q = { 0 };
    struct queued r[3];
    assert_null(queue_pop(&q));
    for (size_t i = 0; i < 3; i++) {
        r[i] = make("a", (double)i);
        queue_push(&q, &r[i]);
    }
    assert_int_equal(q.n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(queue_pop(&q), &r[i]);
        assert_false(r[i].waits);
    }
    assert_null(queue_pop(&q));
    assert_int_equal(q.n, 0);
}

/* The key's text counts, not its address. */
static void keys_have_turns(void **state)
{
    (void)state;
    char again[] = "a";
    struct queue q = { 0 };
    struct queued r[] = { make("a", 0), make(again, 1), make("a", 2),
                          make("b", 3), make("b", 4),   make("c", 5) };
    const size_t want[] = { 0, 3, 5, 1, 4, 2 };
    for (size_t i = 0; i < 6; i++) {
        queue_push(&q, &r[i]);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_ptr_equal(queue_pop(&q), &r[want[i]]);
    }
}

/* A key that was empty and comes back waits for the others' turns. */
static void a_key_that_returns(void **state)
{
    (void)state;
    struct queue q = { 0 };
    struct queued r[] = { make("a", 0), make("b", 1), make("c", 2), make("a", 3) };
    for (size_t i = 0; i < 3; i++) {
        queue_push(&q, &r[i]);
    }
    assert_ptr_equal(queue_pop(&q), &r[0]);
    queue_push(&q, &r[3]);
    for (size_t i = 1; i < 4; i++) {
        assert_ptr_equal(queue_pop(&q), &r[i]);
    }
}

static void removing(void **state)
{
    (void)state;
    struct queue q = { 0 };
    struct queued r[] = { make("a", 0), make("a", 1), make("b", 2), make("a", 3) };
    for (size_t i = 0; i < 4; i++) {
        queue_push(&q, &r[i]);
    }
    queue_remove(&q, &r[0]);
    queue_remove(&q, &r[0]);
    assert_int_equal(q.n, 3);
    queue_remove(&q, &r[2]);
    assert_ptr_equal(queue_pop(&q), &r[1]);
    assert_ptr_equal(queue_pop(&q), &r[3]);
    assert_int_equal(q.n, 0);
}

static void the_oldest_expires_first(void **state)
{
    (void)state;
    struct queue q = { 0 };
    struct queued r[] = { make("a", 1), make("b", 0), make("a", 2), make("c", 7) };
    const size_t want[] = { 1, 0, 2 };
    for (size_t i = 0; i < 4; i++) {
        queue_push(&q, &r[i]);
    }
    assert_null(queue_expire(&q, 5, 5));
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(queue_expire(&q, 8, 5), &r[want[i]]);
    }
    assert_null(queue_expire(&q, 8, 5));
    assert_ptr_equal(queue_pop(&q), &r[3]);
}

/* ---------------------------------------------------------------- the model */

enum { N_REQUESTS = 64, N_KEYS = 6 };

/* Lists of numbers of requests, in order. */
struct list {
    size_t n, at[N_REQUESTS];
};

struct model {
    struct list lines[N_KEYS];
    struct list turns; /* of keys that are not empty */
    size_t n;
};

static void list_take(struct list *l, size_t value)
{
    size_t to = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->at[i] != value) {
            l->at[to++] = l->at[i];
        }
    }
    l->n = to;
}

static void model_push(struct model *m, size_t request, size_t key)
{
    if (m->lines[key].n == 0) {
        m->turns.at[m->turns.n++] = key;
    }
    m->lines[key].at[m->lines[key].n++] = request;
    m->n++;
}

static void model_remove(struct model *m, size_t request)
{
    m->n = 0;
    for (size_t k = 0; k < N_KEYS; k++) {
        const size_t before = m->lines[k].n;
        list_take(&m->lines[k], request);
        m->n += m->lines[k].n;
        if (before > 0 && m->lines[k].n == 0) {
            list_take(&m->turns, k);
        }
    }
}

/* Returns SIZE_MAX if none waits. */
static size_t model_pop(struct model *m)
{
    size_t request = SIZE_MAX;
    if (m->turns.n > 0) {
        const size_t key = m->turns.at[0];
        request = m->lines[key].at[0];
        list_take(&m->turns, key);
        m->turns.at[m->turns.n++] = key;
    }
    if (request != SIZE_MAX) {
        model_remove(m, request);
    }
    return request;
}

/* Returns the oldest of all lines. */
static size_t model_oldest(const struct model *m, const struct queued *r)
{
    size_t oldest = SIZE_MAX;
    for (size_t k = 0; k < N_KEYS; k++) {
        const size_t one = m->lines[k].n > 0 ? m->lines[k].at[0] : SIZE_MAX;
        if (one != SIZE_MAX && (oldest == SIZE_MAX || r[one].since < r[oldest].since)) {
            oldest = one;
        }
    }
    return oldest;
}

struct world {
    struct queue q;
    struct model m;
    struct queued r[N_REQUESTS];
    double now;
};

static const char *const keys[N_KEYS] = { "", "a", "b", "10.0.0.1", "10.0.0.2", "key" };

static void try_push(struct world *w, size_t i)
{
    const size_t key = (size_t)rand() % N_KEYS;
    w->r[i].key = keys[key];
    w->r[i].since = w->now;
    queue_push(&w->q, &w->r[i]);
    model_push(&w->m, i, key);
}

static void try_pop(struct world *w)
{
    const size_t want = model_pop(&w->m);
    assert_ptr_equal(queue_pop(&w->q), want == SIZE_MAX ? NULL : &w->r[want]);
}

static void try_expire(struct world *w)
{
    const size_t oldest = model_oldest(&w->m, w->r);
    const bool expires = oldest != SIZE_MAX && w->now - w->r[oldest].since > 30;
    assert_ptr_equal(queue_expire(&w->q, w->now, 30), expires ? &w->r[oldest] : NULL);
    if (expires) {
        model_remove(&w->m, oldest);
    }
}

static void one_call(struct world *w)
{
    const size_t i = (size_t)rand() % N_REQUESTS;
    const int what = rand() % 8;
    const bool waits = w->r[i].waits;
    w->now += 1;
    if (what < 3 && !waits) {
        try_push(w, i);
    } else if (what == 4) {
        queue_remove(&w->q, &w->r[i]);
        model_remove(&w->m, i);
    } else if (what == 5) {
        try_expire(w);
    } else if (what == 6) {
        try_pop(w);
    }
    assert_int_equal(w->q.n, w->m.n);
}

static void as_the_model(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 40; seed++) {
        struct world *w = calloc(1, sizeof *w);
        assert_non_null(w);
        srand(seed);
        for (size_t i = 0; i < 5000; i++) {
            one_call(w);
        }
        while (w->m.n > 0) {
            try_pop(w);
        }
        assert_null(queue_pop(&w->q));
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_in_a_key),           cmocka_unit_test(keys_have_turns),
        cmocka_unit_test(a_key_that_returns),       cmocka_unit_test(removing),
        cmocka_unit_test(the_oldest_expires_first), cmocka_unit_test(as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
