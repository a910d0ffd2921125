/* weft_file_*: shows a GGUF file from outside, key by key and tensor by tensor. It is a thin shell
 * around gguf.h that checks handles and indices. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/gguf_parse.h"
#include "format/keys.h"

#define FILE_MAGIC 0x656c6966u

struct weft_file {
    uint32_t magic; /* FILE_MAGIC while the handle is live */
    struct gguf *g;
};

static const struct gguf *live(const weft_file *file)
{
    return file != NULL && file->magic == FILE_MAGIC ? file->g : NULL;
}

/* Says what is wrong with a handle that is not live. */
static weft_status bad_handle(const weft_file *file, weft_error *err)
{
    return file == NULL ? error_set(err, WEFT_E_ARG, "the file is NULL")
                        : error_set(err, WEFT_E_HANDLE,
                                    "this is no live file handle; it is of another type");
}

static weft_status open_file(const char *path, bool use_mmap, weft_file **out, weft_error *err)
{
    if (path == NULL || out == NULL) {
        return error_set(err, WEFT_E_ARG, "weft_file_%s: %s is NULL", use_mmap ? "open" : "load",
                         path == NULL ? "path" : "out");
    }
    weft_file *file = mem_array(1, sizeof *file);
    if (file == NULL) {
        return error_nomem(err, "a file", sizeof *file);
    }
    weft_status status = gguf_open(path, use_mmap, &file->g, err);
    if (status != WEFT_OK) {
        free(file);
        return status;
    }
    file->magic = FILE_MAGIC;
    *out = file;
    return WEFT_OK;
}

weft_status weft_file_open(const char *path, weft_file **out, weft_error *err)
{
    return open_file(path, true, out, err);
}

weft_status weft_file_load(const char *path, weft_file **out, weft_error *err)
{
    return open_file(path, false, out, err);
}

void weft_file_release(weft_file **file)
{
    if (file == NULL || live(*file) == NULL) {
        return;
    }
    (*file)->magic = 0;
    gguf_close((*file)->g);
    free(*file);
    *file = NULL;
}

uint32_t weft_file_version(const weft_file *file)
{
    const struct gguf *g = live(file);
    return g != NULL ? g->version : 0;
}

uint64_t weft_file_bytes(const weft_file *file)
{
    const struct gguf *g = live(file);
    return g != NULL ? g->n_bytes : 0;
}

size_t weft_file_n_parts(const weft_file *file)
{
    const struct gguf *g = live(file);
    return g != NULL ? g->n_parts : 0;
}

const char *weft_file_part(const weft_file *file, size_t i)
{
    const struct gguf *g = live(file);
    return g != NULL && i < g->n_parts ? g->parts[i].path : NULL;
}

size_t weft_file_n_keys(const weft_file *file)
{
    const struct gguf *g = live(file);
    return g != NULL ? g->n_kv : 0;
}

size_t weft_file_n_tensors(const weft_file *file)
{
    const struct gguf *g = live(file);
    return g != NULL ? g->n_tensors : 0;
}

static weft_status check_index(const char *what, size_t i, size_t n, weft_error *err)
{
    return i < n ? WEFT_OK : error_set(err, WEFT_E_ARG, "%s %zu of %zu does not exist", what, i, n);
}

weft_status weft_file_key(const weft_file *file, size_t i, weft_key_info *out, weft_error *err)
{
    const struct gguf *g = live(file);
    if (g == NULL) {
        return bad_handle(file, err);
    }
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "weft_file_key: out is NULL");
    }
    TRY(check_index("key", i, g->n_kv, err));
    const struct gguf_kv *kv = &g->kv[i];
    *out = (weft_key_info){ .name = kv->key,
                            .type = gguf_type_name(kv->type),
                            .element = gguf_type_name(kv->element),
                            .n = kv->n };
    return WEFT_OK;
}

weft_status weft_file_key_use(const weft_file *file, size_t i, weft_key_use *out, weft_error *err)
{
    const struct gguf *g = live(file);
    if (g == NULL) {
        return bad_handle(file, err);
    }
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "weft_file_key_use: out is NULL");
    }
    TRY(check_index("key", i, g->n_kv, err));
    *out = keys_use(g, g->kv[i].key);
    return WEFT_OK;
}

weft_status weft_file_tensor(const weft_file *file, size_t i, weft_tensor_info *out,
                             weft_error *err)
{
    const struct gguf *g = live(file);
    if (g == NULL) {
        return bad_handle(file, err);
    }
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "weft_file_tensor: out is NULL");
    }
    TRY(check_index("tensor", i, g->n_tensors, err));
    const struct gguf_tensor *t = &g->tensors[i];
    *out = (weft_tensor_info){ .name = t->name,
                               .type = t->type->name,
                               .n_dims = t->n_dims,
                               .n_bytes = t->n_bytes,
                               .offset = t->offset,
                               .part = t->part };
    memcpy(out->shape, t->ne, sizeof out->shape);
    return WEFT_OK;
}

/* Writes v with the fewest digits, at least 7, that read back as the same number. */
static void format_float(double v, int max_digits, char *text, size_t cap)
{
    for (int digits = 7; digits <= max_digits; digits++) {
        snprintf(text, cap, "%.*g", digits, v);
        double back = strtod(text, NULL);
        if (back == v || (max_digits == 9 && (float)back == (float)v)) {
            return;
        }
    }
}

/* Writes a number as text. Every case reads exactly the bytes of its type. */
static void format_number(enum gguf_type type, const uint8_t *p, char *text, size_t cap)
{
    union {
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v = { .u64 = 0 };
    memcpy(&v, p, gguf_type_bytes(type));
    switch (type) {
    case GGUF_U8: snprintf(text, cap, "%u", (unsigned)p[0]); break;
    case GGUF_I8: snprintf(text, cap, "%d", (int)(int8_t)p[0]); break;
    case GGUF_U16: snprintf(text, cap, "%u", (unsigned)v.u16); break;
    case GGUF_I16: snprintf(text, cap, "%d", (int)v.i16); break;
    case GGUF_U32: snprintf(text, cap, "%" PRIu32, v.u32); break;
    case GGUF_I32: snprintf(text, cap, "%" PRId32, v.i32); break;
    case GGUF_U64: snprintf(text, cap, "%" PRIu64, v.u64); break;
    case GGUF_I64: snprintf(text, cap, "%" PRId64, v.i64); break;
    case GGUF_F32: format_float((double)v.f32, 9, text, cap); break;
    case GGUF_F64: format_float(v.f64, 17, text, cap); break;
    default: snprintf(text, cap, "%s", p[0] != 0 ? "true" : "false"); break;
    }
}

weft_status weft_file_value(const weft_file *file, size_t i, size_t j, char *dst, size_t cap,
                            size_t *needed, weft_error *err)
{
    const struct gguf *g = live(file);
    if (g == NULL) {
        return bad_handle(file, err);
    }
    if (dst == NULL && cap > 0) {
        return error_set(err, WEFT_E_ARG, "weft_file_value: dst is NULL, but cap is %zu", cap);
    }
    TRY(check_index("key", i, g->n_kv, err));
    const struct gguf_kv *kv = &g->kv[i];
    TRY(check_index("element", j, kv->n, err));
    char number[64];
    const char *text = number;
    size_t n;
    /* The values are in the file, which may have been cut since it was opened. */
    TRY(gguf_check(g, err));
    if (kv->strs != NULL) {
        text = kv->strs[j].s;
        n = kv->strs[j].n;
    } else {
        format_number(kv->element, kv->data + j * gguf_type_bytes(kv->element), number,
                      sizeof number);
        n = strlen(number);
    }
    if (needed != NULL) {
        *needed = n;
    }
    if (n > cap) {
        return error_set(err, WEFT_E_BUFFER, "key '%.72s' needs %zu bytes, but dst has %zu",
                         kv->key, n, cap);
    }
    if (n > 0) {
        memcpy(dst, text, n);
    }
    return WEFT_OK;
}
