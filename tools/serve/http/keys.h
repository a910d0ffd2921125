/* The keys that requests must bring. */
#ifndef WEFT_HTTP_KEYS_H
#define WEFT_HTTP_KEYS_H

#include <stdbool.h>
#include <stddef.h>

struct key {
    char *name; /* for logs; the key itself stands in no log */
    char *text;
};

struct keys {
    struct key *at;
    size_t n;
};

/* Adds a key. Without a name (NULL) it is called after its number, "key1". Returns false if there
 * is not enough memory. */
bool keys_add(struct keys *keys, const char *name, const char *text);
/* Adds the keys of a file, whose text is changed: a line each, KEY or NAME KEY; empty lines, and
 * those that begin with #, are skipped. Returns 0, the number of a line that is wrong, or -1 if
 * there is not enough memory. */
int keys_read(struct keys *keys, char *text);
void keys_free(struct keys *keys);
/* Returns the key, or NULL. The time depends on the length of `text` and on the keys there are, not
 * on how much of a key was right. */
const struct key *keys_find(const struct keys *keys, const char *text);

#endif
