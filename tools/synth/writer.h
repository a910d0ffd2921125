/* Builds GGUF files in memory, key by key and tensor by tensor. It checks nothing, so that tests
 * can also write what no honest writer would: the counts and the version are plain fields, and raw
 * bytes go in anywhere. */
#ifndef SYNTH_WRITER_H
#define SYNTH_WRITER_H

#include "base/error.h"
#include "base/mem.h"
#include "format/gguf.h"

struct gguf_writer {
    uint32_t version; /* 3 */
    /* Of tensor data. The caller adds the key general.alignment. */
    uint32_t alignment;
    /* Counted; they may be overwritten before writer_finish. */
    uint64_t n_kv, n_tensors;
    uint64_t next_offset; /* where the data of the next tensor begins */
    struct bytes kv, infos, data;
    struct bytes starts; /* size_t: where each key begins in `kv` */
    bool nomem;          /* an addition failed; writer_finish reports it */
};

void writer_init(struct gguf_writer *w);
void writer_free(struct gguf_writer *w);

void writer_u8(struct gguf_writer *w, const char *key, uint8_t v);
void writer_u16(struct gguf_writer *w, const char *key, uint16_t v);
void writer_u32(struct gguf_writer *w, const char *key, uint32_t v);
void writer_i32(struct gguf_writer *w, const char *key, int32_t v);
void writer_u64(struct gguf_writer *w, const char *key, uint64_t v);
void writer_f32(struct gguf_writer *w, const char *key, float v);
void writer_f64(struct gguf_writer *w, const char *key, double v);
void writer_bool(struct gguf_writer *w, const char *key, bool v);
void writer_str(struct gguf_writer *w, const char *key, const char *s);
/* Adds a key with its type and n raw bytes as its value. */
void writer_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *value, size_t n);
/* Adds an array of n numbers in n_bytes bytes. */
void writer_array(struct gguf_writer *w, const char *key, uint32_t element, uint64_t n,
                  const void *values, size_t n_bytes);
/* Begins an array of n strings; n calls of writer_add_str must follow. */
void writer_strs(struct gguf_writer *w, const char *key, uint64_t n);
void writer_add_str(struct gguf_writer *w, const char *s, size_t n);

/* Removes a key of that name with its value, if there is one. */
void writer_drop(struct gguf_writer *w, const char *key);

/* Describes a tensor of n_bytes at the next offset. If data is NULL, the caller writes the bytes
 * behind the header itself. */
void writer_tensor(struct gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *ne,
                   uint32_t type, const void *data, uint64_t n_bytes);
/* Adds only the description, with any offset. */
void writer_info(struct gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *ne,
                 uint32_t type, uint64_t offset);

/* Writes the file to *out: header, keys, descriptions, padding, and the data given so far, each
 * tensor padded. */
weft_status writer_finish(struct gguf_writer *w, struct bytes *out, weft_error *err);

#endif
