/* What the tests of activations share: rows in all forms, read back from the device, and the CPU's
 * quantisation, whose bits the form Q8 has to have. */
#ifndef TESTS_CUDA_ACTS_RIG_H
#define TESTS_CUDA_ACTS_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/kernels/ops.h"
#include "cuda/device.h"
#include "support/level.h"

static inline bool thin(void) { return !level_all("most shapes of products"); }

static inline size_t up32(size_t n) { return (n + 31) / 32 * 32; }

/* n rows of activations on the host. Forms that the device's activations lack are NULL. */
struct host_acts {
    size_t n_cols, stride;
    const int8_t *q;
    const struct act_block *block;
    const float *x;
    const f16_bits *half;
    const float *half_scale;
};

static inline struct host_acts acts_get(const struct dacts *a, size_t n)
{
    struct host_acts h = { .n_cols = a->n_cols, .stride = a->stride };
    const size_t all = n * h.stride;
    if (a->forms & ACT_Q8) {
        h.q = device_get(a->q, all);
        h.block = device_get(a->block, all / 32 * sizeof *h.block);
    }
    if (a->forms & ACT_F32) {
        h.x = device_get(a->x, all * sizeof *h.x);
    }
    if (a->forms & ACT_F16) {
        h.half = device_get(a->half, all * sizeof *h.half);
        h.half_scale = device_get(a->half_scale, n * sizeof *h.half_scale);
    }
    return h;
}

/* Returns true for the same bits, and for any two NaN. */
static inline bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Counts the blocks of h, n rows, that differ from the CPU's quantisation of x [n, h->stride]. The
 * columns of x past n_cols are zeros. */
static inline size_t wrong_blocks(const struct host_acts *h, size_t n, const float *x)
{
    const size_t stride = (h->n_cols + 511) / 512 * 512;
    struct acts cpu = { .n_cols = h->n_cols,
                        .stride = stride,
                        .q = device_host(stride),
                        .scales = device_host(stride / 32 * sizeof *cpu.scales) };
    size_t wrong = 0;
    for (size_t r = 0; r < n; r++) {
        cpu_ops_scalar()->quantize(x + r * h->stride, &cpu, 0);
        for (size_t b = 0; b < h->stride / 32; b++) {
            const struct act_block *block = &h->block[r * (h->stride / 32) + b];
            int sum[2] = { 0, 0 };
            for (size_t j = 0; j < 32; j++) {
                sum[j / 16] += cpu.q[32 * b + j];
            }
            wrong += !same_float(block->d, cpu.scales[b].d) || block->sum[0] != sum[0] ||
                     block->sum[1] != sum[1] ||
                     memcmp(h->q + r * h->stride + 32 * b, cpu.q + 32 * b, 32) != 0;
        }
    }
    return wrong;
}

#endif
