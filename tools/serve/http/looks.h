/* Answers requests that only look: health, models, properties, metrics. */
#ifndef WEFT_HTTP_LOOKS_H
#define WEFT_HTTP_LOOKS_H

#include "serve/http/connection.h"

void looks_answer(struct connection *c);

#endif
