/* The inside of the GGUF reader: gguf_parse.c parses one file, and gguf.c makes a model of one or
 * several files. */
#ifndef WEFT_GGUF_PARSE_H
#define WEFT_GGUF_PARSE_H

#include "format/gguf.h"

/* The limit holds for one file, and for all parts of a split model together. */
#define GGUF_MAX_TENSORS 65536

/* Fills *g from its only part, g->parts[0]. After a failure, gguf_close() frees what *g holds. */
weft_status gguf_parse(struct gguf *g, weft_error *err);

/* A file_judge: refuses a file if gguf_parse() would refuse its first bytes. `path` is the user
 * pointer. */
weft_status gguf_judge(void *path, const uint8_t *head, size_t n, weft_error *err);

/* Builds the index of tensor names (tensors = true) or of keys from scratch. Refuses a name that is
 * there twice. */
weft_status gguf_index(struct gguf *g, bool tensors, weft_error *err);

/* Returns the bytes of a value of this type; 0 for strings and arrays. */
size_t gguf_type_bytes(enum gguf_type t);

/* Returns the end of a path, short enough to leave room in a message. */
const char *gguf_path(const char *path);

#endif
