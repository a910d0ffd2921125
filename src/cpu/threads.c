/* A pool of threads. A waiting thread spins for a short time, because the next piece of work
 * usually comes within microseconds. Then it sleeps, so that an idle engine costs nothing and a
 * core that others want is given up. */
#include "cpu/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend.h"
#include "base/thread.h"
#include "cpu/places.h"
#include "cpu/quota.h"
#include "platform.h"

/* How often a thread looks before it sleeps. This takes 10 to 40 us, depending on the length of a
 * pause. A longer spin would take the core from a thread that was preempted. */
enum { SPINS = 1000 };

/* A counter. Threads wait until it changes. */
struct gate {
    atomic_uint turn;
    pthread_mutex_t lock;
    pthread_cond_t moved;
};

struct threads {
    size_t n;
    pthread_t *handles; /* [n - 1] */
    size_t n_started;
    struct gate start, done; /* one for new work, one for an open barrier */
    atomic_size_t arrived;   /* threads that have reached the barrier */
    atomic_bool quit;
    void (*fn)(void *, size_t);
    void *arg;
};

struct worker {
    struct threads *pool;
    size_t i;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool gate_open(struct gate *g)
{
    atomic_init(&g->turn, 0);
    if (pthread_mutex_init(&g->lock, NULL) != 0) {
        return false;
    }
    if (pthread_cond_init(&g->moved, NULL) != 0) {
        pthread_mutex_destroy(&g->lock);
        return false;
    }
    return true;
}

static void gate_close(struct gate *g)
{
    pthread_cond_destroy(&g->moved);
    pthread_mutex_destroy(&g->lock);
}

static void gate_wait(struct gate *g, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&g->turn, memory_order_acquire) != seen) {
            return;
        }
        pause_cpu();
    }
    pthread_mutex_lock(&g->lock);
    while (atomic_load_explicit(&g->turn, memory_order_acquire) == seen) {
        pthread_cond_wait(&g->moved, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

static void gate_move(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add_explicit(&g->turn, 1, memory_order_release);
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

void threads_barrier(struct threads *t)
{
    if (t->n == 1) {
        return;
    }
    unsigned seen = atomic_load_explicit(&t->done.turn, memory_order_acquire);
    if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) + 1 == t->n) {
        atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
        gate_move(&t->done);
    } else {
        gate_wait(&t->done, seen);
    }
}

static void *work(void *arg)
{
    struct worker w = *(struct worker *)arg;
    free(arg);
    struct threads *t = w.pool;
    for (unsigned seen = 0;; seen++) {
        gate_wait(&t->start, seen);
        if (atomic_load(&t->quit)) {
            return NULL;
        }
        t->fn(t->arg, w.i);
        threads_barrier(t);
    }
}

void threads_run(struct threads *t, void (*fn)(void *arg, size_t i), void *arg)
{
    t->fn = fn;
    t->arg = arg;
    if (t->n > 1) {
        gate_move(&t->start);
    }
    fn(arg, 0);
    threads_barrier(t);
}

size_t threads_count(const struct threads *t) { return t->n; }

static weft_status pin_workers(struct threads *t, weft_error *err)
{
    struct places p;
    places_find(&p);
    for (size_t i = 1; i < t->n; i++) {
        places_mask one = { 0 };
        unsigned cpu = p.cpu[i % p.n];
        CPU_SET_S(cpu, sizeof one, one);
        if (pthread_setaffinity_np(t->handles[i - 1], sizeof one, one) != 0) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "thread %zu of %zu cannot stay on processor %u; open the engine "
                             "without pin_threads",
                             i + 1, t->n, cpu);
        }
    }
    return WEFT_OK;
}

static bool start_worker(struct threads *t, size_t i)
{
    struct worker *w = malloc(sizeof *w);
    if (w == NULL) {
        return false;
    }
    *w = (struct worker){ t, i };
    if (!thread_start(&t->handles[t->n_started], work, w)) {
        free(w);
        return false;
    }
    t->n_started++;
    return true;
}

size_t cpu_default_threads(void)
{
    struct places p;
    places_find(&p);
    size_t quota = quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota > 0 ? size_min(quota, p.n_cores) : p.n_cores;
}

weft_status threads_open(size_t n, bool pin, struct threads **out, weft_error *err)
{
    n = n > 0 ? n : cpu_default_threads();
    struct threads *t = calloc(1, sizeof *t);
    pthread_t *handles = calloc(n, sizeof *handles);
    if (t == NULL || handles == NULL || !gate_open(&t->start)) {
        free(t);
        free(handles);
        return error_nomem(err, "the thread pool", sizeof *t + n * sizeof *handles);
    }
    if (!gate_open(&t->done)) {
        gate_close(&t->start);
        free(t);
        free(handles);
        return error_nomem(err, "the thread pool", sizeof *t);
    }
    t->n = n;
    t->handles = handles;
    for (size_t i = 1; i < n; i++) {
        if (!start_worker(t, i)) {
            threads_close(t);
            return error_set(err, WEFT_E_NOMEM,
                             "thread %zu of %zu could not be started; ask for fewer", i + 1, n);
        }
    }
    weft_status status = pin ? pin_workers(t, err) : WEFT_OK;
    if (status != WEFT_OK) {
        threads_close(t);
        return status;
    }
    *out = t;
    return WEFT_OK;
}

void threads_close(struct threads *t)
{
    if (t == NULL) {
        return;
    }
    atomic_store(&t->quit, true);
    gate_move(&t->start);
    for (size_t i = 0; i < t->n_started; i++) {
        pthread_join(t->handles[i], NULL);
    }
    gate_close(&t->start);
    gate_close(&t->done);
    free(t->handles);
    free(t);
}
