/* The common part of all public functions: checks of handles, parameter structs, information
 * structs and arrays. This code knows none of the structs behind the handles. */
#ifndef WEFT_API_H
#define WEFT_API_H

#include "base/error.h"

/* The first word of a live handle. The release clears it, so most stale or mixed-up handles are
 * refused. */
enum { MODEL_MAGIC = 0x6c65646d, ENGINE_MAGIC = 0x6e69676e, SEQ_MAGIC = 0x71657377 };

/* Returns WEFT_E_ARG for NULL, and WEFT_E_HANDLE for anything that is not a live handle of this
 * type. */
weft_status handle_check(const void *handle, const uint32_t *magic, uint32_t expected,
                         const char *what, weft_error *err);

/* Copies a caller's parameter struct of src->size bytes over the defaults in dst. Refuses an
 * impossible size, and fields that this library does not know and that are not zero. */
weft_status params_copy(void *dst, size_t dst_size, const void *src, const char *what,
                        weft_error *err);
/* Returns WEFT_E_ARG unless dst points to an information struct with a possible size. */
weft_status info_check(const void *dst, const char *what, weft_error *err);
/* Copies as much of an information struct as fits into the caller's version of it. */
weft_status info_copy(void *dst, const void *src, size_t src_size, const char *what,
                      weft_error *err);
/* Returns WEFT_E_ARG if `data` cannot be an array of n elements of `size` bytes. */
weft_status array_check(const void *data, size_t n, size_t size, const char *what, weft_error *err);
/* Applies the (dst, cap, needed) convention of weft.h to n elements: sets *needed, and returns
 * WEFT_OK if dst has room for the elements. */
weft_status copy_check(size_t n, const void *dst, size_t cap, size_t *needed, weft_error *err);
/* Does what copy_check() does, and then copies the n elements of `size` bytes each. */
weft_status copy_out(const void *src, size_t n, size_t size, void *dst, size_t cap, size_t *needed,
                     weft_error *err);

#endif
