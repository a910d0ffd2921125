/* Turns chat messages into token ids, through built-in templates. The text of a message never
 * becomes a control token. */
#ifndef WEFT_CHAT_H
#define WEFT_CHAT_H

#include "base/error.h"
#include "base/mem.h"
#include "text/tokenizer.h"

struct chat_template;

/* Returns the built-in template that this text of tokenizer.chat_template amounts to, or NULL if it
 * is none of ours. */
const struct chat_template *chat_recognise(const char *text, size_t n);
/* Returns true if the built-in template renders conversations of system, user and assistant exactly
 * as this source does: the source is one of those that were compared. */
bool chat_exact(const char *text, size_t n);
/* Returns NULL if the name is unknown. */
const struct chat_template *chat_find(const char *name);
/* Returns "chatml" or the like. */
const char *chat_name(const struct chat_template *c);
/* Returns the i-th built-in template, NULL past the last. */
const struct chat_template *chat_at(size_t i);

/* Appends the ids of the messages. If the template is unknown, `c` is NULL: the result is
 * WEFT_E_UNSUPPORTED, and the message lists the names. On failure *out is unchanged. */
weft_status chat_encode(const struct chat_template *c, const struct tokenizer *t,
                        const weft_message *messages, size_t n, const weft_chat_params *params,
                        struct tokens *out, weft_error *err);

/* The prompt of Qwen3-Reranker, in which a document is judged by a query. */

/* Returns true if this text of tokenizer.chat_template.rerank is that prompt, with {query} and
 * {document} in the places of both. */
bool chat_rank_known(const char *text, size_t n);
/* Appends the ids of the prompt. Query and document may be any bytes. WEFT_E_UNSUPPORTED: the
 * vocabulary lacks a control token of the prompt. On failure *out is unchanged. */
weft_status chat_rank(const struct tokenizer *t, struct gguf_str query, struct gguf_str document,
                      struct tokens *out, weft_error *err);

#endif
