/* The keys that requests must bring. */
#ifndef WEFT_HTTP_API_KEYS_H
#define WEFT_HTTP_API_KEYS_H

#include <stdbool.h>
#include <stddef.h>

struct api_key {
    char *name; /* for logs; the key itself stands in no log */
    char *text;
};

struct api_keys {
    struct api_key *at;
    size_t n;
};

/* Adds a key. Without a name (NULL) it is called after its number, "key1". Returns false if there
 * is not enough memory. */
bool api_keys_add(struct api_keys *keys, const char *name, const char *text);
/* Adds the keys of a file, whose text is changed: a line each, KEY or NAME KEY; empty lines, and
 * those that begin with #, are skipped. Returns 0, the number of a line that is wrong, or -1 if
 * there is not enough memory. */
int api_keys_read(struct api_keys *keys, char *text);
void api_keys_free(struct api_keys *keys);
/* Returns the key, or NULL. The time depends on the length of `text` and on the keys there are, not
 * on how much of a key was right. */
const struct api_key *api_keys_find(const struct api_keys *keys, const char *text);

#endif
