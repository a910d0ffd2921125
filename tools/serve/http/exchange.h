/* One request from its head to the end of its answer. */
#ifndef WEFT_HTTP_EXCHANGE_H
#define WEFT_HTTP_EXCHANGE_H

#include "serve/fault.h"
#include "serve/http/connection.h"

/* The head is there: everything that can be refused without the body is refused now. */
void exchange_begin(struct connection *c);
/* The request is complete. */
void exchange_run(struct connection *c);
/* Answers with a fault, before the request is complete or while the core has it; a stream that has
 * begun gets it as an event. */
void exchange_fail(struct connection *c, const struct fault *f);
/* The same for a request whose end is unknown: the connection closes. */
void exchange_refuse(struct connection *c, const struct fault *f);
/* The client is gone: the job is cancelled. */
void exchange_abandon(struct connection *c);
/* Writes the log. */
void exchange_close(struct connection *c);
/* Pauses the job of a client that reads slowly, or lets it go on. */
void exchange_pace(struct connection *c);

#endif
