/* The grammar that --grammar, --json-schema or -j asks for. */
#ifndef WEFT_CONSTRAIN_H
#define WEFT_CONSTRAIN_H

#include "weft/options.h"

/* Returns true if one of these options is given. */
bool constrains(const struct options *o);
/* Gives the grammar to the sequence. Prints errors and returns the exit code. */
int constrain(weft_seq *seq, const struct options *o);

#endif
