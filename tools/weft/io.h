/* Bytes in and out, exactly: whole files, standard input, standard output, and text that is not
 * UTF-8. */
#ifndef WEFT_IO_H
#define WEFT_IO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* The most bytes of one thing that are taken from a file, a pipe or a terminal: a writer that does
 * not end would take all memory. */
struct io_limit {
    const char *what; /* "a text" */
    size_t max;
    const char *remedy;
};
extern const struct io_limit io_text, io_ids, io_grammar, io_schema;

/* EXIT_OK if n bytes of `name` are not too many. */
int io_check(const char *name, size_t n, const struct io_limit *limit);
/* Appends all bytes of `path`, or of standard input for "-", if they are not too many. Prints what
 * fails and returns the exit code. */
int io_read(const char *path, const struct io_limit *limit, struct bytes *out);
/* The same for a file of text: without the byte order mark that some editors put in front. */
int io_read_text(const char *path, const struct io_limit *limit, struct bytes *out);
/* Writes to standard output. EXIT_RUNTIME when it fails; silent if the reader has gone. */
int io_write(const char *data, size_t n);
bool io_failed(void); /* whether a write has failed */
/* The same check for what went through stdio; call once at the end. */
int io_flush(void);

/* Appends `text` with \n \t \r \\ \" \' \xHH replaced by their bytes; other backslashes stay. */
bool io_unescape(const char *text, struct bytes *out);
/* Bytes of text[n] without an incomplete character at its end. */
size_t io_whole(const char *text, size_t n);
/* Appends `text` on one line: control characters and bytes that are no UTF-8 as \n, \t, \r, \\ or
 * \xHH, and the character `quote` (0: none) behind a backslash. */
bool io_escape(const char *text, size_t n, char quote, struct bytes *out);
/* Appends `text` with U+FFFD for every maximal part that is no UTF-8; returns the number of such
 * parts in *bad. */
bool io_utf8(const char *text, size_t n, struct bytes *out, size_t *bad);

#endif
