/* How a launch of matvec.cu is cut up: chosen by the host from the shapes and the device, the
 * kernel's second parameter. Tools that check launches read it too. */
#ifndef WEFT_MATVEC_PLAN_H
#define WEFT_MATVEC_PLAN_H

#include "kernels.h"

struct matvec_plan {
    size_t first; /* rows [first, first + n) of activations */
    uint32_t n;
    uint32_t log2_split;  /* parts of the columns: 1, 2, 4, 8 */
    uint32_t units;       /* rows of a tile */
    uint32_t tile_end[3]; /* tiles of w[0], of w[0] and w[1], ... */
    uint32_t n_tiles;
    uint32_t prefetch;      /* bytes of a plane of a tile that are asked for ahead, at most */
    uint32_t forms, stride; /* of the rows that a block prepares */
    uint32_t row_bytes[3][WEIGHT_PLANES];
};

#endif
