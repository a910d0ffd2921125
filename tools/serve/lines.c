#include "serve/lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { AT_ONCE = 64 << 10 };

/* Takes n bytes of the buffer, of which the last `end` are a newline. */
static enum lines_state take(struct lines *l, size_t n, size_t end, const char **line, size_t *len)
{
    const char *start = l->buffer.data + l->at;
    const bool is_long = l->skipping || n - end > l->max;
    const size_t text = n - end;
    *line = start;
    *len = text > 0 && start[text - 1] == '\r' ? text - 1 : text;
    l->at += n;
    l->searched = l->at;
    l->offset += n;
    l->number++;
    l->open = end == 0;
    l->skipping = false;
    return is_long ? LINES_LONG : LINES_LINE;
}

/* The beginning of a line that is too long is not kept. */
static void drop_long(struct lines *l)
{
    if (l->buffer.n - l->at > l->max) {
        l->offset += l->buffer.n - l->at;
        l->at = l->searched = l->buffer.n;
        l->skipping = true;
    }
}

enum lines_state lines_next(struct lines *l, const char **line, size_t *n)
{
    const size_t left = l->buffer.n - l->at, new = l->buffer.n - l->searched;
    const char *newline = new > 0 ? memchr(l->buffer.data + l->searched, '\n', new) : NULL;
    if (newline != NULL) {
        return take(l, (size_t)(newline - (l->buffer.data + l->at)) + 1, 1, line, n);
    }
    if (l->ended) {
        return left > 0 || l->skipping ? take(l, left, 0, line, n) : LINES_END;
    }
    l->searched = l->buffer.n;
    drop_long(l);
    return LINES_MORE;
}

int lines_fill(struct lines *l)
{
    const size_t left = l->buffer.n - l->at;
    if (l->at > 0 && left > 0) {
        memmove(l->buffer.data, l->buffer.data + l->at, left);
    }
    l->searched -= l->at;
    l->buffer.n = left;
    l->at = 0;
    if (!text_reserve(&l->buffer, AT_ONCE)) {
        return ENOMEM;
    }
    const ssize_t got = read(l->fd, l->buffer.data + left, AT_ONCE);
    if (got < 0) {
        return errno == EINTR || errno == EAGAIN ? 0 : errno;
    }
    l->buffer.n += (size_t)got;
    l->ended = got == 0;
    return 0;
}

void lines_free(struct lines *l) { bytes_free(&l->buffer); }
