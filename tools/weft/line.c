/* The line reader of `weft chat`: it uses an editor if there is one, and reads plainly
 * otherwise. */
#include "weft/line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/edit.h"
#include "weft/io.h"
#include "weft/term.h"

struct line_reader {
    struct bytes line;
    struct editor *editor; /* NULL: plain reading */
    bool ended;
    /* For plain reading: the bytes that were read and not given out yet. */
    char input[4096];
    size_t at, n_input;
};

struct line_reader *line_open(bool history)
{
    struct line_reader *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->editor = editor_open(history);
    }
    return r;
}

void line_close(struct line_reader *r)
{
    if (r != NULL) {
        editor_close(r->editor);
        bytes_free(&r->line);
        free(r);
    }
}

/* Reads the next bytes of standard input; LINE_OK means that there are some. */
static enum line_result refill(struct line_reader *r)
{
    ssize_t n;
    do {
        n = term_wait_input() ? read(STDIN_FILENO, r->input, sizeof r->input) : -1;
    } while (n == -1 && errno == EINTR && !term_interrupted());
    if (n == -1 && errno == EINTR) {
        return LINE_LEAVE;
    }
    if (n == -1) {
        term_fail(0, "cannot read standard input: %s", strerror(errno));
        return LINE_FAILED;
    }
    r->at = 0;
    r->n_input = (size_t)n;
    return n == 0 ? LINE_END : LINE_OK;
}

static enum line_result plain_read(struct line_reader *r, const char *prompt)
{
    if (isatty(STDIN_FILENO) == 1) {
        fputs(prompt, stderr);
        fflush(stderr);
    }
    while (!r->ended) {
        if (r->at == r->n_input) {
            enum line_result got = refill(r);
            r->ended = got == LINE_END;
            /* A last line without a newline counts too. */
            if (got == LINE_END && r->line.n > 0) {
                return LINE_OK;
            }
            if (got != LINE_OK) {
                return got;
            }
        }
        const char *start = r->input + r->at;
        const char *newline = memchr(start, '\n', r->n_input - r->at);
        size_t n = newline != NULL ? (size_t)(newline - start) + 1 : r->n_input - r->at;
        if (!text_add(&r->line, start, n)) {
            term_fail(0, "not enough memory for the line");
            return LINE_NO_MEMORY;
        }
        r->at += n;
        if (io_check("a line of standard input", r->line.n, &io_text) != EXIT_OK) {
            return LINE_FAILED;
        }
        if (newline != NULL) {
            return LINE_OK;
        }
    }
    return LINE_END;
}

enum line_result line_read(struct line_reader *r, const char *prompt, const char **text, size_t *n)
{
    enum line_result got;
    r->line.n = 0;
    term_on_interrupt(TERM_FLAG);
    got = r->editor != NULL ? editor_read(r->editor, prompt, &r->line) : plain_read(r, prompt);
    term_on_interrupt(TERM_KILL);
    if (got != LINE_OK) {
        return got;
    }
    if (r->line.n > 0 && r->line.data[r->line.n - 1] == '\n') {
        r->line.data[--r->line.n] = '\0';
    }
    if (r->line.n > 0 && r->line.data[r->line.n - 1] == '\r') {
        r->line.data[--r->line.n] = '\0';
    }
    *text = r->line.n > 0 ? r->line.data : "";
    *n = r->line.n;
    return LINE_OK;
}
