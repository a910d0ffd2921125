/* Follows a text through a grammar and finds the tokens that may come next. The state is a set of
 * stacks of return addresses. Stacks and sets are stored once and found again when they come up
 * again. The matcher also remembers which set a character leads to; so for most grammars this soon
 * becomes a table that the bytes of tokens walk through. Nothing recurses on the text.
 *
 * The limits bound memory and time for every grammar and every text: whatever lies beyond a limit
 * counts as not allowed. Work is counted in such a way that the answer does not depend on what is
 * already stored. */
#ifndef WEFT_MATCHER_H
#define WEFT_MATCHER_H

#include "draw/grammar.h"
#include "draw/token_trie.h"

enum {
    MATCHER_MAX_DEPTH = 4096,   /* of a stack */
    MATCHER_MAX_STACKS = 16384, /* in a set */
    /* The operations that may be followed for one character. */
    MATCHER_MAX_STEPS = 1 << 17,
    /* The operations that may be followed for all tokens together. */
    MATCHER_MASK_STEPS = 1 << 21
};

/* The set that allows nothing. */
enum { MATCHER_DEAD = 0 };

/* A stack: an operation to return to, and the stack below. Node 0 is the bottom. */
struct matcher_node {
    uint32_t op, below;
    uint32_t depth;
};

/* A way through the grammar that waits for a character, with its stack. */
struct matcher_thread {
    uint32_t op, node;
};

struct matcher_set {
    size_t from; /* its threads are threads[from .. from + n), in order */
    uint32_t n;
    /* The next set with this hash; 0 = none. */
    uint32_t same_hash;
    bool ends; /* the text may end here */
};

/* The set that the characters of a class lead to from another set. */
struct matcher_move {
    uint32_t to;
    uint32_t steps; /* the number of steps that finding it took */
    /* The number of the last mask that was charged for it. */
    uint32_t mask;
};

/* A place in the text: a set, and the bytes of a character that is not complete yet. Set 0 allows
 * nothing. */
struct matcher_place {
    uint32_t set;
    uint32_t value; /* the bits so far */
    uint8_t missing, length;
};

/* In a grammar with at most MATCHER_PLAIN_CLASSES classes, the matcher looks MATCHER_PLAIN plain
 * characters ahead. */
enum { MATCHER_PLAIN = 16, MATCHER_PLAIN_CLASSES = 256 };

/* A cached move of the mask that is being made: the set that a class leads to from a set. */
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
    struct u64map node_of; /* from op and below */
    struct u64map set_of;  /* from the hash of the threads */
    struct hash_seed seed; /* of that hash */
    struct u64map move_of; /* from set and class */
    /* These are used while a character is followed. */
    struct u64map seen; /* op and node */
    struct matcher_thread *work;
    size_t n_work, cap_work;
    size_t steps; /* steps so far */
    bool over;    /* a limit was exceeded */
    bool ends;
    /* These are used while a mask is made. */
    uint32_t mask_number;
    size_t mask_steps;
    bool masking;
    struct matcher_place *path; /* [cap_path], by depth in the trie */
    size_t cap_path;
    struct matcher_fast *fast; /* [MATCHER_FAST] */
    /* The last masks, and the places that they belong to. */
    uint64_t *masks; /* [MATCHER_MASKS, n_words], NULL before the first */
    size_t n_words, next_mask;
    struct matcher_place masked[MATCHER_MASKS]; /* set MATCHER_DEAD = none */
};

/* Opens a matcher at the beginning of a text. It retains the grammar. */
weft_status matcher_open(struct grammar *g, struct matcher **out, weft_error *err);
/* Accepts NULL. */
void matcher_close(struct matcher *m);
/* Returns the bytes of memory, without the grammar. */
size_t matcher_bytes(const struct matcher *m);
/* Makes another matcher at the same place. */
weft_status matcher_copy(const struct matcher *m, struct matcher **out, weft_error *err);
void matcher_restart(struct matcher *m);
/* Reads bytes of the text; characters may be cut anywhere. Bytes that the grammar does not allow
 * lead to a place that allows nothing. WEFT_E_NOMEM: nothing was read. */
weft_status matcher_read(struct matcher *m, const char *data, size_t n, weft_error *err);
/* Returns true if the text may end here. */
bool matcher_may_end(const struct matcher *m);
/* Returns true if another character may follow, or the end. */
bool matcher_alive(const struct matcher *m);
/* *mask [n_vocab / 64, rounded up] has the bits of the tokens that may follow, end tokens included.
 * It is valid until the next call. No bit is set if finding them takes more than
 * MATCHER_MASK_STEPS. Every call must use the same trie. */
weft_status matcher_mask(struct matcher *m, const struct token_trie *trie, const uint64_t **mask,
                         weft_error *err);

/* Begins to try bytes at the beginning of a text, where *at then is; the text that was read stays
 * as it is. Its places are valid until another function than matcher_try() is called. */
weft_status matcher_try_start(struct matcher *m, struct matcher_place *at, weft_error *err);
/* Computes the place behind one more byte. It allows nothing if all tries since the start together
 * take more than MATCHER_MASK_STEPS. */
weft_status matcher_try(struct matcher *m, struct matcher_place from, uint8_t byte,
                        struct matcher_place *to, weft_error *err);

/* The rest is private to the files of the matcher. */

/* Fills a new matcher: the bottom of the stacks, the set that allows nothing, and `start`. */
weft_status matcher_begin(struct matcher *m, weft_error *err);
/* Finds or makes the stack with `op` on top of `below`; 0 beyond the limit of depth. */
weft_status matcher_node(struct matcher *m, uint32_t op, uint32_t below, uint32_t *node,
                         weft_error *err);
/* Finds or makes the set of threads[from .. n_threads). If there is such a set already, these
 * threads are dropped. */
weft_status matcher_set(struct matcher *m, size_t from, bool ends, uint32_t *set, weft_error *err);
/* Finds the set that the characters of a class lead to, or takes it from an earlier search. The
 * mask that is being made is charged for it once. */
weft_status matcher_move(struct matcher *m, uint32_t set, uint32_t class, uint32_t *to,
                         weft_error *err);

#endif
