// Finishes q, k and v of a step's rows: adds the bias, applies the per-head rmsnorm and the rotary
// position embedding, and writes k and v to the pages of their sequences.
//
//   h = x + bias;  h = h / sqrt(mean(h^2) + eps) * weight             (k and q; norm is optional)
//   (h[a], h[b]) = (h[a] cos - h[b] sin, h[a] sin + h[b] cos)         for n_rot / 2 pairs (a, b)
//
// If x comes from a product of halves, it is first multiplied by the scale of its row. q [n,
// n_heads, head_dim] stays in place, or moves from rows that q, k and v share to rows of its own.
// If K is q8_0, both q and k are rotated as well (see kv_type.h). k and v [n, n_kv_heads, head_dim]
// are written as half or q8_0 to position pos % 64 of page pages[seq][pos / 64] of the pool.
//
// The angle of a pair at a position is pi * pos * turns[pair]. The product pos * turns is a double;
// the nearest even number is subtracted from it before it becomes a float, so that the error of the
// angle stays below 2e-7 at any position. Moves 8 bytes per element of q and 6 (q8_0: 5) per
// element of k and v. One warp per head and row; a lane holds up to four pairs. Test:
// tests/cuda/test_heads.c.
#include "attend_kv.cuh"

constexpr uint32_t WARPS = 4;
constexpr uint32_t LANE_PAIRS = ATTEND_MAX_DIM / 2 / WARP;

// Two elements of a head and their places in the head.
struct Pair {
    uint32_t a, b;
    float x, y;
};

// Pairs [0, half) are the pairs that turn; the other pairs take the rest of the head in order.
__device__ __forceinline__ Pair pair_at(const float *head, uint32_t i, uint32_t half, bool neox)
{
    Pair p;
    p.a = neox && i < half ? i : 2 * i;
    p.b = neox && i < half ? i + half : 2 * i + 1;
    p.x = head[p.a];
    p.y = head[p.b];
    return p;
}

__device__ __forceinline__ void turn(Pair *p, double half_turns, float factor)
{
    float sine, cosine;
    // The argument is in units of pi and in [-1, 1], so as a float it is off by 2^-25 at most.
    sincospif((float)(half_turns - 2.0 * rint(0.5 * half_turns)), &sine, &cosine);
    sine *= factor;
    cosine *= factor;
    const float x = p->x, y = p->y;
    p->x = x * cosine - y * sine;
    p->y = x * sine + y * cosine;
}

// Turns the first `half` pairs of the head by the angles of a position.
__device__ __forceinline__ void turn_pairs(Pair pair[LANE_PAIRS], uint32_t n, uint32_t half,
                                           uint32_t pos, const double *turns, float factor)
{
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t j = 0; j < LANE_PAIRS; j++) {
        if (j < n && lane + WARP * j < half) {
            turn(&pair[j], pos * turns[lane + WARP * j], factor);
        }
    }
}

// Applies rmsnorm to the pairs that the lanes of a warp hold.
__device__ __forceinline__ void norm_pairs(Pair pair[LANE_PAIRS], uint32_t n, uint32_t head_dim,
                                           const float *weight, float eps)
{
    float sum = 0.0f;
#pragma unroll
    for (uint32_t j = 0; j < LANE_PAIRS; j++) {
        if (j < n) {
            sum += pair[j].x * pair[j].x + pair[j].y * pair[j].y;
        }
    }
    const float scale = 1.0f / sqrtf(warp_sum(sum) / (float)head_dim + eps);
#pragma unroll
    for (uint32_t j = 0; j < LANE_PAIRS; j++) {
        if (j < n) {
            pair[j].x *= scale * weight[pair[j].a];
            pair[j].y *= scale * weight[pair[j].b];
        }
    }
}

__device__ __forceinline__ void put(float *at, float v) { *at = v; }
__device__ __forceinline__ void put(__half *at, float v) { *at = __float2half_rn(v); }

template <class T>
__device__ __forceinline__ void store_pairs(T *head, const Pair pair[LANE_PAIRS], uint32_t n)
{
#pragma unroll
    for (uint32_t j = 0; j < LANE_PAIRS; j++) {
        if (j < n) {
            put(head + pair[j].a, pair[j].x);
            put(head + pair[j].b, pair[j].y);
        }
    }
}

// Says which of q, k and v a warp works on, and which head of it.
struct Place {
    enum { Q, K, V } what;
    uint32_t head, n_heads;
    const float *bias, *norm; // of the head; may be null
};

__device__ __forceinline__ Place place_of(const struct heads &job, uint32_t i)
{
    const uint32_t n_q = job.kv.n_heads, n_kv = job.kv.n_kv_heads;
    Place p;
    if (i < n_q) {
        p = { Place::Q, i, n_q, ptr<const float>(job.bias[0]), ptr<const float>(job.q_norm) };
    } else if (i < n_q + n_kv) {
        p = { Place::K, i - n_q, n_kv, ptr<const float>(job.bias[1]),
              ptr<const float>(job.k_norm) };
    } else {
        p = { Place::V, i - n_q - n_kv, n_kv, ptr<const float>(job.bias[2]), nullptr };
    }
    if (p.bias != nullptr) {
        p.bias += (size_t)p.head * job.kv.head_dim;
    }
    return p;
}

// A warp stores the head of K or V of one position in q8_0, with the codes and scales of
// quant_legacy.c.
__device__ __forceinline__ void store_q8(uint8_t *block, uint32_t row, uint32_t dim,
                                         const float *head)
{
    const uint32_t lane = threadIdx.x % WARP;
    __half *scales = (__half *)(block + ATTEND_PAGE * dim) + row * (dim / 32);
    for (uint32_t i = 0; i < dim / 32; i++) {
        const float x = head[32 * i + lane];
        const unsigned top = __reduce_max_sync(ALL_LANES, magnitude_bits(x));
        const float d = __fdiv_rn(__uint_as_float(top), 127.0f);
        const float inverse = d != 0.0f ? __fdiv_rn(1.0f, d) : 0.0f;
        // Rounds to nearest, ties away from zero. A NaN becomes -127, beside a scale that is NaN or
        // Inf.
        float v = __fmul_rn(x, inverse);
        v = v > -127.0f ? v : -127.0f;
        v = v < 127.0f ? v : 127.0f;
        const int code = __float2int_rz(v);
        const float rest = v - (float)code;
        block[row * dim + 32 * i + lane] = (uint8_t)(code + (rest >= 0.5f) - (rest <= -0.5f));
        if (lane == 0) {
            scales[i] = __float2half_rn(d);
        }
    }
}

// A warp does what kv_rotate() of kv_type.h does: it multiplies x[dim] by the Walsh-Hadamard matrix
// in blocks of n, the largest power of two that divides dim.
__device__ __forceinline__ void rotate(float *x, uint32_t dim)
{
    const uint32_t lane = threadIdx.x % WARP;
    uint32_t half = 1;
    for (; half < ATTEND_MAX_DIM && dim % (2 * half) == 0; half *= 2) {
        for (uint32_t i = lane; i < dim / 2; i += WARP) {
            float *a = x + i / half * 2 * half + i % half;
            const float sum = a[0] + a[half], difference = a[0] - a[half];
            a[0] = sum;
            a[half] = difference;
        }
        __syncwarp();
    }
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn((float)half));
    for (uint32_t i = lane; i < dim; i += WARP) {
        x[i] *= scale;
    }
    __syncwarp();
}

// Loads the warp's head as it is before the norm, scale * x + bias: n pairs of this lane.
__device__ __forceinline__ void load_pairs(Pair pair[LANE_PAIRS], uint32_t n, const float *head,
                                           float scale, const float *bias, uint32_t half, bool neox)
{
#pragma unroll
    for (uint32_t j = 0; j < LANE_PAIRS; j++) {
        if (j < n) {
            pair[j] = pair_at(head, threadIdx.x % WARP + WARP * j, half, neox);
            pair[j].x *= scale;
            pair[j].y *= scale;
            if (bias != nullptr) {
                pair[j].x += bias[pair[j].a];
                pair[j].y += bias[pair[j].b];
            }
        }
    }
}

// Returns the half turns for the row's set of RoPE factors. The set is read here, not with the rest
// of the row: keeping it would need a register, and another value would be spilled.
__device__ __forceinline__ const double *turns_of(const struct heads &job, const struct dstep &step,
                                                  size_t row, uint32_t half)
{
    const uint32_t set = __ldcg(&ptr<const struct drow>(step.rows)[row].rope_set);
    return ptr<const double>(job.turns) + set * half;
}

__global__ void __launch_bounds__(WARPS *WARP)
    k_heads(const __grid_constant__ struct heads job, const __grid_constant__ struct dstep step)
{
    // Each warp puts its head here in order, for the rotation and the blocks of q8_0.
    SHARED(cu_type<float[ATTEND_MAX_DIM]>[WARPS], heads);
    grid_dependency_release();
    const uint32_t lane = threadIdx.x % WARP, i = blockIdx.y * WARPS + threadIdx.x / WARP;
    const uint32_t dim = job.kv.head_dim, n_all = job.kv.n_heads + 2 * job.kv.n_kv_heads;
    grid_dependency_wait();
    if (i >= n_all) {
        return;
    }
    const size_t row = blockIdx.x;
    const struct drow at = ptr<const struct drow>(step.rows)[row];
    const Place place = place_of(job, i);
    const bool is_q = place.what == Place::Q, is_k = place.what == Place::K;
    const struct dptr from = is_q ? job.q : is_k ? job.k : job.v;
    const struct dptr scales = is_q ? job.scale[0] : is_k ? job.scale[1] : job.scale[2];
    const uint32_t stride = job.stride != 0 ? job.stride : place.n_heads * dim;
    const float *head = ptr<const float>(from) + row * stride + place.head * dim;
    const float scale = scales.at != nullptr ? ptr<const float>(scales)[row] : 1.0f;
    const uint32_t half = place.what == Place::V ? 0 : job.n_rot / 2;
    // the number of pairs that this lane has
    const uint32_t n = lane < dim / 2 ? (dim / 2 - lane + WARP - 1) / WARP : 0;

    Pair pair[LANE_PAIRS];
    load_pairs(pair, n, head, scale, place.bias, half, job.neox);
    if (place.norm != nullptr) {
        norm_pairs(pair, n, dim, place.norm, job.eps);
    }
    turn_pairs(pair, n, half, at.pos, turns_of(job, step, row, half), job.rope_factor);
    const uint32_t which = place.what == Place::V ? KV_V : KV_K, in_page = at.pos % ATTEND_PAGE;
    const bool q8 = is_q8<true>(job.kv, which);
    float *whole = heads[threadIdx.x / WARP];
    if (q8) {
        store_pairs(whole, pair, n);
        __syncwarp();
        if (which == KV_K) {
            rotate(whole, dim);
        }
    }
    if (place.what == Place::Q) { // q is rotated as K is, or the scores would change
        float *to = ptr<float>(job.q_out) + (row * job.kv.n_heads + place.head) * dim;
        for (uint32_t j = lane; q8 && j < dim; j += WARP) {
            to[j] = whole[j];
        }
        if (!q8) {
            store_pairs(to, pair, n);
        }
        return;
    }
    uint8_t *block =
        kv_block(job.kv, which, q8, dim, page_of(step, at.seq, at.pos / ATTEND_PAGE), place.head);
    if (q8) {
        store_q8(block, in_page, dim, whole);
    } else {
        store_pairs((__half *)block + in_page * dim, pair, n);
    }
}

cudaError_t kernel_heads(const struct heads *job, const struct dstep *step, size_t n,
                         const struct dqueue *on)
{
    const uint32_t n_all = job->kv.n_heads + 2 * job->kv.n_kv_heads;
    struct heads placed = *job;
    if (!attend_supports(job->kv) || job->n_rot % 2 != 0 || job->n_rot > job->kv.head_dim ||
        (job->stride != 0 && job->q_out.at == nullptr)) {
        return cudaErrorInvalidValue;
    }
    if (job->q_out.at == nullptr) {
        placed.q_out = job->q;
    }
    if (n == 0) {
        return cudaSuccess;
    }
    return launch(k_heads,
                  { .grid = dim3((unsigned)n, (n_all + WARPS - 1) / WARPS),
                    .block = WARPS * WARP,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  placed, *step);
}
