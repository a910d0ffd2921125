/* weft_engine_wait() and weft_engine_wake(): what makes a wait return, with which answer. A wait
 * must not sleep if a wake came before it, or after it looked for rows and before it fell asleep.
 * Threads only note what they see; the test's own thread judges after they have ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/models.h"
#include "support/rig.h"

/* If nothing ends a wait, the test fails by the time limit of the whole suite. */
enum { LONG_MS = 60000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct waiter {
    weft_engine *engine;
    int ms;
    weft_status status;
    bool ready;
    atomic_bool inside, back;
};

static void *wait_once(void *arg)
{
    struct waiter *w = arg;
    atomic_store(&w->inside, true);
    w->status = weft_engine_wait(w->engine, w->ms, &w->ready, NULL);
    atomic_store(&w->back, true);
    return NULL;
}

/* Starts a thread that waits, and gives it time to fall asleep. */
static pthread_t fall_asleep(struct waiter *w)
{
    pthread_t t;
    OK(weft_engine_wait(w->engine, 0, NULL, E)); /* takes a wake that was kept */
    assert_int_equal(pthread_create(&t, NULL, wait_once, w), 0);
    while (!atomic_load(&w->inside)) {
        usleep(100);
    }
    usleep(20000);
    assert_false(atomic_load(&w->back));
    return t;
}

static void woken(pthread_t t, const struct waiter *w, bool ready)
{
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(w->status, WEFT_OK);
    assert_int_equal(w->ready, ready);
}

static void test_at_once(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_seq *seq = rig_seq(&r, NULL);
    const int32_t token = 300;
    bool ready = true;
    double begin = now();
    OK(weft_engine_wait(r.engine, 0, &ready, E));
    assert_false(ready);
    OK(weft_engine_wait(r.engine, 50, &ready, E));
    assert_false(ready);
    assert_true(now() - begin >= 0.05);
    /* If there are rows, every wait returns at once until they are computed. The answer may be left
     * out. */
    OK(weft_seq_append(seq, &token, 1, E));
    OK(weft_engine_wait(r.engine, LONG_MS, &ready, E));
    assert_true(ready);
    OK(weft_engine_wait(r.engine, -1, NULL, E));
    OK(weft_engine_step(r.engine, NULL, E));
    OK(weft_engine_wait(r.engine, 0, &ready, E));
    assert_false(ready);
    /* Tokens that wait in a cancelled sequence are not computed. */
    OK(weft_seq_append(seq, &token, 1, E));
    weft_seq_cancel(seq);
    OK(weft_engine_wait(r.engine, 0, &ready, E));
    assert_false(ready);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Another thread makes rows, in every way there is. */
static void test_rows(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    int32_t tokens[20], token;
    rig_tokens(&r, 1, tokens, 20);
    weft_seq *seq = rig_fed(&r, tokens, 20), *other = rig_seq(&r, NULL);
    static uint8_t saved[1 << 18];
    size_t n;
    OK(weft_seq_save(seq, saved, sizeof saved, &n, E));
    for (int i = 0; i < 4; i++) {
        struct waiter w = { .engine = r.engine, .ms = LONG_MS };
        pthread_t t = fall_asleep(&w);
        switch (i) {
        case 0: OK(weft_seq_next(seq, &token, E)); break;
        case 1: OK(weft_seq_append(other, tokens, 3, E)); break;
        case 2: OK(weft_seq_rewind(seq, 10, E)); break;
        default: OK(weft_seq_load(seq, saved, n, E)); break;
        }
        woken(t, &w, true);
        rig_compute(&r, seq);
        rig_compute(&r, other);
    }
    /* A fork is not cancelled: tokens that wait in vain in the sequence are computed for the fork.
     */
    weft_seq *copy = NULL;
    OK(weft_seq_append(other, tokens, 3, E));
    weft_seq_cancel(other);
    struct waiter w = { .engine = r.engine, .ms = LONG_MS };
    pthread_t t = fall_asleep(&w);
    OK(weft_seq_fork(other, &copy, E));
    woken(t, &w, true);
    weft_seq_release(&copy);
    weft_seq_release(&seq);
    weft_seq_release(&other);
    rig_close(&r);
}

static weft_engine *of_handler;
static void wake_it(int number)
{
    (void)number;
    weft_engine_wake(of_handler);
}

/* These calls make no rows, but may have made room. weft_engine_wake() is called too, also from a
 * signal handler. */
static void test_woken(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    int32_t tokens[100];
    rig_tokens(&r, 1, tokens, 100);
    weft_seq *seq = rig_fed(&r, tokens, 100);
    OK(weft_seq_reserve(seq, 100, E));
    bool ready = true;
    for (int i = 0; i < 6; i++) {
        struct waiter w = { .engine = r.engine, .ms = i == 0 ? -1 : LONG_MS };
        pthread_t t = fall_asleep(&w);
        switch (i) {
        case 0: weft_engine_wake(r.engine); break;
        case 1: weft_seq_cancel(seq); break;
        case 2:
            of_handler = r.engine;
            assert_true(signal(SIGUSR1, wake_it) != SIG_ERR);
            assert_int_equal(raise(SIGUSR1), 0);
            assert_true(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
            break;
        case 3: OK(weft_seq_reserve(seq, 0, E)); break;
        case 4: OK(weft_seq_rewind(seq, 0, E)); break;
        default: weft_seq_release(&seq); break;
        }
        woken(t, &w, false);
    }
    /* A wake that comes while nobody waits is kept, but only one. */
    weft_engine_wake(r.engine);
    weft_engine_wake(r.engine);
    OK(weft_engine_wait(r.engine, LONG_MS, &ready, E));
    assert_false(ready);
    double begin = now();
    OK(weft_engine_wait(r.engine, 30, &ready, E));
    assert_true(now() - begin >= 0.03);
    weft_engine_wake(NULL);
    rig_close(&r);
}

/* One wake wakes all threads that sleep. While they sleep, others can use the engine. */
static void test_many(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    enum { N = 5 };
    struct waiter w[N];
    pthread_t t[N];
    for (size_t i = 0; i < N; i++) {
        w[i] = (struct waiter){ .engine = r.engine, .ms = LONG_MS };
        t[i] = fall_asleep(&w[i]);
    }
    assert_int_equal(rig_info(&r).n_seqs, 0);
    OK(weft_engine_step(r.engine, NULL, E));
    weft_engine_wake(r.engine);
    for (size_t i = 0; i < N; i++) {
        woken(t[i], &w[i], false);
    }
    rig_close(&r);
}

struct pair {
    struct rig r;
    atomic_size_t n_asked, n_done;
    size_t n_rounds;
};

static void *ask(void *arg)
{
    struct pair *p = arg;
    for (size_t i = 0; i < p->n_rounds; i++) {
        atomic_fetch_add(&p->n_asked, 1);
        weft_engine_wake(p->r.engine);
        while (atomic_load(&p->n_done) <= i) {
            ;
        }
    }
    return NULL;
}

/* Two threads wake each other in turn, and each goes on only when the other has answered: one lost
 * wake would stop both. */
static void test_none_lost(void **state)
{
    (void)state;
    static struct pair p;
    p.n_rounds = 20000;
    p.r = rig_open(model_file("tiny-qwen2"), NULL);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, ask, &p), 0);
    double begin = now();
    while (atomic_load(&p.n_done) < p.n_rounds) {
        OK(weft_engine_wait(p.r.engine, LONG_MS, NULL, E));
        atomic_store(&p.n_done, atomic_load(&p.n_asked));
        assert_true(now() - begin < LONG_MS / 1000.0);
    }
    assert_int_equal(pthread_join(t, NULL), 0);
    rig_close(&p.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),   cmocka_unit_test(test_rows),
        cmocka_unit_test(test_woken),     cmocka_unit_test(test_many),
        cmocka_unit_test(test_none_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
