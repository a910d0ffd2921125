/* Growing arrays and size arithmetic that cannot wrap. */
#ifndef WEFT_MEM_H
#define WEFT_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Computes *out = a * b or a + b. Returns false if it would wrap. */
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

/* Returns n / unit, rounded up. unit > 0. */
static inline size_t ceil_div(size_t n, size_t unit) { return n / unit + (n % unit != 0); }

/* Returns the smallest multiple of the unit that is at least n. The caller knows that it does not
 * wrap. */
static inline size_t round_up(size_t n, size_t unit) { return ceil_div(n, unit) * unit; }

/* Returns n elements of `size` bytes, zeroed; NULL if the product wraps or memory is out. n == 0
 * gives one element. */
static inline void *mem_array(size_t n, size_t size) { return calloc(n ? n : 1, size); }

/* Returns the bytes that mem_array() takes for n elements of `size` bytes. */
static inline size_t mem_array_bytes(size_t n, size_t size) { return (n ? n : 1) * size; }

/* Returns n > 0 bytes, aligned to 64 bytes and not cleared, in large pages if the system has them:
 * for memory that is read from end to end. Returns NULL if memory is out. free() them. */
void *mem_large(size_t n);

/* Makes room for `need` elements in *p (capacity *cap), growing by half. On failure it returns
 * false, and *p is unchanged. */
bool mem_reserve(void *p, size_t *cap, size_t need, size_t size);

/* A growing byte string. Set it to zeros at first; free(data) at the end. */
struct bytes {
    char *data;
    size_t n, cap;
};
bool bytes_add(struct bytes *b, const void *data, size_t n);
/* For bytes that are also read as a C string: once something was added, a NUL stands behind the n
 * bytes. text_reserve() makes room for `extra` more bytes and the NUL. If memory is out, these
 * return false and change nothing. */
bool text_reserve(struct bytes *b, size_t extra);
bool text_add(struct bytes *b, const void *data, size_t n);
void bytes_free(struct bytes *b); /* empties it */

/* A growing list of tokens. Set it to zeros at first; free(data) at the end. */
struct tokens {
    int32_t *data;
    size_t n, cap;
};
bool tokens_add(struct tokens *t, int32_t token);

#endif
