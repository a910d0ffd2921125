/* Says where in a text a mistake is, and what stands there. */
#ifndef WEFT_PLACE_H
#define WEFT_PLACE_H

#include <stddef.h>

/* Sets line and column of the byte at `at`, counted from 1; columns count characters. */
void place_of(const char *text, size_t at, size_t *line, size_t *column);

enum { PLACE_FOUND = 64 };
/* Describes the character at `at` of text[n] for a message: 'x', "the byte 0xFF", or the end of the
 * line or of the text, which `name` names. Returns dst. */
const char *place_found(const char *text, size_t n, size_t at, const char *name,
                        char dst[PLACE_FOUND]);

#endif
