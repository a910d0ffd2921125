#include "weft/logits_log.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weft/jsonl.h"
#include "weft/score.h"
#include "weft/term.h"

enum { N_VALUES = 10, N_TOP = 10 };

struct logits_log {
    const char *path;
    FILE *out;
    size_t n_vocab;
    float *logits; /* [n_vocab] */
};

static int write_failed(const struct logits_log *log)
{
    return term_write_failed(log->path, errno);
}

int logits_log_open(const char *path, const weft_model *model, struct logits_log **out)
{
    weft_model_info info = { .size = sizeof info };
    weft_error err = { 0 };
    weft_status status = weft_model_get_info(model, &info, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    struct logits_log *log = calloc(1, sizeof *log);
    float *logits = calloc(info.n_vocab, sizeof *logits);
    if (log == NULL || logits == NULL) {
        free(log);
        free(logits);
        return term_fail(EXIT_MEMORY, "not enough memory for %zu logits", info.n_vocab);
    }
    *log = (struct logits_log){
        .path = path, .out = fopen(path, "w"), .n_vocab = info.n_vocab, .logits = logits
    };
    if (log->out == NULL) {
        int code = write_failed(log);
        free(logits);
        free(log);
        return code;
    }
    *out = log;
    return EXIT_OK;
}

/* Makes [[id, logit], ...]. */
static json_t *top(const struct logits_log *log)
{
    int32_t ids[N_TOP];
    size_t n = score_top(log->logits, log->n_vocab, N_TOP, ids);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        jsonl_append(&list, json_pack("[i, o]", ids[i], jsonl_number((double)log->logits[ids[i]])));
    }
    return list;
}

int logits_log_take(struct logits_log *log, weft_seq *seq)
{
    weft_error err = { 0 };
    weft_status status = weft_seq_logits(seq, log->logits, log->n_vocab, NULL, &err);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

int logits_log_write(struct logits_log *log, size_t text, size_t token)
{
    char shape[32];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(shape, sizeof shape, "[1,%zu]", log->n_vocab);
    json_t *values = json_array();
    for (size_t i = 0; i < N_VALUES && i < log->n_vocab; i++) {
        jsonl_append(&values, jsonl_number((double)log->logits[i]));
    }
    json_t *line =
        json_pack("{s:f, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:s}", "ts",
                  (double)now.tv_sec + (double)now.tv_nsec * 1e-9, "checkpoint", "logits", "text",
                  (json_int_t)text, "token_idx", (json_int_t)token, "dtype", "f32", "shape", shape,
                  "values", values, "top", top(log), "source", "weft");
    if (line == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for a line of %s", log->path);
    }
    /* Nine digits would be enough for every float, but the time needs more. */
    int code = jsonl_dump(log->path, log->out, line, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(line);
    return code == EXIT_OK && fputc('\n', log->out) == EOF ? write_failed(log) : code;
}

int logits_log_close(struct logits_log *log)
{
    if (log == NULL) {
        return EXIT_OK;
    }
    bool failed = fclose(log->out) != 0;
    int code = failed ? write_failed(log) : EXIT_OK;
    free(log->logits);
    free(log);
    return code;
}
