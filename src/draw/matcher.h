/* Where a text stands in a grammar, and what may follow. The state is a set of stacks of return
 * addresses. Stacks and sets that were met before are found again, and so is where a character
 * leads from a set: for most grammars this soon becomes a table that the bytes of tokens walk
 * through. Nothing recurses on the text.
 *
 * Limits, so that no grammar and no text can take memory or time without end: what lies beyond them
 * counts as not allowed. Work is counted so that the answer does not depend on what was found
 * before. */
#ifndef WEFT_MATCHER_H
#define WEFT_MATCHER_H

#include "draw/grammar.h"
#include "draw/token_trie.h"

enum {
    MATCHER_MAX_DEPTH = 4096,    /* of a stack */
    MATCHER_MAX_STACKS = 16384,  /* in a set */
    MATCHER_MAX_STEPS = 1 << 17, /* operations followed for one character */
    MATCHER_MASK_STEPS = 1 << 21 /* operations followed for all tokens */
};

enum { MATCHER_DEAD = 0 }; /* the set that allows nothing */

/* One stack: where to return to, and the stack below. Node 0 is the bottom. */
struct matcher_node {
    uint32_t op, below;
    uint32_t depth;
};

/* A way through the grammar that waits at a character, with its stack. */
struct matcher_thread {
    uint32_t op, node;
};

struct matcher_set {
    size_t from; /* threads[from .. from + n), in order */
    uint32_t n;
    uint32_t same_hash; /* the next set with this hash; 0 = none */
    bool ends;          /* the text may end here */
};

/* Where the characters of a class lead from a set. */
struct matcher_move {
    uint32_t to;
    uint32_t steps; /* what it took to find out */
    uint32_t mask;  /* the number of the last mask that was charged for it */
};

/* A place in the text: a set, and the bytes of a character not yet complete. Set 0 allows nothing.
 */
struct matcher_place {
    uint32_t set;
    uint32_t value; /* the bits so far */
    uint8_t missing, length;
};

/* Plain characters are looked at so far ahead, in grammars with so few classes. */
enum { MATCHER_PLAIN = 16, MATCHER_PLAIN_CLASSES = 256 };

/* Where the characters of a class lead from a set, found for one mask. */
enum { MATCHER_FAST = 1 << 14, MATCHER_MASKS = 4 };
struct matcher_fast {
    uint64_t key; /* set and class */
    uint32_t to, mask;
};

struct matcher {
    struct grammar *g;
    struct matcher_place at;
    uint32_t start; /* the set at the beginning of a text */
    struct matcher_node *nodes;
    struct matcher_thread *threads;
    struct matcher_set *sets;
    struct matcher_move *moves;
    size_t n_nodes, cap_nodes, n_threads, cap_threads, n_sets, cap_sets, n_moves, cap_moves;
    struct u64map node_of; /* op and below */
    struct u64map set_of;  /* hash of the threads */
    struct hash_seed seed; /* of that hash */
    struct u64map move_of; /* set and class */
    /* while a character is followed */
    struct u64map seen; /* op and node */
    struct matcher_thread *work;
    size_t n_work, cap_work;
    size_t steps; /* so far */
    bool over;    /* a limit was met */
    bool ends;
    /* while a mask is made */
    uint32_t mask_number;
    size_t mask_steps;
    bool masking;
    struct matcher_place *path; /* [cap_path] of the trie */
    size_t cap_path;
    struct matcher_fast *fast; /* [MATCHER_FAST] */
    /* the last masks, and the places that they belong to */
    uint64_t *masks; /* [MATCHER_MASKS, n_words] NULL before the first */
    size_t n_words, next_mask;
    struct matcher_place masked[MATCHER_MASKS]; /* set MATCHER_DEAD: none */
};

/* At the beginning of a text. Retains the grammar. */
weft_status matcher_open(struct grammar *g, struct matcher **out, weft_error *err);
void matcher_close(struct matcher *m);         /* NULL is fine */
size_t matcher_bytes(const struct matcher *m); /* of memory, without the grammar */
/* Another one at the same place. */
weft_status matcher_copy(const struct matcher *m, struct matcher **out, weft_error *err);
void matcher_restart(struct matcher *m);
/* Reads bytes of the text; characters may be cut anywhere. Bytes that the grammar does not allow
 * lead to a place that allows nothing. WEFT_E_NOMEM: nothing was read. */
weft_status matcher_read(struct matcher *m, const char *data, size_t n, weft_error *err);
/* Whether the text may end here. */
bool matcher_may_end(const struct matcher *m);
/* Whether another character may follow, or the end. */
bool matcher_alive(const struct matcher *m);
/* *mask [n_vocab / 64, rounded up] has the bits of the tokens that may follow, end tokens included;
 * valid until the next call. None is set if finding them takes more than MATCHER_MASK_STEPS. Always
 * the same trie. */
weft_status matcher_mask(struct matcher *m, const struct token_trie *trie, const uint64_t **mask,
                         weft_error *err);

/* Between the parts of the matcher. */

/* Fills a new matcher: the bottom of the stacks, the set that allows nothing, and `start`. */
weft_status matcher_begin(struct matcher *m, weft_error *err);
/* The stack with `op` on top of `below`; 0 beyond the limit of depth. */
weft_status matcher_node(struct matcher *m, uint32_t op, uint32_t below, uint32_t *node,
                         weft_error *err);
/* The set of threads[from .. n_threads), which are dropped if there is such a set already. */
weft_status matcher_set(struct matcher *m, size_t from, bool ends, uint32_t *set, weft_error *err);
/* Where the characters of a class lead from a set, found again if it was looked for before; charged
 * to the mask under way once. */
weft_status matcher_move(struct matcher *m, uint32_t set, uint32_t class, uint32_t *to,
                         weft_error *err);

#endif
