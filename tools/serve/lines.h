/* Reads lines from a descriptor, with no more memory than the longest line needs. */
#ifndef WEFT_LINES_H
#define WEFT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* It starts as zeros but for `fd` and `max`; lines_free() frees it. */
struct lines {
    int fd;
    size_t max;      /* longer lines are left out */
    uint64_t number; /* of the line that lines_next() gave last, from 1 */
    uint64_t offset; /* where the line after it begins */
    bool open;       /* the line that was given last is the end of the file, without a newline */
    bool ended;      /* nothing more is to be read */

    struct bytes buffer;
    size_t at, searched; /* of the buffer: where the next line begins; where no newline is */
    bool skipping;       /* the next line is too long, and its beginning is gone */
};

enum lines_state {
    LINES_LINE, /* without its newline, and without the \r before it */
    LINES_LONG, /* the line was longer than `max` */
    LINES_MORE, /* lines_fill() has to read more first */
    LINES_END
};

/* Takes the next line. It lives until the next call of lines_fill(). */
enum lines_state lines_next(struct lines *l, const char **line, size_t *n);
/* Reads once; where nothing is to be read yet, it waits. Returns 0, or an errno. */
int lines_fill(struct lines *l);
void lines_free(struct lines *l);

#endif
