/* JSON as text, or nothing. */
#ifndef WEFT_JSON_TEXT_H
#define WEFT_JSON_TEXT_H

#include <jansson.h>

/* The text of a value, for free(); NULL: no memory. json_dumps() would leave out what it has no
 * memory for. */
char *json_text(const json_t *value, size_t flags);

#endif
