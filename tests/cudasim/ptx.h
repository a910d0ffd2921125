// The functions of kernels/ptx.cuh for the simulator. The fragment layouts are those of the PTX
// manual. mma and ldmatrix are warp collectives: the last lane to arrive computes for all.
#pragma once
#include "cudasim.h"
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace cudasim
{

// ---- mma.m16n8kK, row.col: K = 16 for 16-bit elements, 32 for 8-bit ones

template <class D> struct MmaSlot { // one lane's registers
    D *d;
    const uint32_t *a, *b;
    const D *c;
};

// The PER elements of a register, as numbers.
struct LoadHalf {
    enum { PER = 2, K = 16 };
    CUDASIM_UNSEEN static float get(uint32_t r, int i)
    {
        return __half2float(__ushort_as_half((unsigned short)(r >> 16 * i)));
    }
};
struct LoadBf16 {
    enum { PER = 2, K = 16 };
    CUDASIM_UNSEEN static float get(uint32_t r, int i) { return bits<float>(r >> 16 * i << 16); }
};
struct LoadS8 {
    enum { PER = 4, K = 32 };
    CUDASIM_UNSEEN static float get(uint32_t r, int i) { return (float)(int8_t)(r >> 8 * i); }
};

template <class D, class Load> CUDASIM_UNSEEN void mma_complete(void *const *slots, unsigned mask)
{
    enum { PER = Load::PER, K = Load::K };
    if (mask != ~0u)
        die("mma with mask %08x", mask);
    float a[16][K], b[K][8];
    D out[32][4];
    for (int l = 0; l < 32; l++) {
        const auto *s = (const MmaSlot<D> *)slots[l];
        const int group = l >> 2, t = l & 3;
        for (int e = 0; e < PER; e++) {
            for (int r = 0; r < 4; r++)
                a[group + (r & 1) * 8][t * PER + e + (r >> 1) * (K / 2)] = Load::get(s->a[r], e);
            for (int r = 0; r < 2; r++)
                b[t * PER + e + r * (K / 2)][group] = Load::get(s->b[r], e);
        }
    }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            const int row = (l >> 2) + (i >> 1) * 8, col = (l & 3) * 2 + (i & 1);
            out[l][i] = ((const MmaSlot<D> *)slots[l])->c[i];
            for (int k = 0; k < K; k++)
                out[l][i] += (D)(a[row][k] * b[k][col]);
        }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++)
            ((const MmaSlot<D> *)slots[l])->d[i] = out[l][i];
}

template <class D, class Load>
static inline void mma(D *d, const uint32_t *a, const uint32_t *b, const D *c, const char *op,
                       Site site)
{
    MmaSlot<D> s = { d, a, b, c };
    warp_collective(~0u, &s, mma_complete<D, Load>, op, site);
}

// ---- ldmatrix: N matrices of 8x8 16-bit elements; lane i gives row i % 8 of matrix i / 8

struct LdmatrixSlot {
    uint32_t *r;
    const void *row;
};

template <int N, bool TRANS>
CUDASIM_UNSEEN void ldmatrix_complete(void *const *slots, unsigned mask)
{
    if (mask != ~0u)
        die("ldmatrix with mask %08x", mask);
    for (int l = 0; l < 32; l++)
        for (int m = 0; m < N; m++) {
            uint32_t e[2];
            for (int i = 0; i < 2; i++) {
                const int row = TRANS ? (l & 3) * 2 + i : l >> 2;
                const int col = TRANS ? l >> 2 : (l & 3) * 2 + i;
                const auto *s = (const LdmatrixSlot *)slots[m * 8 + row];
                e[i] = ((const uint16_t *)s->row)[col];
            }
            ((LdmatrixSlot *)slots[l])->r[m] = e[0] | e[1] << 16;
        }
}

template <int N, bool TRANS>
static inline void ldmatrix(uint32_t *r, const void *row, const char *op, Site site)
{
    if ((int)self->lane < N * 8) {
        if ((uintptr_t)row % 16)
            die("%s: row address %p is not a multiple of 16", op, row);
        shared_offset(row);
        uint64_t touch[2]; // a read by this lane, for the sanitizers
        memcpy(touch, row, 16);
        asm volatile("" ::"r"(touch) : "memory");
    }
    LdmatrixSlot s = { r, row };
    warp_collective(~0u, &s, ldmatrix_complete<N, TRANS>, op, site);
}

} // namespace cudasim

static inline void mma_m16n8k16_f16(float d[4], const uint32_t a[4], const uint32_t b[2],
                                    const float c[4], CUDASIM_SITE)
{
    cudasim::mma<float, cudasim::LoadHalf>(d, a, b, c, "mma_m16n8k16_f16", site);
}
static inline void mma_m16n8k16_bf16(float d[4], const uint32_t a[4], const uint32_t b[2],
                                     const float c[4], CUDASIM_SITE)
{
    cudasim::mma<float, cudasim::LoadBf16>(d, a, b, c, "mma_m16n8k16_bf16", site);
}
static inline void mma_m16n8k32_s8(int d[4], const uint32_t a[4], const uint32_t b[2],
                                   const int c[4], CUDASIM_SITE)
{
    cudasim::mma<int, cudasim::LoadS8>(d, a, b, c, "mma_m16n8k32_s8", site);
}
static inline void ldmatrix_x2(uint32_t r[2], const void *row, CUDASIM_SITE)
{
    cudasim::ldmatrix<2, false>(r, row, "ldmatrix_x2", site);
}
static inline void ldmatrix_x2_trans(uint32_t r[2], const void *row, CUDASIM_SITE)
{
    cudasim::ldmatrix<2, true>(r, row, "ldmatrix_x2_trans", site);
}
static inline void ldmatrix_x4(uint32_t r[4], const void *row, CUDASIM_SITE)
{
    cudasim::ldmatrix<4, false>(r, row, "ldmatrix_x4", site);
}
static inline void ldmatrix_x4_trans(uint32_t r[4], const void *row, CUDASIM_SITE)
{
    cudasim::ldmatrix<4, true>(r, row, "ldmatrix_x4_trans", site);
}
// Touches a byte, so that an address outside the allocation is noticed.
static inline void prefetch_l2(const void *p) { (void)*(const volatile char *)p; }
static inline uint4 load_weights16(const void *p) { return *(const uint4 *)p; }
static inline void cp_async16(void *shared, const void *global, int bytes = 16)
{
    cudasim::cp_async(shared, global, 16, bytes);
}
static inline void cp_async_commit() { cudasim::cp_async_commit(); }
template <int N> static inline void cp_async_wait() { cudasim::cp_async_wait(N); }
static inline unsigned load_acquire(const unsigned *p, CUDASIM_SITE)
{
    cudasim::yield(site);
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void store_release(unsigned *p, unsigned v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}
static inline unsigned add_release(unsigned *p, unsigned v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_RELEASE);
}
static inline void bar_sync(int id, int n, CUDASIM_SITE) { cudasim::named_barrier(id, n, site); }
static inline void spin_pause(CUDASIM_SITE) { cudasim::yield(site); }
// A dependent launch may always start late, so these do nothing.
static inline void grid_dependency_wait() {}
static inline void grid_dependency_release() {}
