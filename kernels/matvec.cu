// out = W * a for few rows of activations (decoding): q/k/v, attn_output, gate and up with SwiGLU,
// ffn_down and the output head. If asked to, each block first computes the rmsnorm of the rows and
// quantises them itself.
//
//   W [n_rows, n_cols] in planes (kernels.h); a [n, n_cols] int8 with a scale for each 32
//   (quantised weights) or float (float weights); out [n, n_rows] float. The result of SWIGLU,
//   h = silu(gate) * up, is quantised for ffn_down at once.
//
// Bytes: the weights are read once for each pass of up to MATVEC_ROWS rows; all else is small. At
// the 4.3 TB/s of an H200 an SM needs some 30 KB of loads under way at any time: it has 16 warps
// with 4 rows x 512 bytes each and their scales, which is more than 32 KB.
//
// Blocks of 256 threads loop over tiles; there are as many as can run at once. While a block
// computes one tile, its next tile is brought from memory to the L2 cache, so that loads wait for
// that cache only. A tile has 8 tasks, one for each warp. A task is four rows of weights, or a part
// of their columns where rows are few and long; the warps then meet to add the parts. A tile of
// SWIGLU has 32 rows of gate and the same 32 rows of up. Warp w computes rows 4 w .. 4 w + 3 of
// both, so the block gets 32 values of h, which share one scale. A block asks for its first tile
// before it waits for the previous kernel.
//
// Two blocks of an SM leave each thread 128 registers, which is enough for the loops of all 15
// types. Test: tests/cuda/test_matvec.c.
#include "dot.cuh"
#include "matvec_plan.h"
#include "rows.cuh"

enum { WARPS = ROW_WARPS, TILE_H = 32 /* values of h in a row of a tile */ };

// Brings the first rows of a tile, up to `most` bytes of each plane, from memory to the L2
// cache.
__device__ __forceinline__ void prefetch_rows(const struct dmatrix &m, const uint32_t *row_bytes,
                                              uint32_t row, uint32_t n, uint32_t most)
{
    constexpr uint32_t LINE = 128;
    const uint32_t n_rows = min(n, m.n_rows - row);
#pragma unroll 1
    for (int p = 0; p < WEIGHT_PLANES; p++) {
        const uint8_t *from = ptr<const uint8_t>(m.plane[p]) + (size_t)row * row_bytes[p];
        const uint32_t bytes = min(n_rows * row_bytes[p], most);
#pragma unroll 1
        for (uint32_t at = LINE * threadIdx.x; at < bytes; at += LINE * ROW_THREADS) {
            prefetch_l2(from + at);
        }
    }
}

// The matrix that a tile belongs to, and the tile's number in it.
struct TilePlace {
    uint32_t w, tile;
    __device__ __forceinline__ TilePlace(const struct matvec_plan &plan, uint32_t i) : w(0), tile(i)
    {
        for (; i >= plan.tile_end[w]; w++) {
            tile = i - plan.tile_end[w];
        }
    }
};

__device__ __forceinline__ void prefetch_tile(const struct matvec &job,
                                              const struct matvec_plan &plan, uint32_t i)
{
    const TilePlace place(plan, i);
    const uint32_t row = place.tile * plan.units;
    const uint32_t last = job.mode == MATVEC_SWIGLU ? 1 : place.w;
    for (uint32_t w = place.w; w <= last; w++) {
        prefetch_rows(job.w[w], plan.row_bytes[w], row, plan.units, plan.prefetch);
    }
}

__device__ __forceinline__ void prefetch_norm(const struct norm &norm)
{
    if (32 * threadIdx.x < norm.dim) {
        prefetch_l2(ptr<const float>(norm.weight) + 32 * threadIdx.x);
    }
}

// Returns the bytes that one prepared row takes in shared memory.
__device__ __host__ __forceinline__ size_t prepared_bytes(uint32_t forms, size_t stride)
{
    return (forms & ACT_F32 ? stride * sizeof(float) : 0) +
           (forms & ACT_Q8 ? stride + stride / 32 * sizeof(struct act_block) : 0);
}
// Returns where a block reads its input. If NORMED, that is shared memory, where the block itself
// has put the rows. NORMED is a template parameter because the compiler has to know which memory it
// is; otherwise every load would first find that out.
template <bool NORMED>
__device__ __forceinline__ DotInput input_of(const struct matvec &job,
                                             const struct matvec_plan &plan)
{
    const int n = (int)plan.n;
    if constexpr (NORMED) {
        SHARED_DYNAMIC(unsigned char, dynamic);
        DotInput in = { nullptr, nullptr, (const float *)dynamic, (int)plan.stride, n };
        in.q = (const int8_t *)dynamic + (plan.forms & ACT_F32 ? n * in.stride * sizeof(float) : 0);
        in.block = (const struct act_block *)(in.q + n * in.stride);
        return in;
    } else {
        const size_t at = plan.first * job.in.stride;
        return { ptr<const int8_t>(job.in.q) + at,
                 ptr<const struct act_block>(job.in.block) + at / 32,
                 ptr<const float>(job.in.x) + at, (int)job.in.stride, n };
    }
}

// Normalises and quantises the rows of a pass and writes them to the shared memory of `in`. scales:
// 1 / rms of each row.
template <bool ALIGNED>
__device__ __forceinline__ void write_normed(const struct norm &norm, size_t first, uint32_t forms,
                                             const float *scales, const DotInput &in)
{
    // The chunks that a warp takes at once; their waits overlap.
    constexpr unsigned AT_ONCE = ALIGNED ? 4 : 1;
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned n = (unsigned)in.n, stride = (unsigned)in.stride;
    const unsigned row_chunks = (stride + CHUNK - 1) / CHUNK, n_chunks = n * row_chunks;
    for (unsigned base = warp; base < n_chunks; base += AT_ONCE * WARPS) {
        float v[AT_ONCE][4];
        bool inside[AT_ONCE];
        unsigned at[AT_ONCE];
#pragma unroll
        for (unsigned k = 0; k < AT_ONCE; k++) {
            const unsigned chunk = base + k * WARPS, r = min(chunk / row_chunks, n - 1);
            const unsigned col = (chunk - r * row_chunks) * CHUNK + 4 * lane;
            inside[k] = col < stride;
            at[k] = r * stride + col;
            normed4<ALIGNED>(norm, norm_row(norm, first + r), scales[r], col, v[k]);
        }
        if (forms & ACT_Q8) {
            quantize128(v, inside, at, (int8_t *)in.q, (struct act_block *)in.block);
        }
        if (forms & ACT_F32) {
#pragma unroll
            for (unsigned k = 0; k < AT_ONCE; k++) {
                if (inside[k]) {
                    store4((float *)in.x + at[k], v[k]);
                }
            }
        }
    }
}

template <int ROWS>
__device__ __forceinline__ void prepare(const struct norm &norm, const struct matvec_plan &plan,
                                        const DotInput &in)
{
    SHARED(NormSums, sums);
    norm_scales<ROWS>(norm, plan.first, in.n, sums);
    if (norm.dim % 4 == 0) {
        write_normed<true>(norm, plan.first, plan.forms, sums.scale, in);
    } else {
        write_normed<false>(norm, plan.first, plan.forms, sums.scale, in);
    }
    __syncthreads();
}

// Returns the sum of all parts, added in their order, in the warp of part 0.
__device__ __forceinline__ float sum_parts(float v, float (&parts)[WARPS][WARP], int part,
                                           int split)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    parts[warp][lane] = v;
    __syncthreads();
    for (int p = 1; part == 0 && p < split; p++) {
        v = __fadd_rn(v, parts[warp + p][lane]);
    }
    return v;
}

// An element of the result, and the value that the product is added to: the residual, or a bias.
// The value is loaded before the product is computed, so that nobody waits for it.
struct Element {
    float *out = nullptr, added = 0.0f;
    bool adds = false;
    __device__ __forceinline__ Element(const struct matvec &job, uint32_t w, size_t r, size_t row,
                                       bool wanted)
    {
        const float *bias = ptr<const float>(job.bias[w]);
        if (wanted) {
            out = ptr<float>(job.out[w]) + r * job.w[w].n_rows + row;
            adds = job.mode == MATVEC_ADD || bias != nullptr;
            added = job.mode == MATVEC_ADD ? *out : adds ? bias[row] : 0.0f;
        }
    }
    __device__ __forceinline__ void store(float v) const
    {
        if (out != nullptr) {
            *out = adds ? __fadd_rn(added, v) : v;
        }
    }
};

// Quantises the rows of h that the warps have put together.
template <int ROWS>
__device__ __forceinline__ void leave_h(const struct matvec &job, const struct matvec_plan &plan,
                                        uint32_t tile, const float (&h)[ROWS][TILE_H])
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    __syncthreads();
    if (warp < (int)plan.n) {
        write_acts32(job.acts, plan.first + warp, tile, h[warp][lane]);
    }
}

// The blocks that an SM runs at once; the kernel's registers are bounded for that number.
constexpr int RESIDENT = 2;

// NORMED: each block normalises and quantises the rows itself.
template <int ROWS, bool NORMED>
__global__ void __launch_bounds__(ROW_THREADS, RESIDENT)
    matvec_rows(const __grid_constant__ struct matvec job,
                const __grid_constant__ struct matvec_plan plan)
{
    // Two of each, so that warps can write for a tile while others still read for the tile before.
    SHARED(float[2][WARPS][WARP], parts);
    SHARED(float[2][ROWS][TILE_H], h);
    grid_dependency_release();
    prefetch_tile(job, plan, blockIdx.x);
    if constexpr (NORMED) {
        prefetch_norm(job.norm);
    }
    grid_dependency_wait();
    const DotInput in = input_of<NORMED>(job, plan);
    if constexpr (NORMED) {
        prepare<ROWS>(job.norm, plan, in);
    }
    // dot() returns product number `value` to this lane: weight row u times activation row r
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int value = lane * (ROWS * DOT_UNITS) / WARP;
    const bool speaks = lane % (WARP / (ROWS * DOT_UNITS)) == 0;
    const int u = value % DOT_UNITS, r = value / DOT_UNITS, split = 1 << plan.log2_split;
    const bool swiglu = job.mode == MATVEC_SWIGLU;
    int now = 0;
    for (uint32_t i = blockIdx.x; i < plan.n_tiles; i += gridDim.x, now ^= 1) {
        if (i + gridDim.x < plan.n_tiles) {
            prefetch_tile(job, plan, i + gridDim.x);
        }
        const TilePlace place(plan, i);
        const uint32_t first = place.tile * plan.units + (warp >> plan.log2_split) * DOT_UNITS;
        const int part = warp & (split - 1);
        const uint32_t row = first + u;
        const bool inside = row < job.w[place.w].n_rows;
        const Element element(job, place.w, plan.first + r, row,
                              !swiglu && speaks && inside && part == 0 && r < (int)plan.n);
        float v, *gate = &h[now][r][warp * DOT_UNITS + u];
#pragma unroll 1
        for (uint32_t w = place.w;; w++) {
            v = dot<ROWS>(DotTask(job.w[w], plan.row_bytes[w], first, part, split), in);
            if (!swiglu || w == 1) {
                break;
            }
            if (speaks) {
                *gate = v; // the same lane reads it for `up`
            }
        }
        if (swiglu) {
            if (speaks) {
                *gate = inside ? __fmul_rn(silu(*gate), v) : 0.0f;
            }
            leave_h(job, plan, place.tile, h[now]);
            continue;
        }
        if (split > 1) {
            v = sum_parts(v, parts[now], part, split);
        }
        element.store(v);
    }
}

// --- the launch ----------------------------------------------------------------------------------

enum {
    // Shared memory of a block that the variables of the kernel take, bytes.
    SHARED_KEPT = 6144,
    SPLIT_MAX = WARPS,
    // Columns are split further while an SM has fewer tasks than this.
    BUSY_WARPS = 16
};

static size_t up_div(size_t a, size_t b) { return (a + b - 1) / b; }

static bool is_float(const struct dmatrix &m)
{
    return m.type == QUANT_F32 || m.type == QUANT_F16 || m.type == QUANT_BF16;
}

// Returns how many steps a warp takes over the columns.
static size_t dot_steps(const struct dmatrix &m)
{
    return up_div(m.n_cols, is_float(m) ? 8 * WARP : 32 * WARP);
}

// Chooses the number of parts of the columns: enough to keep the device busy, but every part has at
// least one step. It depends on shapes and device only, so a row's bits do not depend on n.
static uint32_t choose_log2_split(const struct matvec *job, const struct dqueue *on)
{
    size_t tasks = 0, steps = SIZE_MAX;
    for (uint32_t k = 0; k < job->n_w; k++) {
        tasks += up_div(job->w[k].n_rows, DOT_UNITS);
        steps = min(steps, dot_steps(job->w[k]));
    }
    uint32_t log2 = 0;
    while (1u << log2 < SPLIT_MAX && (tasks << log2) < (size_t)BUSY_WARPS * on->n_sms &&
           (2u << log2) <= steps) {
        log2++;
    }
    return log2;
}

static struct matvec_plan make_plan(const struct matvec *job, const struct dqueue *on)
{
    struct matvec_plan p = {};
    const bool swiglu = job->mode == MATVEC_SWIGLU;
    p.log2_split = swiglu ? 0 : choose_log2_split(job, on);
    p.units = (WARPS >> p.log2_split) * DOT_UNITS; // TILE_H for SWIGLU
    for (uint32_t k = 0; k < job->n_w; k++) {
        const struct dmatrix &m = job->w[k];
        p.n_tiles += swiglu && k > 0 ? 0 : (uint32_t)up_div(m.n_rows, p.units);
        p.tile_end[k] = p.n_tiles;
        for (int i = 0; i < WEIGHT_PLANES; i++) {
            p.row_bytes[k][i] = (uint32_t)plane_row_bytes(m.type, (enum weight_plane)i, m.n_cols);
        }
        p.forms |= is_float(m) ? ACT_F32 : ACT_Q8;
    }
    p.stride = (uint32_t)up_div(job->norm.dim, 32) * 32;
    return p;
}

// Returns the most bytes of each plane that a block brings to the L2 cache ahead. Of any one plane,
// all blocks together bring at most half of the cache's size. The rest is for the other planes and
// for the data that the blocks read meanwhile.
static uint32_t prefetch_bytes(const struct matvec *job, size_t grid, const struct dqueue *on)
{
    const size_t matrices = job->mode == MATVEC_SWIGLU ? 2 : 1;
    return (uint32_t)(on->l2_bytes / 2 / (grid * matrices));
}

template <int ROWS, bool NORMED>
static cudaError_t launch_rows(const struct matvec *job, const struct matvec_plan &plan,
                               const struct dqueue *on)
{
    const size_t shared = NORMED ? plan.n * prepared_bytes(plan.forms, plan.stride) : 0;
    // The limit on dynamic shared memory never changes, so launches in captured graphs stay valid.
    if (shared + SHARED_KEPT > 48 << 10) {
        const cudaError_t e = cudaFuncSetAttribute((const void *)matvec_rows<ROWS, NORMED>,
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   (int)(on->shared_bytes - SHARED_KEPT));
        if (e != cudaSuccess) {
            return e;
        }
    }
    // As many blocks as run at once, or fewer, so that all have the same number of tiles.
    const size_t by_shared = on->shared_bytes / (shared + SHARED_KEPT);
    const size_t slots = on->n_sms * max(min((size_t)RESIDENT, by_shared), (size_t)1);
    const size_t rounds = up_div(plan.n_tiles, slots);
    const size_t grid = up_div(plan.n_tiles, rounds);
    struct matvec_plan p = plan;
    p.prefetch = prefetch_bytes(job, grid, on);
    return launch(matvec_rows<ROWS, NORMED>,
                  { .grid = (unsigned)grid,
                    .block = ROW_THREADS,
                    .shared = shared,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  *job, p);
}

template <int ROWS>
static cudaError_t launch_pass(const struct matvec *job, const struct matvec_plan &plan,
                               const struct dqueue *on)
{
    return job->norm.x.at != nullptr ? launch_rows<ROWS, true>(job, plan, on)
                                     : launch_rows<ROWS, false>(job, plan, on);
}

cudaError_t kernel_matvec(const struct matvec *job, size_t n, const struct dqueue *on)
{
    for (uint32_t k = 0; k < job->n_w; k++) {
        if (plane_layout(job->w[k].type) == nullptr) {
            return cudaErrorInvalidValue;
        }
    }
    struct matvec_plan plan = make_plan(job, on);
    size_t most = MATVEC_ROWS;
    if (job->norm.x.at != nullptr) {
        const size_t bytes = prepared_bytes(plan.forms, plan.stride);
        const size_t room = on->shared_bytes > SHARED_KEPT ? on->shared_bytes - SHARED_KEPT : 0;
        most = min(most, room / bytes);
        if (most == 0) {
            return cudaErrorInvalidConfiguration;
        }
    }
    cudaError_t e = cudaSuccess;
    for (; plan.n_tiles > 0 && plan.first < n && e == cudaSuccess; plan.first += plan.n) {
        plan.n = (uint32_t)min(most, n - plan.first);
        e = plan.n == 1   ? launch_pass<1>(job, plan, on)
            : plan.n == 2 ? launch_pass<2>(job, plan, on)
            : plan.n <= 4 ? launch_pass<4>(job, plan, on)
                          : launch_pass<8>(job, plan, on);
    }
    return e;
}
