/* The bytes of single tokens. */
#ifndef WEFT_SERVE_PIECE_H
#define WEFT_SERVE_PIECE_H

#include "base/mem.h"
#include "weft.h"

/* Appends the bytes that a token has inside a text; with `control`, the text of a control token
 * too. Returns false if there is not enough memory. */
bool piece_add(const weft_model *model, int32_t token, bool control, struct bytes *out);

#endif
