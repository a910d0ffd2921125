/* Reads lines from the user: with libedit on a terminal, plainly otherwise. */
#ifndef WEFT_LINE_H
#define WEFT_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum line_result {
    LINE_OK,
    LINE_END,         /* Ctrl-D, or the end of the input */
    LINE_INTERRUPTED, /* Ctrl-C has dropped what was typed */
    LINE_LEAVE,       /* Ctrl-C when nothing was typed */
    LINE_FAILED,      /* a message was printed */
    LINE_NO_MEMORY    /* a message was printed */
};

struct line_reader;

/* Opens a reader. history: ~/.weft_history is read, and line_close() writes it. Returns NULL if
 * memory is out. */
struct line_reader *line_open(bool history);
void line_close(struct line_reader *r);
/* Reads a line. *text has n bytes and a NUL, and no newline at its end; it lives until the next
 * call. Several lines that were pasted at once are one text. `prompt` is shown only on a
 * terminal. */
enum line_result line_read(struct line_reader *r, const char *prompt, const char **text, size_t *n);

#endif
