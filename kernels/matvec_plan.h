/* How the work of a launch of matvec.cu is cut up. The host chooses the plan from the shapes and
 * the device; the plan is the kernel's second parameter. Tools that check launches read it too. */
#ifndef WEFT_MATVEC_PLAN_H
#define WEFT_MATVEC_PLAN_H

#include "kernels.h"

struct matvec_plan {
    /* Rows [first, first + n) of the activations. */
    size_t first;
    uint32_t n;
    /* log2 of the number of parts of the columns: 1, 2, 4 or 8 parts. */
    uint32_t log2_split;
    uint32_t units; /* rows of a tile */
    /* tile_end[i]: the number of tiles of w[0] to w[i] together. */
    uint32_t tile_end[3];
    uint32_t n_tiles;
    /* The most bytes of each plane of a tile that go to the L2 cache before they are needed. */
    uint32_t prefetch;
    uint32_t forms, stride; /* of the rows that a block prepares */
    uint32_t row_bytes[3][WEIGHT_PLANES];
};

#endif
