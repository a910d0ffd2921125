#include "cuda/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

enum { MAX_BLOCKS = 4096 };

static struct {
    struct dqueue queue;
    struct dptr device[MAX_BLOCKS];
    void *host[MAX_BLOCKS];
    size_t n_device, n_host;
} rig;

void device_expect(cudaError_t e, const char *call, const char *file, int line)
{
    if (e != cudaSuccess) {
        print_error("%s: %s (%s)\n", call, cudaGetErrorName(e), cudaGetErrorString(e));
        _fail(file, line);
    }
}

/* Makes tests fail if WEFT_TEST_PLANT is set, so that tools/gpu-check.sh can be tried. Without
 * programmatic launches they pass, as they would if the fault were a race between two kernels. */
static int planted(void)
{
    const char *v = getenv("WEFT_TEST_PLANT");
    if (v == NULL || *v == '\0' || rig_no_pdl()) {
        return 0;
    }
    print_error("a planted failure (WEFT_TEST_PLANT)\n");
    return 1;
}

int device_setup(void **state)
{
    (void)state;
    CU(kernel_queue(0, &rig.queue));
    CU(cudaStreamCreateWithFlags(&rig.queue.stream, cudaStreamNonBlocking));
    rig.queue.programmatic = rig.queue.programmatic && !rig_no_pdl();
    return planted();
}

int device_teardown(void **state)
{
    (void)state;
    cudaError_t e = cudaStreamSynchronize(rig.queue.stream);
    for (size_t i = 0; i < rig.n_device; i++) {
        cudaFree((void *)rig.device[i].at);
    }
    for (size_t i = 0; i < rig.n_host; i++) {
        free(rig.host[i]);
    }
    rig.n_device = rig.n_host = 0;
    cudaStreamDestroy(rig.queue.stream);
    return e != cudaSuccess;
}

const struct dqueue *device_queue(void) { return &rig.queue; }

void *device_host(size_t bytes)
{
    assert_true(rig.n_host < MAX_BLOCKS);
    void *p = calloc(1, bytes ? bytes : 1);
    assert_non_null(p);
    return rig.host[rig.n_host++] = p;
}

struct dptr device_alloc(size_t bytes)
{
    assert_true(rig.n_device < MAX_BLOCKS);
    void *p = NULL;
    CU(cudaMalloc(&p, bytes ? bytes : 1));
    return rig.device[rig.n_device++] = (struct dptr){ (uintptr_t)p };
}

void device_fill(struct dptr d, const void *src, size_t bytes)
{
    CU(cudaMemcpyAsync((void *)d.at, src, bytes, cudaMemcpyHostToDevice, rig.queue.stream));
    CU(cudaStreamSynchronize(rig.queue.stream));
}

struct dptr device_put(const void *src, size_t bytes)
{
    struct dptr d = device_alloc(bytes);
    device_fill(d, src, bytes);
    return d;
}

void *device_get(struct dptr d, size_t bytes)
{
    void *p = device_host(bytes);
    CU(cudaMemcpyAsync(p, (void *)d.at, bytes, cudaMemcpyDeviceToHost, rig.queue.stream));
    CU(cudaStreamSynchronize(rig.queue.stream));
    return p;
}

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

float *random_floats(uint64_t seed, size_t n)
{
    float *x = device_host(n * sizeof *x);
    uint64_t state = seed * 977 + 1;
    next(&state);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)next(&state) / 1073741824.0f - 1.0f;
    }
    return x;
}

/* Writes the half floats d and m of a block. They are finite, and of a size with which weights are
 * about 1. */
static void finite_scales(const struct quant_type *t, uint8_t *block, uint64_t *state)
{
    size_t at[2] = { 0, 0 }, n = 1;
    float size = 1.0f / 16;
    switch (t->id) {
    case QUANT_Q4_1:
    case QUANT_Q5_1: at[1] = 2, n = 2; break;
    case QUANT_Q8_0:
    case QUANT_IQ4_NL: size = 1.0f / 128; break;
    case QUANT_Q2_K: at[0] = 80, at[1] = 82, n = 2, size = 1.0f / 24; break;
    case QUANT_Q3_K: at[0] = 108, size = 1.0f / 96; break;
    case QUANT_Q4_K:
    case QUANT_Q5_K: at[1] = 2, n = 2, size = 1.0f / 512; break;
    case QUANT_Q6_K: at[0] = 208, size = 1.0f / 2048; break;
    case QUANT_IQ4_XS: size = 1.0f / 2048; break;
    default: break;
    }
    for (size_t i = 0; i < n; i++) {
        float r = (float)next(state) / 1073741824.0f - 1.0f;
        f16_bits h = f32_to_f16(r * size);
        memcpy(block + at[i], &h, sizeof h);
    }
}

uint8_t *random_weights(uint64_t seed, const struct quant_type *t, size_t n_rows, size_t n_cols,
                        size_t *bytes_out)
{
    size_t n = n_rows * n_cols, bytes = n / t->block * t->bytes;
    uint8_t *w = device_host(bytes);
    uint64_t state = seed * 1009 + t->id;
    if (t->block == 1) {
        t->encode(random_floats(seed, n), w, n);
    } else {
        for (size_t i = 0; i < bytes; i++) {
            w[i] = (uint8_t)next(&state);
        }
        for (size_t i = 0; i < n / t->block; i++) {
            finite_scales(t, w + i * t->bytes, &state);
        }
    }
    if (bytes_out != NULL) {
        *bytes_out = bytes;
    }
    return w;
}

struct dmatrix device_matrix(const struct quant_type *t, const uint8_t *file, size_t n_rows,
                             size_t n_cols)
{
    struct dmatrix m = { .type = t->id, .n_rows = (uint32_t)n_rows, .n_cols = (uint32_t)n_cols };
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        size_t bytes = n_rows * plane_row_bytes(t->id, p, n_cols);
        if (bytes > 0) {
            m.plane[p] = device_alloc(bytes);
        }
    }
    struct dptr raw = device_put(file, n_rows * n_cols / t->block * t->bytes);
    CU(kernel_repack(&m, 0, n_rows, raw, &rig.queue));
    CU(cudaStreamSynchronize(rig.queue.stream));
    return m;
}

struct dacts device_acts(size_t n, size_t n_cols, uint32_t forms)
{
    size_t stride = (n_cols + 31) / 32 * 32;
    struct dacts a = { .n_cols = (uint32_t)n_cols, .stride = (uint32_t)stride, .forms = forms };
    if (forms & ACT_Q8) {
        a.q = device_alloc(n * stride);
        a.block = device_alloc(n * stride / 32 * sizeof(struct act_block));
    }
    if (forms & ACT_F32) {
        a.x = device_alloc(n * stride * sizeof(float));
    }
    if (forms & ACT_F16) {
        a.half = device_alloc(n * stride * 2);
        a.half_scale = device_alloc(n * sizeof(float));
    }
    return a;
}
