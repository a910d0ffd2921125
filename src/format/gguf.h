/* GGUF files: a bounds-checked parser that knows no model. v2 and v3, little-endian, split files.
 * Limits (checked, each with its own message): keys and tensors 65,536 each; key 1..65,535 bytes;
 * tensor name 1..63 bytes; string 16 MiB; array 16 Mi elements, never nested; 1..4 dimensions
 * of 1..2^31-1; alignment a power of two from 8 to 65,536. Every size is compared with the bytes
 * left before anything is allocated. */
#ifndef WEFT_GGUF_H
#define WEFT_GGUF_H

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "format/quant.h"

enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARR,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_N_TYPES
};

/* A string in the file: not NUL-terminated, may hold any byte. */
struct gguf_str {
    const char *s;
    size_t n;
};

struct gguf_kv {
    const char *key;        /* a copy that ends with NUL */
    enum gguf_type type;    /* GGUF_ARR for arrays */
    enum gguf_type element; /* element type of an array, else equal to type */
    size_t n;               /* elements of an array, else 1 */
    const uint8_t *data;    /* into the file, unaligned; NULL for string arrays */
    struct gguf_str *strs;  /* [n] for strings and string arrays */
};

struct gguf_tensor {
    const char *name; /* a copy that ends with NUL */
    const struct quant_type *type;
    size_t n_dims;
    uint64_t ne[4];      /* row length first; unused dimensions are 1 */
    uint64_t n_elements; /* product of ne, checked */
    uint64_t n_bytes;
    uint64_t offset; /* in the data section of its part */
    size_t part;
    const uint8_t *data; /* into the file */
};

struct gguf {
    uint32_t version;
    size_t n_kv, n_tensors, n_parts;
    /* The keys of the first part; later parts only add tensors. */
    struct gguf_kv *kv;
    struct gguf_tensor *tensors;
    struct file *parts; /* [n_parts] */
    uint64_t n_bytes;   /* of all parts */
    char *names;        /* memory of the copies that end with NUL */
    /* Open-addressing hash tables over keys and tensor names, [*_slots]; 0 = empty. */
    struct hash_seed seed;
    uint32_t *kv_index;
    uint32_t *tensor_index;
    size_t kv_slots, tensor_slots;
};

/* Opens path and, if it is the first part of a split file (split.count > 1, name
 * ...-00001-of-0000N.gguf), all parts. */
weft_status gguf_open(const char *path, bool use_mmap, struct gguf **out, weft_error *err);
/* Accepts NULL. */
void gguf_close(struct gguf *g);
/* p[n], data of a tensor, is not needed for now; see file_forget(). */
void gguf_forget(const struct gguf *g, const uint8_t *p, size_t n);
/* Copies p[n], data of a tensor, to dst; see file_read(). */
weft_status gguf_read(const struct gguf *g, const uint8_t *p, size_t n, void *dst, weft_error *err);

/* Returns NULL if there is no such key. */
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);
/* Returns NULL if there is no such tensor. */
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/* Typed look-up. The *_get functions fail with WEFT_E_FORMAT if the key is absent or its type does
 * not fit. The *_opt functions leave *out alone if the key is absent; they also fail if its type
 * does not fit. Integers of any width and sign are accepted if the value fits; a float key accepts
 * f32 and f64. Messages name the key, not the file. */
weft_status gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, weft_error *err);
weft_status gguf_opt_u32(const struct gguf *g, const char *key, uint32_t *out, weft_error *err);
weft_status gguf_get_f32(const struct gguf *g, const char *key, float *out, weft_error *err);
weft_status gguf_opt_f32(const struct gguf *g, const char *key, float *out, weft_error *err);
weft_status gguf_opt_bool(const struct gguf *g, const char *key, bool *out, weft_error *err);
weft_status gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
                         weft_error *err);
weft_status gguf_opt_str(const struct gguf *g, const char *key, struct gguf_str *out,
                         weft_error *err);
/* Look-up of an array whose elements have exactly this type; *out is the key. Elements of a string
 * array are kv->strs[i]; gguf_f32_at and gguf_i32_at read the others. */
weft_status gguf_get_array(const struct gguf *g, const char *key, enum gguf_type element,
                           const struct gguf_kv **out, weft_error *err);
weft_status gguf_opt_array(const struct gguf *g, const char *key, enum gguf_type element,
                           const struct gguf_kv **out, weft_error *err);
/* For arrays and scalars of GGUF_F32. */
float gguf_f32_at(const struct gguf_kv *kv, size_t i);
/* For arrays of GGUF_I32 and GGUF_U32. */
int32_t gguf_i32_at(const struct gguf_kv *kv, size_t i);
/* Gives element i of an array, or the scalar for i = 0, if it is a number of any type; a bool is 0
 * or 1. Returns false for strings. */
bool gguf_number_at(const struct gguf_kv *kv, size_t i, double *out);

bool gguf_str_is(struct gguf_str s, const char *text);
/* Returns the name of a type, such as "u32" or "arr". */
const char *gguf_type_name(enum gguf_type t);

/* Returns WEFT_E_IO if any part has shrunk since it was opened. */
weft_status gguf_check(const struct gguf *g, weft_error *err);

#endif
