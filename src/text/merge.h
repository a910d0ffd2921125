/* The loop that byte-level BPE and SPM share. Of all neighbouring pairs that a rule allows to
 * merge, it merges the pair that is first in the rule's order, and the leftmost of equals, until no
 * pair is left. */
#ifndef WEFT_MERGE_H
#define WEFT_MERGE_H

#include "base/mem.h"

/* A stretch of the text. A merge extends the left symbol and empties the right one. */
struct symbol {
    uint32_t start, n;  /* bytes of the text; n == 0: merged into another symbol */
    int32_t prev, next; /* neighbours, -1 at the ends */
    int32_t id;         /* token, -1 if there is none */
};

/* A pair that may be merged. The low half of key is the left symbol, the high half is its order. n
 * is the bytes of both symbols together. It tells whether the pair is still the same, because any
 * merge with one of them makes the sum larger. */
struct candidate {
    uint64_t key;
    uint32_t n;
    int32_t id;
};

/* Memory of the loop, kept from one text to the next. It starts as zeros. */
struct merger {
    struct symbol *symbols;
    size_t n, symbols_cap;
    struct candidate *heap; /* smallest key first */
    size_t n_heap, heap_cap;
};
void merger_free(struct merger *m);

/* Appends a symbol. Returns false if memory is out. */
bool merger_add(struct merger *m, size_t start, size_t n, int32_t id);

/* Returns true if left and right may merge into a token: *id is the token, and pairs of smaller
 * *order merge earlier. */
typedef bool (*merge_rule)(const void *user, const struct symbol *left, const struct symbol *right,
                           uint32_t *order, int32_t *id);

/* Merges until nothing merges any more. The result starts at symbols[0] and goes on by `next`.
 * Returns false if memory is out. The time is O(n log n) with O(n) calls of the rule, whatever the
 * text. */
bool merger_run(struct merger *m, merge_rule rule, const void *user);

#endif
