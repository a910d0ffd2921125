/* Keys that the caller adds: "NAME=TYPE:VALUE" becomes the bytes of a value. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf_parse.h"
#include "synth/parts.h"

/* A number of at most 8 bytes, little-endian. */
union value {
    uint64_t u;
    int64_t i;
    double d;
    float f;
};

static bool parse_unsigned(const char *text, size_t bytes, union value *out)
{
    char *end;
    errno = 0;
    out->u = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && text[0] >= '0' && text[0] <= '9' &&
           (bytes == 8 || out->u >> (8 * bytes) == 0);
}

static bool parse_signed(const char *text, size_t bytes, union value *out)
{
    char *end;
    int64_t most = INT64_MAX >> (64 - 8 * bytes);
    errno = 0;
    out->i = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' && end != text && out->i <= most && out->i >= -most - 1;
}

/* Accepts "nan" and "inf" too, which a file may hold. */
static bool parse_float(const char *text, size_t bytes, union value *out)
{
    char *end;
    double v = strtod(text, &end);
    if (bytes == sizeof out->f) {
        out->f = (float)v;
    } else {
        out->d = v;
    }
    return *end == '\0' && end != text;
}

static bool parse_number(enum gguf_type type, const char *text, union value *out)
{
    size_t bytes = gguf_type_bytes(type);
    switch (type) {
    case GGUF_BOOL:
        out->u = strcmp(text, "true") == 0;
        return out->u == 1 || strcmp(text, "false") == 0;
    case GGUF_F32:
    case GGUF_F64: return parse_float(text, bytes, out);
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: return parse_signed(text, bytes, out);
    default: return bytes > 0 && parse_unsigned(text, bytes, out);
    }
}

/* Writes numbers with commas between them; an empty text is an empty array. */
static bool write_array(struct gguf_writer *w, const char *key, enum gguf_type type, char *text)
{
    struct bytes b = { 0 };
    uint64_t n = 0;
    bool good = true;
    for (bool more = *text != '\0'; good && more; n++) {
        union value v = { 0 };
        size_t len = strcspn(text, ",");
        more = text[len] == ',';
        text[len] = '\0';
        good = parse_number(type, text, &v) && bytes_add(&b, &v, gguf_type_bytes(type));
        text += len + 1;
    }
    if (good) {
        writer_array(w, key, type, n, b.data, b.n);
    }
    free(b.data);
    return good;
}

static bool write_value(struct gguf_writer *w, const char *key, enum gguf_type type, bool array,
                        char *text)
{
    union value v = { 0 };
    if (array) {
        return type != GGUF_STR && write_array(w, key, type, text);
    }
    if (type == GGUF_STR) {
        writer_str(w, key, text);
        return true;
    }
    bool good = parse_number(type, text, &v);
    if (good) {
        writer_raw(w, key, type, &v, gguf_type_bytes(type));
    }
    return good;
}

/* Finds the type of "u32" or "u32[]". */
static bool find_type(const char *text, enum gguf_type *type, bool *array)
{
    size_t n = strlen(text);
    *array = n > 2 && strcmp(text + n - 2, "[]") == 0;
    n -= *array ? 2 : 0;
    for (int t = 0; t < GGUF_N_TYPES; t++) {
        const char *name = gguf_type_name((enum gguf_type)t);
        if (t != GGUF_ARR && strlen(name) == n && memcmp(name, text, n) == 0) {
            *type = (enum gguf_type)t;
            return true;
        }
    }
    return false;
}

/* Splits "NAME=TYPE:VALUE" into its parts; free(*name) frees all three. */
static weft_status split(const char *text, char **name, char **type, char **value, weft_error *err)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return error_nomem(err, "a key", strlen(text));
    }
    char *equals = strchr(copy, '='), *colon = equals != NULL ? strchr(equals, ':') : NULL;
    if (colon == NULL || equals == copy) {
        free(copy);
        return error_set(err, WEFT_E_ARG,
                         "key '%.80s' is none; NAME=TYPE:VALUE is expected, such as "
                         "general.sampling.temp=f32:0.6 or qwen2.kinds=u32[]:1,2",
                         text);
    }
    *equals = *colon = '\0';
    *name = copy;
    *type = equals + 1;
    *value = colon + 1;
    return WEFT_OK;
}

weft_status key_write(const char *text, struct gguf_writer *w, weft_error *err)
{
    char *name = NULL, *type_name = NULL, *value = NULL;
    enum gguf_type type = GGUF_U8;
    bool array = false;
    TRY(split(text, &name, &type_name, &value, err));
    weft_status status = WEFT_OK;
    writer_drop(w, name);
    if (!find_type(type_name, &type, &array)) {
        status = error_set(err, WEFT_E_ARG,
                           "key '%.80s' has no known type; expected u8 i8 u16 i16 u32 i32 f32 bool "
                           "str u64 i64 f64, or one of the numbers with [] behind it",
                           text);
    } else if (!write_value(w, name, type, array, value)) {
        status = error_set(err, WEFT_E_ARG, "key '%.80s': the value is none of its type", text);
    }
    free(name);
    return status;
}
