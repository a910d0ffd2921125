/* The inside of the GGUF reader: one file (gguf_parse.c), and what gguf.c makes of one or
 * several. */
#ifndef WEFT_GGUF_PARSE_H
#define WEFT_GGUF_PARSE_H

#include "format/gguf.h"

/* In one file, and in all parts of a split model together. */
#define GGUF_MAX_TENSORS 65536

/* Fills *g from its only part, g->parts[0]. On failure *g holds what gguf_close frees. */
weft_status gguf_parse(struct gguf *g, weft_error *err);

/* A file_judge: refuses what gguf_parse() would refuse for its first bytes. user is the path. */
weft_status gguf_judge(void *path, const uint8_t *head, size_t n, weft_error *err);

/* Builds the index of tensor names (tensors) or keys anew; a name that is there twice is
 * refused. */
weft_status gguf_index(struct gguf *g, bool tensors, weft_error *err);

/* Bytes of a value of this type; 0 for strings and arrays. */
size_t gguf_type_bytes(enum gguf_type t);

/* The end of a path, short enough to leave room in a message. */
const char *gguf_path(const char *path);

#endif
