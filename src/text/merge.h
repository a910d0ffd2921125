/* The loop that byte-level BPE and SPM share: of all neighbouring pairs that a rule allows to
 * merge, the one that comes first in the rule's order is merged, the leftmost of equals, until none
 * is left. */
#ifndef WEFT_MERGE_H
#define WEFT_MERGE_H

#include "base/mem.h"

/* A stretch of the text. Merging extends the left symbol and empties the right one. */
struct symbol {
    uint32_t start, n;  /* bytes of the text; n == 0: merged into another */
    int32_t prev, next; /* neighbours, -1 at the ends */
    int32_t id;         /* token, -1 if there is none */
};

/* A pair that may be merged: the left symbol is the low half of key, its order the high half. The
 * bytes of the pair tell whether it is still the same two symbols: whatever merges with one of them
 * makes the sum larger. */
struct candidate {
    uint64_t key;
    uint32_t n;
    int32_t id;
};

/* Memory of the loop, kept from one text to the next. Zero-initialise. */
struct merger {
    struct symbol *symbols;
    size_t n, symbols_cap;
    struct candidate *heap; /* smallest key first */
    size_t n_heap, heap_cap;
};
void merger_free(struct merger *m);

/* Appends a symbol; false when memory is out. */
bool merger_add(struct merger *m, size_t start, size_t n, int32_t id);

/* Whether left and right make a token: its id, and when (smaller order: earlier). */
typedef bool (*merge_rule)(const void *user, const struct symbol *left, const struct symbol *right,
                           uint32_t *order, int32_t *id);

/* Merges until nothing merges any more. The result starts at symbols[0] and goes on by `next`.
 * False when memory is out. Time is O(n log n) with O(n) calls of the rule,
 * whatever the text. */
bool merger_run(struct merger *m, merge_rule rule, const void *user);

#endif
