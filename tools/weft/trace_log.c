#include "weft/trace_log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "weft/jsonl.h"
#include "weft/term.h"

enum { N_ENDS = 3 };

struct trace_log {
    struct jsonl out;
    struct floats full; /* full.path NULL = not wanted */
    size_t pos;         /* of the first row of the current step */
    size_t n_rows;      /* of the current step */
};

int trace_log_open(const char *path, const char *full, struct trace_log **out)
{
    struct trace_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for a trace");
    }
    int code = jsonl_open(path, &log->out);
    if (code == EXIT_OK && full != NULL) {
        code = floats_open(full, &log->full);
    }
    if (code != EXIT_OK) {
        trace_log_close(log);
        return code;
    }
    *out = log;
    return EXIT_OK;
}

int trace_log_header(struct trace_log *log, json_t *header)
{
    jsonl_add(&log->out, header);
    return log->out.code;
}

static json_t *some(const float *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        jsonl_append(&list, jsonl_number((double)values[i]));
    }
    return list;
}

void trace_log_add(void *user, const weft_checkpoint *c)
{
    struct trace_log *log = user;
    size_t n = c->n_rows * c->n_cols, ends = size_min(n, N_ENDS);
    double sum = 0, squares = 0;
    if (strcmp(c->name, "embed") == 0) { /* the first checkpoint of a step */
        log->pos += log->n_rows;
        log->n_rows = c->n_rows;
    }
    for (size_t i = 0; i < n; i++) {
        sum += (double)c->values[i];
        squares += (double)c->values[i] * (double)c->values[i];
    }
    json_t *layer = c->layer == SIZE_MAX ? json_null() : json_integer((json_int_t)c->layer);
    json_t *offset = log->full.path == NULL ? json_null() : json_integer(log->full.n_bytes);
    jsonl_add(&log->out,
              json_pack("{s:s, s:o, s:I, s:[I, I], s:o, s:o, s:o, s:o, s:o}", "checkpoint", c->name,
                        "layer", layer, "pos", (json_int_t)log->pos, "shape", (json_int_t)c->n_rows,
                        (json_int_t)c->n_cols, "sum", jsonl_number(sum), "l2",
                        jsonl_number(sqrt(squares)), "first", some(c->values, ends), "last",
                        some(c->values + n - ends, ends), "offset", offset));
    floats_add(&log->full, c->values, n);
}

int trace_log_close(struct trace_log *log)
{
    if (log == NULL) {
        return EXIT_OK;
    }
    int out = jsonl_close(&log->out), full = floats_close(&log->full);
    free(log);
    return out != EXIT_OK ? out : full;
}
