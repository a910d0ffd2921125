#include "text/spaces.h"

#include <string.h>

/* U+2581, which stands for a space in the vocabulary. */
static const char SPACE[] = "\xe2\x96\x81";
enum { SPACE_LEN = 3 };

bool spaces_write(const char *text, size_t n, bool prefix, struct bytes *out)
{
    out->n = 0;
    if (prefix && !bytes_add(out, SPACE, SPACE_LEN)) {
        return false;
    }
    while (n > 0) {
        const char *space = memchr(text, ' ', n);
        size_t run = space == NULL ? n : (size_t)(space - text);
        if (!bytes_add(out, text, run)) {
            return false;
        }
        text += run;
        n -= run;
        if (space != NULL) {
            if (!bytes_add(out, SPACE, SPACE_LEN)) {
                return false;
            }
            text++;
            n--;
        }
    }
    return true;
}

bool spaces_read(struct gguf_str t, struct bytes *out)
{
    while (t.n > 0) {
        const char *space = memmem(t.s, t.n, SPACE, SPACE_LEN);
        size_t run = space == NULL ? t.n : (size_t)(space - t.s);
        if (!bytes_add(out, t.s, run) || (space != NULL && !bytes_add(out, " ", 1))) {
            return false;
        }
        size_t used = space == NULL ? run : run + SPACE_LEN;
        t.s += used;
        t.n -= used;
    }
    return true;
}
