/* What there is to compute with: each backend tells of its own hardware. */
#ifndef WEFT_PLATFORM_H
#define WEFT_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What there is of CUDA, asked without taking any device memory. */
struct cuda_platform {
    bool built;          /* this build has the backend */
    int driver, runtime; /* 13010 = 13.1; 0 = none */
    size_t n_devices;
    char problem[200]; /* why there is no device, "" if there is one */
    bool lost;         /* there was one, until a kernel failed in this process */
};
void cuda_platform_get(struct cuda_platform *p);
struct cuda_device {
    char description[128];
    int major, minor; /* compute capability */
    size_t n_sms;
    uint64_t total_bytes, free_bytes; /* free_bytes 0 = unknown */
    char problem[200];                /* why it cannot be used, "" if it can */
    bool lost;                        /* it could, until a kernel failed in this process */
};
/* i < n_devices */
void cuda_device_get(size_t i, struct cuda_device *d);

/* What the CPU backend has to compute with. */
struct cpu_platform {
    char name[64];
    char features[96];         /* instructions that its kernels can use, "avx2 fma f16c" */
    const char *kernels;       /* the set that would run */
    size_t n_cores, n_threads; /* physical cores, hardware threads that this process may use */
    uint64_t total_bytes, free_bytes; /* memory of this machine or container; 0 = unknown */
};
void cpu_platform_get(struct cpu_platform *p);
/* How many threads should run at once if nobody says: one per physical core that this process may
 * use, at most what its CPU quota amounts to, at least 1. */
size_t cpu_default_threads(void);

#endif
