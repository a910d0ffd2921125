// Moves weights from the blocks of a file to planes (kernels.h), at upload.
//
//   plane[p][block] = the bytes [at, at + bytes) of the block, for each plane p of the type
//
// Bytes are copied in units of 2: the sizes of blocks (18, 22, 34, 210 ...) promise no larger
// alignment, and neither does the address of a tensor in a file. Each thread copies one unit at a
// time, so a warp reads 64 contiguous bytes; every byte is read and written once. That is several
// times faster than the bytes arrive over the bus.
//
// repack_blocks: a thread block takes FILE_BLOCKS blocks of the file. In a plane all blocks follow
// one another, so the borders of rows do not matter. repack_row is for float types: a thread block
// takes one row, and fills its end with zeros up to a multiple of 16 bytes. Test:
// tests/cuda/test_weights.c.
#include "device.cuh"

enum { THREADS = 256, FILE_BLOCKS = 64 };

struct type_planes {
    uint32_t type;
    uint16_t n_cols, bytes; // of a block
    struct plane_layout layout;
};

static constexpr struct plane_field span(size_t at, size_t end)
{
    return { (uint16_t)at, (uint16_t)(end - at) };
}
static constexpr struct plane_field NONE = { 0, 0 };
// The bytes from the beginning of one member of a block to the end of another.
#define SPAN(name, first, last)                                                                    \
    span(offsetof(struct block_##name, first),                                                     \
         offsetof(struct block_##name, last) + sizeof(((struct block_##name *)0)->last))
#define TYPE(name, n_cols) n_cols, sizeof(struct block_##name)

// clang-format off
static const struct type_planes table[] = {
    // codes, high, scales, super
    { QUANT_F32, 1, 4, { { { 0, 4 } } } },
    { QUANT_F16, 1, 2, { { { 0, 2 } } } },
    { QUANT_BF16, 1, 2, { { { 0, 2 } } } },
    { QUANT_Q4_0, TYPE(q4_0, 32), { { SPAN(q4_0, qs, qs), NONE, SPAN(q4_0, d, d) } } },
    { QUANT_Q4_1, TYPE(q4_1, 32), { { SPAN(q4_1, qs, qs), NONE, SPAN(q4_1, d, m) } } },
    { QUANT_Q5_0, TYPE(q5_0, 32),
      { { SPAN(q5_0, qs, qs), SPAN(q5_0, qh, qh), SPAN(q5_0, d, d) } } },
    { QUANT_Q5_1, TYPE(q5_1, 32),
      { { SPAN(q5_1, qs, qs), SPAN(q5_1, qh, qh), SPAN(q5_1, d, m) } } },
    { QUANT_Q8_0, TYPE(q8_0, 32), { { SPAN(q8_0, qs, qs), NONE, SPAN(q8_0, d, d) } } },
    { QUANT_Q2_K, TYPE(q2_k, 256),
      { { SPAN(q2_k, qs, qs), NONE, SPAN(q2_k, scales, scales), SPAN(q2_k, d, dmin) } } },
    { QUANT_Q3_K, TYPE(q3_k, 256),
      { { SPAN(q3_k, qs, qs), SPAN(q3_k, hmask, hmask), SPAN(q3_k, scales, scales),
          SPAN(q3_k, d, d) } } },
    { QUANT_Q4_K, TYPE(q4_k, 256), { { SPAN(q4_k, qs, qs), NONE, SPAN(q4_k, d, scales) } } },
    { QUANT_Q5_K, TYPE(q5_k, 256),
      { { SPAN(q5_k, qs, qs), SPAN(q5_k, qh, qh), SPAN(q5_k, d, scales) } } },
    { QUANT_Q6_K, TYPE(q6_k, 256),
      { { SPAN(q6_k, ql, ql), SPAN(q6_k, qh, qh), SPAN(q6_k, scales, scales),
          SPAN(q6_k, d, d) } } },
    { QUANT_IQ4_NL, TYPE(iq4_nl, 32), { { SPAN(iq4_nl, qs, qs), NONE, SPAN(iq4_nl, d, d) } } },
    { QUANT_IQ4_XS, TYPE(iq4_xs, 256),
      { { SPAN(iq4_xs, qs, qs), NONE, SPAN(iq4_xs, d, scales_l) } } },
};
// clang-format on

static const struct type_planes *find(uint32_t type)
{
    for (const struct type_planes &t : table) {
        if (t.type == type) {
            return &t;
        }
    }
    return nullptr;
}

const struct plane_layout *plane_layout(uint32_t type)
{
    const struct type_planes *t = find(type);
    return t != nullptr ? &t->layout : nullptr;
}

size_t plane_row_bytes(uint32_t type, enum weight_plane plane, size_t n_cols)
{
    const struct type_planes *t = find(type);
    if (t == nullptr) {
        return 0;
    }
    const size_t bytes = n_cols / t->n_cols * t->layout.field[plane].bytes;
    return t->n_cols == 1 ? (bytes + 15) / 16 * 16 : bytes;
}

__global__ void repack_blocks(struct dmatrix m, struct plane_layout layout, unsigned block_units,
                              size_t first_block, size_t n_blocks, const uint16_t *file)
{
    grid_dependency_release();
    grid_dependency_wait();
    const size_t base = (size_t)blockIdx.x * FILE_BLOCKS;
    const unsigned n = (unsigned)min((size_t)FILE_BLOCKS, n_blocks - base) * block_units;
    for (unsigned u = threadIdx.x; u < n; u += THREADS) {
        const size_t block = first_block + base + u / block_units;
        const unsigned at = u % block_units * 2;
        const uint16_t v = file[base * block_units + u];
#pragma unroll
        for (int p = 0; p < WEIGHT_PLANES; p++) {
            const struct plane_field f = layout.field[p];
            if (at - f.at < f.bytes) { // also false for at < f.at: the difference is unsigned
                ptr<uint16_t>(m.plane[p])[(block * f.bytes + at - f.at) / 2] = v;
            }
        }
    }
}

__global__ void repack_row(struct dmatrix m, unsigned row_units, unsigned padded_units,
                           size_t first, const uint16_t *file)
{
    grid_dependency_release();
    grid_dependency_wait();
    const uint16_t *src = file + (size_t)blockIdx.x * row_units;
    uint16_t *dst = ptr<uint16_t>(m.plane[PLANE_CODES]) + (first + blockIdx.x) * padded_units;
    for (unsigned u = threadIdx.x; u < padded_units; u += THREADS) {
        dst[u] = u < row_units ? src[u] : 0;
    }
}

cudaError_t kernel_repack(const struct dmatrix *m, size_t first, size_t n, struct dptr file,
                          const struct dqueue *on)
{
    const struct type_planes *t = find(m->type);
    if (t == nullptr) {
        return cudaErrorInvalidValue;
    }
    if (n == 0) {
        return cudaSuccess;
    }
    LaunchConfig config = { .block = THREADS,
                            .stream = on->stream,
                            .programmatic = on->programmatic };
    const uint16_t *src = ptr<const uint16_t>(file);
    if (t->n_cols == 1) {
        const size_t padded = plane_row_bytes(m->type, PLANE_CODES, m->n_cols);
        config.grid = (unsigned)n;
        return launch(repack_row, config, *m, m->n_cols * t->bytes / 2u, (unsigned)(padded / 2),
                      first, src);
    }
    const size_t row_blocks = m->n_cols / t->n_cols, n_blocks = n * row_blocks;
    config.grid = (unsigned)((n_blocks + FILE_BLOCKS - 1) / FILE_BLOCKS);
    return launch(repack_blocks, config, *m, t->layout, t->bytes / 2u, first * row_blocks, n_blocks,
                  src);
}
