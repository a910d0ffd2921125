// Samples: tensor-core instructions. A half GEMM with ldmatrix and double-buffered cp.async, and
// one fragment of each mma and ldmatrix variant, loaded as the PTX manual lays them out.
#include "check.cuh"
#include "kernels/ptx.cuh"

enum { BM = 64, BN = 32, BK = 32, PAD = 8, STRIDE = BK + PAD };

static __device__ __forceinline__ void load_tile(__half *dst, const __half *src, int row0, int rows,
                                                 int tile_rows, int k0, int k)
{
    for (int i = threadIdx.x; i < tile_rows * (BK / 8); i += blockDim.x) {
        const int r = i / (BK / 8), c = i % (BK / 8) * 8;
        const bool in = row0 + r < rows;
        cp_async16(dst + r * STRIDE + c, src + (size_t)(in ? row0 + r : 0) * k + k0 + c,
                   in ? 16 : 0);
    }
}

// c [m, n] = a [m, k] * b [n, k]^T; a block does 64 x 32, in steps of 32 along k
__global__ void __launch_bounds__(128)
    k_gemm(float *c, const __half *a, const __half *b, int m, int n, int k)
{
    SHARED(__half[2][BM * STRIDE], as);
    SHARED(__half[2][BN * STRIDE], bs);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int row0 = blockIdx.y * BM, col0 = blockIdx.x * BN;
    float acc[BN / 8][4] = {};
    load_tile(as[0], a, row0, m, BM, 0, k);
    load_tile(bs[0], b, col0, n, BN, 0, k);
    cp_async_commit();
    for (int k0 = 0; k0 < k; k0 += BK) {
        const int cur = k0 / BK % 2;
        if (k0 + BK < k) {
            load_tile(as[cur ^ 1], a, row0, m, BM, k0 + BK, k);
            load_tile(bs[cur ^ 1], b, col0, n, BN, k0 + BK, k);
        }
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < BK; kk += 16) {
            uint32_t fa[4], fb[4];
            ldmatrix_x4(fa, &as[cur][(warp * 16 + lane % 16) * STRIDE + kk + lane / 16 * 8]);
#pragma unroll
            for (int j = 0; j < BN / 8; j += 2) { // two 8-column tiles at once
                const int row = j * 8 + lane / 16 * 8 + lane % 8;
                ldmatrix_x4(fb, &bs[cur][row * STRIDE + kk + lane / 8 % 2 * 8]);
                mma_m16n8k16_f16(acc[j], fa, fb, acc[j]);
                mma_m16n8k16_f16(acc[j + 1], fa, fb + 2, acc[j + 1]);
            }
        }
        __syncthreads();
    }
    cp_async_wait<0>();
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = row0 + warp * 16 + lane / 4 + i / 2 * 8;
            const int col = col0 + j * 8 + lane % 4 * 2 + i % 2;
            if (row < m && col < n)
                c[(size_t)row * n + col] = acc[j][i];
        }
}

static void gemm_of(int m, int n, int k)
{
    auto a = random_halves((size_t)m * k), b = random_halves((size_t)n * k);
    Buffer<__half> da(a), db(b);
    Buffer<float> c((size_t)m * n);
    OK(launch(k_gemm, { .grid = dim3((n + 31) / 32, (m + 63) / 64), .block = 128 }, c.p, da.p, db.p,
              m, n, k));
    auto out = c.get();
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double s = 0;
            for (int e = 0; e < k; e++)
                s += (double)__half2float(a[i * k + e]) * __half2float(b[j * k + e]);
            CHECK(near(out[i * n + j], s, 1e-4));
        }
}
static void gemm(void)
{
    gemm_of(70, 50, 96);
    gemm_of(64, 32, 64);
}

// One 16x8 product per instruction. h: a [16, 16], b [16, 8] halves; g: the same in bf16;
// s: a [16, 32], b [8, 32] bytes. x4 and x2 receive what the other ldmatrix variants loaded.
__global__ void k_fragments(float *dh, float *dg, int *ds, uint32_t *x4, uint32_t *x2,
                            const __half *ah, const __half *bh, const __nv_bfloat16 *ag,
                            const __nv_bfloat16 *bg, const int8_t *as8, const int8_t *bs8)
{
    SHARED(__half[32][8], tile);
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    uint32_t fa[4], fb[2], r4[4];
    float zero[4] = {}, d[4];
    int zero_s[4] = {}, s[4];

    for (int i = lane; i < 256; i += 32)
        tile[i / 8][i % 8] = i < 128 ? bh[i] : ah[i - 128];
    __syncwarp();
    for (int r = 0; r < 4; r++)
        fa[r] = *(const uint32_t *)(ah + (g + r % 2 * 8) * 16 + t * 2 + r / 2 * 8);
    ldmatrix_x2_trans(fb, tile[lane % 16]); // b is [k][n] in memory
    mma_m16n8k16_f16(d, fa, fb, zero);
    for (int i = 0; i < 4; i++)
        dh[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
    ldmatrix_x4_trans(r4, tile[lane]);
    for (int r = 0; r < 4; r++)
        x4[r * 32 + lane] = r4[r];
    ldmatrix_x2(fb, tile[lane % 16]);
    for (int r = 0; r < 2; r++)
        x2[r * 32 + lane] = fb[r];

    for (int r = 0; r < 4; r++)
        fa[r] = *(const uint32_t *)(ag + (g + r % 2 * 8) * 16 + t * 2 + r / 2 * 8);
    for (int r = 0; r < 2; r++) // bg is [n][k]
        fb[r] = *(const uint32_t *)(bg + g * 16 + t * 2 + r * 8);
    mma_m16n8k16_bf16(d, fa, fb, zero);
    for (int i = 0; i < 4; i++)
        dg[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];

    for (int r = 0; r < 4; r++)
        fa[r] = *(const uint32_t *)(as8 + (g + r % 2 * 8) * 32 + t * 4 + r / 2 * 16);
    for (int r = 0; r < 2; r++) // bs8 is [n][k]
        fb[r] = *(const uint32_t *)(bs8 + g * 32 + t * 4 + r * 16);
    mma_m16n8k32_s8(s, fa, fb, zero_s);
    for (int i = 0; i < 4; i++)
        ds[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = s[i];
}

static uint16_t raw(__half h) { return __half_as_ushort(h); }

static void fragments(void)
{
    auto a = random_halves(256), b = random_halves(128);
    auto a8 = random_bytes(512), b8 = random_bytes(256);
    std::vector<__nv_bfloat16> ag(256), bg(128);
    for (auto &x : ag)
        x = __float2bfloat16(random_float());
    for (auto &x : bg)
        x = __float2bfloat16(random_float());
    Buffer<float> dh(128), dg(128);
    Buffer<int> ds(128);
    Buffer<uint32_t> x4(128), x2(64);
    Buffer<__half> da(a), db(b);
    Buffer<__nv_bfloat16> dag(ag), dbg(bg);
    Buffer<int8_t> da8(a8), db8(b8);
    OK(launch(k_fragments, { .block = 32 }, dh.p, dg.p, ds.p, x4.p, x2.p, da.p, db.p, dag.p, dbg.p,
              da8.p, db8.p));
    auto h = dh.get(), g = dg.get();
    auto s = ds.get();
    auto r4 = x4.get(), r2 = x2.get();
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            double sum_h = 0, sum_g = 0;
            int sum_s = 0;
            for (int k = 0; k < 16; k++) {
                sum_h += (double)__half2float(a[i * 16 + k]) * __half2float(b[k * 8 + j]);
                sum_g +=
                    (double)__bfloat162float(ag[i * 16 + k]) * __bfloat162float(bg[j * 16 + k]);
            }
            for (int k = 0; k < 32; k++)
                sum_s += a8[i * 32 + k] * b8[j * 32 + k];
            CHECK(near(h[i * 8 + j], sum_h, 1e-5));
            CHECK(near(g[i * 8 + j], sum_g, 1e-5));
            CHECK(s[i * 8 + j] == sum_s);
        }
    std::vector<__half> tile(b);
    tile.insert(tile.end(), a.begin(), a.begin() + 128);
    for (int m = 0; m < 4; m++)
        for (int l = 0; l < 32; l++) // transposed: lane l has column l / 4, rows l % 4 * 2 and + 1
            for (int e = 0; e < 2; e++) {
                const __half want_t = tile[(size_t)(m * 8 + l % 4 * 2 + e) * 8 + l / 4];
                CHECK((r4[m * 32 + l] >> 16 * e & 0xffff) == raw(want_t));
                if (m < 2)
                    CHECK((r2[m * 32 + l] >> 16 * e & 0xffff) ==
                          raw(tile[(size_t)(m * 8 + l / 4) * 8 + l % 4 * 2 + e]));
            }
}

const struct sample tensor_core_samples[] = { { "gemm", gemm }, { "fragments", fragments }, {} };
