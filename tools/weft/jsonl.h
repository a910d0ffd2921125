/* Files that commands write: lines of JSON, and raw floats beside them. The first failure is
 * printed and kept in `code`; after it nothing more is written. */
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

/* Opens the file; path NULL means standard output. Returns EXIT_ codes. */
int jsonl_open(const char *path, struct jsonl *j);
/* Writes `line` and frees it; NULL means that there was no memory for it. Floats get nine digits,
 * so that reading gives the same floats. */
void jsonl_add(struct jsonl *j, json_t *line);
/* The file is complete only if this returns EXIT_OK. */
int jsonl_close(struct jsonl *j);
/* Makes a number, or null for NaN and infinity, which JSON does not have. */
json_t *jsonl_number(double x);
/* Makes a text, such as the name of a file, with U+FFFD for what is not UTF-8, which JSON cannot
 * hold. */
json_t *jsonl_string(const char *text);
/* Add `one` and take it over. Without memory, the list or object is freed and becomes NULL, and so
 * does any value that json_pack() makes from it: no incomplete value is ever written. */
void jsonl_append(json_t **list, json_t *one);
void jsonl_set(json_t **object, const char *key, json_t *one);
/* Writes the value in one piece, or nothing if there is no memory for that. `path` is the name of
 * `out` in messages; NULL = standard output. Returns EXIT_ codes. */
int jsonl_dump(const char *path, FILE *out, const json_t *value, size_t flags);

/* A file of float32, in the machine's byte order, which is little-endian wherever Weft runs. */
struct floats {
    /* NULL = the file is not open, and adding does nothing. */
    const char *path;
    FILE *out;
    json_int_t n_bytes; /* written so far */
    int code;
};
int floats_open(const char *path, struct floats *f);
void floats_add(struct floats *f, const float *values, size_t n);
int floats_close(struct floats *f);

#endif
