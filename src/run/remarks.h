/* What the keys of a model's tokenizer say that was not taken as they say it, as warnings in the
 * log. */
#ifndef WEFT_REMARKS_H
#define WEFT_REMARKS_H

#include "base/log.h"
#include "model.h"

void remarks_log(const struct model *m, const struct log *log);

#endif
