/* The GGUF parser. Every byte of the file may be hostile. Each read goes through a cursor that
 * knows how many bytes are left, and each sum or product of two fields is checked for wrap. Memory
 * is allocated only when the bytes that would fill it are known to exist, and no loop runs longer
 * than the file is. A file that opens has no duplicate keys, no overlapping tensors, and no tensor
 * that reaches past its end. Source of the format: docs/gguf.md of ggml. */
#include "format/gguf_parse.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define MAX_KEYS 65536
#define MAX_KEY_BYTES 65535
#define MAX_NAME_BYTES 63
#define MAX_STRING ((uint64_t)16 << 20)
#define MAX_ARRAY ((uint64_t)16 << 20)
#define MAX_DIM ((uint64_t)INT32_MAX)
#define MIN_ALIGN 8
#define MAX_ALIGN 65536
#define DEFAULT_ALIGN 32
#define HEADER_BYTES 24
/* The fewest bytes that a key (length, 1 byte, type, 1 byte) and a tensor (length, 1 byte, 1
 * dimension, type, offset) occupy. */
#define MIN_KEY_BYTES 14
#define MIN_TENSOR_BYTES 33

/* The place of the parser in the file, and the words for what it is reading. */
struct cursor {
    const struct file *file;
    uint64_t pos;
    uint64_t start;  /* where the thing begins */
    char thing[112]; /* "key 'general.name'" */
    weft_error *err;
};

/* Data that exists only while one file is parsed. The memory of the names moves as it grows, so
 * their offsets are kept. */
struct parse {
    struct cursor c;
    struct gguf *g;
    struct bytes names;
    size_t *kv_at;
    size_t *tensor_at;
    /* Where the description of each tensor stands in the file. */
    uint64_t *info_at;
};

__attribute__((format(printf, 3, 4))) static weft_status fail(const struct cursor *c,
                                                              weft_status code, const char *fmt,
                                                              ...)
{
    if (c->err == NULL) {
        return code;
    }
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return error_set(c->err, code, "%s: %s at byte %" PRIu64 ": %s", gguf_path(c->file->path),
                     c->thing, c->start, text);
}

/* Sets the words for the thing that starts here. */
static void at_thing(struct cursor *c, const char *thing)
{
    c->start = c->pos;
    snprintf(c->thing, sizeof c->thing, "%s", thing);
}

/* Adds a name that is known to be printable. A long name is cut at a character border. */
static void at_name(struct cursor *c, const char *kind, const char *name, size_t n)
{
    const size_t show = utf8_fit(name, n, 72);
    snprintf(c->thing, sizeof c->thing, "%s '%.*s%s'", kind, (int)show, name,
             show < n ? "..." : "");
}

static uint64_t left(const struct cursor *c) { return c->file->n - c->pos; }

static weft_status need(const struct cursor *c, uint64_t n, const char *what)
{
    if (n > left(c)) {
        return fail(c, WEFT_E_FORMAT,
                    "%s of %" PRIu64 " bytes, but only %" PRIu64
                    " bytes are left; the file is truncated or damaged",
                    what, n, left(c));
    }
    return WEFT_OK;
}

static weft_status take_u32(struct cursor *c, uint32_t *out, const char *what)
{
    TRY(need(c, sizeof *out, what));
    memcpy(out, c->file->data + c->pos, sizeof *out);
    c->pos += sizeof *out;
    return WEFT_OK;
}

static weft_status take_u64(struct cursor *c, uint64_t *out, const char *what)
{
    TRY(need(c, sizeof *out, what));
    memcpy(out, c->file->data + c->pos, sizeof *out);
    c->pos += sizeof *out;
    return WEFT_OK;
}

static weft_status take_str(struct cursor *c, uint64_t max, struct gguf_str *out, const char *what)
{
    uint64_t n;
    TRY(take_u64(c, &n, "the length of a string"));
    TRY(need(c, n, what));
    if (n > max) {
        return fail(c, WEFT_E_FORMAT, "%s of %" PRIu64 " bytes; at most %" PRIu64 " are allowed",
                    what, n, max);
    }
    *out = (struct gguf_str){ (const char *)c->file->data + c->pos, (size_t)n };
    c->pos += n;
    return WEFT_OK;
}

/* Takes the name of a key or tensor: 1..max bytes of UTF-8 without NUL. It is copied with a NUL to
 * offset *at of the names. */
static weft_status take_name(struct parse *p, uint64_t max, const char *kind, size_t *at)
{
    struct cursor *c = &p->c;
    struct gguf_str s;
    at_thing(c, kind);
    TRY(take_str(c, max, &s, "a name"));
    if (s.n == 0) {
        return fail(c, WEFT_E_FORMAT, "its name is empty");
    }
    for (size_t i = 0, len; i < s.n; i += len) {
        bool utf8 = utf8_next(s.s + i, s.n - i, &len) == UTF8_CHAR;
        if (!utf8 || s.s[i] == '\0') {
            return fail(c, WEFT_E_FORMAT, "byte %zu of its name is 0x%02x: %s", i,
                        (unsigned)(unsigned char)s.s[i],
                        utf8 ? "NUL is not allowed in names" : "no valid UTF-8");
        }
    }
    at_name(c, kind, s.s, s.n);
    *at = p->names.n;
    if (!bytes_add(&p->names, s.s, s.n) || !bytes_add(&p->names, "", 1)) {
        return error_nomem(c->err, "names", p->names.n + s.n);
    }
    return WEFT_OK;
}

static weft_status take_type(struct cursor *c, enum gguf_type *out, const char *what)
{
    uint32_t id;
    TRY(take_u32(c, &id, what));
    if (id >= GGUF_N_TYPES) {
        return fail(c, WEFT_E_FORMAT, "%s is %" PRIu32 "; the format defines 0 to %d", what, id,
                    GGUF_N_TYPES - 1);
    }
    *out = (enum gguf_type)id;
    return WEFT_OK;
}

/* Takes kv->n values of fixed size. */
static weft_status take_numbers(struct cursor *c, struct gguf_kv *kv)
{
    uint64_t n_bytes;
    if (__builtin_mul_overflow((uint64_t)kv->n, (uint64_t)gguf_type_bytes(kv->element), &n_bytes)) {
        return fail(c, WEFT_E_FORMAT, "the size of %zu elements wraps", kv->n);
    }
    TRY(need(c, n_bytes, kv->type == GGUF_ARR ? "an array" : "a value"));
    kv->data = c->file->data + c->pos;
    c->pos += n_bytes;
    for (size_t i = 0; kv->element == GGUF_BOOL && i < kv->n; i++) {
        if (kv->data[i] > 1) {
            return fail(c, WEFT_E_FORMAT, "bool %zu is %u; 0 or 1 is expected", i,
                        (unsigned)kv->data[i]);
        }
    }
    return WEFT_OK;
}

/* Takes kv->n strings. Each occupies at least 8 bytes of the file, so the table is at most twice as
 * large as the rest of the file. */
static weft_status take_strings(struct cursor *c, struct gguf_kv *kv)
{
    uint64_t least;
    if (__builtin_mul_overflow((uint64_t)kv->n, sizeof(uint64_t), &least)) {
        return fail(c, WEFT_E_FORMAT, "the size of %zu strings wraps", kv->n);
    }
    TRY(need(c, least, "strings"));
    kv->strs = mem_array(kv->n, sizeof *kv->strs);
    if (kv->strs == NULL) {
        return error_nomem(c->err, "a table of strings", kv->n * sizeof *kv->strs);
    }
    for (size_t i = 0; i < kv->n; i++) {
        TRY(take_str(c, MAX_STRING, &kv->strs[i], "a string"));
    }
    if (kv->type == GGUF_STR) {
        kv->data = (const uint8_t *)kv->strs[0].s;
    }
    return WEFT_OK;
}

static weft_status take_value(struct cursor *c, struct gguf_kv *kv)
{
    TRY(take_type(c, &kv->type, "its type"));
    kv->element = kv->type;
    kv->n = 1;
    if (kv->type == GGUF_ARR) {
        uint64_t n;
        TRY(take_type(c, &kv->element, "its element type"));
        if (kv->element == GGUF_ARR) {
            return fail(c, WEFT_E_FORMAT, "an array of arrays; nesting is not allowed");
        }
        TRY(take_u64(c, &n, "its number of elements"));
        if (n > MAX_ARRAY) {
            return fail(c, WEFT_E_FORMAT,
                        "an array of %" PRIu64 " elements; at most %" PRIu64
                        " are allowed, and %" PRIu64 " bytes are left",
                        n, MAX_ARRAY, left(c));
        }
        kv->n = (size_t)n;
    }
    return kv->element == GGUF_STR ? take_strings(c, kv) : take_numbers(c, kv);
}

static weft_status parse_keys(struct parse *p)
{
    struct gguf *g = p->g;
    size_t n = g->n_kv;
    g->n_kv = 0;
    g->kv = mem_array(n, sizeof *g->kv);
    p->kv_at = mem_array(n, sizeof *p->kv_at);
    if (g->kv == NULL || p->kv_at == NULL) {
        return error_nomem(p->c.err, "keys", n * sizeof *g->kv);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(take_name(p, MAX_KEY_BYTES, "key", &p->kv_at[i]));
        /* The key is counted first: if it fails half-way, it is freed with the others. */
        g->n_kv = i + 1;
        TRY(take_value(&p->c, &g->kv[i]));
    }
    return WEFT_OK;
}

static weft_status take_dims(struct cursor *c, struct gguf_tensor *t)
{
    uint32_t n_dims;
    TRY(take_u32(c, &n_dims, "its number of dimensions"));
    if (n_dims < 1 || n_dims > 4) {
        return fail(c, WEFT_E_FORMAT, "%" PRIu32 " dimensions; 1 to 4 are expected", n_dims);
    }
    t->n_dims = n_dims;
    t->n_elements = 1;
    for (size_t i = 0; i < 4; i++) {
        t->ne[i] = 1;
        if (i < n_dims) {
            TRY(take_u64(c, &t->ne[i], "a dimension"));
        }
        if (t->ne[i] < 1 || t->ne[i] > MAX_DIM) {
            return fail(c, WEFT_E_FORMAT,
                        "dimension %zu is %" PRIu64 "; 1 to %" PRIu64 " are expected", i, t->ne[i],
                        MAX_DIM);
        }
        if (__builtin_mul_overflow(t->n_elements, t->ne[i], &t->n_elements)) {
            return fail(c, WEFT_E_FORMAT, "the product of its dimensions wraps");
        }
    }
    return WEFT_OK;
}

static weft_status take_tensor(struct cursor *c, struct gguf_tensor *t)
{
    TRY(take_dims(c, t));
    uint32_t id;
    TRY(take_u32(c, &id, "its type"));
    t->type = quant_find(id);
    if (t->type == NULL) {
        const char *name = quant_name(id);
        return name != NULL
                   ? fail(c, WEFT_E_UNSUPPORTED,
                          "its type %s is not supported; requantise the model to Q4_K_M, say", name)
                   : fail(c, WEFT_E_UNSUPPORTED,
                          "its type is number %" PRIu32 ", which the format does not define", id);
    }
    if (t->ne[0] % t->type->block != 0) {
        return fail(c, WEFT_E_FORMAT, "rows of %" PRIu64 " elements, but %s has blocks of %" PRIu32,
                    t->ne[0], t->type->name, t->type->block);
    }
    if (!quant_bytes(t->type, t->n_elements, &t->n_bytes)) {
        return fail(c, WEFT_E_FORMAT, "the size of %" PRIu64 " elements wraps", t->n_elements);
    }
    return take_u64(c, &t->offset, "its offset");
}

static weft_status parse_tensors(struct parse *p)
{
    struct gguf *g = p->g;
    g->tensors = mem_array(g->n_tensors, sizeof *g->tensors);
    p->tensor_at = mem_array(g->n_tensors, sizeof *p->tensor_at);
    p->info_at = mem_array(g->n_tensors, sizeof *p->info_at);
    if (g->tensors == NULL || p->tensor_at == NULL || p->info_at == NULL) {
        return error_nomem(p->c.err, "tensors", g->n_tensors * sizeof *g->tensors);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        p->info_at[i] = p->c.pos;
        TRY(take_name(p, MAX_NAME_BYTES, "tensor", &p->tensor_at[i]));
        TRY(take_tensor(&p->c, &g->tensors[i]));
    }
    return WEFT_OK;
}

static weft_status find_alignment(struct parse *p, uint64_t *out)
{
    const struct gguf_kv *kv = gguf_find(p->g, "general.alignment");
    *out = DEFAULT_ALIGN;
    if (kv == NULL) {
        return WEFT_OK;
    }
    const char *path = gguf_path(p->c.file->path);
    if (kv->type != GGUF_U32) {
        return error_set(p->c.err, WEFT_E_FORMAT,
                         "%s: key 'general.alignment' is %s, but a u32 is expected", path,
                         gguf_type_name(kv->type));
    }
    uint32_t align;
    memcpy(&align, kv->data, sizeof align);
    if (align < MIN_ALIGN || align > MAX_ALIGN || (align & (align - 1)) != 0) {
        return error_set(p->c.err, WEFT_E_FORMAT,
                         "%s: key 'general.alignment' is %" PRIu32
                         "; a power of two from %d to %d is expected",
                         path, align, MIN_ALIGN, MAX_ALIGN);
    }
    *out = align;
    return WEFT_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Refuses tensors that overlap. Offsets and ends are known to lie inside the file, so the sums
 * cannot wrap. */
static weft_status refuse_overlap(struct parse *p)
{
    struct gguf *g = p->g;
    const struct gguf_tensor **order = mem_array(g->n_tensors, sizeof(*order));
    if (order == NULL) {
        return error_nomem(p->c.err, "the order of tensors", g->n_tensors * sizeof(*order));
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        order[i] = &g->tensors[i];
    }
    qsort(order, g->n_tensors, sizeof(*order), by_offset);
    weft_status status = WEFT_OK;
    for (size_t i = 1; i < g->n_tensors && status == WEFT_OK; i++) {
        const struct gguf_tensor *a = order[i - 1];
        const struct gguf_tensor *b = order[i];
        if (a->offset + a->n_bytes > b->offset) {
            status = error_set(p->c.err, WEFT_E_FORMAT,
                               "%s: tensor '%s' (bytes %" PRIu64 " to %" PRIu64
                               " of the data) overlaps tensor '%s' at %" PRIu64,
                               gguf_path(p->c.file->path), a->name, a->offset,
                               a->offset + a->n_bytes, b->name, b->offset);
        }
    }
    free(order);
    return status;
}

/* Ties every tensor to its bytes. */
static weft_status place_tensors(struct parse *p)
{
    struct gguf *g = p->g;
    struct cursor *c = &p->c;
    uint64_t align;
    TRY(find_alignment(p, &align));
    /* pos <= file size <= PTRDIFF_MAX, so the sum cannot wrap */
    uint64_t start = round_up(c->pos, align);
    uint64_t size = start < c->file->n ? c->file->n - start : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        uint64_t end;
        at_name(c, "tensor", t->name, strlen(t->name));
        c->start = p->info_at[i];
        if (t->offset % align != 0) {
            return fail(c, WEFT_E_FORMAT,
                        "its offset %" PRIu64 " is no multiple of the alignment %" PRIu64,
                        t->offset, align);
        }
        if (__builtin_add_overflow(t->offset, t->n_bytes, &end) || end > size) {
            return fail(c, WEFT_E_FORMAT,
                        "its %" PRIu64 " bytes of data at offset %" PRIu64
                        " reach past the end of the data section of %" PRIu64
                        " bytes; the file is truncated or damaged",
                        t->n_bytes, t->offset, size);
        }
        t->data = c->file->data + start + t->offset;
    }
    return refuse_overlap(p);
}

static weft_status wrong_magic(const struct cursor *c)
{
    const uint8_t *m = c->file->data;
    const char *hint = "";
    if (memcmp(m, "lmgg", 4) == 0 || memcmp(m, "tjgg", 4) == 0 || memcmp(m, "fmgg", 4) == 0) {
        hint = "; this is a GGML file from before GGUF, convert the model again";
    } else if (memcmp(m, "vers", 4) == 0) {
        hint = "; it looks like a Git LFS pointer, fetch the real file with `git lfs pull`";
    } else if (m[0] == '<') {
        hint = "; it looks like a web page instead of the download";
    }
    return fail(c, WEFT_E_FORMAT, "the file begins with %02x %02x %02x %02x, not with \"GGUF\"%s",
                (unsigned)m[0], (unsigned)m[1], (unsigned)m[2], (unsigned)m[3], hint);
}

static weft_status parse_header(struct parse *p)
{
    struct cursor *c = &p->c;
    struct gguf *g = p->g;
    at_thing(c, "header");
    if (c->file->n >= 4 && memcmp(c->file->data, "GGUF", 4) != 0) {
        return wrong_magic(c);
    }
    TRY(need(c, HEADER_BYTES, "a header"));
    c->pos = 4;
    TRY(take_u32(c, &g->version, "the version"));
    uint32_t swapped = __builtin_bswap32(g->version);
    if (swapped >= 1 && swapped <= 99) {
        return fail(c, WEFT_E_UNSUPPORTED,
                    "the file is big-endian (version %" PRIu32
                    "); convert it to little-endian with gguf-convert-endian",
                    swapped);
    }
    if (g->version != 2 && g->version != 3) {
        return fail(c, WEFT_E_UNSUPPORTED,
                    "GGUF version %" PRIu32 "; versions 2 and 3 are supported, convert the model "
                    "again",
                    g->version);
    }
    uint64_t n_tensors, n_kv;
    TRY(take_u64(c, &n_tensors, "the number of tensors"));
    TRY(take_u64(c, &n_kv, "the number of keys"));
    if (n_tensors > GGUF_MAX_TENSORS || n_kv > MAX_KEYS) {
        return fail(c, WEFT_E_FORMAT,
                    "%" PRIu64 " tensors and %" PRIu64 " keys; at most %d and %d are allowed",
                    n_tensors, n_kv, GGUF_MAX_TENSORS, MAX_KEYS);
    }
    TRY(need(c, n_kv * MIN_KEY_BYTES + n_tensors * MIN_TENSOR_BYTES, "keys and tensors"));
    g->n_tensors = (size_t)n_tensors;
    g->n_kv = (size_t)n_kv;
    return WEFT_OK;
}

weft_status gguf_judge(void *path, const uint8_t *head, size_t n, weft_error *err)
{
    _Static_assert(HEADER_BYTES <= FILE_HEAD, "a header is among the first bytes");
    const struct file f = { .path = path, .data = head, .n = n };
    struct gguf g = { .version = 0 };
    struct parse p = { .c = { .file = &f, .err = err }, .g = &g };
    return parse_header(&p);
}

static weft_status parse_file(struct parse *p)
{
    struct gguf *g = p->g;
    TRY(parse_header(p));
    TRY(parse_keys(p));
    TRY(parse_tensors(p));
    g->names = p->names.data;
    p->names.data = NULL;
    for (size_t i = 0; i < g->n_kv; i++) {
        g->kv[i].key = g->names + p->kv_at[i];
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        g->tensors[i].name = g->names + p->tensor_at[i];
    }
    TRY(gguf_index(g, false, p->c.err));
    TRY(gguf_index(g, true, p->c.err));
    return place_tensors(p);
}

weft_status gguf_parse(struct gguf *g, weft_error *err)
{
    struct parse p = { .c = { .file = &g->parts[0], .err = err }, .g = g };
    weft_status status = parse_file(&p);
    free(p.names.data);
    free(p.kv_at);
    free(p.tensor_at);
    free(p.info_at);
    return status;
}
