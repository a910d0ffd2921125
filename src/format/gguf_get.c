/* Typed look-up of GGUF keys. Writers disagree about the width of integers, so any width is
 * accepted if the value fits; a type of another kind is refused by name. The messages do not name
 * the file: the caller asks many questions of one file and puts its path in front once. */
#include "format/gguf.h"

#include <inttypes.h>
#include <string.h>

#include "format/gguf_parse.h"

const char *gguf_type_name(enum gguf_type t)
{
    static const char *const names[GGUF_N_TYPES] = {
        [GGUF_U8] = "u8",   [GGUF_I8] = "i8",   [GGUF_U16] = "u16", [GGUF_I16] = "i16",
        [GGUF_U32] = "u32", [GGUF_I32] = "i32", [GGUF_F32] = "f32", [GGUF_BOOL] = "bool",
        [GGUF_STR] = "str", [GGUF_ARR] = "arr", [GGUF_U64] = "u64", [GGUF_I64] = "i64",
        [GGUF_F64] = "f64",
    };
    return (size_t)t < GGUF_N_TYPES ? names[t] : "unknown";
}

size_t gguf_type_bytes(enum gguf_type t)
{
    static const uint8_t bytes[GGUF_N_TYPES] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return (size_t)t < GGUF_N_TYPES ? bytes[t] : 0;
}

static weft_status missing(const char *key, weft_error *err)
{
    return error_set(err, WEFT_E_FORMAT,
                     "key '%s' is missing; convert the model again with a current converter", key);
}

static weft_status unfit(const struct gguf_kv *kv, const char *expected, weft_error *err)
{
    bool array = kv->type == GGUF_ARR;
    return error_set(err, WEFT_E_FORMAT, "key '%s' is %s%s, but %s is expected", kv->key,
                     array ? "an array of " : "", gguf_type_name(kv->element), expected);
}

/* The value of any scalar, as stored. */
union number {
    float f32;
    double f64;
    uint8_t u8;
    int8_t i8;
    uint16_t u16;
    int16_t i16;
    uint32_t u32;
    int32_t i32;
    uint64_t u64;
    int64_t i64;
};

/* Reads any integer into *out; *negative says that it has to be read as signed. Returns false for
 * other types. */
static bool read_integer(const struct gguf_kv *kv, bool *negative, uint64_t *out)
{
    union number v = { .u64 = 0 };
    if (gguf_type_bytes(kv->type) == 0) {
        return false;
    }
    memcpy(&v, kv->data, gguf_type_bytes(kv->type));
    int64_t i = 0;
    switch (kv->type) {
    case GGUF_U8: i = v.u8; break;
    case GGUF_I8: i = v.i8; break;
    case GGUF_U16: i = v.u16; break;
    case GGUF_I16: i = v.i16; break;
    case GGUF_U32: i = v.u32; break;
    case GGUF_I32: i = v.i32; break;
    case GGUF_I64: i = v.i64; break;
    case GGUF_U64: break;
    default: return false;
    }
    *negative = i < 0;
    *out = kv->type == GGUF_U64 ? v.u64 : (uint64_t)i;
    return true;
}

static weft_status to_u32(const struct gguf_kv *kv, uint32_t *out, weft_error *err)
{
    uint64_t v;
    bool negative;
    if (!read_integer(kv, &negative, &v)) {
        return unfit(kv, "an integer", err);
    }
    if (negative || v > UINT32_MAX) {
        return error_set(err, WEFT_E_FORMAT,
                         "key '%s' is %s%" PRIu64 "; 0 to %" PRIu32 " is expected", kv->key,
                         negative ? "-" : "", negative ? 0 - v : v, UINT32_MAX);
    }
    *out = (uint32_t)v;
    return WEFT_OK;
}

static weft_status to_f32(const struct gguf_kv *kv, float *out, weft_error *err)
{
    if (kv->type == GGUF_F64) {
        double v;
        memcpy(&v, kv->data, sizeof v);
        *out = (float)v;
        return WEFT_OK;
    }
    if (kv->type != GGUF_F32) {
        return unfit(kv, "an f32 or f64", err);
    }
    memcpy(out, kv->data, sizeof *out);
    return WEFT_OK;
}

static weft_status to_array(const struct gguf_kv *kv, enum gguf_type element,
                            const struct gguf_kv **out, weft_error *err)
{
    if (kv->type != GGUF_ARR || kv->element != element) {
        const char *name = gguf_type_name(element);
        bool array = kv->type == GGUF_ARR;
        return error_set(err, WEFT_E_FORMAT, "key '%s' is %s%s, but an array of %s is expected",
                         kv->key, array ? "an array of " : "", gguf_type_name(kv->element), name);
    }
    *out = kv;
    return WEFT_OK;
}

weft_status gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv != NULL ? to_u32(kv, out, err) : missing(key, err);
}

weft_status gguf_opt_u32(const struct gguf *g, const char *key, uint32_t *out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv != NULL ? to_u32(kv, out, err) : WEFT_OK;
}

weft_status gguf_get_f32(const struct gguf *g, const char *key, float *out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv != NULL ? to_f32(kv, out, err) : missing(key, err);
}

weft_status gguf_opt_f32(const struct gguf *g, const char *key, float *out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv != NULL ? to_f32(kv, out, err) : WEFT_OK;
}

weft_status gguf_opt_bool(const struct gguf *g, const char *key, bool *out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (kv == NULL) {
        return WEFT_OK;
    }
    if (kv->type != GGUF_BOOL) {
        return unfit(kv, "a bool", err);
    }
    *out = kv->data[0] != 0;
    return WEFT_OK;
}

weft_status gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
                         weft_error *err)
{
    return gguf_find(g, key) != NULL ? gguf_opt_str(g, key, out, err) : missing(key, err);
}

weft_status gguf_opt_str(const struct gguf *g, const char *key, struct gguf_str *out,
                         weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (kv == NULL) {
        return WEFT_OK;
    }
    if (kv->type != GGUF_STR) {
        return unfit(kv, "a str", err);
    }
    *out = kv->strs[0];
    return WEFT_OK;
}

weft_status gguf_get_array(const struct gguf *g, const char *key, enum gguf_type element,
                           const struct gguf_kv **out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv != NULL ? to_array(kv, element, out, err) : missing(key, err);
}

weft_status gguf_opt_array(const struct gguf *g, const char *key, enum gguf_type element,
                           const struct gguf_kv **out, weft_error *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv != NULL ? to_array(kv, element, out, err) : WEFT_OK;
}

float gguf_f32_at(const struct gguf_kv *kv, size_t i)
{
    float v;
    memcpy(&v, kv->data + i * sizeof v, sizeof v);
    return v;
}

int32_t gguf_i32_at(const struct gguf_kv *kv, size_t i)
{
    int32_t v;
    memcpy(&v, kv->data + i * sizeof v, sizeof v);
    return v;
}

bool gguf_number_at(const struct gguf_kv *kv, size_t i, double *out)
{
    union number v = { .u64 = 0 };
    size_t bytes = gguf_type_bytes(kv->element);
    if (bytes == 0) {
        return false;
    }
    memcpy(&v, kv->data + i * bytes, bytes);
    switch (kv->element) {
    case GGUF_I8: *out = v.i8; break;
    case GGUF_U16: *out = v.u16; break;
    case GGUF_I16: *out = v.i16; break;
    case GGUF_U32: *out = v.u32; break;
    case GGUF_I32: *out = v.i32; break;
    case GGUF_U64: *out = (double)v.u64; break;
    case GGUF_I64: *out = (double)v.i64; break;
    case GGUF_F32: *out = (double)v.f32; break;
    case GGUF_F64: *out = v.f64; break;
    default: *out = v.u8; break;
    }
    return true;
}

bool gguf_str_is(struct gguf_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}
