/* Exact input and output of bytes: whole files, standard input, standard output, and text that is
 * not UTF-8. */
#ifndef WEFT_IO_H
#define WEFT_IO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* The most bytes that are accepted for one thing from a file, a pipe or a terminal: a writer that
 * never ends would take all memory. */
struct io_limit {
    const char *what; /* "a text" */
    size_t max;
    const char *remedy;
};
extern const struct io_limit io_text, io_ids, io_grammar, io_schema, io_template, io_messages;

/* Returns EXIT_OK if n bytes of `name` are not too many. */
int io_check(const char *name, size_t n, const struct io_limit *limit);
/* Appends all bytes of `path`, or of standard input for "-", if they are not too many. Prints
 * errors and returns the exit code. */
int io_read(const char *path, const struct io_limit *limit, struct bytes *out);
/* Like io_read(), for a file of text: it removes the byte order mark that some editors put in
 * front. */
int io_read_text(const char *path, const struct io_limit *limit, struct bytes *out);
/* Writes to standard output. Returns EXIT_RUNTIME if that fails; prints nothing if the reader has
 * gone. */
int io_write(const char *data, size_t n);
/* Returns true if a write has failed. */
bool io_failed(void);
/* Makes the same check for the output that went through stdio; call it once at the end. */
int io_flush(void);

/* Appends `text` with \n \t \r \\ \" \' \xHH replaced by their bytes; other backslashes stay. */
bool io_unescape(const char *text, struct bytes *out);
/* Returns the number of bytes of text[n] without an incomplete character at its end. */
size_t io_whole(const char *text, size_t n);
/* Appends `text` on one line. Control characters and bytes that are not UTF-8 become \n, \t, \r, \\
 * or \xHH; the character `quote` (0 = none) gets a backslash. */
bool io_escape(const char *text, size_t n, char quote, struct bytes *out);
/* Appends `text` with U+FFFD for every maximal part that is not UTF-8; *bad is the number of such
 * parts. */
bool io_utf8(const char *text, size_t n, struct bytes *out, size_t *bad);

#endif
