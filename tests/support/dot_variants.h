/* Shared by the tests of src/cpu/kernels/dot_*.c. Every test runs for scalar, AVX2 and AVX-512; a
 * variant that this processor lacks is reported as skipped. The source of AVX-512 is also tested on
 * processors without it: tests/simde compiles it a second time with the instructions of AVX2. */
#ifndef WEFT_TESTS_DOT_VARIANTS_H
#define WEFT_TESTS_DOT_VARIANTS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/kernels/ops.h"

static uint64_t rng_state;

static inline uint32_t rng(void)
{
    uint64_t z = rng_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

/* Uniform in (-1, 1). */
static inline float rng_float(void) { return ((float)(rng() >> 8) + 0.5f) * 0x1p-23f - 1.0f; }

static inline void rng_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = rng_float();
    }
}

static inline void *room(size_t n)
{
    void *p = malloc(n ? n : 1);
    assert_non_null(p);
    return p;
}

static inline const struct cpu_ops *variant(void **state)
{
    const struct cpu_ops *(*const *get)(void) = *state;
    const struct cpu_ops *ops = (*get)();
    if (ops == NULL) {
        print_message("this processor or build lacks the instructions\n");
        skip();
    }
    return ops;
}

/* The cpu_ops_avx512() of the object that tests/simde compiles. */
const struct cpu_ops *cpu_ops_avx512_simde(void);

static inline const struct cpu_ops *avx512_simde(void)
{
    return cpu_ops_avx2() != NULL ? cpu_ops_avx512_simde() : NULL;
}

static const struct cpu_ops *(*variants[])(void) = { cpu_ops_scalar, cpu_ops_avx2, cpu_ops_avx512,
                                                     avx512_simde };

#define ON(test, i, name)                                                                          \
    {                                                                                              \
#test " " name, test, NULL, NULL, &variants[i]                                             \
    }
#define EACH(test)                                                                                 \
    ON(test, 0, "scalar"), ON(test, 1, "avx2"), ON(test, 2, "avx512-vnni"),                        \
        ON(test, 3, "avx512-vnni (SIMDe)")

#endif
