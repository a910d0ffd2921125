/* Growing arrays and size arithmetic that cannot wrap. */
#ifndef WEFT_MEM_H
#define WEFT_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* *out = a * b or a + b; false when it would wrap. */
static inline bool mul_ok(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool add_ok(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline size_t size_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t size_max(size_t a, size_t b) { return a > b ? a : b; }

/* n / unit, and one more if something is left over. unit > 0. */
static inline size_t ceil_div(size_t n, size_t unit) { return n / unit + (n % unit != 0); }

/* The smallest multiple of the unit that is at least n; the caller knows that there is one. */
static inline size_t round_up(size_t n, size_t unit) { return ceil_div(n, unit) * unit; }

/* n elements of `size` bytes, zeroed; NULL when the product wraps or memory is out. n == 0 gives
 * one element. */
static inline void *mem_array(size_t n, size_t size) { return calloc(n ? n : 1, size); }

/* Bytes that such an array takes. */
static inline size_t mem_array_bytes(size_t n, size_t size) { return (n ? n : 1) * size; }

/* n > 0 bytes, 64-byte aligned and not cleared, of large pages where the system has them: for
 * memory that is read from end to end. NULL when memory is out; free() it. */
void *mem_large(size_t n);

/* Makes room for `need` elements in *p (capacity *cap), growing by half. On failure false, and *p
 * is unchanged. */
bool mem_reserve(void *p, size_t *cap, size_t need, size_t size);

/* A growing byte string. Zero-initialise; free(data). */
struct bytes {
    char *data;
    size_t n, cap;
};
bool bytes_add(struct bytes *b, const void *data, size_t n);
/* For bytes that are read as a C string, too: once something was added, one NUL stands behind the n
 * bytes. text_reserve() makes room for `extra` more, and for the NUL. False: no memory, nothing
 * changed. */
bool text_reserve(struct bytes *b, size_t extra);
bool text_add(struct bytes *b, const void *data, size_t n);
void bytes_free(struct bytes *b); /* empties it */

/* A growing token list. Zero-initialise; free(data). */
struct tokens {
    int32_t *data;
    size_t n, cap;
};
bool tokens_add(struct tokens *t, int32_t token);

#endif
