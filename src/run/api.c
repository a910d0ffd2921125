#include "run/api.h"

#include <string.h>

#include "base/mem.h"

weft_status handle_check(const void *handle, const uint32_t *magic, uint32_t expected,
                         const char *what, weft_error *err)
{
    if (handle == NULL) {
        return error_set(err, WEFT_E_ARG, "the %s is NULL", what);
    }
    if (*magic != expected) {
        return error_set(err, WEFT_E_HANDLE,
                         "this is no live %s handle; it was released or is of another type", what);
    }
    return WEFT_OK;
}

weft_status params_copy(void *dst, size_t dst_size, const void *src, const char *what,
                        weft_error *err)
{
    if (src == NULL) {
        return WEFT_OK;
    }
    size_t size;
    memcpy(&size, src, sizeof size);
    /* In every version of these structs the size is a whole number of words, so no field is cut in
     * half. */
    if (size < sizeof size || size > 4096 || size % sizeof size != 0) {
        return error_set(err, WEFT_E_ARG,
                         "%s.size is %zu, expected %zu; initialise the struct with its _INIT macro",
                         what, size, dst_size);
    }
    for (size_t i = dst_size; i < size; i++) {
        if (((const unsigned char *)src)[i] != 0) {
            return error_set(err, WEFT_E_ARG,
                             "%s has %zu bytes and sets a field that this library (%s, %zu bytes) "
                             "does not know; "
                             "update the library",
                             what, size, WEFT_VERSION, dst_size);
        }
    }
    memcpy(dst, src, size_min(size, dst_size));
    memcpy(dst, &dst_size, sizeof dst_size);
    return WEFT_OK;
}

weft_status info_check(const void *dst, const char *what, weft_error *err)
{
    size_t size;
    if (dst == NULL) {
        return error_set(err, WEFT_E_ARG, "the %s is NULL", what);
    }
    memcpy(&size, dst, sizeof size);
    if (size < sizeof size || size > 4096) {
        return error_set(err, WEFT_E_ARG, "%s.size is %zu; set it to sizeof(%s) before the call",
                         what, size, what);
    }
    return WEFT_OK;
}

weft_status info_copy(void *dst, const void *src, size_t src_size, const char *what,
                      weft_error *err)
{
    size_t size;
    TRY(info_check(dst, what, err));
    memcpy(&size, dst, sizeof size);
    memcpy((char *)dst + sizeof size, (const char *)src + sizeof size,
           size_min(size, src_size) - sizeof size);
    return WEFT_OK;
}

weft_status array_check(const void *data, size_t n, size_t size, const char *what, weft_error *err)
{
    if (data == NULL && n > 0) {
        return error_set(err, WEFT_E_ARG, "%s is NULL, but n is %zu", what, n);
    }
    if (n > PTRDIFF_MAX / size) {
        return error_set(err, WEFT_E_ARG, "%s: n is %zu, which is more than memory can hold", what,
                         n);
    }
    return WEFT_OK;
}

weft_status copy_check(size_t n, const void *dst, size_t cap, size_t *needed, weft_error *err)
{
    if (needed != NULL) {
        *needed = n;
    }
    if (n > cap) {
        return error_set(err, WEFT_E_BUFFER, "the buffer has room for %zu elements, %zu are needed",
                         cap, n);
    }
    if (n > 0 && dst == NULL) {
        return error_set(err, WEFT_E_ARG, "dst is NULL, but cap is %zu", cap);
    }
    return WEFT_OK;
}

weft_status copy_out(const void *src, size_t n, size_t size, void *dst, size_t cap, size_t *needed,
                     weft_error *err)
{
    TRY(copy_check(n, dst, cap, needed, err));
    if (n > 0) {
        memcpy(dst, src, n * size);
    }
    return WEFT_OK;
}
