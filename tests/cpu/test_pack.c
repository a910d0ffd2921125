/* Packed tiles (src/cpu/pack.h) byte by byte, as the drawing there shows them: the numbers here are
 * those of the drawing, not of the code. The properties of tensor types in pack.h are compared with
 * quant.h. Mistakes tried by hand, each of them found: a group in the wrong vector, k and l
 * exchanged, planes exchanged, a unit of 128. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/pack.h"

enum { N_ROWS = 16 };

/* A tile of 16 rows, and the units that it was made of. */
struct tile {
    uint8_t *rows, *bytes;
    struct pack_unit *units; /* [N_ROWS, n_units] */
    size_t n_units;
};

/* Makes a tile of random blocks: packing only moves bits. */
static struct tile tile_of(uint32_t id, size_t n_units)
{
    const struct quant_type *t = quant_find(id);
    const size_t n = N_ROWS * n_units;
    struct tile tile = { .n_units = n_units };
    tile.rows = malloc(n * t->bytes);
    tile.units = calloc(n, sizeof *tile.units);
    assert_true(tile.rows != NULL && tile.units != NULL);
    for (size_t i = 0; i < n * t->bytes; i++) {
        tile.rows[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    for (size_t i = 0; i < n; i++) {
        pack_read(t, tile.rows + i * t->bytes, &tile.units[i]);
    }
    const struct packed w = pack_describe(t, tile.rows, N_ROWS, n_units * t->block);
    tile.bytes = aligned_alloc(VECTOR, w.layout.n);
    assert_non_null(tile.bytes);
    pack_tile(&w, 0, tile.bytes);
    return tile;
}

static void tile_free(struct tile *t)
{
    free(t->rows);
    free(t->units);
    free(t->bytes);
}

static const struct pack_unit *unit_at(const struct tile *t, size_t row, size_t unit)
{
    return &t->units[row * t->n_units + unit];
}

/* A unit of Q4_K has 320 bytes: d, e, 8 times k, 8 times l, each for 16 rows. */
static void test_scales(void **state)
{
    (void)state;
    struct tile t = tile_of(QUANT_Q4_K, 3);
    for (size_t unit = 0; unit < 3; unit++) {
        const uint8_t *at = t.bytes + 320 * unit;
        for (size_t row = 0; row < N_ROWS; row++) {
            const struct pack_unit *u = unit_at(&t, row, unit);
            assert_memory_equal(at + 2 * row, &u->d, 2);
            assert_memory_equal(at + 32 + 2 * row, &u->e, 2);
            for (size_t sub = 0; sub < 8; sub++) {
                assert_int_equal(at[64 + 16 * sub + row], u->k[sub]);
                assert_int_equal(at[192 + 16 * sub + row], u->l[sub]);
            }
        }
    }
    tile_free(&t);
}

/* A block of Q8_0 has 8 vectors of 64 bytes. Before the blocks are units of 32 bytes: 3 of them,
 * padded to 128. */
static void test_bytes(void **state)
{
    (void)state;
    struct tile t = tile_of(QUANT_Q8_0, 3);
    for (size_t block = 0; block < 3; block++) {
        for (size_t row = 0; row < N_ROWS; row++) {
            const struct pack_unit *u = unit_at(&t, row, block);
            for (size_t col = 0; col < 32; col++) {
                const uint8_t *vector = t.bytes + 128 + 512 * block + 64 * (col / 4);
                assert_int_equal(vector[4 * row + col % 4], u->codes[col]);
            }
        }
    }
    tile_free(&t);
}

/* A block of Q5_K has 5 vectors: each of four holds two groups of low bits, the last one holds all
 * high bits. */
static void test_planes(void **state)
{
    (void)state;
    struct tile t = tile_of(QUANT_Q5_K, 2);
    for (size_t block = 0; block < 16; block++) {
        const uint8_t *vectors = t.bytes + 640 + 320 * block;
        for (size_t row = 0; row < N_ROWS; row++) {
            const uint8_t *codes = unit_at(&t, row, block / 8)->codes + 32 * (block % 8);
            for (size_t col = 0; col < 32; col++) {
                const size_t group = col / 4, byte = 4 * row + col % 4;
                const int two = vectors[64 * (group % 4) + byte];
                const int low = group < 4 ? two & 15 : two >> 4;
                const int high = vectors[64 * 4 + byte] >> group & 1;
                assert_int_equal(low | high << 4, codes[col]);
            }
        }
    }
    tile_free(&t);
}

/* The number of columns of a unit stands in PACK_TYPES and in the table of tensor types, because
 * kernels need it as a constant. Both agree, and no type is missing. */
static void test_types(void **state)
{
    (void)state;
    const struct quant_type *t;
    for (size_t i = 0; (t = quant_at(i)) != NULL; i++) {
        const struct packed w = pack_describe(t, NULL, N_ROWS, 512);
        assert_int_equal(w.how->id, t->id);
        assert_int_equal(w.how->unit, t->block);
        assert_int_equal(w.how->form == SCALE_NONE, t->block == 1);
    }
}

/* Floats: the 16 rows of a column stand side by side. */
static void test_floats(void **state)
{
    (void)state;
    const struct quant_type *t = quant_find(QUANT_F16);
    uint16_t rows[N_ROWS - 3][5], tile[5][N_ROWS];
    const struct packed w = pack_describe(t, (const uint8_t *)rows, N_ROWS - 3, 5);
    /* 160, rounded up to a multiple of 64. */
    assert_int_equal(w.layout.n, 192);
    for (uint16_t i = 0; i < (N_ROWS - 3) * 5; i++) {
        rows[i / 5][i % 5] = (uint16_t)(100 + i);
    }
    pack_tile(&w, 0, (uint8_t *)tile);
    for (size_t row = 0; row < N_ROWS; row++) {
        for (size_t col = 0; col < 5; col++) {
            assert_int_equal(tile[col][row], row < N_ROWS - 3 ? rows[row][col] : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales), cmocka_unit_test(test_bytes),  cmocka_unit_test(test_planes),
        cmocka_unit_test(test_types),  cmocka_unit_test(test_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
