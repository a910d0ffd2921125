/* Chat messages to token ids, through built-in templates. The text of a message never becomes a
 * control token. */
#ifndef WEFT_CHAT_H
#define WEFT_CHAT_H

#include "base/error.h"
#include "base/mem.h"
#include "text/tokenizer.h"

struct chat_template;

/* The built-in template that this tokenizer.chat_template text is, NULL if it is none of ours. */
const struct chat_template *chat_recognise(const char *text, size_t n);
/* Whether the built-in template renders conversations of system, user and assistant as this source
 * does, to the byte: it is one of those that were compared. */
bool chat_exact(const char *text, size_t n);
const struct chat_template *chat_find(const char *name); /* NULL if unknown */
const char *chat_name(const struct chat_template *c);    /* "chatml" */
const struct chat_template *chat_at(size_t i);           /* i-th built-in, NULL past the last */

/* Appends the ids of the messages. `c` may be NULL (unknown template): WEFT_E_UNSUPPORTED, listing
 * the names. On failure *out is unchanged. */
weft_status chat_encode(const struct chat_template *c, const struct tokenizer *t,
                        const weft_message *messages, size_t n, const weft_chat_params *params,
                        struct tokens *out, weft_error *err);

#endif
