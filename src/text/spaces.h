/* Vocabularies that write a space as U+2581: those of SentencePiece, and BPE vocabularies in their
 * style. */
#ifndef WEFT_SPACES_H
#define WEFT_SPACES_H

#include "text/vocab.h"

/* Writes text[n] to *out with U+2581 for each space, and one more in front if `prefix`. Returns
 * false if memory is out. */
bool spaces_write(const char *text, size_t n, bool prefix, struct bytes *out);

/* Appends the bytes of a token of ordinary text, with a space for each U+2581. Returns false if
 * memory is out. */
bool spaces_read(struct gguf_str token, struct bytes *out);

#endif
