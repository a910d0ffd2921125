// Attention, row by row (for decoding, and for any head size): flash decoding, where the positions
// of a row are split among blocks:
//
//   o[h] = sum_j p_j v_j / sum_j p_j,   p_j = 2^(s_j - max s),   s_j = q[h] . k_j * scale * log2(e)
//
// over the positions j that the row sees. Everything is float but K and V, which are half or q8_0.
//
// A block takes one row, up to 8 query heads of one KV head, and one split, which is a run of
// pages. It moves 256 * head_dim bytes a page (136 * head_dim with q8_0), once for all its heads.
// Pages go through shared memory: K of the next page arrives while V of this one is used. The steps
// of a page are
//   scores   a team of lanes per position, 8 elements of K each; q is in registers
//   soften   a warp per head: online maximum and sum, scores become p
//   mix      a warp takes 16 positions, and each lane takes pairs of columns
// If a row has several splits, each leaves its sums, maxima and unscaled values in `partial`. The
// block of the row and heads that arrives last adds them up: each warp adds every fourth split,
// then the sums of the warps are added.
//
// Grid (rows, n_kv_heads * blocks of heads, splits), 128 threads. The position (and window), the
// heads and the SMs of the device decide which pages a split has; the grid does not. Test:
// tests/cuda/test_attend.c.
#include "attend_kv.cuh"
#include "attend_splits.cuh"

// Floats from the scores of one head to those of the next: the heads lie in different banks.
constexpr uint32_t SCORES = ATTEND_PAGE + 4;
// The positions that a warp takes in mix().
constexpr uint32_t ROWS = ATTEND_PAGE / WARPS;

// How the query heads are dealt to blocks, and which block writes the outputs.
struct Deal {
    uint32_t group;  // query heads of a KV head
    uint32_t blocks; // blocks of heads per KV head
    // Query heads of a block; the last block of a KV head may have fewer.
    uint32_t heads;
    // Not 0 if 32 columns that share a scale in ACT_Q8 may belong to heads of two thread blocks.
    // Then one thread block, the last one of the row to arrive, combines the splits of all heads of
    // the row.
    uint32_t whole_rows;
    // The most splits of a row.
    uint32_t splits;
};

// How many blocks of an SM share the positions of a row. Blocks with many heads compute for as long
// as they load, and each of their splits leaves much to combine, so one such block is enough. With
// few heads a block waits for memory, and two blocks have more loads in flight.
static uint32_t split_blocks(uint32_t heads) { return heads > MAX_HEADS / 2 ? 1 : 2; }

static Deal deal_heads(const struct dkv &kv, uint32_t n_sms)
{
    Deal d;
    d.group = kv.n_heads / kv.n_kv_heads;
    d.blocks = (d.group + MAX_HEADS - 1) / MAX_HEADS;
    d.heads = (d.group + d.blocks - 1) / d.blocks;
    d.blocks = (d.group + d.heads - 1) / d.heads;
    d.whole_rows = d.heads * kv.head_dim % 32 != 0 || d.group * kv.head_dim % 32 != 0;
    const uint32_t fair = split_blocks(d.heads) * n_sms / (kv.n_kv_heads * d.blocks);
    d.splits = fair < 1 ? 1 : fair < ATTEND_SPLITS ? fair : (uint32_t)ATTEND_SPLITS;
    return d;
}

// The most splits that a row at a position below n_ctx has.
static uint32_t most_splits(const Deal &d, size_t n_ctx, size_t window)
{
    size_t pages = (n_ctx + ATTEND_PAGE - 1) / ATTEND_PAGE;
    if (window > 0) { // the window may begin and end within a page
        const size_t seen = (window + ATTEND_PAGE - 2) / ATTEND_PAGE + 1;
        pages = seen < pages ? seen : pages;
    }
    return pages < d.splits ? (uint32_t)pages : d.splits;
}

// Loads q of the heads of a block. A lane gets the 8 elements that meet its 8 elements of K.
template <int G, int TEAM>
__device__ __forceinline__ void load_q(float q[G][8], const float *src, uint32_t n_heads,
                                       uint32_t dim, float scale)
{
    const uint32_t at = threadIdx.x % TEAM * 8;
#pragma unroll
    for (uint32_t h = 0; h < G; h++) {
        const bool has = h < n_heads && at < dim;
        const float4 *p = (const float4 *)(src + (has ? h * dim + at : 0));
        const float4 a = p[0], b = p[1];
        const float v[8] = { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w };
#pragma unroll
        for (int i = 0; i < 8; i++) {
            q[h][i] = has ? v[i] * scale : 0.0f;
        }
    }
}

// Sums v[h] over a team. Each lane gets the sum of head h = lane / (TEAM / G): every step halves
// the heads that a lane still has.
template <int G, int TEAM> __device__ __forceinline__ float team_sum(float v[G])
{
    int n = G / 2;
#pragma unroll
    for (int o = TEAM / 2; o > 0; o /= 2, n /= 2) {
        if (n == 0) {
            v[0] += __shfl_xor_sync(ALL_LANES, v[0], o);
            continue;
        }
        const bool upper = threadIdx.x & o;
#pragma unroll
        for (int i = 0; i < n; i++) {
            const float give = upper ? v[i] : v[i + n], keep = upper ? v[i + n] : v[i];
            v[i] = keep + __shfl_xor_sync(ALL_LANES, give, o);
        }
    }
    return v[0];
}

// s[h][row] = q[h] . k[row] for the positions of the page that the row sees, and -inf for the
// others.
template <int G, int TEAM, class R>
__device__ __forceinline__ void scores(float *s, const float q[G][8], const R &k, uint32_t dim,
                                       const SeenRows &seen)
{
    const uint32_t lane = threadIdx.x % TEAM;
#pragma unroll 4
    for (uint32_t row = threadIdx.x / TEAM; row < ATTEND_PAGE; row += ATTEND_THREADS / TEAM) {
        float sum[G] = {};
        if (lane * 8 < dim) {
            float x[8];
            const float d = k.load8(row, lane * 8, x);
#pragma unroll
            for (int i = 0; i < 8; i++) {
#pragma unroll
                for (int h = 0; h < G; h++) {
                    sum[h] += q[h][i] * x[i];
                }
            }
#pragma unroll
            for (int h = 0; h < G; h++) {
                sum[h] *= d;
            }
        }
        const float total = team_sum<G, TEAM>(sum);
        if (lane % (TEAM / G) == 0) {
            s[lane / (TEAM / G) * SCORES + row] = seen.has(row) ? total : -INFINITY;
        }
    }
}

// Maximum and sum so far, the same in all lanes; a warp has those of heads warp, warp + 4, ...
struct Stats {
    float max = -INFINITY, sum = 0.0f;
};

// Turns scores into p. fix[h] is the factor by which the values so far shrink because the maximum
// has grown. Every page has a position that the row sees, so the new maximum is finite if the
// scores are finite.
template <int G>
__device__ __forceinline__ void soften(Stats stats[(G + WARPS - 1) / WARPS], float *s, float *fix)
{
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t i = 0; i < (G + WARPS - 1) / WARPS; i++) {
        const uint32_t h = warp + WARPS * i;
        if (h < G) {
            float *p = s + h * SCORES + lane;
            const float top = fmaxf(stats[i].max, warp_max(fmaxf(p[0], p[WARP])));
            const float shrink = exp2f(stats[i].max - top);
            const float a = exp2f(p[0] - top), b = exp2f(p[WARP] - top);
            p[0] = a;
            p[WARP] = b;
            stats[i].sum = stats[i].sum * shrink + warp_sum(a + b);
            stats[i].max = top;
            if (lane == 0) {
                fix[h] = shrink;
            }
        }
    }
}

// acc[h] = acc[h] * fix[h] + the sum of p[h][row] v[row] over the rows of the warp. The lane has
// columns 2 lane + 64 i and 2 lane + 64 i + 1.
template <int G, int PAIRS, class R>
__device__ __forceinline__ void mix(float2 acc[G][PAIRS], const float *p, const float *fix,
                                    const R &v, uint32_t dim)
{
    const uint32_t lane = threadIdx.x % WARP, first = threadIdx.x / WARP * ROWS;
#pragma unroll
    for (int h = 0; h < G; h++) {
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            acc[h][i].x *= fix[h];
            acc[h][i].y *= fix[h];
        }
    }
#pragma unroll
    for (uint32_t row = first; row < first + ROWS; row += 4) {
        float w[G][4];
#pragma unroll
        for (int h = 0; h < G; h++) {
            const float4 four = *(const float4 *)(p + h * SCORES + row);
            w[h][0] = four.x, w[h][1] = four.y, w[h][2] = four.z, w[h][3] = four.w;
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
#pragma unroll
            for (uint32_t i = 0; i < PAIRS; i++) {
                const uint32_t col = 2 * lane + 64 * i;
                if (col < dim) {
                    const float2 x = v.load2(row + j, col);
#pragma unroll
                    for (int h = 0; h < G; h++) {
                        acc[h][i].x += w[h][j] * x.x;
                        acc[h][i].y += w[h][j] * x.y;
                    }
                }
            }
        }
    }
}

// The part of the work that a block does.
struct Task {
    // The row of the step, and its query heads [head, head + n_heads).
    uint32_t row, kv_head, head, n_heads;
    Seen seen;
    // Pages [page, page + n_pages) of the sequence.
    uint32_t seq, page, n_pages;
    uint32_t n_splits; // splits of the row
};

// Finds the task of this block. Returns false if the row has no such split.
__device__ __forceinline__ bool find_task(const struct attend &job, const struct dstep &step,
                                          struct dptr list, const Deal &deal, Task *t)
{
    t->row = list.at != nullptr ? __ldcg(ptr<const uint32_t>(list) + blockIdx.x) : blockIdx.x;
    const uint4 whole = __ldcg(ptr<const uint4>(step.rows) + t->row);
    const struct drow at = { (int32_t)whole.x, whole.y, whole.z, whole.w };
    t->seq = at.seq;
    t->seen = { first_seen(at.pos, job.window), at.pos };
    const uint32_t first = t->seen.first / ATTEND_PAGE, end = at.pos / ATTEND_PAGE + 1;
    const uint32_t per = split_pages(end - first, deal.splits);
    t->n_splits = split_count(end - first, deal.splits);
    t->page = first + blockIdx.z * per;
    t->n_pages = min(per, end - t->page);
    t->kv_head = blockIdx.y / deal.blocks;
    const uint32_t skip = blockIdx.y % deal.blocks * deal.heads;
    t->head = t->kv_head * deal.group + skip;
    t->n_heads = min(deal.heads, deal.group - skip);
    return blockIdx.z < t->n_splits;
}

// The number of chunks that combine() cuts the columns of a block's heads into.
__host__ __device__ constexpr uint32_t head_chunks(uint32_t dim, uint32_t heads)
{
    return (heads * dim + COMBINE_CHUNK - 1) / COMBINE_CHUNK;
}

// Brings the first page of the block's split from memory to the L2 cache, before the block waits.
// This is only a hint, because step.rows may still hold the previous step's rows here. They are
// read past the L1 cache, so that find_task() does not find old rows there after the wait.
template <int D, bool ANY>
__device__ __forceinline__ void prefetch_page(const struct attend &job, const struct dstep &step,
                                              const Task &t)
{
    constexpr uint32_t LINE = 128;
    const uint32_t dim = D ? D : job.kv.head_dim, number = page_of(step, t.seq, t.page);
    for (uint32_t which = KV_K; which <= KV_V; which++) {
        const bool q8 = is_q8<ANY>(job.kv, which);
        const uint8_t *block = kv_block(job.kv, which, q8, dim, number, t.kv_head);
        for (uint32_t at = LINE * threadIdx.x; at < kv_block_bytes(q8, dim);
             at += LINE * ATTEND_THREADS) {
            prefetch_l2(block + at);
        }
    }
}

// The bytes that K gets in shared memory. At the end the sums of the warps take the same place.
__host__ __device__ __forceinline__ uint32_t k_room(bool q8, uint32_t dim, uint32_t heads)
{
    const uint32_t page = kv_block_bytes(q8, dim);
    const uint32_t sums = WARPS * head_chunks(dim, heads) * COMBINE_CHUNK * sizeof(float);
    return page > sums ? page : sums;
}

// Goes through the pages of the block's split and leaves the results of the warps in acc and
// stats.
template <int D, int G, int TEAM, int PAIRS, bool ANY>
__device__ __forceinline__ void attend_pages(const struct attend &job, const struct dstep &step,
                                             const Task &t, uint8_t *k_page, Stats *stats,
                                             float2 acc[G][PAIRS])
{
    SHARED(cu_type<float4>[G * SCORES / 4], scores_of);
    SHARED(float[G], fix);
    float *s = (float *)scores_of;
    const uint32_t dim = D ? D : job.kv.head_dim;
    const bool k_q8 = is_q8<ANY>(job.kv, KV_K), v_q8 = is_q8<ANY>(job.kv, KV_V);
    uint8_t *v_page = k_page + k_room(k_q8, dim, G);
    uint32_t page = t.page, number = page_of(step, t.seq, page);
    const auto copy_k = [&](uint32_t i) {
        copy_block(k_page, kv_block(job.kv, KV_K, k_q8, dim, number, t.kv_head), k_q8, dim,
                   { i, t.seen });
    };
    const auto copy_v = [&](uint32_t i) {
        copy_block(v_page, kv_block(job.kv, KV_V, v_q8, dim, number, t.kv_head), v_q8, dim,
                   { i, t.seen });
        cp_async_commit();
    };
    copy_k(page);
    cp_async_commit();
    copy_v(page);
    float q[G][8];
    load_q<G, TEAM>(q, ptr<const float>(job.q) + ((size_t)t.row * job.kv.n_heads + t.head) * dim,
                    t.n_heads, dim, job.scale * 1.44269504f); // log2(e)
    cp_async_wait<1>();
    __syncthreads();
    for (;;) {
        const SeenRows seen = { page, t.seen };
        if (k_q8) {
            scores<G, TEAM>(s, q, Codes{ k_page, dim, seen }, dim, seen);
        } else {
            scores<G, TEAM>(s, q, Halves{ k_page, dim }, dim, seen);
        }
        __syncthreads();
        const bool more = page + 1 < t.page + t.n_pages;
        if (more) {
            number = page_of(step, t.seq, page + 1);
            copy_k(page + 1);
        }
        cp_async_commit();
        soften<G>(stats, s, fix);
        cp_async_wait<1>(); // V of this page has arrived
        __syncthreads();
        if (v_q8) {
            mix<G, PAIRS>(acc, s, fix, Codes{ v_page, dim, seen }, dim);
        } else {
            mix<G, PAIRS>(acc, s, fix, Halves{ v_page, dim }, dim);
        }
        if (!more) {
            break;
        }
        page++;
        cp_async_wait<0>(); // K of the next page has arrived
        __syncthreads();
        copy_v(page);
    }
}

// Adds up the sums of the warps, `sums` [WARPS, G, dim]. If `direct`, divides the results and
// writes them to o; else leaves them at the split's place in `partial`.
template <int G>
__device__ __forceinline__ void leave(const struct attend &job, const Task &t, bool direct,
                                      const Partial &partial, const float *sums,
                                      const float (*stats)[2])
{
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, dim = job.kv.head_dim;
    const size_t slot = partial.head(blockIdx.z, t.head);
    for (uint32_t block = warp; block < (t.n_heads * dim + 31) / 32; block += WARPS) {
        const uint32_t col = 32 * block + lane;
        float v = 0.0f;
        if (col < t.n_heads * dim) {
#pragma unroll
            for (uint32_t w = 0; w < WARPS; w++) {
                v += sums[w * G * dim + col];
            }
            if (!direct) {
                partial.values[slot * dim + col] = v;
            }
        }
        if (direct) {
            write_o(job.o, t.row, t.head * dim / 32 + block, v / stats[col / dim][1]);
        }
    }
    if (!direct && threadIdx.x < t.n_heads) {
        partial.stats[2 * (slot + threadIdx.x)] = stats[threadIdx.x][0];
        partial.stats[2 * (slot + threadIdx.x) + 1] = stats[threadIdx.x][1];
    }
}

// How many blocks an SM should hold: as many as fit without spilling registers.
__host__ __device__ constexpr int resident(int dim, int heads)
{
    return heads <= 2 ? 8 : heads <= 4 ? 4 : dim == 64 || dim == 128 ? 3 : 2;
}

// How many loads of 16 bytes a thread of combine() has under way: as many as fit into the registers
// beside the sums and the other live values.
__host__ __device__ constexpr int combine_loads(int n_resident, int chunks)
{
    const int registers = 65536 / (int)ATTEND_THREADS / n_resident;
    const int loads = ((registers < 255 ? registers : 255) - 4 * chunks - 24) / 4;
    return loads < 32 ? loads : 32;
}

// The block that arrives last combines the splits of its heads, or of the whole row
// (Deal.whole_rows). `room` is shared memory of k_room() bytes.
template <int D, int G>
__device__ __forceinline__ void combine_last(const struct attend &job, const Deal &deal,
                                             const Task &t, const Partial &partial, float *room)
{
    constexpr int CHUNKS = (int)head_chunks(D ? D : ATTEND_MAX_DIM, G);
    constexpr int LOADS = combine_loads(resident(D, G), CHUNKS);
    const uint32_t n_chunks = D ? CHUNKS : head_chunks(job.kv.head_dim, G);
    unsigned *counter = ptr<unsigned>(job.counters) + (size_t)blockIdx.x * gridDim.y;
    if (!deal.whole_rows) {
        if (arrives_last(counter + blockIdx.y, t.n_splits)) {
            combine<CHUNKS, LOADS>(job, partial, t.row, t.head, t.n_heads, t.n_splits, n_chunks,
                                   room);
        }
    } else if (arrives_last(counter, t.n_splits * gridDim.y)) {
        for (uint32_t h = 0; h < job.kv.n_heads; h += MAX_HEADS) {
            combine<CHUNKS, LOADS>(job, partial, t.row, h, min(MAX_HEADS, job.kv.n_heads - h),
                                   t.n_splits, n_chunks, room);
        }
    }
}

// D: the head size, 0 if only the job knows it. G: the most query heads of a block. ANY: K or V may
// be q8_0.
template <int D, int G, bool ANY>
__global__ void __launch_bounds__(ATTEND_THREADS, resident(D, G))
    k_attend(struct attend job, struct dstep step, struct dptr list, Deal deal)
{
    enum {
        TEAM = D == 0    ? 32
               : D <= 64 ? 8
                         : 16,                                 // lanes with 8 elements each
        PAIRS = ((D == 0 ? (int)ATTEND_MAX_DIM : D) + 63) / 64 // pairs of columns of a lane
    };
    // Blocks of K and V; at the end the sums of the warps.
    SHARED_DYNAMIC(uint4, pages);
    SHARED(cu_type<float[2]>[G], stats_of);
    grid_dependency_release();
    Task t;
    if (find_task(job, step, list, deal, &t)) {
        prefetch_page<D, ANY>(job, step, t);
    }
    grid_dependency_wait();
    if (!find_task(job, step, list, deal, &t)) {
        return;
    }
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const uint32_t dim = D ? D : job.kv.head_dim;
    Stats stats[(G + WARPS - 1) / WARPS];
    float2 acc[G][PAIRS] = {};
    attend_pages<D, G, TEAM, PAIRS, ANY>(job, step, t, (uint8_t *)pages, stats, acc);
    // The sums take the place of K, which all threads have finished with.
    float *sums = (float *)pages + warp * G * dim;
#pragma unroll
    for (uint32_t h = 0; h < G; h++) {
#pragma unroll
        for (uint32_t i = 0; i < PAIRS; i++) {
            const uint32_t col = 2 * lane + 64 * i;
            if (col < dim) {
                *(float2 *)(sums + h * dim + col) = acc[h][i];
            }
        }
        if (h % WARPS == warp && lane == 0) {
            stats_of[h][0] = stats[h / WARPS].max;
            stats_of[h][1] = stats[h / WARPS].sum;
        }
    }
    __syncthreads();
    const Partial partial(job);
    const bool direct = t.n_splits == 1 && !deal.whole_rows;
    leave<G>(job, t, direct, partial, (const float *)pages, stats_of);
    if (!direct) {
        combine_last<D, G>(job, deal, t, partial, (float *)pages);
    }
}

template <int D, int G, bool ANY>
static cudaError_t launch_attend(const struct attend *job, const struct dstep *step,
                                 struct dptr list, size_t n, size_t n_ctx, const Deal &deal,
                                 const struct dqueue *on)
{
    void (*const kernel)(struct attend, struct dstep, struct dptr, Deal) = k_attend<D, G, ANY>;
    const bool k_q8 = job->kv.type[KV_K] == WEFT_KV_Q8_0, v_q8 = job->kv.type[KV_V] == WEFT_KV_Q8_0;
    const size_t shared =
        k_room(k_q8, job->kv.head_dim, G) + kv_block_bytes(v_q8, job->kv.head_dim);
    // The limit on dynamic shared memory is always that for f16 and the largest head size, because
    // other engines may launch the same kernel with another head size.
    const uint32_t largest = D ? D : ATTEND_MAX_DIM;
    const size_t most = k_room(false, largest, G) + kv_block_bytes(false, largest);
    cudaError_t e = cudaSuccess;
    if (most > 40 << 10) { // with the static part this may exceed 48 KiB, which needs this call
        e = cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 (int)most);
    }
    const LaunchConfig config = { .grid = dim3((unsigned)n, job->kv.n_kv_heads * deal.blocks,
                                               most_splits(deal, n_ctx, job->window)),
                                  .block = ATTEND_THREADS,
                                  .shared = shared,
                                  .stream = on->stream,
                                  .programmatic = on->programmatic };
    return e != cudaSuccess ? e : launch(kernel, config, *job, *step, list, deal);
}

template <int D, bool ANY>
static cudaError_t launch_heads(const struct attend *job, const struct dstep *step,
                                struct dptr list, size_t n, size_t n_ctx, const struct dqueue *on)
{
    const Deal deal = deal_heads(job->kv, on->n_sms);
    const auto f = deal.heads > 4   ? launch_attend<D, 8, ANY>
                   : deal.heads > 2 ? launch_attend<D, 4, ANY>
                   : deal.heads > 1 ? launch_attend<D, 2, ANY>
                                    : launch_attend<D, 1, ANY>;
    return f(job, step, list, n, n_ctx, deal, on);
}

template <int D>
static cudaError_t launch_types(const struct attend *job, const struct dstep *step,
                                struct dptr list, size_t n, size_t n_ctx, const struct dqueue *on)
{
    if constexpr (D % 32 == 0) {
        if (any_q8(job->kv)) {
            return launch_heads<D, true>(job, step, list, n, n_ctx, on);
        }
    }
    return launch_heads<D, false>(job, step, list, n, n_ctx, on);
}

cudaError_t kernel_attend(const struct attend *job, const struct dstep *step, struct dptr list,
                          size_t n, size_t n_ctx, const struct dqueue *on)
{
    if (!attend_supports(job->kv)) {
        return cudaErrorInvalidValue;
    }
    if (n == 0) {
        return cudaSuccess;
    }
    switch (job->kv.head_dim) {
    case 64: return launch_types<64>(job, step, list, n, n_ctx, on);
    case 80: return launch_types<80>(job, step, list, n, n_ctx, on);
    case 96: return launch_types<96>(job, step, list, n, n_ctx, on);
    case 128: return launch_types<128>(job, step, list, n, n_ctx, on);
    default: return launch_types<0>(job, step, list, n, n_ctx, on);
    }
}

size_t attend_splits(const struct dkv *kv, size_t n_pages, const struct dqueue *on)
{
    return split_count((uint32_t)n_pages, deal_heads(*kv, on->n_sms).splits);
}

size_t attend_partial_floats(const struct dkv *kv, size_t n_rows, size_t n_ctx,
                             const struct dqueue *on)
{
    const size_t splits = most_splits(deal_heads(*kv, on->n_sms), n_ctx, 0);
    return n_rows * splits * kv->n_heads * (kv->head_dim + 2);
}

size_t attend_counters(const struct dkv *kv, size_t n_rows)
{
    return n_rows * kv->n_kv_heads * deal_heads(*kv, 1).blocks;
}
