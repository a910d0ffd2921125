/* Honest models as the bytes of their files, some of them split, and the places of the numbers that
 * a forger would change. */
#ifndef FUZZ_PARTS_H
#define FUZZ_PARTS_H

#include "fuzz_engine.h"
#include "synth/writer.h"

enum { FUZZ_MAX_PARTS = 3, FUZZ_MAX_PLACES = 512 };

/* A number of n bytes. */
struct fuzz_place {
    size_t at;
    uint8_t n;
};

struct fuzz_part {
    struct bytes file;
    size_t n_head; /* bytes before the tensors' data */
    struct fuzz_place places[FUZZ_MAX_PLACES];
    size_t n_places;
};

struct fuzz_parts {
    struct fuzz_part at[FUZZ_MAX_PARTS];
    size_t n;
};

static inline void fuzz_add_place(struct fuzz_part *p, size_t at, size_t n)
{
    if (p->n_places < FUZZ_MAX_PLACES) {
        p->places[p->n_places++] = (struct fuzz_place){ at, (uint8_t)n };
    }
}

/* Returns where the description of a tensor begins, with the length of its name. */
static inline size_t fuzz_info(const struct bytes *file, const char *name)
{
    char text[80];
    uint64_t n = strlen(name);
    MUST(n < sizeof text - sizeof n);
    memcpy(text, &n, sizeof n);
    memcpy(text + sizeof n, name, n);
    const char *at = memmem(file->data, file->n, text, sizeof n + n);
    MUST(at != NULL);
    return (size_t)(at - file->data);
}

/* Finds all scalars among the keys, the counts of the header, and all numbers of all tensors. */
static inline void fuzz_find_places(struct fuzz_part *p, const struct gguf *g, size_t part)
{
    static const uint8_t sizes[GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    for (size_t at = 8; at < 24; at += 8) {
        fuzz_add_place(p, at, 8);
    }
    for (size_t i = 0; i < g->n_kv && part == 0; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        if (kv->type < GGUF_N_TYPES && sizes[kv->type] > 0) {
            fuzz_add_place(p, (size_t)(kv->data - g->parts[0].data), sizes[kv->type]);
        }
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (t->part == part) {
            size_t at = fuzz_info(&p->file, t->name) + 8 + strlen(t->name);
            size_t data = (size_t)(t->data - g->parts[part].data);
            for (size_t k = 0; k < t->n_dims + 3; k++) {
                size_t n = k == 0 || k == t->n_dims + 1 ? 4 : 8;
                fuzz_add_place(p, at, n);
                at += n;
            }
            p->n_head = data < p->n_head ? data : p->n_head;
        }
    }
}

/* Makes part `no` of `count` parts of the model g. The first part has the keys; each part has every
 * count-th tensor. */
static inline void fuzz_cut(const struct gguf *g, const struct bytes *whole, size_t no,
                            size_t count, struct bytes *out)
{
    struct gguf_writer w;
    writer_init(&w);
    if (no == 0) {
        MUST(bytes_add(&w.kv, whole->data + 24, fuzz_info(whole, g->tensors[0].name) - 24));
        w.n_kv = g->n_kv;
    }
    writer_u16(&w, "split.no", (uint16_t)no);
    writer_u16(&w, "split.count", (uint16_t)count);
    writer_i32(&w, "split.tensors.count", (int32_t)g->n_tensors);
    for (size_t i = no; i < g->n_tensors; i += count) {
        const struct gguf_tensor *t = &g->tensors[i];
        writer_tensor(&w, t->name, (uint32_t)t->n_dims, t->ne, t->type->id, t->data, t->n_bytes);
    }
    MUST(writer_finish(&w, out, NULL) == WEFT_OK);
    writer_free(&w);
}

/* Makes the path of a part; the parts differ in one digit. */
static inline void fuzz_part_path(const char *directory, size_t no, size_t count, char *path)
{
    snprintf(path, 64, count == 1 ? "%s/m.gguf" : "%s/m-%05zu-of-%05zu.gguf", directory, no + 1,
             count);
}

static inline void fuzz_write(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    MUST(f != NULL && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static inline void fuzz_parts_open(const struct synth_spec *spec, size_t count,
                                   const char *directory, struct fuzz_parts *out)
{
    struct bytes whole = { 0 };
    struct gguf *g = NULL;
    char path[64];
    *out = (struct fuzz_parts){ .n = count };
    MUST(fuzz_model_bytes(spec, &whole));
    if (count > 1) {
        fuzz_part_path(directory, 0, 1, path);
        fuzz_write(path, whole.data, whole.n);
        MUST(gguf_open(path, false, &g, NULL) == WEFT_OK);
        unlink(path);
        for (size_t i = 0; i < count; i++) {
            fuzz_cut(g, &whole, i, count, &out->at[i].file);
        }
        gguf_close(g);
        free(whole.data);
    } else {
        out->at[0].file = whole;
    }
    for (size_t i = count; i-- > 0;) {
        fuzz_part_path(directory, i, count, path);
        fuzz_write(path, out->at[i].file.data, out->at[i].file.n);
        out->at[i].n_head = out->at[i].file.n;
    }
    MUST(gguf_open(path, false, &g, NULL) == WEFT_OK);
    for (size_t i = 0; i < count; i++) {
        fuzz_find_places(&out->at[i], g, i);
    }
    gguf_close(g);
}

#endif
