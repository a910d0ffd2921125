/* What tests of kernels share: device memory that is filled from and read back to the host, and the
 * random numbers they are fed. The same objects run on the simulator and on a GPU. */
#ifndef TESTS_CUDA_DEVICE_H
#define TESTS_CUDA_DEVICE_H

#include "format/quant.h"
#include "kernels/kernels.h"

/* Fails the test unless the call succeeded. */
#define CU(call) device_expect(call, #call, __FILE__, __LINE__)
void device_expect(cudaError_t e, const char *call, const char *file, int line);

/* cmocka setup and teardown of a group's tests. Each test gets a stream of its own, and frees its
 * device memory at the end. */
int device_setup(void **state);
int device_teardown(void **state);
const struct dqueue *device_queue(void);

/* Each call makes an allocation of its own, which the teardown frees. */
struct dptr device_alloc(size_t bytes); /* content undefined; on the simulator 0xff */
struct dptr device_put(const void *src, size_t bytes);
void device_fill(struct dptr d, const void *src, size_t bytes);
/* Waits for the queue, then copies to host memory that the teardown frees. */
void *device_get(struct dptr d, size_t bytes);

/* Returns host memory that the teardown frees. */
void *device_host(size_t bytes);

/* Returns numbers uniform in [-1, 1), always the same for the same seed. */
float *random_floats(uint64_t seed, size_t n);
/* Returns n_rows * n_cols weights of a type: random bytes with finite scales, so that |weight| is
 * about 1. n_cols is a multiple of the type's block. *bytes_out gets the size. */
uint8_t *random_weights(uint64_t seed, const struct quant_type *t, size_t n_rows, size_t n_cols,
                        size_t *bytes_out);
/* Returns the matrix in device memory, repacked by kernel_repack(). */
struct dmatrix device_matrix(const struct quant_type *t, const uint8_t *file, size_t n_rows,
                             size_t n_cols);
/* Returns activations for n rows in all of these forms (enum act_form), with no values in them. */
struct dacts device_acts(size_t n, size_t n_cols, uint32_t forms);

#endif
