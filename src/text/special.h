/* Finds the tokens that stand in a text as they are: control, unknown and user-defined tokens. */
#ifndef WEFT_SPECIAL_H
#define WEFT_SPECIAL_H

#include "text/vocab.h"

/* Bytes of the longest special token, and of all together. */
enum { SPECIAL_MAX = 256, SPECIAL_TOTAL = 1 << 22 };

/* White space before or behind a token that belongs to it. */
enum special_strips { STRIPS_LEFT = 1, STRIPS_RIGHT = 2 };

struct special_token {
    struct gguf_str text;
    int32_t id;
    int32_t shorter; /* index of the longest other token that this one begins with, -1 if none */
    bool always;     /* user-defined: recognised in any text */
    uint8_t strips;  /* enum special_strips */
};

struct specials {
    struct special_token *tokens; /* [n], sorted by text */
    size_t n;
    bool any_always;
    uint32_t first[257]; /* the tokens that begin with byte b: from first[b] to first[b + 1] */
};

/* A stretch of text, or (id >= 0) a special token. */
struct fragment {
    size_t start, n;
    int32_t id;
};

struct fragments {
    struct fragment *at;
    size_t n, cap;
};

/* `strips` (or NULL): enum special_strips for each token. The texts stay those of v. WEFT_E_FORMAT:
 * a special token of more than SPECIAL_MAX bytes, or more than SPECIAL_TOTAL of them all. *s is
 * zero on failure. */
weft_status specials_open(const struct vocab *v, const uint8_t *strips, struct specials *s,
                          weft_error *err);
void specials_close(struct specials *s);

/* Divides text[n] as llama.cpp does: the longest token first, wherever it stands, then the next in
 * what is left. With `all` every special token counts, otherwise only user-defined ones. Appends to
 * *out. */
weft_status specials_split(const struct specials *s, const char *text, size_t n, bool all,
                           struct fragments *out, weft_error *err);

#endif
