/* The token table of a file: texts, types, scores, and an index from text to id. */
#ifndef WEFT_VOCAB_H
#define WEFT_VOCAB_H

#include "base/hash.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "text/tokenizer.h"

/* The longest text of a token, in bytes. It bounds the text that a number of generated tokens can
 * make. */
enum { VOCAB_MAX_TEXT = 1 << 16 };

/* An empty slot is 0, so ids are stored plus one. */
struct vocab_slot {
    uint32_t hash, id_plus_1;
};

struct vocab {
    size_t n;
    char *text; /* all texts, one behind the other */
    /* [n + 1] Where each text begins in `text`. */
    size_t *start;
    uint8_t *type; /* [n] enum token_type */
    float *score;  /* [n], NULL if the file has none */
    /* [n_slots] Open addressing; of equal texts the first is found. */
    struct vocab_slot *index;
    size_t n_slots;        /* a power of two, at least twice n */
    struct hash_seed seed; /* of the index */
    size_t longest;        /* bytes of the longest text */
};

/* Reads tokenizer.ggml.tokens, .token_type and .scores. WEFT_E_FORMAT: there are no tokens, an
 * array has another type or length, a text is longer than VOCAB_MAX_TEXT, a token type is unknown,
 * a byte token is not written <0xHH>, or a score is not a number. *v is zero on failure. */
weft_status vocab_open(const struct gguf *g, struct vocab *v, weft_error *err);
void vocab_close(struct vocab *v);

/* Returns -1 if there is none. */
int32_t vocab_find(const struct vocab *v, const char *text, size_t n);
struct gguf_str vocab_text(const struct vocab *v, int32_t id);
/* Returns the byte of a token of type TOKEN_BYTE. */
uint8_t vocab_byte(const struct vocab *v, int32_t id);

/* byte_id[256] = for each byte the token <0xHH>, else the token of its character, else `unknown`
 * (or -1). */
void vocab_byte_tokens(const struct vocab *v, int32_t unknown, int32_t *byte_id);

/* Returns true if ordinary text may become this token. Users never write control, unknown, unused
 * and byte tokens. */
bool vocab_is_text(const struct vocab *v, int32_t id);

#endif
