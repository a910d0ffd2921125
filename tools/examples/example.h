/* Shared by the examples: a failed call ends the program with the library's own message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

static weft_error err;
#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != WEFT_OK) {                                                                   \
            fprintf(stderr, "%s\n", err.message);                                                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { MAX_TOKENS = 512 };

/* Opens a sequence that begins with this text. */
static inline weft_seq *read_text(const weft_model *m, weft_engine *e, const weft_sampling *s,
                                  const char *text)
{
    int32_t tokens[MAX_TOKENS];
    size_t n;
    weft_seq *seq;
    CHECK(weft_tokenize(m, text, strlen(text), WEFT_TOKENIZE_BOS, tokens, MAX_TOKENS, &n, &err));
    CHECK(weft_seq_open(e, s, &seq, &err));
    CHECK(weft_seq_append(seq, tokens, n, &err));
    return seq;
}

/* Gives a reply the text of the token that was drawn last. Control tokens, which have none in
 * weft_seq_text(), count too, but the one that ends the turn does not. */
static inline void add_token(weft_reply *reply, const weft_model *m, weft_seq *seq, int32_t token)
{
    char text[512];
    size_t n, plain;
    CHECK(weft_seq_text(seq, text, sizeof text, &n, &err));
    CHECK(weft_reply_add(reply, text, n, &err));
    CHECK(weft_detokenize(m, &token, 1, 0, text, sizeof text, &plain, &err));
    CHECK(weft_detokenize(m, &token, 1, WEFT_DETOKENIZE_SPECIAL, text, sizeof text, &n, &err));
    if (plain == 0 && !weft_token_is_end(m, token)) {
        CHECK(weft_reply_add(reply, text, n, &err));
    }
}
