/* Shared by the files of weft-gpu-bench: gpu.c reads the options, gpu_time.c times, gpu_report.c
 * prints, gpu_device.c measures the device, gpu_kernels.c, gpu_attend.c and gpu_small.c measure the
 * kernels, gpu_models.c whole models. gpu_ids.c compares their tokens, gpu_step.c runs one step for
 * a profiler, gpu_leak.c looks for lost memory. */
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
    /* Tiny sizes and one repetition, to see whether it runs at all. */
    bool smoke;
    /* For engines; no_pdl also for the kernels that are timed here. */
    bool no_graphs, no_pdl;
    bool no_arena; /* for engines */
    /* A fault is planted, which the ids and the search for lost memory must find. */
    bool plant;
    /* The value of bench_now() when the device last worked; 0 = never. */
    double busy_until;
    size_t n_repeats;
    /* The most bytes per second that the device reads; 0 = not measured. */
    double read_rate;
    /* One object per line; NULL = none wanted. */
    FILE *json;
    struct dptr *taken; /* [n_taken] device memory of the current part */
    size_t n_taken, cap_taken;
    cudaEvent_t begin, end;
};

/* Any failure ends the program; the results before it have been printed. */
#define CU(call) bench_expect(call, #call, __FILE__, __LINE__)
void bench_expect(cudaError_t e, const char *call, const char *file, int line);
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- time and memory (gpu_time.c) --- */

struct spread {
    double median, low, high;
};
/* Computes the spread of values[n], n > 0, and sorts them. */
struct spread spread_of(double *values, size_t n);
/* Returns the rates for `amount` in this many seconds. */
struct spread spread_rate(struct spread seconds, double amount);
struct spread spread_scale(struct spread s, double factor);
/* Tells whether free memory goes down for good. The driver keeps memory in pieces of 2 MiB, and
 * takes or returns a piece when it likes, while an engine that loses memory goes on losing it. So
 * the largest free memory in each quarter of the values has to be less than in the quarter
 * before. */
enum { BENCH_QUARTERS = 4 };
bool bench_shrinks(const size_t *values, size_t n);
double bench_now(void); /* seconds */

/* Puts kernels on the queue. */
typedef cudaError_t bench_record(const void *job, const struct dqueue *on);
/* Returns the seconds that one replay of the graph of these kernels takes. First a load brings the
 * clocks up; then each repetition replays the graph for some milliseconds between two events. */
struct spread bench_time(struct bench *b, bench_record *record, const void *job);

/* Allocates device memory until bench_free(). */
struct dptr bench_alloc(struct bench *b, size_t bytes);
struct dptr bench_put(struct bench *b, const void *src, size_t bytes);
/* Allocate random numbers in [-1, 1). */
struct dptr bench_floats(struct bench *b, size_t n);
struct dptr bench_halves(struct bench *b, size_t n);
void bench_free(struct bench *b);
/* Returns how many objects of this size are needed so that none is still in the L2 cache when its
 * turn comes again. */
size_t bench_copies(const struct bench *b, size_t bytes);
/* Returns how many launches over n_copies copies make a graph so long that its own launch costs
 * little. */
size_t bench_launches(const struct bench *b, size_t n_copies);

/* --- output (gpu_report.c) --- */

/* A table has a line for each name and a cell for each column. Values also go to the JSON file,
 * with low and high. */
struct table {
    struct bench *bench;
    const char *section;       /* "matvec" */
    const char *columns[8];    /* [n_columns] */
    size_t n_columns, n_cells; /* of the current line */
    const char *name;
    /* The largest (high - low) / median of the line. */
    double spread;
};
/* `columns` ends with NULL and lives as long as the table. */
struct table table_begin(struct bench *b, const char *section, const char *title,
                         const char *const *columns);
void table_row(struct table *t, const char *name);
/* percent < 0 = none */
void table_cell(struct table *t, struct spread value, const char *unit, double percent);
void table_skip(struct table *t);
void table_row_end(struct table *t);
/* Reports a line that is not a measurement: "device  NVIDIA H200". */
void report_fact(struct bench *b, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Returns the percentage of the read rate measured before; < 0 if there is none. */
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
/* Loads the device for half a second, before work that is not timed by bench_time(). */
void bench_warm_up(struct bench *b);
bool bench_model(struct bench *b, const char *path);
/* Returns true if all ways to generate a text give the same tokens in every run. */
bool bench_ids(struct bench *b, const char *path);
bool bench_step(struct bench *b, const char *path);
/* Returns true if engines that come and go do not take more and more device memory. */
bool bench_leak(struct bench *b, size_t n_tokens, const char *const *paths, size_t n_paths);

/* --- the public API without its errors (gpu_engine.c) --- */

#define OK(call) engine_expect(call, &bench_error, #call)
extern weft_error bench_error;
void engine_expect(weft_status status, const weft_error *err, const char *call);
/* Makes n ordinary tokens; the same seed gives the same tokens. */
void random_tokens(const weft_model *model, uint64_t seed, int32_t *dst, size_t n);
/* Opens a greedy sequence that holds n tokens of random_tokens(), not computed yet. */
weft_seq *random_text(const weft_model *model, weft_engine *engine, uint64_t seed, size_t n);

#endif
