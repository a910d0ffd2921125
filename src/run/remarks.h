/* Warns in the log where the keys of a model's tokenizer could not be taken literally, and of what
 * a model has that Weft does not run. */
#ifndef WEFT_REMARKS_H
#define WEFT_REMARKS_H

#include "base/log.h"
#include "model.h"

void remarks_log(const struct model *m, const struct log *log);

#endif
