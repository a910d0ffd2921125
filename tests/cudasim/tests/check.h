/* For the simulator's own tests: checks that end the test, and the lists of tests. Each test runs
 * in a process of its own. */
#ifndef CUDASIM_CHECK_H
#define CUDASIM_CHECK_H

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(c)                                                                                   \
    do                                                                                             \
        if (!(c)) {                                                                                \
            printf("%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #c);                           \
            exit(1);                                                                               \
        }                                                                                          \
    while (0)
#define OK(call)                                                                                   \
    do {                                                                                           \
        cudaError_t ok_ = (call);                                                                  \
        if (ok_) {                                                                                 \
            printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(ok_));           \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#ifdef __cplusplus
extern "C" {
#endif

struct sample {
    const char *name;
    void (*run)(void);
};
/* One list per file; each ends with a null name. */
extern const struct sample matvec_samples[], attention_samples[], tensor_core_samples[],
    grid_samples[], intrinsic_samples[], graph_samples[], runtime_samples[], fault_samples[],
    cublas_samples[], dry_samples[];

#ifdef __cplusplus
}
#endif
#endif
