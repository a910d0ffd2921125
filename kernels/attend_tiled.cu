// Attention of up to 64 rows of one sequence and one query head, on tensor cores (for prompts):
//
//   O = P V / sum P,   P = 2^(S - max S),   S = (q * scale * log2(e)) K^T, masked
//
// q and P are rounded to half; sums, S and O are float. A row at position p sees the positions [p -
// window + 1, p]. Bytes moved per tile and head: 256 * head_dim of q, 128 * head_dim (68 * head_dim
// with q8_0) of each of K and V per page of 64 positions, and 128 * head_dim of o. A page is copied
// to shared memory while the page before it is in use. Its rows there take head_dim + 8 halves, so
// that the 8 rows of an ldmatrix lie in different banks. A page of q8_0 is copied as it is; once
// the page before it is finished, all threads convert it to halves, which every warp then reads.
//
// Grid (tiles, n_heads), 4 warps of 16 rows each. Lane l holds rows l / 4 and l / 4 + 8 of its
// warp, and of every 8 columns the columns 2 (l % 4) and 2 (l % 4) + 1. Test:
// tests/cuda/test_attend_tiled.c.
#include "attend_kv.cuh"

#include <math.h>

constexpr uint32_t WARPS = ATTEND_THREADS / WARP;
// The rows of a warp.
constexpr uint32_t ROWS = ATTEND_TILE / WARPS;
static_assert(ROWS == 16, "an mma has 16 rows");

__device__ __forceinline__ uint32_t pack_halves(float low, float high)
{
    return half2_bits(__floats2half2_rn(low, high));
}

// The rows of a warp, as lane l holds them; in arrays [2], element 0 is for row l / 4 and element 1
// for row l / 4 + 8.
template <int D> struct Rows {
    uint32_t q[D / 16][4]; // operand a of an mma: 16 columns each
    float o[D / 8][4];     // not divided by the sum yet
    float max[2], sum[2];  // sum: over the lane's own columns
    uint32_t pos[2];
};

template <int D>
__device__ __forceinline__ void load_rows(Rows<D> *r, const struct attend &job,
                                          const struct attend_tile &tile, uint32_t begin)
{
    const uint32_t lane = threadIdx.x % WARP;
    const float scale = job.scale * 1.44269504f; // log2(e)
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t row = threadIdx.x / WARP * ROWS + lane / 4 + 8 * i;
        const bool has = row < tile.n_rows;
        const float *q = ptr<const float>(job.q) +
                         ((size_t)(tile.row + (has ? row : 0)) * job.kv.n_heads + blockIdx.y) * D +
                         2 * (lane % 4);
#pragma unroll
        for (int s = 0; s < D / 16; s++) {
            const float2 a = *(const float2 *)(q + 16 * s), b = *(const float2 *)(q + 16 * s + 8);
            r->q[s][i] = has ? pack_halves(a.x * scale, a.y * scale) : 0;
            r->q[s][i + 2] = has ? pack_halves(b.x * scale, b.y * scale) : 0;
        }
        r->max[i] = -INFINITY;
        r->sum[i] = 0.0f;
        r->pos[i] = begin + row;
    }
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        r->o[n][0] = r->o[n][1] = r->o[n][2] = r->o[n][3] = 0.0f;
    }
}

// s[n] [16, 8] = q * K^T for positions 8 n.. of the page.
template <int D>
__device__ __forceinline__ void multiply_k(float s[8][4], const Rows<D> &r, const __half *k)
{
    // The lane gives ldmatrix the address of a row of matrix i.
    const uint32_t lane = threadIdx.x % WARP, i = lane / 8;
    const __half *row = k + (i / 2 * 8 + lane % 8) * (D + 8) + i % 2 * 8;
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
        s[n + 1][0] = s[n + 1][1] = s[n + 1][2] = s[n + 1][3] = 0.0f;
#pragma unroll
        for (int d = 0; d < D / 16; d++) {
            uint32_t b[4];
            ldmatrix_x4(b, row + 8 * n * (D + 8) + 16 * d);
            mma_m16n8k16_f16(s[n], r.q[d], b, s[n]);
            mma_m16n8k16_f16(s[n + 1], r.q[d], b + 2, s[n + 1]);
        }
    }
}

// o += p * V
template <int D>
__device__ __forceinline__ void multiply_v(Rows<D> *r, const uint32_t p[4][4], const __half *v)
{
    const uint32_t lane = threadIdx.x % WARP, i = lane / 8;
    const __half *row = v + (i % 2 * 8 + lane % 8) * (D + 8) + i / 2 * 8;
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            uint32_t b[4];
            ldmatrix_x4_trans(b, row + 16 * k * (D + 8) + 8 * n);
            mma_m16n8k16_f16(r->o[n], p[k], b, r->o[n]);
            mma_m16n8k16_f16(r->o[n + 1], p[k], b + 2, r->o[n + 1]);
        }
    }
}

// Sets the scores of positions that a row must not see to -inf.
template <int D>
__device__ __forceinline__ void mask(float s[8][4], const Rows<D> &r, uint32_t first_key,
                                     uint32_t window)
{
#pragma unroll
    for (uint32_t n = 0; n < 8; n++) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t key = first_key + 8 * n + 2 * (threadIdx.x % 4) + i % 2;
            const uint32_t pos = r.pos[i / 2];
            if (key > pos || key < first_seen(pos, window)) {
                s[n][i] = -INFINITY;
            }
        }
    }
}

// Online softmax: s becomes p, in the layout of operand a of an mma, and the sums so far shrink as
// the maximum grows. A row that has seen nothing yet has maximum -inf, which must not be
// subtracted.
template <int D> __device__ __forceinline__ void soften(Rows<D> *r, float s[8][4], uint32_t p[4][4])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float top = r->max[i];
#pragma unroll
        for (int n = 0; n < 8; n++) {
            top = fmaxf(top, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
        }
        top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 1));
        top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 2));
        const float base = top == -INFINITY ? 0.0f : top;
        const float shrink = exp2f(r->max[i] - base);
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            const float a = exp2f(s[n][2 * i] - base), b = exp2f(s[n][2 * i + 1] - base);
            sum += a + b;
            p[n / 2][i + n % 2 * 2] = pack_halves(a, b);
        }
        r->max[i] = top;
        r->sum[i] = r->sum[i] * shrink + sum;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            r->o[n][2 * i] *= shrink;
            r->o[n][2 * i + 1] *= shrink;
        }
    }
}

// Attention of the rows of a warp over one page.
template <int D>
__device__ __forceinline__ void attend_page(Rows<D> *r, const __half *k, const __half *v,
                                            uint32_t begin, uint32_t page, uint32_t window)
{
    const uint32_t first_row = begin + threadIdx.x / WARP * ROWS, last_row = first_row + ROWS - 1;
    const uint32_t first_key = page * ATTEND_PAGE, last_key = first_key + ATTEND_PAGE - 1;
    if (first_key > last_row || last_key < first_seen(first_row, window)) {
        return;
    }
    float s[8][4];
    multiply_k<D>(s, *r, k);
    if (last_key > first_row || first_key < first_seen(last_row, window)) {
        mask<D>(s, *r, first_key, window);
    }
    uint32_t p[4][4];
    soften<D>(r, s, p);
    multiply_v<D>(r, p, v);
}

template <int D>
__device__ __forceinline__ void write_rows(const Rows<D> &r, const struct dacts &out,
                                           const struct attend_tile &tile)
{
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        float sum = r.sum[i];
        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        sum += __shfl_xor_sync(ALL_LANES, sum, 2);
        const uint32_t row = threadIdx.x / WARP * ROWS + lane / 4 + 8 * i;
        if (row >= tile.n_rows) {
            continue;
        }
        const size_t at = (size_t)(tile.row + row) * out.stride + blockIdx.y * D + 2 * (lane % 4);
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            const float2 v = { r.o[n][2 * i] / sum, r.o[n][2 * i + 1] / sum };
            if (out.forms & ACT_F16) {
                *(__half2 *)(ptr<__half>(out.half) + at + 8 * n) = __floats2half2_rn(v.x, v.y);
            }
            if (out.forms & ACT_F32) {
                *(float2 *)(ptr<float>(out.x) + at + 8 * n) = v;
            }
        }
    }
}

// Writes what is left of the output: the zeros past the last column, and the scales.
__device__ __forceinline__ void write_rest(const struct dacts &out, const struct attend_tile &tile)
{
    const uint32_t pad = blockIdx.y == gridDim.y - 1 ? out.stride - out.n_cols : 0;
    for (uint32_t i = threadIdx.x; i < tile.n_rows * pad; i += ATTEND_THREADS) {
        const size_t at = (tile.row + i / pad) * (size_t)out.stride + out.n_cols + i % pad;
        if (out.forms & ACT_F16) {
            ptr<__half>(out.half)[at] = __ushort_as_half(0);
        }
        if (out.forms & ACT_F32) {
            ptr<float>(out.x)[at] = 0.0f;
        }
    }
    if (out.forms & ACT_F16 && blockIdx.y == 0 && threadIdx.x < tile.n_rows) {
        // A scale of 1 is enough, because |o| is at most the largest |v|. (q8_0 could hold values
        // beyond f16, but models have none.)
        ptr<float>(out.half_scale)[tile.row + threadIdx.x] = 1.0f;
    }
}

// The number of halves that K, or V, of a page takes in shared memory.
template <int D> constexpr uint32_t HALVES = ATTEND_PAGE *(D + 8);

// Converts a page of a head's K or V from q8_0 to rows of halves.
template <int D> __device__ __forceinline__ void unpack(__half *rows, const Codes &block)
{
    for (uint32_t i = threadIdx.x; i < ATTEND_PAGE * (D / 8); i += ATTEND_THREADS) {
        const uint32_t row = i / (D / 8), col = i % (D / 8) * 8;
        *(uint4 *)(rows + row * (D + 8) + col) = block.load8_halves(row, col);
    }
}

// The layout of shared memory: K and V of two stages (of copying, not of the model). With f16 the
// pages use the stages in turn. With q8_0 the first stage holds the halves, and the second the
// codes and scales that they are made from.
template <int D, bool ANY> struct Stages {
    __half *shared; // [2 stages][K, V][64, D + 8]

    __device__ __forceinline__ __half *place(uint32_t stage, uint32_t which) const
    {
        return shared + 2 * stage * HALVES<D> + which * HALVES<D>;
    }
    __device__ __forceinline__ void copy(const struct dkv &kv, uint32_t number, uint32_t kv_head,
                                         uint32_t page, Seen seen) const
    {
        const SeenRows seen_rows = { page, seen };
        const auto one = [&](uint32_t i) {
            const bool q8 = is_q8<ANY>(kv, i);
            const uint8_t *block = kv_block(kv, i, q8, D, number, kv_head);
            if (q8) {
                copy_block((uint8_t *)place(1, i), block, true, D, seen_rows);
            } else {
                copy_rows(place(page % 2, i), D + 8, (const __half *)block, D, seen_rows);
            }
        };
        one(KV_K);
        one(KV_V);
        cp_async_commit();
    }
    // Converts a page of q8_0. Call it when the page has arrived and all threads have finished with
    // the page before.
    __device__ __forceinline__ void unpack_page(const struct dkv &kv, uint32_t page,
                                                Seen seen) const
    {
        if constexpr (ANY) {
            for (uint32_t i = KV_K; i <= KV_V; i++) {
                if (is_q8<ANY>(kv, i)) {
                    const uint8_t *block = (const uint8_t *)place(1, i);
                    unpack<D>(place(0, i), Codes{ block, D, { page, seen } });
                }
            }
            __syncthreads();
        }
    }
    __device__ __forceinline__ const __half *halves(const struct dkv &kv, uint32_t page,
                                                    uint32_t which) const
    {
        return place(is_q8<ANY>(kv, which) ? 0 : page % 2, which);
    }
};

template <int D, bool ANY>
__global__ void __launch_bounds__(ATTEND_THREADS, 3)
    k_attend_tiled(struct attend job, struct dstep step, struct dptr tiles)
{
    SHARED_DYNAMIC(__half, shared);
    grid_dependency_release();
    grid_dependency_wait();
    // Later rows see more positions, so they go first; then all blocks finish at about the same
    // time.
    const struct attend_tile tile =
        ptr<const struct attend_tile>(tiles)[gridDim.x - 1 - blockIdx.x];
    const struct drow at = ptr<const struct drow>(step.rows)[tile.row];
    const uint32_t kv_head = blockIdx.y / (job.kv.n_heads / job.kv.n_kv_heads);
    const Seen seen = { first_seen(at.pos, job.window), at.pos + tile.n_rows - 1 };
    const uint32_t first = seen.first / ATTEND_PAGE, last = seen.last / ATTEND_PAGE;
    const Stages<D, ANY> stages = { shared };
    stages.copy(job.kv, page_of(step, at.seq, first), kv_head, first, seen);
    Rows<D> rows;
    load_rows<D>(&rows, job, tile, at.pos);
    for (uint32_t page = first; page <= last; page++) {
        cp_async_wait<0>();
        __syncthreads(); // the page is here, and no thread uses the one before
        stages.unpack_page(job.kv, page, seen);
        if (page < last) {
            stages.copy(job.kv, page_of(step, at.seq, page + 1), kv_head, page + 1, seen);
        }
        if (threadIdx.x / WARP * ROWS < tile.n_rows) {
            attend_page<D>(&rows, stages.halves(job.kv, page, KV_K),
                           stages.halves(job.kv, page, KV_V), at.pos, page, job.window);
        }
    }
    write_rows<D>(rows, job.o, tile);
    write_rest(job.o, tile);
}

bool attend_tiled_supports(uint32_t head_dim)
{
    return head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128;
}

template <int D, bool ANY>
static cudaError_t launch_kernel(const struct attend *job, const struct dstep *step,
                                 struct dptr tiles, size_t n_tiles, const struct dqueue *on)
{
    void (*const kernel)(struct attend, struct dstep, struct dptr) = k_attend_tiled<D, ANY>;
    const size_t shared = 4 * HALVES<D> * sizeof(__half);
    const cudaError_t e = cudaFuncSetAttribute(
        (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    const LaunchConfig config = { .grid = dim3((unsigned)n_tiles, job->kv.n_heads),
                                  .block = ATTEND_THREADS,
                                  .shared = shared,
                                  .stream = on->stream,
                                  .programmatic = on->programmatic };
    return e != cudaSuccess ? e : launch(kernel, config, *job, *step, tiles);
}

template <int D>
static cudaError_t launch_tiled(const struct attend *job, const struct dstep *step,
                                struct dptr tiles, size_t n_tiles, const struct dqueue *on)
{
    if constexpr (D % 32 == 0) {
        if (any_q8(job->kv)) {
            return launch_kernel<D, true>(job, step, tiles, n_tiles, on);
        }
    }
    return launch_kernel<D, false>(job, step, tiles, n_tiles, on);
}

cudaError_t kernel_attend_tiled(const struct attend *job, const struct dstep *step,
                                struct dptr tiles, size_t n_tiles, const struct dqueue *on)
{
    if (!attend_supports(job->kv) || !attend_tiled_supports(job->kv.head_dim)) {
        return cudaErrorInvalidValue;
    }
    if (n_tiles == 0) {
        return cudaSuccess;
    }
    switch (job->kv.head_dim) {
    case 64: return launch_tiled<64>(job, step, tiles, n_tiles, on);
    case 80: return launch_tiled<80>(job, step, tiles, n_tiles, on);
    case 96: return launch_tiled<96>(job, step, tiles, n_tiles, on);
    default: return launch_tiled<128>(job, step, tiles, n_tiles, on);
    }
}
