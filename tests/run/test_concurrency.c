/* Threads on one library: two inside one sequence, many sequences on one engine, two engines on one
 * model, cancelling and releasing from elsewhere, signals. Run under ThreadSanitizer by `make
 * tsan`. Threads only count what they see; the test's own thread judges after they have ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run/engine.h"
#include "support/models.h"
#include "support/rig.h"

static pthread_t start(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, fn, arg), 0);
    return t;
}

static void join(pthread_t t) { assert_int_equal(pthread_join(t, NULL), 0); }

/* ---------------------------------------------------------------- two threads in one sequence */

struct hammer {
    weft_seq *seq;
    weft_engine *engine;
    size_t n_appended, n_busy, n_other;
};

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    const int32_t token = 300;
    char text[64];
    for (size_t i = 0; i < 400; i++) {
        weft_error err;
        weft_status status;
        switch (i % 4) {
        case 0: status = weft_seq_append(h->seq, &token, 1, &err); break;
        case 1: status = weft_engine_step(h->engine, NULL, &err); break;
        case 2: status = weft_seq_text(h->seq, text, sizeof text, NULL, &err); break;
        default: status = weft_seq_tokens(h->seq, NULL, 0, NULL, &err); break;
        }
        h->n_appended += i % 4 == 0 && status == WEFT_OK;
        h->n_busy += status == WEFT_E_BUSY;
        h->n_other +=
            status != WEFT_OK && status != WEFT_E_BUSY && !(i % 4 == 3 && status == WEFT_E_BUFFER);
    }
    return NULL;
}

static void test_busy(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_seq *seq = rig_seq(&r, NULL);
    struct hammer hammers[2] = { { .seq = seq, .engine = r.engine },
                                 { .seq = seq, .engine = r.engine } };
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        threads[i] = start(hammer, &hammers[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        join(threads[i]);
        assert_int_equal(hammers[i].n_other, 0);
    }
    size_t n = hammers[0].n_appended + hammers[1].n_appended;
    assert_int_equal(weft_seq_len(seq), n);
    int32_t tokens[200];
    for (size_t i = 0; i < 200; i++) {
        tokens[i] = 300;
    }
    assert_in_range(n, 1, 200);
    rig_compute(&r, seq);
    rig_check(&r, seq, tokens, n, "a hammered sequence");
    weft_seq_release(&seq);
    rig_close(&r);
}

struct appender {
    weft_seq *seq;
    weft_status status;
};

static void *append_one(void *arg)
{
    struct appender *a = arg;
    a->status = weft_seq_append(a->seq, &(const int32_t){ 300 }, 1, NULL);
    return NULL;
}

/* A thread that waits for the engine stays inside the sequence; meanwhile every other thread is
 * turned away. */
static void test_turned_away(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    struct appender a = { .seq = rig_seq(&r, NULL) };
    weft_seq *copy = NULL;
    int32_t token;
    lock_take(&r.engine->lock);
    pthread_t thread = start(append_one, &a);
    size_t n_tries = 0;
    while (weft_seq_text(a.seq, NULL, 0, NULL, NULL) != WEFT_E_BUSY && n_tries++ < 10000) {
        /* The loop ends when the thread has come in. */
        usleep(1000);
    }
    assert_true(n_tries < 10000);
    FAILS(WEFT_E_BUSY, weft_seq_append(a.seq, &(const int32_t){ 301 }, 1, E));
    FAILS(WEFT_E_BUSY, weft_seq_next(a.seq, &token, E));
    FAILS(WEFT_E_BUSY, weft_seq_fork(a.seq, &copy, E));
    FAILS(WEFT_E_BUSY, weft_seq_rewind(a.seq, 0, E));
    assert_int_equal(weft_seq_finish(a.seq), WEFT_RUNNING);
    lock_give(&r.engine->lock);
    join(thread);
    assert_int_equal(a.status, WEFT_OK);
    assert_int_equal(weft_seq_len(a.seq), 1);
    rig_compute(&r, a.seq);
    rig_check(&r, a.seq, &(const int32_t){ 300 }, 1, "after others were turned away");
    weft_seq_release(&a.seq);
    rig_close(&r);
}

static void *open_one(void *arg)
{
    weft_seq *seq = NULL;
    weft_seq_open(arg, NULL, &seq, NULL);
    return seq;
}

/* A thread that gives up the engine and wants it again at once, like one that steps in a loop,
 * comes after the threads that have been waiting. */
static void test_order(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    struct lock *lock = &r.engine->lock;
    lock_take(lock);
    pthread_t thread = start(open_one, r.engine);
    for (bool waits = false; !waits;) {
        pthread_mutex_lock(&lock->mutex);
        waits = lock->n_waiting == 1;
        pthread_mutex_unlock(&lock->mutex);
    }
    lock_give(lock);
    lock_take(lock);
    assert_int_equal(r.engine->sched.n_seqs, 1);
    lock_give(lock);
    void *opened;
    assert_int_equal(pthread_join(thread, &opened), 0);
    weft_seq *seq = opened;
    weft_seq_release(&seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- a thread for each sequence */

struct writer {
    weft_engine *engine;
    weft_seq *seq;
    const int32_t *prompt;
    size_t n_prompt, n_new;
    weft_status status;
};

/* Generates n_new tokens; the steps of other threads may do the work. */
static void *write_text(void *arg)
{
    struct writer *w = arg;
    w->status = weft_seq_append(w->seq, w->prompt, w->n_prompt, NULL);
    for (size_t i = 0; i < w->n_new && w->status == WEFT_OK; i++) {
        int32_t token;
        while (w->status == WEFT_OK && weft_seq_pending(w->seq) > 0) {
            w->status = weft_engine_step(w->engine, NULL, NULL);
        }
        if (w->status == WEFT_OK) {
            w->status = weft_seq_next(w->seq, &token, NULL);
        }
    }
    return NULL;
}

static void open_writer(const struct rig *r, struct writer *w, const int32_t *prompt, size_t i)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.seed = i;
    s.ignore_end = true;
    *w = (struct writer){ .engine = r->engine,
                          .seq = rig_seq(r, &s),
                          .prompt = prompt,
                          .n_prompt = 10 + 20 * i,
                          .n_new = 30 };
}

/* Checks that the text is that of a sequence alone in its own engine. */
static void check_writer(const struct rig *alone, const struct writer *w, size_t i)
{
    struct writer again;
    int32_t got[256], want[256];
    size_t n_got, n_want;
    assert_int_equal(w->status, WEFT_OK);
    open_writer(alone, &again, w->prompt, i);
    write_text(&again);
    assert_int_equal(again.status, WEFT_OK);
    OK(weft_seq_tokens(w->seq, got, 256, &n_got, E));
    OK(weft_seq_tokens(again.seq, want, 256, &n_want, E));
    assert_int_equal(n_got, n_want);
    assert_int_equal(n_got, w->n_prompt + w->n_new);
    assert_memory_equal(got, want, n_got * sizeof *got);
    weft_seq_release(&again.seq);
}

static void test_threads_of_sequences(void **state)
{
    (void)state;
    enum { N = 4 };
    const weft_engine_params p = { .size = sizeof p, .n_batch = 32, .n_threads = 2 };
    struct rig r = rig_open(model_file("tiny-phi3"), &p);
    struct rig alone = rig_open(model_file("tiny-phi3"), NULL);
    struct writer writers[N];
    pthread_t threads[N];
    int32_t prompt[128];
    rig_tokens(&r, 1, prompt, 128);
    for (size_t i = 0; i < N; i++) {
        open_writer(&r, &writers[i], prompt, i);
    }
    for (size_t i = 0; i < N; i++) {
        threads[i] = start(write_text, &writers[i]);
    }
    for (size_t i = 0; i < N; i++) {
        join(threads[i]);
    }
    for (size_t i = 0; i < N; i++) {
        check_writer(&alone, &writers[i], i);
        weft_seq_release(&writers[i].seq);
    }
    rig_close(&r);
    rig_close(&alone);
}

static void test_two_engines(void **state)
{
    (void)state;
    struct rig a = rig_open(model_file("tiny-llama"), NULL), b = { .n_vocab = a.n_vocab };
    const weft_engine_params p = { .size = sizeof p, .n_batch = 16, .n_threads = 2 };
    struct writer writers[2];
    int32_t prompt[64];
    OK(weft_engine_open(a.model, &p, &b.engine, E));
    rig_tokens(&a, 2, prompt, 64);
    open_writer(&a, &writers[0], prompt, 1);
    open_writer(&b, &writers[1], prompt, 1);
    pthread_t first = start(write_text, &writers[0]), second = start(write_text, &writers[1]);
    join(first);
    join(second);
    check_writer(&a, &writers[0], 1);
    check_writer(&a, &writers[1], 1);
    weft_seq_release(&writers[0].seq);
    weft_seq_release(&writers[1].seq);
    rig_close(&b);
    rig_close(&a);
}

/* ---------------------------------------------------------------- from elsewhere */

struct canceller {
    weft_seq *seq;
    atomic_bool go;
};

static void *cancel_once(void *arg)
{
    struct canceller *c = arg;
    while (!atomic_load(&c->go)) {
    }
    weft_seq_cancel(c->seq);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .n_batch = 4, .n_threads = 1 };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    int32_t tokens[250], token;
    rig_tokens(&r, 1, tokens, 250);
    struct canceller c = { .seq = rig_seq(&r, NULL) };
    size_t n_cancelled = 0;
    pthread_t thread = start(cancel_once, &c);
    OK(weft_seq_append(c.seq, tokens, 200, E));
    OK(weft_engine_step(r.engine, NULL, E));
    atomic_store(&c.go, true);
    join(thread);
    size_t waiting = weft_seq_pending(c.seq);
    OK(weft_engine_step(r.engine, NULL, E));
    assert_int_equal(weft_seq_pending(c.seq), waiting);
    for (size_t i = 0; i < 3; i++) {
        weft_status status = weft_seq_next(c.seq, &token, E);
        n_cancelled += status == WEFT_E_CANCELLED;
        assert_true(status == WEFT_E_CANCELLED || status == WEFT_E_STATE);
    }
    assert_int_equal(n_cancelled, 1);
    rig_compute(&r, c.seq);
    rig_check(&r, c.seq, tokens, 200, "after a cancel from elsewhere");
    weft_seq_release(&c.seq);
    rig_close(&r);
}

struct owner {
    weft_model *model;
    weft_engine *engine;
    weft_seq *seq;
};

static void *release_all(void *arg)
{
    struct owner *o = arg;
    weft_model_release(&o->model);
    weft_engine_release(&o->engine);
    weft_seq_release(&o->seq);
    return NULL;
}

/* A thread of its own gives up a handle of each kind, while another sequence goes on. */
static void test_release(void **state)
{
    (void)state;
    for (size_t round = 0; round < 10; round++) {
        struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
        int32_t tokens[60];
        rig_tokens(&r, 1, tokens, 60);
        struct owner owners[3] = { { .model = r.model },
                                   { .seq = rig_fed(&r, tokens, 60) },
                                   { .seq = rig_fed(&r, tokens, 30) } };
        weft_seq *last = rig_seq(&r, NULL);
        OK(weft_seq_append(last, tokens, 60, E));
        pthread_t threads[3];
        for (size_t i = 0; i < 3; i++) {
            threads[i] = start(release_all, &owners[i]);
        }
        rig_compute(&r, last);
        for (size_t i = 0; i < 3; i++) {
            join(threads[i]);
        }
        assert_int_equal(rig_info(&r).n_seqs, 1);
        /* The last two references are given up at the same time. */
        struct owner engine = { .engine = r.engine }, seq = { .seq = last };
        threads[0] = start(release_all, &engine);
        threads[1] = start(release_all, &seq);
        join(threads[0]);
        join(threads[1]);
    }
}

/* ---------------------------------------------------------------- signals */

static volatile sig_atomic_t n_signals;

static void count_signal(int number)
{
    (void)number;
    n_signals++;
}

/* A program may block a signal, to wait for it where it likes. Then no thread of the engine may run
 * the handler. */
static void test_signals(void **state)
{
    (void)state;
    const weft_engine_params p = { .size = sizeof p, .n_threads = 3 };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    const struct timespec no_time = { 0 };
    sigset_t usr1, before;
    n_signals = 0;
    assert_true(signal(SIGUSR1, count_signal) != SIG_ERR);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    usleep(20000);
    assert_int_equal(n_signals, 0);
    assert_int_equal(sigtimedwait(&usr1, NULL, &no_time), SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    assert_true(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
    rig_close(&r);
}

/* ---------------------------------------------------------------- one model */

static void *tokenize_often(void *arg)
{
    const weft_model *model = *(weft_model *const *)arg;
    static const char text[] = "What is the capital of the world?";
    size_t n_wrong = 0;
    for (size_t i = 0; i < 200; i++) {
        int32_t tokens[64];
        char back[64];
        size_t n = 0, m = 0;
        weft_status a = weft_tokenize(model, text, sizeof text - 1, 0, tokens, 64, &n, NULL);
        weft_status b = weft_detokenize(model, tokens, n, 0, back, sizeof back, &m, NULL);
        n_wrong +=
            a != WEFT_OK || b != WEFT_OK || m != sizeof text - 1 || memcmp(back, text, m) != 0;
    }
    return n_wrong == 0 ? NULL : arg;
}

static void test_model(void **state)
{
    (void)state;
    weft_model *model = NULL;
    OK(weft_model_open(model_file("tiny-qwen2"), NULL, &model, E));
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        threads[i] = start(tokenize_often, &model);
    }
    for (size_t i = 0; i < 3; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    weft_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy),        cmocka_unit_test(test_turned_away),
        cmocka_unit_test(test_order),       cmocka_unit_test(test_threads_of_sequences),
        cmocka_unit_test(test_two_engines), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_release),     cmocka_unit_test(test_signals),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
