/* Says which tokens the content of an answer comes from. Text comes later than its tokens where it
 * may become a stop string or a character, and some of it is no content; yet the texts of the
 * tokens that a trail gives, put together, are the content that was given. */
#ifndef WEFT_SERVE_TRAIL_H
#define WEFT_SERVE_TRAIL_H

#include "base/mem.h"
#include "weft.h"

struct trail_entry {
    int32_t token;
    size_t n;        /* bytes of text that the token completes; U+FFFD for what is no character */
    size_t from, to; /* its text in the answer, as far as it has come */
    weft_logprob *logprobs; /* [n_logprobs] */
    size_t n_logprobs;
    bool part; /* a control token stands inside the text of this token, which so has two entries */
};

/* Set it to zeros at first. */
struct trail {
    struct trail_entry *at; /* [n] tokens that were not given yet, in the order of their texts */
    size_t n, cap;
    size_t n_filled;   /* the texts of these have come as a whole */
    struct bytes text; /* of the answer, from place `begin` on */
    size_t begin;
    struct bytes piece; /* bytes of a character that later tokens complete */
    /* The last token, if it has text and begins that character: nothing may complete it. */
    struct trail_entry last;
    size_t from, to; /* content that was not given yet */
    bool ended;      /* no token follows: those of an incomplete character are given too */
};

void trail_free(struct trail *t);
/* The tokens before the answer end with these bytes of an incomplete character. */
bool trail_begin(struct trail *t, const char *partial, size_t n);
/* A token was drawn, piece[n_piece] are its bytes; its text comes with the next calls of
 * trail_text(). `control`: its text is its piece, and comes next, in front of text that is still
 * held back. Copies its log-probabilities. The functions that return bool return false if there is
 * not enough memory. */
bool trail_token(struct trail *t, int32_t token, const char *piece, size_t n_piece, bool control,
                 const weft_logprob *logprobs, size_t n_logprobs);
/* The same for a token whose text is known to be its piece: its text comes at once. */
bool trail_known(struct trail *t, int32_t token, const char *piece, size_t n_piece, bool control,
                 const weft_logprob *logprobs, size_t n_logprobs);
/* Text has come. */
bool trail_text(struct trail *t, const char *text, size_t n);
/* Returns the place behind the text that has come. */
size_t trail_end(const struct trail *t);
/* The content goes on with n bytes at place `from`; unless that is t->to, all before was given. */
void trail_content(struct trail *t, size_t from, size_t n);

struct trail_item {
    struct trail_entry entry; /* the caller frees its logprobs */
    const char *text;         /* [n] its part of the content; lives until the next call */
    size_t n;
    bool whole; /* this is all of its text */
};
/* Gives the next token of the content. `all`: also one whose text may go on. Returns false if there
 * is none. */
bool trail_next(struct trail *t, bool all, struct trail_item *item);
/* Forgets text and tokens that are behind us. */
void trail_drop(struct trail *t);

#endif
