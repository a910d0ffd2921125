/* `weft run --log-logits FILE`: one line of JSON for every generated token, of the logits it was
 * drawn from, as the library copies them into memory of the host. */
#ifndef LOGITS_LOG_H
#define LOGITS_LOG_H

#include "weft.h"

struct logits_log;

/* These return EXIT_ codes, having said what is wrong. */
int logits_log_open(const char *path, const weft_model *model, struct logits_log **out);
/* Keeps the logits of seq, from which its next token will be drawn. */
int logits_log_take(struct logits_log *log, weft_seq *seq);
/* Writes those kept, as the ones behind token number `token` of text number `text`. */
int logits_log_write(struct logits_log *log, size_t text, size_t token);
/* Writes what is buffered; the file is complete only if this succeeds. NULL is fine. */
int logits_log_close(struct logits_log *log);

#endif
