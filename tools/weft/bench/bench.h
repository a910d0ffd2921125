/* weft bench: every combination of the options' lists is a row, which is computed several times on
 * an engine of its own. cmd_bench.c goes through the rows, bench_run.c times one, bench_out.c and
 * bench_md.c write what was found. */
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <jansson.h>

#include "weft/session.h"

/* What is asked for. */
struct bench_row {
    size_t n_prompt, n_gen; /* 0 = not part of the test; not both */
    size_t n_depth, n_parallel;
    size_t n_threads; /* 0: left to the engine */
};

/* All calls of one stage, in all layers. */
struct bench_stage {
    const char *name; /* of the library */
    size_t n_calls;
    double seconds;
    uint64_t bytes, n_macs;
};
enum { BENCH_STAGES = 16 };

struct bench_profile {
    struct bench_stage stages[BENCH_STAGES];
    size_t n_stages, n_steps;
};

struct bench_result {
    weft_engine_info engine;
    weft_limits limits;
    double *seconds; /* [n], one for each repetition */
    size_t n;
    uint64_t bytes; /* that a repetition has to read; 0 = not counted, with a prompt */
    double macs;    /* multiply-adds that a repetition has to do */
    bool has_ids;
    uint32_t hash;  /* of the ids that all sequences generated */
    struct ids ids; /* of the first one */
    struct bench_profile profile;
};

struct bench {
    const struct options *o;
    const char *path;       /* of the model now under test */
    struct session session; /* holds it */
    struct ids prompt;      /* of --prompt-ids */
    weft_limits limits;     /* measured with limits_threads, on this model's engine */
    bool limits_known;
    size_t limits_threads;
    char device[128]; /* "NVIDIA H200" */
    size_t n_written; /* rows */
};

/* "pp512", "tg128@d4096", "pp512+tg128" */
void bench_row_name(const struct bench_row *row, char *dst, size_t cap);

/* Tokens of sequence `seq`: those of --prompt-ids, or random ones, the same on every machine.
 * Prints what fails and returns the exit code. */
int bench_tokens(const struct bench *b, size_t seq, size_t n, int32_t *dst);

/* Times one row. EXIT_INTERRUPTED after Ctrl-C. Prints what fails and returns the exit code; *out
 * is to be freed in any case. */
int bench_run(struct bench *b, const struct bench_row *row, struct bench_result *out);
void bench_result_free(struct bench_result *r);

/* Tokens per second of all sequences. */
struct bench_rates {
    double median, min, max, stddev;
    double ms_token;                                 /* until each sequence has one token more */
    double gb_s, read_percent, macs_s, macs_percent; /* of the median; 0 = not known */
};
struct bench_rates bench_rates(const struct bench_row *row, const struct bench_result *r);
double bench_percent(double reached, double limit); /* 0 if the limit is not known */

/* Write a row to standard output, and what ends the output. */
int bench_write(struct bench *b, const struct bench_row *row, const struct bench_result *r);
int bench_end(const struct bench *b);
void bench_write_md(const struct bench *b, const struct bench_row *row,
                    const struct bench_result *r);

#endif
