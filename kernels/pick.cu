// Finds the best logits of each row, and goes on to the next token without the host.
//
//   top: ids, values [n, k] = the k <= 64 best of logits [n, n_vocab], by value, equal ones by id
//
// There are two launches. `k_best` finds the k best of each slice of 2048 logits (grid: slices of a
// row, rows; 256 threads). `k_merge` finds the k best of all slices of a row (one block per row). A
// logit becomes a key of 64 bits: the high half is the value's bits, changed so that they sort as
// integers; the low half is ~id, so the lower id wins. Only keys of NaNs are equal, so the slices
// and the order of threads do not matter. k = 1 is a plain maximum. Otherwise each pass finds eight
// bits of the k-th largest key, from the top, with a histogram. The passes end when every key that
// begins with the bits found so far is among the k best; mostly three of eight passes are enough.
//
// Bytes: 4 n n_vocab read once, 16 n k n_vocab / 2048 through scratch. Test:
// tests/cuda/test_pick.c.
#include "device.cuh"

namespace
{

constexpr uint32_t SLICE = 2048, BEST_THREADS = 256, MERGE_THREADS = 512, BINS = 256;

// KEY_NONE stands for no logit and is below every key. KEY_NAN stands for a NaN and is above every
// key.
#define KEY_NONE 0ull
#define KEY_NAN 0xffffffffffffffffull

__device__ __forceinline__ uint64_t key_of(float value, uint32_t id)
{
    if (value != value) {
        return KEY_NAN;
    }
    const uint32_t bits = value == 0.0f ? 0 : __float_as_uint(value); // -0 equals 0
    const uint32_t order = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)order << 32 | (uint32_t)~id;
}

struct Select {
    uint32_t count[BINS];
    // The bin that holds the k-th largest key.
    uint32_t digit;
    uint32_t wanted; // keys wanted of this bin
    bool exact;      // all keys of the bin are wanted
    uint32_t n_found;
    uint64_t found[TOP_MAX];
};

// One warp finds the bin of the wanted-th largest of the counted keys; each lane has eight bins.
__device__ __forceinline__ void find_bin(Select &s, uint32_t wanted)
{
    const uint32_t lane = threadIdx.x;
    uint32_t own = 0;
    for (int i = 0; i < 8; i++) {
        own += s.count[8 * lane + i];
    }
    uint32_t above = own; // keys in the bins of this lane and higher ones
#pragma unroll
    for (int o = 1; o < WARP; o *= 2) {
        const uint32_t other = __shfl_down_sync(ALL_LANES, above, o);
        above += lane + o < WARP ? other : 0;
    }
    if (lane == 0 && above < wanted) { // fewer keys than wanted: take them all
        s.digit = 0;
        s.exact = true;
    }
    if (above >= wanted && above - own < wanted) {
        uint32_t left = wanted - (above - own);
        uint32_t bin = 8 * lane + 7;
        while (s.count[bin] < left) {
            left -= s.count[bin--];
        }
        s.digit = bin;
        s.wanted = left;
        s.exact = s.count[bin] == left;
    }
}

// s.found = the k largest of the n keys that get(i) gives, or all of them if they are fewer, in any
// order. The block has at least BINS threads.
template <class Get> __device__ void select_keys(Select &s, uint32_t n, uint32_t k, const Get &get)
{
    uint64_t bound = 0;
    int shift = 64;
    uint32_t wanted = k;
    if (threadIdx.x == 0) {
        s.n_found = 0;
    }
    do {
        shift -= 8;
        if (threadIdx.x < BINS) {
            s.count[threadIdx.x] = 0;
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
            const uint64_t key = get(i);
            if (shift == 56 || (key ^ bound) >> (shift + 8) == 0) {
                atomicAdd(&s.count[key >> shift & (BINS - 1)], 1u);
            }
        }
        __syncthreads();
        if (threadIdx.x < WARP) {
            find_bin(s, wanted);
        }
        __syncthreads();
        bound |= (uint64_t)s.digit << shift;
        wanted = s.wanted;
    } while (!s.exact && shift > 0);
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        const uint64_t key = get(i);
        if (key >= bound) {
            // More than k keys reach the bound only if KEY_NAN is among them more than once.
            const uint32_t at = atomicAdd(&s.n_found, 1u);
            if (at < k) {
                s.found[at] = key;
            }
        }
    }
    __syncthreads();
}

// Calls put(rank, key) for each of the k ranks, the largest key first, with KEY_NONE behind the
// last key.
template <class Put> __device__ void put_sorted(const Select &s, uint32_t k, const Put &put)
{
    const uint32_t n = min(s.n_found, k), i = threadIdx.x;
    if (i < n) {
        uint32_t rank = 0;
        for (uint32_t j = 0; j < n; j++) {
            rank += s.found[j] > s.found[i] || (s.found[j] == s.found[i] && j < i);
        }
        put(rank, s.found[i]);
    } else if (i < k) {
        put(i, KEY_NONE);
    }
}

// Returns the largest key of all threads in thread 0. shared has blockDim / 32 elements.
__device__ uint64_t block_largest(uint64_t key, uint64_t *shared)
{
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (int o = WARP / 2; o > 0; o /= 2) {
        const uint64_t other = __shfl_xor_sync(ALL_LANES, (unsigned long long)key, o);
        key = other > key ? other : key;
    }
    if (lane == 0) {
        shared[warp] = key;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (uint32_t i = 1; i < blockDim.x / WARP; i++) {
            key = shared[i] > key ? shared[i] : key;
        }
    }
    return key;
}

} // namespace

// keys [rows, slices, k]
template <bool ONE>
__global__ void __launch_bounds__(BEST_THREADS)
    k_best(const float *logits, uint32_t n_vocab, uint32_t k, uint64_t *keys)
{
    grid_dependency_release();
    const uint32_t first = blockIdx.x * SLICE, n = min(SLICE, n_vocab - first);
    const float *slice = logits + (size_t)blockIdx.y * n_vocab + first;
    uint64_t *out = keys + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * k;
    grid_dependency_wait();
    if constexpr (ONE) {
        SHARED(uint64_t[BEST_THREADS / WARP], largest);
        uint64_t key = KEY_NONE;
#pragma unroll
        for (uint32_t j = 0; j < SLICE / BEST_THREADS; j++) {
            const uint32_t i = j * BEST_THREADS + threadIdx.x;
            const uint64_t other = i < n ? key_of(slice[i], first + i) : KEY_NONE;
            key = other > key ? other : key;
        }
        key = block_largest(key, largest);
        if (threadIdx.x == 0) {
            *out = key;
        }
    } else {
        SHARED(uint64_t[SLICE], own);
        SHARED(Select, s);
        for (uint32_t i = threadIdx.x; i < n; i += BEST_THREADS) {
            own[i] = key_of(slice[i], first + i);
        }
        select_keys(s, n, k, [&](uint32_t i) { return own[i]; });
        put_sorted(s, k, [&](uint32_t rank, uint64_t key) { out[rank] = key; });
    }
}

// n keys per row
template <bool ONE>
__global__ void __launch_bounds__(MERGE_THREADS)
    k_merge(const uint64_t *keys, uint32_t n, uint32_t k, const float *logits, uint32_t n_vocab,
            int32_t *ids, float *values)
{
    grid_dependency_release();
    const size_t row = blockIdx.x;
    keys += row * n;
    logits += row * n_vocab;
    ids += row * k;
    values += row * k;
    grid_dependency_wait();
    bool nan = false;
    const auto put = [&](uint32_t rank, uint64_t key) {
        const bool none = key == KEY_NONE || nan;
        const uint32_t id = ~(uint32_t)key;
        ids[rank] = none ? -1 : (int32_t)id;
        values[rank] = none ? __int_as_float(0x7fc00000) : logits[id];
    };
    if constexpr (ONE) {
        SHARED(uint64_t[MERGE_THREADS / WARP], largest);
        uint64_t key = KEY_NONE;
        for (uint32_t i = threadIdx.x; i < n; i += MERGE_THREADS) {
            key = keys[i] > key ? keys[i] : key;
        }
        key = block_largest(key, largest);
        if (threadIdx.x == 0) {
            nan = key == KEY_NAN;
            put(0, key);
        }
    } else {
        SHARED(Select, s);
        select_keys(s, n, k, [&](uint32_t i) { return keys[i]; });
        const uint32_t i = threadIdx.x;
        nan = __syncthreads_or(i < k && i < s.n_found && s.found[i] == KEY_NAN);
        put_sorted(s, k, put);
    }
}

// One block does all rows, because they share one counter.
__global__ void k_advance(struct drow *rows, const int32_t *ids, uint32_t k, uint32_t n,
                          int32_t *history, uint32_t *count)
{
    grid_dependency_release();
    grid_dependency_wait();
    const uint32_t done = *count;
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        int32_t id = ids[(size_t)i * k];
        // After a NaN the row stays where it is, and history records -1 for it.
        if (done > 0 && history[(size_t)(done - 1) * n + i] < 0) {
            id = -1;
        }
        history[(size_t)done * n + i] = id;
        if (id >= 0) {
            rows[i].token = id;
            rows[i].pos++;
        }
    }
    __syncthreads(); // all threads have read the count
    if (threadIdx.x == 0) {
        *count = done + 1;
    }
}

static uint32_t slices_of(size_t n_vocab) { return (uint32_t)((n_vocab + SLICE - 1) / SLICE); }

size_t top_scratch_bytes(size_t n, size_t n_vocab, size_t k)
{
    return n * slices_of(n_vocab) * k * sizeof(uint64_t);
}

template <bool ONE>
static cudaError_t top(struct dptr logits, size_t n, size_t n_vocab, size_t k, struct dptr ids,
                       struct dptr values, struct dptr scratch, const struct dqueue *on)
{
    const uint32_t n_slices = slices_of(n_vocab), vocab = (uint32_t)n_vocab, best = (uint32_t)k;
    uint64_t *keys = ptr<uint64_t>(scratch);
    cudaError_t e = launch(k_best<ONE>,
                           { .grid = dim3(n_slices, (unsigned)n),
                             .block = BEST_THREADS,
                             .stream = on->stream,
                             .programmatic = on->programmatic },
                           ptr<const float>(logits), vocab, best, keys);
    if (e != cudaSuccess) {
        return e;
    }
    return launch(k_merge<ONE>,
                  { .grid = (unsigned)n,
                    .block = MERGE_THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  ptr<const uint64_t>(scratch), n_slices * best, best, ptr<const float>(logits),
                  vocab, ptr<int32_t>(ids), ptr<float>(values));
}

cudaError_t kernel_top(struct dptr logits, size_t n, size_t n_vocab, size_t k, struct dptr ids,
                       struct dptr values, struct dptr scratch, const struct dqueue *on)
{
    if (n == 0) {
        return cudaSuccess;
    }
    if (n_vocab == 0 || k == 0 || k > TOP_MAX) {
        return cudaErrorInvalidValue;
    }
    return k == 1 ? top<true>(logits, n, n_vocab, k, ids, values, scratch, on)
                  : top<false>(logits, n, n_vocab, k, ids, values, scratch, on);
}

cudaError_t kernel_advance(const struct dstep *step, struct dptr ids, size_t k, size_t n,
                           struct dptr history, struct dptr count, const struct dqueue *on)
{
    return launch(k_advance,
                  { .block = 64, .stream = on->stream, .programmatic = on->programmatic },
                  ptr<struct drow>(step->rows), ptr<const int32_t>(ids), (uint32_t)k, (uint32_t)n,
                  ptr<int32_t>(history), ptr<uint32_t>(count));
}
