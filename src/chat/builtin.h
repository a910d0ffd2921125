/* Chat templates for files that have none. They have names, and are written in Jinja like those of
 * the files. */
#ifndef WEFT_BUILTIN_H
#define WEFT_BUILTIN_H

#include <stddef.h>

enum { BUILTIN_CONTROLS = 4 };

struct builtin {
    const char *name, *source;
    /* Control tokens that the vocabulary must have, up to the first NULL: a model that does not
     * know them was trained with another template. */
    const char *controls[BUILTIN_CONTROLS];
};

/* Returns the i-th template, NULL past the last. */
const struct builtin *builtin_at(size_t i);
/* Returns NULL if the name is unknown. */
const struct builtin *builtin_find(const char *name);

#endif
