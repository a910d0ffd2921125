#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu-bench/gpu.h"

void bench_die(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("weft-gpu-bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void bench_expect(cudaError_t e, const char *call, const char *file, int line)
{
    if (e != cudaSuccess) {
        bench_die("%s:%d: %s: %s (%s)", file, line, call, cudaGetErrorName(e),
                  cudaGetErrorString(e));
    }
}

/* --- numbers --- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread spread_of(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    double middle = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return (struct spread){ middle, values[0], values[n - 1] };
}

struct spread spread_rate(struct spread seconds, double amount)
{
    return (struct spread){ amount / seconds.median, amount / seconds.high, amount / seconds.low };
}

struct spread spread_scale(struct spread s, double factor)
{
    return (struct spread){ s.median * factor, s.low * factor, s.high * factor };
}

bool bench_shrinks(const size_t *values, size_t n)
{
    size_t best[BENCH_QUARTERS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t q = i * BENCH_QUARTERS / n;
        best[q] = values[i] > best[q] ? values[i] : best[q];
    }
    for (size_t q = 1; q < BENCH_QUARTERS; q++) {
        if (best[q] >= best[q - 1]) {
            return false;
        }
    }
    return true;
}

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- time on the device --- */

static cudaGraphExec_t capture(struct bench *b, bench_record *record, const void *job)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    /* This loads the kernels, which must not happen while a graph is recorded. */
    CU(record(job, &b->queue));
    CU(cudaStreamSynchronize(b->queue.stream));
    CU(cudaStreamBeginCapture(b->queue.stream, cudaStreamCaptureModeThreadLocal));
    CU(record(job, &b->queue));
    CU(cudaStreamEndCapture(b->queue.stream, &graph));
    CU(cudaGraphInstantiate(&exec, graph, 0));
    CU(cudaGraphDestroy(graph));
    return exec;
}

static double replay(struct bench *b, cudaGraphExec_t exec, size_t n)
{
    float ms;
    CU(cudaEventRecord(b->begin, b->queue.stream));
    for (size_t i = 0; i < n; i++) {
        CU(cudaGraphLaunch(exec, b->queue.stream));
    }
    CU(cudaEventRecord(b->end, b->queue.stream));
    CU(cudaEventSynchronize(b->end));
    CU(cudaEventElapsedTime(&ms, b->begin, b->end));
    return (double)ms * 1e-3 / (double)n;
}

/* Keeps the device busy before a timing. An idle device has low clocks and takes a while to raise
 * them; between two timings it waits for the host, which makes random weights. */
static void load(struct bench *b, cudaGraphExec_t exec)
{
    const double rested = 1.0, raise = 0.5, keep = 0.02; /* seconds */
    const double start = bench_now();
    const double seconds = start - b->busy_until > rested ? raise : keep;
    while (bench_now() - start < seconds) {
        (void)replay(b, exec, 10);
    }
}

struct spread bench_time(struct bench *b, bench_record *record, const void *job)
{
    enum { MOST_REPEATS = 101, MOST_REPLAYS = 500 };
    const double window = 5e-3; /* seconds, because events tick in half microseconds */
    double seconds[MOST_REPEATS];
    size_t n_repeats = size_min(b->n_repeats, MOST_REPEATS), n_replays = 1;
    cudaGraphExec_t exec = capture(b, record, job);
    double once = replay(b, exec, 1);
    if (!b->smoke) {
        load(b, exec);
        once = replay(b, exec, 3);
        double n = window / (once > 0.0 ? once : window);
        n_replays = n < 1.0 ? 1 : n > (double)MOST_REPLAYS ? MOST_REPLAYS : (size_t)n;
        (void)replay(b, exec, n_replays);
    }
    for (size_t i = 0; i < n_repeats; i++) {
        seconds[i] = replay(b, exec, n_replays);
    }
    b->busy_until = bench_now();
    CU(cudaGraphExecDestroy(exec));
    return spread_of(seconds, n_repeats);
}

/* --- device memory --- */

struct dptr bench_alloc(struct bench *b, size_t bytes)
{
    void *p = NULL;
    if (b->n_taken == b->cap_taken) {
        b->cap_taken = b->cap_taken * 2 + 64;
        b->taken = realloc(b->taken, b->cap_taken * sizeof *b->taken);
        if (b->taken == NULL) {
            bench_die("no memory for a list of %zu pointers", b->cap_taken);
        }
    }
    CU(cudaMalloc(&p, bytes > 0 ? bytes : 1));
    return b->taken[b->n_taken++] = (struct dptr){ (uintptr_t)p };
}

void bench_free(struct bench *b)
{
    CU(cudaStreamSynchronize(b->queue.stream));
    for (size_t i = 0; i < b->n_taken; i++) {
        CU(cudaFree((void *)b->taken[i].at));
    }
    free(b->taken);
    b->taken = NULL;
    b->n_taken = b->cap_taken = 0;
}

struct dptr bench_put(struct bench *b, const void *src, size_t bytes)
{
    struct dptr d = bench_alloc(b, bytes);
    CU(cudaMemcpyAsync((void *)d.at, src, bytes, cudaMemcpyHostToDevice, b->queue.stream));
    CU(cudaStreamSynchronize(b->queue.stream));
    return d;
}

static float next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 33) / 1073741824.0f - 1.0f;
}

struct dptr bench_floats(struct bench *b, size_t n)
{
    uint64_t state = 3;
    float *x = malloc(n * sizeof *x);
    if (x == NULL) {
        bench_die("no memory for %zu floats", n);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = next(&state);
    }
    struct dptr d = bench_put(b, x, n * sizeof *x);
    free(x);
    return d;
}

/* A first piece comes from the host and is then doubled on the device. */
struct dptr bench_halves(struct bench *b, size_t n)
{
    enum { PIECE = 1 << 20 };
    uint64_t state = 4;
    size_t first = size_min(n, PIECE);
    f16_bits *h = malloc(first * sizeof *h);
    if (h == NULL) {
        bench_die("no memory for %zu halves", first);
    }
    for (size_t i = 0; i < first; i++) {
        h[i] = f32_to_f16(next(&state));
    }
    struct dptr d = bench_alloc(b, n * sizeof *h);
    CU(cudaMemcpyAsync((void *)d.at, h, first * sizeof *h, cudaMemcpyHostToDevice,
                       b->queue.stream));
    for (size_t done = first, piece; done < n; done += piece) {
        piece = size_min(n - done, done);
        CU(cudaMemcpyAsync((void *)(d.at + done * sizeof *h), (void *)d.at, piece * sizeof *h,
                           cudaMemcpyDeviceToDevice, b->queue.stream));
    }
    CU(cudaStreamSynchronize(b->queue.stream));
    free(h);
    return d;
}

size_t bench_copies(const struct bench *b, size_t bytes)
{
    enum { MOST = 512 };
    size_t n = 4 * b->l2_bytes / bytes + 1;
    return b->smoke ? 2 : size_min(n, MOST);
}

size_t bench_launches(const struct bench *b, size_t n_copies)
{
    enum { LEAST = 16 };
    return b->smoke || n_copies >= LEAST ? n_copies : LEAST / n_copies * n_copies;
}
