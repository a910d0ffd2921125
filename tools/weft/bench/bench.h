/* weft bench: every combination of the options' lists is a row. Each row is computed several times
 * on an engine of its own. cmd_bench.c goes through the rows, bench_run.c times one, and
 * bench_out.c and bench_md.c write the results. */
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <jansson.h>

#include "weft/session.h"

/* The test of one row. */
struct bench_row {
    size_t n_prompt, n_gen; /* 0 = not part of the test; at most one of them is 0 */
    size_t n_depth, n_parallel;
    size_t n_threads; /* 0 = the engine's choice */
};

/* All calls of one stage, in all layers. */
struct bench_stage {
    const char *name; /* as the library names it */
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
    /* The bytes that a repetition has to read; 0 = not counted, because there is a prompt. */
    uint64_t bytes;
    double macs; /* multiply-adds that a repetition has to do */
    bool has_ids;
    uint32_t hash;  /* of the ids that all sequences generated */
    struct ids ids; /* ids of the first sequence */
    struct bench_profile profile;
};

struct bench {
    const struct options *o;
    const char *path;       /* of the model that is now tested */
    struct session session; /* holds that model */
    struct ids prompt;      /* the ids of --prompt-ids */
    /* Measured with limits_threads, on this model's engine. */
    weft_limits limits;
    bool limits_known;
    size_t limits_threads;
    char device[128]; /* "NVIDIA H200" */
    size_t n_written; /* rows */
};

/* Writes a name such as "pp512", "tg128@d4096" or "pp512+tg128". */
void bench_row_name(const struct bench_row *row, char *dst, size_t cap);

/* Fills in the tokens of sequence `seq`: those of --prompt-ids, or random ones, which are the same
 * on every machine. Prints errors and returns the exit code. */
int bench_tokens(const struct bench *b, size_t seq, size_t n, int32_t *dst);

/* Times one row. Returns EXIT_INTERRUPTED after Ctrl-C. Prints errors and returns the exit code;
 * *out has to be freed in any case. */
int bench_run(struct bench *b, const struct bench_row *row, struct bench_result *out);
void bench_result_free(struct bench_result *r);

/* Tokens per second of all sequences together. */
struct bench_rates {
    double median, min, max, stddev;
    /* The time until each sequence has one token more. */
    double ms_token;
    /* For the median; 0 = not known. */
    double gb_s, read_percent, macs_s, macs_percent;
};
struct bench_rates bench_rates(const struct bench_row *row, const struct bench_result *r);
/* Returns 0 if the limit is not known. */
double bench_percent(double reached, double limit);

/* bench_write() writes a row to standard output, bench_end() the end of the output. */
int bench_write(struct bench *b, const struct bench_row *row, const struct bench_result *r);
int bench_end(const struct bench *b);
void bench_write_md(const struct bench *b, const struct bench_row *row,
                    const struct bench_result *r);

#endif
