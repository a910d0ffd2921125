/* `weft logits --trace`: a line of JSON for every checkpoint of the engine, and its values in a
 * file beside it. */
#ifndef TRACE_LOG_H
#define TRACE_LOG_H

#include <jansson.h>

#include "weft.h"

struct trace_log;

/* These return EXIT_ codes, having said what is wrong. `header` becomes the first line. full NULL:
 * no file with all values. */
int trace_log_open(const char *path, const char *full, struct trace_log **out);
int trace_log_header(struct trace_log *log, json_t *header);
/* A weft_trace_fn; a failure is kept for trace_log_close(). */
void trace_log_add(void *log, const weft_checkpoint *checkpoint);
int trace_log_close(struct trace_log *log); /* NULL is fine */

#endif
