/* Vocabularies that write a space as U+2581: those of SentencePiece, and BPE in their style. */
#ifndef WEFT_SPACES_H
#define WEFT_SPACES_H

#include "text/vocab.h"

/* *out = text[n] with U+2581 for each space, and one in front if `prefix`. False when memory is
 * out.
 */
bool spaces_write(const char *text, size_t n, bool prefix, struct bytes *out);

/* Appends the bytes of a token of ordinary text: U+2581 is a space. False when memory is out. */
bool spaces_read(struct gguf_str token, struct bytes *out);

#endif
