/* What every public function does on entry and on its way out: handles, parameter structs,
 * information structs, arrays. It knows none of the structs behind the handles. */
#ifndef WEFT_API_H
#define WEFT_API_H

#include "base/error.h"

/* First word of a live handle; cleared on release, so that most stale or mixed-up handles are
 * refused. */
enum { MODEL_MAGIC = 0x6c65646d, ENGINE_MAGIC = 0x6e69676e, SEQ_MAGIC = 0x71657377 };

/* WEFT_E_ARG for NULL, WEFT_E_HANDLE for anything that is not such a handle. */
weft_status handle_check(const void *handle, const uint32_t *magic, uint32_t expected,
                         const char *what, weft_error *err);

/* Copies a caller's parameter struct of src->size bytes over the defaults already in dst. Refuses a
 * size that cannot be, and fields unknown to this library that are not zero. */
weft_status params_copy(void *dst, size_t dst_size, const void *src, const char *what,
                        weft_error *err);
/* WEFT_E_ARG unless dst points to an info struct with a size that can be. */
weft_status info_check(const void *dst, const char *what, weft_error *err);
/* Copies as much of an info struct as the caller's version has room for. */
weft_status info_copy(void *dst, const void *src, size_t src_size, const char *what,
                      weft_error *err);
/* WEFT_E_ARG if n elements of `size` bytes cannot be at `data`. */
weft_status array_check(const void *data, size_t n, size_t size, const char *what, weft_error *err);
/* The (dst, cap, needed) convention of weft.h, for n elements: *needed is set, and WEFT_OK means
 * that dst holds them. */
weft_status copy_check(size_t n, const void *dst, size_t cap, size_t *needed, weft_error *err);
/* The same, and copies them, `size` bytes each. */
weft_status copy_out(const void *src, size_t n, size_t size, void *dst, size_t cap, size_t *needed,
                     weft_error *err);

#endif
