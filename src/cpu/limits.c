/* Measures what this processor can do at best with the threads that compute: reading memory that is
 * in no cache, and multiplying bytes that are in the nearest cache. */
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cpu/state.h"

enum {
    READ_BYTES = 256 << 20,
    CHUNK_WORDS = (1 << 20) / sizeof(uint64_t), /* the words that a thread claims at a time */
    N_WORDS = READ_BYTES / sizeof(uint64_t),
    READ_PASSES = 12,
    MAC_PASSES = 4,
    BURST = 4096 /* about 50 us of work with AVX2, so the clock is read seldom enough */
};
#define READ_SECONDS 0.5
#define MAC_PASS_SECONDS 0.05

struct measuring {
    const struct cpu *c;
    uint64_t *words; /* [N_WORDS] */
    atomic_size_t next;
    atomic_uint_fast64_t result; /* the sum of the words, or the number of multiply-adds */
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t *claim(struct measuring *m)
{
    size_t at = atomic_fetch_add_explicit(&m->next, CHUNK_WORDS, memory_order_relaxed);
    return at < N_WORDS ? m->words + at : NULL;
}

/* Writes numbers to the memory. Otherwise all its pages would be one page of the system, which is
 * full of zeros. */
static void fill_part(void *arg, size_t thread)
{
    (void)thread;
    for (uint64_t *at; (at = claim(arg)) != NULL;) {
        memset(at, 1, CHUNK_WORDS * sizeof *at);
    }
}

static void read_part(void *arg, size_t thread)
{
    struct measuring *m = arg;
    uint64_t sum = 0;
    (void)thread;
    for (uint64_t *at; (at = claim(m)) != NULL;) {
        sum += m->c->ops->read(at, CHUNK_WORDS);
    }
    atomic_fetch_add_explicit(&m->result, sum, memory_order_relaxed);
}

static void multiply_part(void *arg, size_t thread)
{
    struct measuring *m = arg;
    _Alignas(64) uint8_t ones[BURST_BYTES];
    uint64_t done = 0;
    (void)thread;
    memset(ones, 1, sizeof ones);
    for (double end = seconds() + MAC_PASS_SECONDS; seconds() < end;) {
        done += m->c->ops->mac_burst(ones, BURST);
    }
    atomic_fetch_add_explicit(&m->result, done, memory_order_relaxed);
}

/* Returns the seconds of one run on all threads. */
static double pass(struct measuring *m, void (*part)(void *, size_t))
{
    double begin = seconds();
    atomic_store(&m->next, 0);
    atomic_store(&m->result, 0);
    threads_run(m->c->threads, part, m);
    return seconds() - begin;
}

/* Returns the rate of the best pass. The other passes were disturbed. */
static double read_rate(struct measuring *m)
{
    double best = 0, used = 0;
    pass(m, fill_part);
    for (int i = 0; i < READ_PASSES && (i < 2 || used < READ_SECONDS); i++) {
        double s = pass(m, read_part);
        used += s;
        double rate = s > 0 ? (double)READ_BYTES / s : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

static double mac_rate(struct measuring *m)
{
    double best = 0;
    for (int i = 0; i < MAC_PASSES; i++) {
        double s = pass(m, multiply_part), n = (double)atomic_load(&m->result);
        best = s > 0 && n / s > best ? n / s : best;
    }
    return best;
}

weft_status cpu_limits(struct backend *b, struct backend_limits *out, weft_error *err)
{
    struct measuring m = { .c = (const struct cpu *)b,
                           .words = mem_array(N_WORDS, sizeof *m.words) };
    if (m.words == NULL) {
        return error_nomem(err, "measuring how fast memory is read", READ_BYTES);
    }
    out->read_bytes_per_s = read_rate(&m);
    out->macs_per_s = mac_rate(&m);
    free(m.words);
    return WEFT_OK;
}
