/* Writes GGUF files, version 2 and 3, little-endian; see writer.h. */
#include "synth/writer.h"

#include <string.h>

void writer_init(struct gguf_writer *w)
{
    *w = (struct gguf_writer){ .version = 3, .alignment = 32 };
}

void writer_free(struct gguf_writer *w)
{
    free(w->kv.data);
    free(w->starts.data);
    free(w->infos.data);
    free(w->data.data);
    writer_init(w);
}

static void put(struct gguf_writer *w, struct bytes *b, const void *data, size_t n)
{
    w->nomem = !bytes_add(b, data, n) || w->nomem;
}

static void put_str(struct gguf_writer *w, struct bytes *b, const char *s, size_t n)
{
    uint64_t len = n;
    put(w, b, &len, sizeof len);
    put(w, b, s, n);
}

static void pad(struct gguf_writer *w, struct bytes *b)
{
    static const char zeros[64];
    size_t n = (w->alignment - b->n % w->alignment) % w->alignment;
    for (; n > sizeof zeros; n -= sizeof zeros) {
        put(w, b, zeros, sizeof zeros);
    }
    put(w, b, zeros, n);
}

void writer_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *value, size_t n)
{
    put(w, &w->starts, &w->kv.n, sizeof w->kv.n);
    put_str(w, &w->kv, key, strlen(key));
    put(w, &w->kv, &type, sizeof type);
    put(w, &w->kv, value, n);
    w->n_kv++;
}

static size_t key_start(const struct gguf_writer *w, size_t i)
{
    size_t start = w->kv.n;
    if (i < w->starts.n / sizeof start) {
        memcpy(&start, w->starts.data + i * sizeof start, sizeof start);
    }
    return start;
}

static void drop_at(struct gguf_writer *w, size_t i)
{
    size_t n = w->starts.n / sizeof(size_t), from = key_start(w, i), to = key_start(w, i + 1);
    memmove(w->kv.data + from, w->kv.data + to, w->kv.n - to);
    for (size_t j = i; j + 1 < n; j++) {
        size_t start = key_start(w, j + 1) - (to - from);
        memcpy(w->starts.data + j * sizeof start, &start, sizeof start);
    }
    w->kv.n -= to - from;
    w->starts.n -= sizeof(size_t);
    w->n_kv--;
}

void writer_drop(struct gguf_writer *w, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; !w->nomem && i < w->starts.n / sizeof(size_t); i++) {
        const char *at = w->kv.data + key_start(w, i);
        uint64_t len;
        memcpy(&len, at, sizeof len);
        if (len == n && memcmp(at + sizeof len, key, n) == 0) {
            drop_at(w, i);
            return;
        }
    }
}

void writer_u8(struct gguf_writer *w, const char *key, uint8_t v)
{
    writer_raw(w, key, GGUF_U8, &v, sizeof v);
}

void writer_u16(struct gguf_writer *w, const char *key, uint16_t v)
{
    writer_raw(w, key, GGUF_U16, &v, sizeof v);
}

void writer_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    writer_raw(w, key, GGUF_U32, &v, sizeof v);
}

void writer_i32(struct gguf_writer *w, const char *key, int32_t v)
{
    writer_raw(w, key, GGUF_I32, &v, sizeof v);
}

void writer_u64(struct gguf_writer *w, const char *key, uint64_t v)
{
    writer_raw(w, key, GGUF_U64, &v, sizeof v);
}

void writer_f32(struct gguf_writer *w, const char *key, float v)
{
    writer_raw(w, key, GGUF_F32, &v, sizeof v);
}

void writer_f64(struct gguf_writer *w, const char *key, double v)
{
    writer_raw(w, key, GGUF_F64, &v, sizeof v);
}

void writer_bool(struct gguf_writer *w, const char *key, bool v)
{
    uint8_t byte = v;
    writer_raw(w, key, GGUF_BOOL, &byte, sizeof byte);
}

void writer_str(struct gguf_writer *w, const char *key, const char *s)
{
    writer_raw(w, key, GGUF_STR, NULL, 0);
    put_str(w, &w->kv, s, strlen(s));
}

void writer_array(struct gguf_writer *w, const char *key, uint32_t element, uint64_t n,
                  const void *values, size_t n_bytes)
{
    writer_raw(w, key, GGUF_ARR, &element, sizeof element);
    put(w, &w->kv, &n, sizeof n);
    put(w, &w->kv, values, n_bytes);
}

void writer_strs(struct gguf_writer *w, const char *key, uint64_t n)
{
    writer_array(w, key, GGUF_STR, n, NULL, 0);
}

void writer_add_str(struct gguf_writer *w, const char *s, size_t n) { put_str(w, &w->kv, s, n); }

void writer_info(struct gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *ne,
                 uint32_t type, uint64_t offset)
{
    put_str(w, &w->infos, name, strlen(name));
    put(w, &w->infos, &n_dims, sizeof n_dims);
    put(w, &w->infos, ne, n_dims * sizeof *ne);
    put(w, &w->infos, &type, sizeof type);
    put(w, &w->infos, &offset, sizeof offset);
    w->n_tensors++;
}

void writer_tensor(struct gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *ne,
                   uint32_t type, const void *data, uint64_t n_bytes)
{
    writer_info(w, name, n_dims, ne, type, w->next_offset);
    w->next_offset += round_up(n_bytes, w->alignment);
    if (data != NULL) {
        put(w, &w->data, data, (size_t)n_bytes);
        pad(w, &w->data);
    }
}

weft_status writer_finish(struct gguf_writer *w, struct bytes *out, weft_error *err)
{
    struct bytes b = { 0 };
    put(w, &b, "GGUF", 4);
    put(w, &b, &w->version, sizeof w->version);
    put(w, &b, &w->n_tensors, sizeof w->n_tensors);
    put(w, &b, &w->n_kv, sizeof w->n_kv);
    put(w, &b, w->kv.data, w->kv.n);
    put(w, &b, w->infos.data, w->infos.n);
    pad(w, &b);
    put(w, &b, w->data.data, w->data.n);
    if (w->nomem) {
        free(b.data);
        return error_nomem(err, "a GGUF file", w->kv.n + w->infos.n + w->data.n);
    }
    *out = b;
    return WEFT_OK;
}
