/* The bytes of all tokens of a vocabulary as a tree, so that a beginning that several tokens share
 * is looked at once. */
#ifndef WEFT_TOKEN_TRIE_H
#define WEFT_TOKEN_TRIE_H

#include "text/tokenizer.h"

/* A node stands for the bytes from the root to it. Nodes are in preorder: children follow their
 * parent. */
struct trie_node {
    uint32_t skip; /* the next node that is not below this one */
    /* tokens[first .. first + n_tokens) have exactly these bytes. */
    uint32_t first;
    uint32_t n_tokens;
    uint16_t depth; /* 1 for the first byte of a token */
    uint8_t byte;
    /* If all tokens from here to `skip` are plain, as most are: the largest number of characters of
     * any of them, counted from the root; a character that is cut at the end counts. Otherwise
     * 0. */
    uint8_t n_plain;
};

/* Plain characters have no meaning in the strings of most languages. They are all characters but
 * the control characters, quotation mark and backslash of ASCII. This function decides for
 * ASCII. */
static inline bool trie_plain(uint8_t ascii)
{
    return ascii >= 0x20 && ascii != 0x7f && ascii != '"' && ascii != '\\';
}

struct token_trie {
    struct trie_node *nodes; /* [n_nodes] */
    int32_t *tokens;         /* [n_tokens] in the order of their bytes */
    size_t n_nodes, n_tokens;
    size_t depth;
    /* [n_ends] The tokens that end a text; they are in no node. */
    int32_t *ends;
    size_t n_ends, n_vocab;
    /* [n_others] The other tokens that are in no node. */
    int32_t *others;
    size_t n_others;
};

/* The nodes leave out control tokens, unknown and unused ones, tokens without bytes, and tokens
 * longer than 65,535 bytes. */
weft_status token_trie_open(const struct tokenizer *t, struct token_trie **out, weft_error *err);
/* Accepts NULL. */
void token_trie_close(struct token_trie *trie);

#endif
