// Sample: flash decoding with dynamic shared memory, barriers in loops, templates, split and
// combine.
#include "check.cuh"

enum { THREADS = 128, TILE = 32 };

// A block takes one (head, split). It goes over its positions in tiles, with online softmax; thread
// t adds up dimension t % D over the positions of its group t / D. part [head][split] gets the
// maximum, the sum and D values.
template <int D>
__global__ void __launch_bounds__(THREADS)
    k_attention(float *part, const float *q, const __half *k, const __half *v, int heads,
                int kv_heads, int n, int per_split)
{
    SHARED_DYNAMIC(float, shared);
    SHARED(float[THREADS / D], group_sum);
    float *scores = shared, *query = scores + TILE, *acc_all = query + D;
    const int head = blockIdx.x, tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    const int kv = head / (heads / kv_heads), begin = blockIdx.y * per_split;
    const int end = min(begin + per_split, n);
    for (int i = tid; i < D; i += THREADS)
        query[i] = q[head * D + i] * rsqrtf((float)D);
    float m = -INFINITY, l = 0, acc = 0;
    __syncthreads();
    for (int t0 = begin; t0 < end; t0 += TILE) {
        for (int j = warp; j < TILE; j += THREADS / 32) {
            float s = 0;
            if (t0 + j < end)
                for (int i = lane; i < D; i += 32)
                    s += __half2float(k[((size_t)(t0 + j) * kv_heads + kv) * D + i]) * query[i];
#pragma unroll
            for (int o = 16; o; o >>= 1)
                s += __shfl_xor_sync(0xffffffffu, s, o);
            if (lane == 0)
                scores[j] = t0 + j < end ? s : -INFINITY;
        }
        __syncthreads();
        float tile_max = scores[lane];
#pragma unroll
        for (int o = 16; o; o >>= 1)
            tile_max = fmaxf(tile_max, __shfl_xor_sync(0xffffffffu, tile_max, o));
        const float m_new = fmaxf(m, tile_max), fix = __expf(m - m_new);
        acc *= fix;
        l *= fix;
        for (int j = tid / D; j < TILE && t0 + j < end; j += THREADS / D) {
            const float e = __expf(scores[j] - m_new);
            l += e;
            acc += e * __half2float(v[((size_t)(t0 + j) * kv_heads + kv) * D + tid % D]);
        }
        m = m_new;
        __syncthreads(); // the next tile overwrites scores
    }
    acc_all[tid] = acc;
    if (tid % D == 0)
        group_sum[tid / D] = l;
    __syncthreads();
    float *out = part + ((size_t)head * gridDim.y + blockIdx.y) * (D + 2);
    if (tid < D) {
        float sum = 0;
        for (int g = 0; g < THREADS / D; g++)
            sum += acc_all[g * D + tid];
        out[2 + tid] = sum;
    }
    if (tid == 0) {
        float sum = 0;
        for (int g = 0; g < THREADS / D; g++)
            sum += group_sum[g];
        out[0] = m;
        out[1] = sum;
    }
}

template <int D> __global__ void k_combine(float *out, const float *part, int splits)
{
    part += (size_t)blockIdx.x * splits * (D + 2);
    float m = -INFINITY, l = 0, acc = 0;
    for (int s = 0; s < splits; s++)
        m = fmaxf(m, part[s * (D + 2)]);
    for (int s = 0; s < splits; s++) {
        const float e = __expf(part[s * (D + 2)] - m);
        l += e * part[s * (D + 2) + 1];
        acc += e * part[s * (D + 2) + 2 + threadIdx.x];
    }
    out[blockIdx.x * D + threadIdx.x] = acc / l;
}

template <int D> static void attention_of(int n, int heads, int kv_heads, int splits)
{
    auto q = random_floats((size_t)heads * D);
    auto k = random_halves((size_t)n * kv_heads * D), v = random_halves(k.size());
    Buffer<float> dq(q), part((size_t)heads * splits * (D + 2)), out(q.size());
    Buffer<__half> dk(k), dv(v);
    OK(launch(k_attention<D>,
              { .grid = dim3(heads, splits),
                .block = THREADS,
                .shared = (TILE + D + THREADS) * sizeof(float) },
              part.p, dq.p, dk.p, dv.p, heads, kv_heads, n, (n + splits - 1) / splits));
    OK(launch(k_combine<D>, { .grid = dim3(heads), .block = D }, out.p, part.p, splits));
    auto o = out.get();
    for (int h = 0; h < heads; h++) {
        const int kv = h / (heads / kv_heads);
        std::vector<double> s(n), acc(D);
        double m = -1e30, l = 0;
        for (int p = 0; p < n; p++) {
            for (int i = 0; i < D; i++)
                s[p] += (double)q[h * D + i] * __half2float(k[(p * kv_heads + kv) * D + i]);
            s[p] /= sqrt(D);
            m = std::max(m, s[p]);
        }
        for (int p = 0; p < n; p++) {
            l += exp(s[p] - m);
            for (int i = 0; i < D; i++)
                acc[i] += exp(s[p] - m) * __half2float(v[(p * kv_heads + kv) * D + i]);
        }
        for (int i = 0; i < D; i++) // tolerance: sums of 100 terms in float
            CHECK(near(o[h * D + i], acc[i] / l, 1e-4));
    }
}
static void attention(void)
{
    attention_of<32>(7, 4, 2, 1);
    attention_of<64>(100, 4, 2, 3);
    attention_of<128>(70, 2, 2, 2);
}

const struct sample attention_samples[] = { { "attention", attention }, {} };
