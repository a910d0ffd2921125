/* What engines must not do at the same time, whatever model and device they have. A call that waits
 * for a whole device breaks every capture under way on it, of any thread; cuBLAS makes such calls
 * when a handle is made or destroyed. */
#ifndef WEFT_CUDA_ALONE_H
#define WEFT_CUDA_ALONE_H

/* Around a capture, and around what would break one. Not nested, and not held for longer than that.
 */
void alone_begin(void);
void alone_end(void);

#endif
