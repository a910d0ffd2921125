/* cudasim for tests: settings of the simulated device, planned failures, the leak report. Plain C,
 * so that tests of the engine use it as they are. Everything else that a test needs is the CUDA
 * runtime itself. Linked only into tests. */
#ifndef CUDASIM_TESTING_H
#define CUDASIM_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cudasim_order { CUDASIM_ASCENDING, CUDASIM_DESCENDING, CUDASIM_RANDOM };

/* Change fields only while no work is pending. The environment sets what stands in brackets. */
struct cudasim_config {
    enum cudasim_order
        order;            /* of threads, warps, blocks, streams [CUDASIM_ORDER=asc|desc|random] */
    uint64_t seed;        /* of the random order [CUDASIM_SEED] */
    bool eager;           /* work runs at the call, not at the wait [CUDASIM_EAGER=1] */
    bool protect;         /* the host cannot touch device memory [CUDASIM_PROTECT=0] */
    bool strict_exit;     /* no thread may return before a __syncthreads of its block */
    size_t stack;         /* bytes of a simulated thread's stack */
    size_t device_memory; /* bytes that cudaMalloc can hand out */
    int sm_count;
    int compute_capability; /* 86 = 8.6 */
    size_t shared_opt_in;   /* most bytes of shared memory of a block */
    size_t l2_bytes;
    /* Work is checked and recorded (cudasim_record), but not done: kernels, products, copies and
     * memsets leave device memory alone, which is then addresses and nothing else, so that models
     * of any size fit; copies to the host bring zeros. Set it before the first allocation. */
    bool dry;
    /* what the code of kernels was made for, 0 = this device; PTX runs on later ones, and a device
     * before it has no code */
    int ptx_version;
    int driver_version; /* 12020 = 12.2; 0 = as new as the runtime */
    int device_error;   /* cudaError_t of every call, as without a driver; 0 = there is a device */
};
struct cudasim_config *cudasim_settings(void);

/* The k-th counted call from now on fails (1 = the next one; 0 = none) and counting starts again.
 * Counted is every runtime and cuBLAS function that can fail for reasons of the device. Functions
 * that release something do release it and then report the failure. Sticky: all later calls fail
 * too, as after an illegal access on a device, until cudasim_fail_call is called again. */
void cudasim_fail_call(uint64_t k, bool sticky);
uint64_t cudasim_calls(void);          /* counted since the last cudasim_fail_call */
const char *cudasim_failed_call(void); /* name of the call that was made to fail, or NULL */

/* The k-th counted call from now on while a stream is captured (1 = the next one, 0 = none) finds
 * the capture broken, as by a cudaDeviceSynchronize in another thread. */
void cudasim_break_capture(uint64_t k);

/* Prints one line for each thing that host code has not released (device and pinned memory,
 * streams, events, graphs, cuBLAS handles) and returns how many there are. out may be NULL. */
size_t cudasim_leaks(FILE *out);

/* Installs a SIGSEGV handler that says which allocation was touched, by which code, and aborts.
 * Call it in each test: cmocka puts its own handler in place before every one. */
void cudasim_catch_faults(void);

bool cudasim_is_device(const void *p); /* does p point into the device's address range? */

enum cudasim_work {
    CUDASIM_NOTHING,
    CUDASIM_KERNEL,
    CUDASIM_GEMM, /* of cuBLAS */
    CUDASIM_COPY,
    CUDASIM_SET,
    CUDASIM_HOST_CALL,
    CUDASIM_GRAPH,     /* a replay begins; its nodes follow */
    CUDASIM_GRAPH_END, /* all nodes are done */
    CUDASIM_MALLOC,    /* at the call, as the two below */
    CUDASIM_PIN,
    CUDASIM_WAIT /* the host waited for all that was told before */
};
/* What the device did. Fields that do not concern the kind are 0. */
struct cudasim_entry {
    enum cudasim_work kind;
    size_t stream;    /* 0 = the default stream, then in the order in which they were created */
    bool in_graph;    /* a node of a graph that is replayed */
    const char *name; /* of a kernel, of the function of the host that waited */
    unsigned grid[3], block[3];
    size_t shared; /* dynamic */
    bool programmatic;
    int n_args; /* parameters of the kernel, and their sizes */
    const void *const *args;
    const size_t *arg_bytes;
    size_t bytes;          /* COPY, SET, MALLOC, PIN */
    int direction;         /* COPY: enum cudaMemcpyKind, never the default */
    int m, n, k, types[3]; /* GEMM: enum cudaDataType of A, B, C */
    size_t n_nodes;        /* GRAPH */
};
/* From now on fn hears of all work, in the order in which it runs; NULL = nobody. Pointers live
 * during the call. fn must not call the runtime. */
typedef void (*cudasim_record_fn)(void *user, const struct cudasim_entry *);
void cudasim_record(cudasim_record_fn fn, void *user);

struct cudasim_counts {
    uint64_t launches, blocks, threads, switches, collectives, barriers;
    uint64_t programmatic;    /* kernels launched so, or captured */
    uint64_t graph_launches;  /* of whole graphs */
    uint64_t broken_captures; /* that did not end in a graph */
};
struct cudasim_counts *cudasim_stats(void);

#ifdef __cplusplus
}
#endif
#endif
