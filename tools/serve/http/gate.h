/* What is decided about a request by its head alone: who may ask, from where, and for what. */
#ifndef WEFT_HTTP_GATE_H
#define WEFT_HTTP_GATE_H

#include "serve/http/response.h"

/* An answer that needs no body: a fault, or if its status is 0, the reply. */
struct answer_now {
    struct fault fault;
    struct reply reply;
};

/* Sets c->x.entry and c->x.key. Returns false if the answer is already clear. */
bool gate_passes(struct connection *c, struct answer_now *now);

#endif
