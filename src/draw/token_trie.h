/* The bytes of all tokens of a vocabulary as a tree, so that what tokens begin with alike is looked
 * at once. */
#ifndef WEFT_TOKEN_TRIE_H
#define WEFT_TOKEN_TRIE_H

#include "text/tokenizer.h"

/* A node stands for the bytes from the root to it. Nodes are in preorder: children follow their
 * parent. */
struct trie_node {
    uint32_t skip;  /* the next node that is not below this one */
    uint32_t first; /* tokens[first .. first + n_tokens) have exactly these bytes */
    uint32_t n_tokens;
    uint16_t depth; /* 1 for the first byte of a token */
    uint8_t byte;
    /* If all tokens from here to `skip` are plain, as most are: the most characters that one of
     * them has, from the root on; a character that is cut at the end counts. Otherwise 0. */
    uint8_t n_plain;
};

/* Characters that mean nothing in the strings of most languages: of ASCII those that can be seen,
 * and the space, but no quotation mark and no backslash; and all others. */
static inline bool trie_plain(uint8_t ascii)
{
    return ascii >= 0x20 && ascii != 0x7f && ascii != '"' && ascii != '\\';
}

struct token_trie {
    struct trie_node *nodes; /* [n_nodes] */
    int32_t *tokens;         /* [n_tokens] in the order of their bytes */
    size_t n_nodes, n_tokens;
    size_t depth;
    int32_t *ends; /* [n_ends] tokens that end a text; they are in no node */
    size_t n_ends, n_vocab;
};

/* Control tokens, unknown and unused ones, and those without bytes are not in it; nor are tokens
 * longer than 65,535 bytes. */
weft_status token_trie_open(const struct tokenizer *t, struct token_trie **out, weft_error *err);
void token_trie_close(struct token_trie *trie); /* NULL is fine */

#endif
