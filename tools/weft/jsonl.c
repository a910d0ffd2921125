#include "weft/jsonl.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "weft/io.h"
#include "weft/term.h"

/* Reports a failed write. If the reader of standard output has gone, nothing is printed. */
static int write_failed(const char *path)
{
    if (path == NULL && errno == EPIPE) {
        return EXIT_RUNTIME;
    }
    return term_write_failed(path == NULL ? "standard output" : path, errno);
}

int jsonl_open(const char *path, struct jsonl *j)
{
    *j = (struct jsonl){ .path = path, .out = path == NULL ? stdout : fopen(path, "w") };
    j->code = j->out == NULL ? term_write_failed(path, errno) : EXIT_OK;
    return j->code;
}

void jsonl_add(struct jsonl *j, json_t *line)
{
    if (j->code != EXIT_OK) {
        json_decref(line);
        return;
    }
    if (line == NULL) {
        j->code = term_fail(EXIT_MEMORY, "not enough memory for a line of JSON");
        return;
    }
    j->code = jsonl_dump(j->path, j->out, line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (j->code == EXIT_OK && fputc('\n', j->out) == EOF) {
        j->code = write_failed(j->path);
    }
    json_decref(line);
}

int jsonl_dump(const char *path, FILE *out, const json_t *value, size_t flags)
{
    char *text = json_text(value, flags);
    if (text == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for a line of JSON");
    }
    errno = 0;
    int code = fputs(text, out) == EOF ? write_failed(path) : EXIT_OK;
    free(text);
    return code;
}

void jsonl_append(json_t **list, json_t *one)
{
    if (json_array_append_new(*list, one) != 0) {
        json_decref(*list);
        *list = NULL;
    }
}

void jsonl_set(json_t **object, const char *key, json_t *one)
{
    if (json_object_set_new(*object, key, one) != 0) {
        json_decref(*object);
        *object = NULL;
    }
}

int jsonl_close(struct jsonl *j)
{
    if (j->out == NULL) {
        return j->code;
    }
    int failed = j->out == stdout ? fflush(stdout) : fclose(j->out);
    if (failed != 0 && j->code == EXIT_OK) {
        j->code = write_failed(j->path);
    }
    j->out = NULL;
    return j->code;
}

json_t *jsonl_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *jsonl_string(const char *text)
{
    struct bytes clean = { 0 };
    size_t bad = 0;
    json_t *j = io_utf8(text, strlen(text), &clean, &bad)
                    ? json_stringn(clean.n > 0 ? clean.data : "", clean.n)
                    : NULL;
    bytes_free(&clean);
    return j;
}

int floats_open(const char *path, struct floats *f)
{
    *f = (struct floats){ .path = path, .out = fopen(path, "wb") };
    f->code = f->out == NULL ? term_write_failed(path, errno) : EXIT_OK;
    return f->code;
}

void floats_add(struct floats *f, const float *values, size_t n)
{
    if (f->out != NULL && f->code == EXIT_OK) {
        if (fwrite(values, sizeof *values, n, f->out) != n) {
            f->code = term_write_failed(f->path, errno);
        }
        f->n_bytes += (json_int_t)(n * sizeof *values);
    }
}

int floats_close(struct floats *f)
{
    if (f->out != NULL && fclose(f->out) != 0 && f->code == EXIT_OK) {
        f->code = term_write_failed(f->path, errno);
    }
    f->out = NULL;
    return f->code;
}
