/* The grammar that --grammar, --json-schema or -j ask for. */
#ifndef WEFT_CONSTRAIN_H
#define WEFT_CONSTRAIN_H

#include "weft/options.h"

/* Gives it to the sequence. Prints what fails and returns the exit code. */
int constrain(weft_seq *seq, const struct options *o);

#endif
