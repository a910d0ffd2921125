/* Lines from the user: with libedit on a terminal, plain otherwise. */
#ifndef WEFT_LINE_H
#define WEFT_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum line_result {
    LINE_OK,
    LINE_END,         /* Ctrl-D, or the end of the input */
    LINE_INTERRUPTED, /* Ctrl-C threw away what was typed */
    LINE_LEAVE,       /* Ctrl-C when nothing was typed */
    LINE_FAILED,      /* a message was printed */
    LINE_NO_MEMORY    /* the same */
};

struct line_reader;

/* history: ~/.weft_history is read, and written by line_close(). NULL: no memory. */
struct line_reader *line_open(bool history);
void line_close(struct line_reader *r);
/* *text (n bytes and a NUL, no newline at its end; several lines that were pasted at once are one
 * text) lives until the next call. `prompt` is shown on a terminal
 * only. */
enum line_result line_read(struct line_reader *r, const char *prompt, const char **text, size_t *n);

#endif
