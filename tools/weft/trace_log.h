/* `weft logits --trace`: writes a line of JSON for every checkpoint of the engine, and its values
 * to a file beside it. */
#ifndef TRACE_LOG_H
#define TRACE_LOG_H

#include <jansson.h>

#include "weft.h"

struct trace_log;

/* These functions print errors and return EXIT_ codes. `header` becomes the first line. full NULL =
 * there is no file with all values. */
int trace_log_open(const char *path, const char *full, struct trace_log **out);
int trace_log_header(struct trace_log *log, json_t *header);
/* A weft_trace_fn. trace_log_close() reports its failures. */
void trace_log_add(void *log, const weft_checkpoint *checkpoint);
/* Accepts NULL. */
int trace_log_close(struct trace_log *log);

#endif
