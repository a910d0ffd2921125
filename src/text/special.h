/* Finds special tokens in a text: control, unknown and user-defined tokens, which stand in it as
 * they are. */
#ifndef WEFT_SPECIAL_H
#define WEFT_SPECIAL_H

#include "text/vocab.h"

/* The most bytes of a special token, and of all special tokens together. */
enum { SPECIAL_MAX = 256, SPECIAL_TOTAL = 1 << 22 };

/* Whether white space before or behind a token belongs to the token. */
enum special_strips { STRIPS_LEFT = 1, STRIPS_RIGHT = 2 };

struct special_token {
    struct gguf_str text;
    int32_t id;
    /* Index of the longest other token that this token begins with; -1 if there is none. */
    int32_t shorter;
    bool always;    /* user-defined: found in any text */
    bool blank;     /* only white space */
    uint8_t strips; /* enum special_strips */
};

struct specials {
    struct special_token *tokens; /* [n], sorted by text */
    size_t n;
    bool any_always;
    uint32_t first[257]; /* the tokens that begin with byte b are [first[b], first[b + 1]) */
};

/* A stretch of text or, if id >= 0, a special token. */
struct fragment {
    size_t start, n;
    int32_t id;
};

struct fragments {
    struct fragment *at;
    size_t n, cap;
};

/* Collects the special tokens of v, whose texts must stay. strips: enum special_strips for each
 * token, or NULL. Returns WEFT_E_FORMAT if a special token has more than SPECIAL_MAX bytes, or all
 * together more than SPECIAL_TOTAL. On failure *s is zero. */
weft_status specials_open(const struct vocab *v, const uint8_t *strips, struct specials *s,
                          weft_error *err);
void specials_close(struct specials *s);

/* Who wrote the bytes of a text in which special tokens are searched. */
struct written {
    /* [n] 1 = a byte of a caller, 0 = a byte of the template. */
    const uint8_t *foreign;
    /* Texts of the template. The tokens that they contain are its own, but for white space. */
    const char *own;
    size_t n_own;
};

/* Divides text[n] as llama.cpp does: it takes the longest token first, wherever that stands, then
 * the next longest in the rest. If `all` is true every special token counts, otherwise only
 * user-defined ones. Appends to *out.
 *
 * `by`, if not NULL, says who wrote the text. Then a token with a caller's byte counts only if it
 * is user-defined and is none of the template's own. A user-defined token that does not count for
 * this reason is cut behind its first character, so that a tokenizer does not put it together
 * again. */
weft_status specials_split(const struct specials *s, const char *text, size_t n, bool all,
                           const struct written *by, struct fragments *out, weft_error *err);

#endif
