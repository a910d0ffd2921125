/* Writes JSON as text, completely or not at all. */
#ifndef WEFT_JSON_TEXT_H
#define WEFT_JSON_TEXT_H

#include <jansson.h>

/* Returns the text of a value; the caller frees it with free(). Returns NULL if there is not enough
 * memory. json_dumps() would leave out the parts that it has no memory for. */
char *json_text(const json_t *value, size_t flags);

#endif
