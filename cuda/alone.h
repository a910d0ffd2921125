/* Things that engines must not do at the same time, whatever their models and devices. A call that
 * waits for a whole device breaks every capture under way on that device, in any thread. cuBLAS
 * makes such calls when a handle is made or destroyed. */
#ifndef WEFT_CUDA_ALONE_H
#define WEFT_CUDA_ALONE_H

/* Call these around a capture, and around anything that would break one. They do not nest; hold
 * them no longer than needed. */
void alone_begin(void);
void alone_end(void);

#endif
