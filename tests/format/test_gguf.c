/* gguf_open on hostile files: every known way to break a GGUF parser (wrapping counts and
 * lengths, wrong dimensions, alignments, offsets, types, names, duplicates, overlaps, nesting,
 * other versions). Each must be refused with the right status and words, within 50 ms of
 * processor time, and all together within 64 MiB of memory. Damaged files are tested in
 * test_gguf_damage.c, valid ones in test_gguf_read.c, long ones in test_gguf_time.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "format/gguf.h"
#include "support/scratch.h"

#define P(n) ((uint64_t)1 << (n))

/* These functions append the bytes of a file to *b, in any order and with any value. */
static void raw(struct bytes *b, const void *p, size_t n) { assert_true(bytes_add(b, p, n)); }
static void u32(struct bytes *b, uint32_t v) { raw(b, &v, sizeof v); }
static void u64(struct bytes *b, uint64_t v) { raw(b, &v, sizeof v); }

static void str(struct bytes *b, const char *s, size_t n)
{
    u64(b, n);
    raw(b, s, n);
}

static void head(struct bytes *b, uint64_t n_tensors, uint64_t n_kv)
{
    raw(b, "GGUF", 4);
    u32(b, 3);
    u64(b, n_tensors);
    u64(b, n_kv);
}

/* Appends a key named "k", without its value. */
static void key(struct bytes *b, uint32_t type)
{
    str(b, "k", 1);
    u32(b, type);
}

/* Appends the description of a one-dimensional F32 tensor of n elements. */
static void info(struct bytes *b, const char *name, uint64_t n, uint64_t offset)
{
    str(b, name, strlen(name));
    u32(b, 1);
    u64(b, n);
    u32(b, QUANT_F32);
    u64(b, offset);
}

static void zeros(struct bytes *b, size_t n)
{
    for (; n > 0; n--) {
        raw(b, "", 1);
    }
}

/* Pads to 32 bytes and appends n bytes of tensor data. */
static void data(struct bytes *b, size_t n) { zeros(b, (32 - b->n % 32) % 32 + n); }

struct bad {
    const char *name;
    void (*make)(struct bytes *b, const struct bad *c);
    uint64_t a, b, c, d; /* each maker explains them */
    weft_status status;
    const char *fragment;
};

/* The header, with the four bytes `a` at offset `b`: the magic or the version. */
static void word(struct bytes *b, const struct bad *c)
{
    head(b, 0, 0);
    memcpy(b->data + c->b, &c->a, 4);
}

/* A header that declares `a` tensors and `b` keys; `c` zero bytes follow. */
static void counts(struct bytes *b, const struct bad *c)
{
    head(b, c->a, c->b);
    zeros(b, c->c);
}

/* A key (`a` = 0) or tensor (`a` = 1) whose name is the first `b` bytes of `c`. */
static void name_bytes(struct bytes *b, const struct bad *c)
{
    head(b, c->a == 1, c->a == 0);
    u64(b, c->b);
    raw(b, &c->c, c->b);
    u32(b, c->a == 0 ? GGUF_U8 : 1);
    u64(b, 8);
    u32(b, QUANT_F32);
    u64(b, 0);
    data(b, 32);
}

/* A key (`c` = 0) or tensor (`c` = 1) that declares a name of `a` bytes; the file holds only `b` of
 * them, all 'x'. */
static void name_length(struct bytes *b, const struct bad *c)
{
    head(b, c->c, 1 - c->c);
    u64(b, c->a);
    for (uint64_t i = 0; i < c->b; i++) {
        raw(b, "x", 1);
    }
    zeros(b, c->c == 1 ? 64 : 20);
}

/* A string that declares `a` bytes, in a short file. */
static void string_length(struct bytes *b, const struct bad *c)
{
    head(b, 0, 1);
    key(b, GGUF_STR);
    u64(b, c->a);
    zeros(b, 20);
}

/* A value of type `a`; 32 zero bytes follow. */
static void value_type(struct bytes *b, const struct bad *c)
{
    head(b, 0, 1);
    key(b, (uint32_t)c->a);
    zeros(b, 32);
}

/* An array of `b` elements of type `a`; `c` zero bytes follow. */
static void array(struct bytes *b, const struct bad *c)
{
    head(b, 0, 1);
    key(b, GGUF_ARR);
    u32(b, (uint32_t)c->a);
    u64(b, c->b);
    zeros(b, c->c);
}

/* An array of three strings, the last of which declares `a` bytes. */
static void array_string(struct bytes *b, const struct bad *c)
{
    head(b, 0, 1);
    key(b, GGUF_ARR);
    u32(b, GGUF_STR);
    u64(b, 3);
    str(b, "one", 3);
    str(b, "", 0);
    u64(b, c->a);
    zeros(b, 12);
}

/* Arrays in arrays, `a` levels deep. */
static void nested(struct bytes *b, const struct bad *c)
{
    head(b, 0, 1);
    key(b, GGUF_ARR);
    for (uint64_t i = 0; i < c->a; i++) {
        u32(b, GGUF_ARR);
        u64(b, 1);
    }
}

/* A bool whose byte is `b`, alone (`a` = 0) or as the last of an array of `a` bools. */
static void boolean(struct bytes *b, const struct bad *c)
{
    uint8_t v = (uint8_t)c->b;
    head(b, 0, 1);
    key(b, c->a > 0 ? GGUF_ARR : GGUF_BOOL);
    if (c->a > 0) {
        u32(b, GGUF_BOOL);
        u64(b, c->a);
        zeros(b, c->a - 1);
    }
    raw(b, &v, 1);
    zeros(b, 8);
}

/* The key general.alignment of type `a` with the bytes of `b`, then a tensor. */
static void alignment(struct bytes *b, const struct bad *c)
{
    head(b, 1, 1);
    str(b, "general.alignment", 17);
    u32(b, (uint32_t)c->a);
    size_t n = c->a == GGUF_U32 || c->a == GGUF_I32 || c->a == GGUF_F32  ? 4
               : c->a == GGUF_U16 || c->a == GGUF_I16                    ? 2
               : c->a == GGUF_U8 || c->a == GGUF_I8 || c->a == GGUF_BOOL ? 1
                                                                         : 8;
    raw(b, &c->b, n);
    if (c->a == GGUF_STR) {
        zeros(b, c->b);
    } else if (c->a == GGUF_ARR) {
        zeros(b, 4 + 4 * (c->b >> 32));
    }
    info(b, "t", 8, 0);
    data(b, 64);
}

/* A tensor that declares `a` dimensions; the first four are `b`, `c`, `d` and 1. */
static void n_dims(struct bytes *b, const struct bad *c)
{
    uint64_t ne[4] = { c->b, c->c, c->d, 1 };
    head(b, 1, 0);
    str(b, "t", 1);
    u32(b, (uint32_t)c->a);
    raw(b, ne, (c->a < 4 ? c->a : 4) * sizeof ne[0]);
    u32(b, QUANT_F32);
    u64(b, 0);
    data(b, 64);
}

/* A tensor of type `a` with `c` rows of `b` elements, and `d` bytes of data. */
static void type(struct bytes *b, const struct bad *c)
{
    head(b, 1, 0);
    str(b, "t", 1);
    u32(b, 2);
    u64(b, c->b);
    u64(b, c->c);
    u32(b, (uint32_t)c->a);
    u64(b, 0);
    data(b, c->d);
}

/* A tensor of 16 F32 (64 bytes) at offset `a`, in a data section of `b` bytes. */
static void offset(struct bytes *b, const struct bad *c)
{
    head(b, 1, 0);
    info(b, "t", 16, c->a);
    data(b, c->b);
}

/* Two tensors, of `c` and of 16 elements, at offsets `a` and `b`. */
static void overlap(struct bytes *b, const struct bad *c)
{
    head(b, 2, 0);
    info(b, "first", c->c, c->a);
    info(b, "second", 16, c->b);
    data(b, 512);
}

/* Three tensors, each of which fits into 2^64 bytes, but not all together. */
static void sum_wraps(struct bytes *b, const struct bad *c)
{
    head(b, 3, 0);
    info(b, "one", 16, 0);
    info(b, "two", 16, c->a);
    info(b, "three", 16, c->b);
    data(b, 512);
}

static void same_key(struct bytes *b, const struct bad *c)
{
    head(b, 0, 3);
    str(b, "twice", 5);
    u32(b, GGUF_U32);
    u32(b, 1);
    key(b, GGUF_U32);
    u32(b, 1);
    str(b, "twice", 5);
    u32(b, (uint32_t)c->a);
    u32(b, 2);
}

static void same_tensor(struct bytes *b, const struct bad *c)
{
    (void)c;
    head(b, 2, 0);
    info(b, "t", 8, 0);
    info(b, "t", 8, 32);
    data(b, 64);
}

#define FMT WEFT_E_FORMAT
#define UNS WEFT_E_UNSUPPORTED
#define LIMIT "1 to 2147483647 are expected"
#define CUT "are left; the file is truncated or damaged"
#define ALIGN "a power of two from 8 to 65536 is expected"
#define PAST "reach past the end of the data section"

static const struct bad cases[] = {
    { "magic ggml", word, 0x67676d6c, 0, 0, 0, FMT, "before GGUF" },
    { "magic ggjt", word, 0x67676a74, 0, 0, 0, FMT, "before GGUF" },
    { "magic FUGG", word, 0x47475546, 0, 0, 0, FMT, "not with \"GGUF\"" },
    { "magic gguf", word, 0x66756767, 0, 0, 0, FMT, "begins with 67 67 75 66" },
    { "magic 0", word, 0, 0, 0, 0, FMT, "begins with 00 00 00 00" },
    { "web page", word, 0x4f44213c, 0, 0, 0, FMT, "web page" },
    { "LFS pointer", word, 0x73726576, 0, 0, 0, FMT, "git lfs pull" },
    { "version 0", word, 0, 4, 0, 0, UNS, "GGUF version 0; versions 2 and 3" },
    { "version 1", word, 1, 4, 0, 0, UNS, "GGUF version 1; versions 2 and 3" },
    { "version 4", word, 4, 4, 0, 0, UNS, "GGUF version 4; versions 2 and 3" },
    { "version 99", word, 99, 4, 0, 0, UNS, "GGUF version 99" },
    { "version -1", word, UINT32_MAX, 4, 0, 0, UNS, "GGUF version 4294967295" },
    { "big-endian 3", word, 0x03000000, 4, 0, 0, UNS, "big-endian (version 3)" },
    { "big-endian 2", word, 0x02000000, 4, 0, 0, UNS, "big-endian (version 2)" },
    { "big-endian 1", word, 0x01000000, 4, 0, 0, UNS, "big-endian (version 1)" },

    { "2^61 tensors", counts, P(61), 0, 64, 0, FMT, "at most 65536" },
    { "2^64-1 tensors", counts, UINT64_MAX, 0, 64, 0, FMT, "18446744073709551615 tensors" },
    { "2^63 tensors", counts, P(63), 0, 64, 0, FMT, "at most 65536" },
    { "2^32 tensors", counts, P(32), 0, 64, 0, FMT, "at most 65536" },
    { "65537 tensors", counts, 65537, 0, 64, 0, FMT, "65537 tensors" },
    { "65536 tensors", counts, 65536, 0, 64, 0, FMT, CUT },
    { "1 tensor missing", counts, 1, 0, 0, 0, FMT, CUT },
    { "1 tensor too short", counts, 1, 0, 32, 0, FMT, CUT },
    { "2^61 keys", counts, 0, P(61), 64, 0, FMT, "at most 65536" },
    { "2^64-1 keys", counts, 0, UINT64_MAX, 64, 0, FMT, "18446744073709551615 keys" },
    { "2^63 keys", counts, 0, P(63), 64, 0, FMT, "at most 65536" },
    { "65537 keys", counts, 0, 65537, 64, 0, FMT, "65537 keys" },
    { "65536 keys", counts, 0, 65536, 64, 0, FMT, CUT },
    { "1 key missing", counts, 0, 1, 0, 0, FMT, CUT },
    { "1 key too short", counts, 0, 1, 13, 0, FMT, CUT },
    { "zeros as keys", counts, 0, 3, 64, 0, FMT, "its name is empty" },
    { "zeros as tensors", counts, 2, 0, 128, 0, FMT, "its name is empty" },

    { "empty key", name_length, 0, 0, 0, 0, FMT, "its name is empty" },
    { "key of 65536", name_length, 65536, 65536, 0, 0, FMT, "at most 65535" },
    { "key of 2^64-1", name_length, UINT64_MAX, 8, 0, 0, FMT, CUT },
    { "key of 2^63", name_length, P(63), 8, 0, 0, FMT, CUT },
    { "key of 2^32", name_length, P(32), 8, 0, 0, FMT, CUT },
    { "key one too long", name_length, 29, 8, 0, 0, FMT, CUT },
    { "NUL alone", name_bytes, 0, 1, 0, 0, FMT, "byte 0 of its name is 0x00: NUL" },
    { "NUL inside", name_bytes, 0, 3, 0x620061, 0, FMT, "byte 1 of its name is 0x00: NUL" },
    { "NUL at the end", name_bytes, 0, 2, 0x0061, 0, FMT, "byte 1 of its name is 0x00: NUL" },
    { "lone byte", name_bytes, 0, 2, 0xff61, 0, FMT, "byte 1 of its name is 0xff: no valid" },
    { "continuation", name_bytes, 0, 1, 0x80, 0, FMT, "no valid UTF-8" },
    { "overlong", name_bytes, 0, 2, 0x80c0, 0, FMT, "no valid UTF-8" },
    { "surrogate", name_bytes, 0, 3, 0x80a0ed, 0, FMT, "no valid UTF-8" },
    { "cut character", name_bytes, 0, 2, 0x82e2, 0, FMT, "no valid UTF-8" },
    { "beyond U+10FFFF", name_bytes, 0, 4, 0x808090f4, 0, FMT, "no valid UTF-8" },
    { "tensor name NUL", name_bytes, 1, 3, 0x620061, 0, FMT, "NUL is not allowed" },
    { "tensor name not UTF-8", name_bytes, 1, 2, 0xff61, 0, FMT, "no valid UTF-8" },
    { "tensor name empty", name_length, 0, 0, 1, 0, FMT, "its name is empty" },
    { "tensor name of 64", name_length, 64, 64, 1, 0, FMT, "64 bytes; at most 63" },
    { "tensor name of 2^64-1", name_length, UINT64_MAX, 8, 1, 0, FMT, CUT },
    { "tensor name of 2^63", name_length, P(63), 8, 1, 0, FMT, CUT },

    { "string of 2^64-1", string_length, UINT64_MAX, 0, 0, 0, FMT,
      "a string of 18446744073709551615 bytes" },
    { "string of 2^63", string_length, P(63), 0, 0, 0, FMT, CUT },
    { "string of 2^63-1", string_length, P(63) - 1, 0, 0, 0, FMT, CUT },
    { "string of 2^32", string_length, P(32), 0, 0, 0, FMT, CUT },
    { "string of 26 GB", string_length, 26000000000u, 0, 0, 0, FMT, "but only 20 bytes are left" },
    { "string one too long", string_length, 21, 0, 0, 0, FMT, "a string of 21 bytes, but only 20" },
    { "wrap to the start", string_length, (uint64_t)-45, 0, 0, 0, FMT, CUT },

    { "value type 2^31", value_type, P(31), 0, 0, 0, FMT, "its type is 2147483648" },
    { "value type -1", value_type, UINT32_MAX, 0, 0, 0, FMT, "its type is 4294967295" },
    { "element type -1", array, UINT32_MAX, 4, 64, 0, FMT, "its element type is 4294967295" },
    { "2^60 strings", array, GGUF_STR, P(60), 64, 0, FMT, "at most 16777216" },
    { "2^61+1 strings", array, GGUF_STR, P(61) + 1, 64, 0, FMT, "at most 16777216" },
    { "2^64-1 strings", array, GGUF_STR, UINT64_MAX, 64, 0, FMT, "at most 16777216" },
    { "2^24+1 strings", array, GGUF_STR, P(24) + 1, 64, 0, FMT, "an array of 16777217 elements" },
    { "2^24 strings", array, GGUF_STR, P(24), 64, 0, FMT, "of 134217728 bytes, but only 64" },
    { "9 strings in 64 bytes", array, GGUF_STR, 9, 64, 0, FMT, CUT },
    { "2^62 u32", array, GGUF_U32, P(62), 64, 0, FMT, "at most 16777216" },
    { "2^61 u64", array, GGUF_U64, P(61), 64, 0, FMT, "at most 16777216" },
    { "2^24 f64", array, GGUF_F64, P(24), 64, 0, FMT, "an array of 134217728 bytes, but only 64" },
    { "17 u32 in 64 bytes", array, GGUF_U32, 17, 64, 0, FMT, CUT },
    { "65 u8 in 64 bytes", array, GGUF_U8, 65, 64, 0, FMT, CUT },
    { "9 i64 in 64 bytes", array, GGUF_I64, 9, 64, 0, FMT, CUT },
    { "33 i16 in 64 bytes", array, GGUF_I16, 33, 64, 0, FMT, CUT },
    { "element of 2^64-1", array_string, UINT64_MAX, 0, 0, 0, FMT, CUT },
    { "element of 2^63", array_string, P(63), 0, 0, 0, FMT, CUT },
    { "element one too long", array_string, 13, 0, 0, 0, FMT, "a string of 13 bytes, but only 12" },
    { "depth 1", nested, 1, 0, 0, 0, FMT, "nesting is not allowed" },
    { "depth 2", nested, 2, 0, 0, 0, FMT, "nesting is not allowed" },
    { "depth 1000", nested, 1000, 0, 0, 0, FMT, "nesting is not allowed" },
    { "depth 10^6", nested, 1000000, 0, 0, 0, FMT, "nesting is not allowed" },
    { "bool 2", boolean, 0, 2, 0, 0, FMT, "bool 0 is 2; 0 or 1 is expected" },
    { "bool 255", boolean, 0, 255, 0, 0, FMT, "bool 0 is 255" },
    { "bool 128 in array", boolean, 5, 128, 0, 0, FMT, "bool 4 is 128" },

    { "alignment 0", alignment, GGUF_U32, 0, 0, 0, FMT, ALIGN },
    { "alignment 1", alignment, GGUF_U32, 1, 0, 0, FMT, ALIGN },
    { "alignment 3", alignment, GGUF_U32, 3, 0, 0, FMT, ALIGN },
    { "alignment 4", alignment, GGUF_U32, 4, 0, 0, FMT, ALIGN },
    { "alignment 24", alignment, GGUF_U32, 24, 0, 0, FMT, ALIGN },
    { "alignment 33", alignment, GGUF_U32, 33, 0, 0, FMT, ALIGN },
    { "alignment 2^17", alignment, GGUF_U32, P(17), 0, 0, FMT, ALIGN },
    { "alignment 2^31", alignment, GGUF_U32, P(31), 0, 0, FMT, ALIGN },
    { "alignment 2^32-1", alignment, GGUF_U32, UINT32_MAX, 0, 0, FMT, ALIGN },
    { "alignment u8", alignment, GGUF_U8, 32, 0, 0, FMT, "'general.alignment' is u8" },
    { "alignment i8", alignment, GGUF_I8, 32, 0, 0, FMT, "'general.alignment' is i8" },
    { "alignment u16", alignment, GGUF_U16, 32, 0, 0, FMT, "'general.alignment' is u16" },
    { "alignment i16", alignment, GGUF_I16, 32, 0, 0, FMT, "'general.alignment' is i16" },
    { "alignment i32", alignment, GGUF_I32, 32, 0, 0, FMT, "'general.alignment' is i32" },
    { "alignment f32", alignment, GGUF_F32, 0x42000000, 0, 0, FMT, "is f32" },
    { "alignment bool", alignment, GGUF_BOOL, 1, 0, 0, FMT, "'general.alignment' is bool" },
    { "alignment u64", alignment, GGUF_U64, 32, 0, 0, FMT, "'general.alignment' is u64" },
    { "alignment i64", alignment, GGUF_I64, 32, 0, 0, FMT, "'general.alignment' is i64" },
    { "alignment f64", alignment, GGUF_F64, 0, 0, 0, FMT, "'general.alignment' is f64" },
    { "alignment str", alignment, GGUF_STR, 2, 0, 0, FMT, "'general.alignment' is str" },
    { "alignment arr", alignment, GGUF_ARR, GGUF_U32 | P(32), 0, 0, FMT, "is arr" },

    { "0 dimensions", n_dims, 0, 8, 1, 1, FMT, "0 dimensions; 1 to 4 are expected" },
    { "5 dimensions", n_dims, 5, 8, 1, 1, FMT, "5 dimensions" },
    { "255 dimensions", n_dims, 255, 8, 1, 1, FMT, "255 dimensions" },
    { "2^31 dimensions", n_dims, P(31), 8, 1, 1, FMT, "2147483648 dimensions" },
    { "2^32-1 dimensions", n_dims, UINT32_MAX, 8, 1, 1, FMT, "4294967295 dimensions" },
    { "dimension 0 is 0", n_dims, 1, 0, 1, 1, FMT, "dimension 0 is 0; " LIMIT },
    { "dimension 1 is 0", n_dims, 2, 8, 0, 1, FMT, "dimension 1 is 0; " LIMIT },
    { "dimension 2 is 0", n_dims, 3, 8, 1, 0, FMT, "dimension 2 is 0; " LIMIT },
    { "dimension is -1", n_dims, 1, UINT64_MAX, 1, 1, FMT, "dimension 0 is 18446744073709551615" },
    { "dimension is -8", n_dims, 2, 8, (uint64_t)-8, 1, FMT, LIMIT },
    { "dimension is 2^63", n_dims, 3, 8, 1, P(63), FMT, LIMIT },
    { "dimension is 2^31", n_dims, 1, P(31), 1, 1, FMT, "dimension 0 is 2147483648" },
    { "[1152, 2^42+1]", n_dims, 2, 1152, P(42) + 1, 1, FMT, LIMIT },
    { "[2^32, 2^32]", n_dims, 2, P(32), P(32), 1, FMT, LIMIT },
    { "product wraps", n_dims, 3, P(31) - 1, P(31) - 1, P(31) - 1, FMT,
      "product of its dimensions wraps" },
    { "product is 2^64", n_dims, 3, P(30), P(30), 16, FMT, "product of its dimensions wraps" },
    { "bytes wrap to 0", n_dims, 3, P(30), P(30), 4, FMT,
      "the size of 4611686018427387904 elements wraps" },
    { "bytes wrap", n_dims, 3, P(31) - 1, P(31) - 1, 2, FMT, "elements wraps" },
    { "4 EiB", n_dims, 3, P(30), P(30), 1, FMT, PAST },
    { "too large by a row", n_dims, 2, 8, 3, 1, FMT,
      "its 96 bytes of data at offset 0 " PAST " of 64" },

    { "type 4", type, 4, 32, 1, 4096, UNS, "its type" },
    { "type 43", type, 43, 32, 1, 4096, UNS, "its type" },
    { "type 1000", type, 1000, 32, 1, 4096, UNS, "its type is number 1000" },
    { "type 2^31", type, P(31), 32, 1, 4096, UNS, "its type is number 2147483648" },
    { "type -1", type, UINT32_MAX, 32, 1, 4096, UNS, "its type is number 4294967295" },
    { "type IQ2_XXS", type, 16, 256, 1, 4096, UNS, "its type IQ2_XXS is not supported" },
    { "type I32", type, 26, 256, 1, 4096, UNS, "its type I32 is not supported" },
    { "type Q8_K", type, 15, 256, 1, 4096, UNS, "its type Q8_K is not supported" },
    { "Q4_0 rows of 33", type, QUANT_Q4_0, 33, 32, 4096, FMT,
      "rows of 33 elements, but Q4_0 has blocks of 32" },
    { "Q8_0 rows of 16", type, QUANT_Q8_0, 16, 64, 4096, FMT, "Q8_0 has blocks of 32" },
    { "Q4_K rows of 896", type, QUANT_Q4_K, 896, 1, 4096, FMT, "Q4_K has blocks of 256" },
    { "Q6_K rows of 32", type, QUANT_Q6_K, 32, 8, 4096, FMT, "Q6_K has blocks of 256" },
    { "IQ4_NL rows of 1", type, QUANT_IQ4_NL, 1, 32, 4096, FMT, "IQ4_NL has blocks of 32" },
    { "Q4_0 a block too many", type, QUANT_Q4_0, 64, 2, 71, FMT,
      "its 72 bytes of data at offset 0 " PAST " of 71" },
    { "Q4_K a block too many", type, QUANT_Q4_K, 256, 2, 287, FMT, "its 288 bytes" },

    { "offset -1", offset, UINT64_MAX, 512, 0, 0, FMT, "no multiple of the alignment 32" },
    { "offset -32", offset, (uint64_t)-32, 512, 0, 0, FMT, PAST },
    { "offset -64", offset, (uint64_t)-64, 512, 0, 0, FMT, PAST },
    { "offset 2^63", offset, P(63), 512, 0, 0, FMT, "at offset 9223372036854775808 " PAST },
    { "offset at the end", offset, 512, 512, 0, 0, FMT, PAST },
    { "offset before the end", offset, 480, 512, 0, 0, FMT, PAST },
    { "offset past the end", offset, 1 << 20, 512, 0, 0, FMT, PAST },
    { "offset 1", offset, 1, 512, 0, 0, FMT, "its offset 1 is no multiple" },
    { "offset 16", offset, 16, 512, 0, 0, FMT, "its offset 16 is no multiple" },
    { "last byte missing", offset, 0, 63, 0, 0, FMT, "of 63 bytes; the file is truncated" },
    { "no data", offset, 0, 0, 0, 0, FMT, "of 0 bytes; the file is truncated" },
    { "same place", overlap, 0, 0, 16, 0, FMT, "overlaps tensor" },
    { "half over", overlap, 0, 32, 16, 0, FMT,
      "'first' (bytes 0 to 64 of the data) overlaps tensor 'second' at 32" },
    { "out of order", overlap, 64, 32, 8, 0, FMT,
      "'second' (bytes 32 to 96 of the data) overlaps tensor 'first'" },
    { "inside", overlap, 0, 64, 64, 0, FMT, "overlaps tensor 'second' at 64" },
    { "by one element", overlap, 0, 64, 17, 0, FMT, "overlaps" },
    { "sizes add to 2^64", sum_wraps, P(63), P(63) + 64, 0, 0, FMT, PAST },
    { "sizes add to 2^64+k", sum_wraps, 64, (uint64_t)-64, 0, 0, FMT, PAST },
    { "same key", same_key, GGUF_U32, 0, 0, 0, FMT, "key 'twice' is there twice (number 1 and 3)" },
    { "same key, other type", same_key, GGUF_F32, 0, 0, 0, FMT, "key 'twice' is there twice" },
    { "same tensor", same_tensor, 0, 0, 0, 0, FMT, "tensor 't' is there twice (number 1 and 2)" },
};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* What other programs do on the machine can only add to a time: the shortest of several counts. */
enum { TRIES = 5 };

static long peak_kb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* Opens the file of a case, which must fail. Returns the milliseconds that it took. */
static double refuse(const struct bad *c, const char *path, bool use_mmap)
{
    struct gguf *g = NULL;
    weft_error err = { 0 };
    double start = cpu_ms();
    weft_status status = gguf_open(path, use_mmap, &g, &err);
    double ms = cpu_ms() - start;
    if (g != NULL || status != c->status || err.code != c->status ||
        strstr(err.message, c->fragment) == NULL || strstr(err.message, "bad.gguf") == NULL) {
        fail_msg("%s: %s '%s', expected %s '...%s...'", c->name, weft_status_name(status),
                 err.message, weft_status_name(c->status), c->fragment);
    }
    assert_int_equal(gguf_open(path, use_mmap, &g, NULL), c->status);
    return ms;
}

static void check_case(const struct bad *c)
{
    const double most_ms = 50.0;
    struct bytes b = { 0 };
    c->make(&b, c);
    const char *path = scratch_write("bad.gguf", b.data, b.n);
    free(b.data);
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        double best = refuse(c, path, use_mmap);
        for (int i = 1; i < TRIES && best > most_ms; i++) {
            double ms = refuse(c, path, use_mmap);
            best = ms < best ? ms : best;
        }
        if (best > most_ms) {
            fail_msg("%s: took %.1f ms, at most %.0f are allowed", c->name, best, most_ms);
        }
    }
}

static void test_hostile(void **state)
{
    (void)state;
    long before = peak_kb();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case(&cases[i]);
    }
    /* The files themselves have at most 12 MB; the sizes that they declare go up to 2^64.
     * AddressSanitizer keeps freed memory, so it is allowed twice as much. */
#ifdef __SANITIZE_ADDRESS__
    const long most = 128 * 1024;
#else
    const long most = 64 * 1024;
#endif
    assert_in_range(peak_kb() - before, 0, most);
}

/* Every type with blocks refuses matrix rows whose length is not a multiple of its block. */
static void test_block_remainder(void **state)
{
    (void)state;
    for (size_t i = 0; quant_at(i) != NULL; i++) {
        const struct quant_type *t = quant_at(i);
        struct bad c = {
            t->name, type, t->id, t->block + 1, t->block, 4096 * 64, FMT, "blocks of"
        };
        if (t->block > 1) {
            check_case(&c);
        }
    }
}

/* A number that is no type is refused, for a value and for the elements of an array. */
static void test_types(void **state)
{
    (void)state;
    for (uint64_t id = GGUF_N_TYPES; id < 256; id++) {
        const struct bad value = { "value type", value_type, id, 0, 0, 0, FMT, "its type is" };
        const struct bad element = {
            "element type", array, id, 4, 64, 0, FMT, "its element type is"
        };
        check_case(&value);
        check_case(&element);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_block_remainder),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
