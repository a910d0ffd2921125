/* What the files of weft-gpu-bench share: gpu.c reads the options, gpu_time.c times, gpu_report.c
 * prints, gpu_device.c measures the device, gpu_kernels.c, gpu_attend.c and gpu_small.c
 * the kernels, gpu_models.c whole models; gpu_ids.c compares their tokens, gpu_step.c is one step
 * for a profiler, gpu_leak.c looks for lost memory. */
#ifndef BENCH_GPU_H
#define BENCH_GPU_H

#include <stdio.h>

#include "base/mem.h"
#include "format/quant.h"
#include "kernels/kernels.h"
#include "weft.h"

struct bench {
    struct dqueue queue;
    size_t l2_bytes;
    bool smoke;             /* tiny sizes, one repetition: does it run at all? */
    bool no_graphs, no_pdl; /* of engines; no_pdl also of the kernels timed here */
    bool no_arena;          /* of engines */
    bool plant;             /* the ids and the search for lost memory must find a fault */
    double busy_until;      /* bench_now() when the device was last seen at work; 0 = never */
    size_t n_repeats;
    double read_rate;   /* bytes per second that the device reads at best; 0 = not measured */
    FILE *json;         /* one object a line; NULL = nobody wants them */
    struct dptr *taken; /* [n_taken] device memory of the current part */
    size_t n_taken, cap_taken;
    cudaEvent_t begin, end;
};

/* Any failure ends the program: what was measured before it has been printed. */
#define CU(call) bench_expect(call, #call, __FILE__, __LINE__)
void bench_expect(cudaError_t e, const char *call, const char *file, int line);
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- time and memory (gpu_time.c) --- */

struct spread {
    double median, low, high;
};
/* Sorts values[n], n > 0. */
struct spread spread_of(double *values, size_t n);
/* The rates of amount per that many seconds. */
struct spread spread_rate(struct spread seconds, double amount);
struct spread spread_scale(struct spread s, double factor);
/* Does free memory go down for good? The driver keeps memory in pieces of 2 MiB, and takes or
 * returns one when it likes; what engines lose goes on. So: in each quarter of the values, the most
 * that was free; it has to be less in every quarter than in the one before. */
enum { BENCH_QUARTERS = 4 };
bool bench_shrinks(const size_t *values, size_t n);
double bench_now(void); /* seconds */

/* Puts kernels on the queue. */
typedef cudaError_t bench_record(const void *job, const struct dqueue *on);
/* Seconds that one replay of the graph of these kernels takes: after a load that brings the clocks
 * up, each repetition replays it for some milliseconds between two events. */
struct spread bench_time(struct bench *b, bench_record *record, const void *job);

/* Freed by bench_free(). */
struct dptr bench_alloc(struct bench *b, size_t bytes);
struct dptr bench_put(struct bench *b, const void *src, size_t bytes);
/* Random numbers in [-1, 1). */
struct dptr bench_floats(struct bench *b, size_t n);
struct dptr bench_halves(struct bench *b, size_t n);
void bench_free(struct bench *b);
/* How many things of this size are needed so that none is still in the L2 cache when its turn
 * comes again. */
size_t bench_copies(const struct bench *b, size_t bytes);
/* How many launches over that many copies make a graph beside which its own launch is small. */
size_t bench_launches(const struct bench *b, size_t n_copies);

/* --- what comes out (gpu_report.c) --- */

/* A table: a line for each name, a cell for each column. Values also go to the JSON file, with low
 * and high. */
struct table {
    struct bench *bench;
    const char *section;       /* "matvec" */
    const char *columns[8];    /* [n_columns] */
    size_t n_columns, n_cells; /* of the line under way */
    const char *name;
    double spread; /* largest of the line's (high - low) / median */
};
/* `columns` ends with NULL and lives as long as the table. */
struct table table_begin(struct bench *b, const char *section, const char *title,
                         const char *const *columns);
void table_row(struct table *t, const char *name);
/* percent < 0: none */
void table_cell(struct table *t, struct spread value, const char *unit, double percent);
void table_skip(struct table *t);
void table_row_end(struct table *t);
/* A line that is no measurement: "device  NVIDIA H200". */
void report_fact(struct bench *b, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Of the read rate measured before; < 0 if there is none. */
double bench_percent(const struct bench *b, double bytes_per_second);

/* --- what is measured --- */

void bench_memory(struct bench *b);
void bench_phases(struct bench *b);
void bench_matvec(struct bench *b);
void bench_layers(struct bench *b);
void bench_dequant(struct bench *b);
void bench_attend(struct bench *b);
void bench_tiled(struct bench *b);
void bench_small(struct bench *b);
/* Loads the device for half a second, for what is timed without bench_time(). */
void bench_warm_up(struct bench *b);
bool bench_model(struct bench *b, const char *path);
/* True if all ways to generate a text give the same tokens, again and again. */
bool bench_ids(struct bench *b, const char *path);
bool bench_step(struct bench *b, const char *path);
/* True if engines that come and go do not take more and more device memory. */
bool bench_leak(struct bench *b, size_t n_tokens, const char *const *paths, size_t n_paths);

/* --- the public API without its errors (gpu_engine.c) --- */

#define OK(call) engine_expect(call, &bench_error, #call)
extern weft_error bench_error;
void engine_expect(weft_status status, const weft_error *err, const char *call);
/* n ordinary tokens, the same for the same seed. */
void random_tokens(const weft_model *model, uint64_t seed, int32_t *dst, size_t n);
/* A greedy sequence that holds n of them, to be computed. */
weft_seq *random_text(const weft_model *model, weft_engine *engine, uint64_t seed, size_t n);

#endif
