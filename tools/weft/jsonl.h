/* Files that commands write: lines of JSON, and raw floats beside them. The first failure is said
 * and kept in `code`; after it nothing more is written. */
#ifndef JSONL_H
#define JSONL_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

struct jsonl {
    const char *path;
    FILE *out;
    int code; /* EXIT_OK, or why it failed */
};

/* path NULL: standard output. Return EXIT_ codes. */
int jsonl_open(const char *path, struct jsonl *j);
/* Takes `line` over; NULL stands for memory that was not there. Floats get nine digits, so that
 * they come back exactly. */
void jsonl_add(struct jsonl *j, json_t *line);
int jsonl_close(struct jsonl *j); /* the file is complete only if this gives EXIT_OK */
/* JSON has no NaN and no infinity: these become null. */
json_t *jsonl_number(double x);
/* A text, such as the name of a file, with U+FFFD for what is no UTF-8, which JSON cannot hold. */
json_t *jsonl_string(const char *text);
/* Add `one` and take it over. Without memory the list or the object is freed and becomes NULL, and
 * so does what json_pack() makes of it: none is written that lacks something. */
void jsonl_append(json_t **list, json_t *one);
void jsonl_set(json_t **object, const char *key, json_t *one);
/* Writes it in one piece, and nothing if there is no memory for that. `path` is what `out` is
 * called, NULL: standard output. Returns EXIT_ codes. */
int jsonl_dump(const char *path, FILE *out, const json_t *value, size_t flags);

/* float32, in the machine's order of bytes, which is little-endian wherever Weft runs. */
struct floats {
    const char *path; /* NULL: not open; adding does nothing */
    FILE *out;
    json_int_t n_bytes; /* written so far */
    int code;
};
int floats_open(const char *path, struct floats *f);
void floats_add(struct floats *f, const float *values, size_t n);
int floats_close(struct floats *f);

#endif
