/* The token table of a file: texts, types, scores, and an index from text to id. */
#ifndef WEFT_VOCAB_H
#define WEFT_VOCAB_H

#include "base/hash.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "text/tokenizer.h"

/* Bytes of the longest text: what is generated must not outgrow the number of its tokens. */
enum { VOCAB_MAX_TEXT = 1 << 16 };

/* 0 marks an empty slot, so ids are stored plus one. */
struct vocab_slot {
    uint32_t hash, id_plus_1;
};

struct vocab {
    size_t n;
    char *text;               /* all texts, one behind the other */
    size_t *start;            /* [n + 1] where each begins in `text` */
    uint8_t *type;            /* [n] enum token_type */
    float *score;             /* [n], NULL if the file has none */
    struct vocab_slot *index; /* [n_slots], open addressing; the first of equal texts is found */
    size_t n_slots;           /* a power of two, at least twice n */
    struct hash_seed seed;    /* of the index */
    size_t longest;           /* bytes of the longest text */
};

/* Reads tokenizer.ggml.tokens, .token_type and .scores. WEFT_E_FORMAT: no tokens, an array of
 * another type or length, a text of more than VOCAB_MAX_TEXT bytes, an unknown token type, a byte
 * token not written <0xHH>, a score that is not a number. *v is zero on failure. */
weft_status vocab_open(const struct gguf *g, struct vocab *v, weft_error *err);
void vocab_close(struct vocab *v);

int32_t vocab_find(const struct vocab *v, const char *text, size_t n); /* -1 if absent */
struct gguf_str vocab_text(const struct vocab *v, int32_t id);
uint8_t vocab_byte(const struct vocab *v, int32_t id); /* of a token of type TOKEN_BYTE */

/* byte_id[256]: the token <0xHH> of each byte, or that of its character, else `unknown` (or -1). */
void vocab_byte_tokens(const struct vocab *v, int32_t unknown, int32_t *byte_id);

/* Ordinary text may become this token: control, unknown, unused and byte tokens are never spelt out
 * by a user. */
bool vocab_is_text(const struct vocab *v, int32_t id);

#endif
