/* `weft run --log-logits FILE`: writes one line of JSON for every generated token, about the logits
 * that it was drawn from. The library has copied these to host memory. */
#ifndef LOGITS_LOG_H
#define LOGITS_LOG_H

#include "weft.h"

struct logits_log;

/* These functions print errors and return EXIT_ codes. */
int logits_log_open(const char *path, const weft_model *model, struct logits_log **out);
/* Keeps the logits of seq from which its next token will be drawn. */
int logits_log_take(struct logits_log *log, weft_seq *seq);
/* Writes the kept logits as those of token number `token` of text number `text`. */
int logits_log_write(struct logits_log *log, size_t text, size_t token);
/* Writes what is buffered; the file is complete only if this succeeds. Accepts NULL. */
int logits_log_close(struct logits_log *log);

#endif
