#include "support/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"
#include "synth/writer.h"

struct edits {
    const struct edit *at;
    size_t n;
};

static const struct edit *find(const struct edits *e, const char *name, enum edit_what first,
                               enum edit_what last)
{
    for (size_t i = 0; i < e->n; i++) {
        const struct edit *d = &e->at[i];
        if (d->name != NULL && d->what >= first && d->what <= last && strcmp(d->name, name) == 0) {
            return d;
        }
    }
    return NULL;
}

static const struct edit *key_edit(const struct edits *e, const char *key)
{
    return find(e, key, EDIT_KEY_DROP, EDIT_KEY_ARRAY);
}

static const struct edit *tensor_edit(const struct edits *e, const char *name)
{
    return find(e, name, EDIT_TENSOR_DROP, EDIT_TENSOR_FILL);
}

static size_t scalar_bytes(enum gguf_type t)
{
    static const uint8_t bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return bytes[t];
}

static void put_typed_key(struct gguf_writer *w, const char *key, enum gguf_type type)
{
    const uint8_t number[8] = { type == GGUF_BOOL ? 1 : 8 }, nothing[8] = { 0 };
    if (type == GGUF_ARR) {
        writer_array(w, key, GGUF_U32, 0, nothing, 0);
    } else {
        bool text = type == GGUF_STR;
        writer_raw(w, key, type, text ? nothing : number,
                   text ? sizeof nothing : scalar_bytes(type));
    }
}

static void put_edited_key(struct gguf_writer *w, const struct edit *e)
{
    switch (e->what) {
    case EDIT_KEY_U32: writer_u32(w, e->name, e->u); break;
    case EDIT_KEY_F32: writer_f32(w, e->name, e->f); break;
    case EDIT_KEY_STR: writer_str(w, e->name, e->s); break;
    case EDIT_KEY_TYPE: put_typed_key(w, e->name, (enum gguf_type)e->u); break;
    case EDIT_KEY_ARRAY:
        writer_array(w, e->name, e->u, e->ne[0], e->values,
                     (size_t)e->ne[0] * scalar_bytes((enum gguf_type)e->u));
        break;
    default: break;
    }
}

static void copy_key(struct gguf_writer *w, const struct gguf_kv *kv)
{
    if (kv->type == GGUF_STR) {
        struct bytes b = { 0 };
        uint64_t n = kv->strs[0].n;
        assert_true(bytes_add(&b, &n, sizeof n) && bytes_add(&b, kv->strs[0].s, kv->strs[0].n));
        writer_raw(w, kv->key, GGUF_STR, b.data, b.n);
        free(b.data);
    } else if (kv->type != GGUF_ARR) {
        writer_raw(w, kv->key, kv->type, kv->data, scalar_bytes(kv->type));
    } else if (kv->element != GGUF_STR) {
        writer_array(w, kv->key, kv->element, kv->n, kv->data, kv->n * scalar_bytes(kv->element));
    } else {
        writer_strs(w, kv->key, kv->n);
        for (size_t i = 0; i < kv->n; i++) {
            writer_add_str(w, kv->strs[i].s, kv->strs[i].n);
        }
    }
}

/* Adds a tensor of this shape and type: all elements are `fill` if it is F32, and all bytes are
 * zero otherwise. */
static void put_tensor(struct gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *ne,
                       uint32_t type, float fill)
{
    uint64_t n = ne[0] * (n_dims > 1 ? ne[1] : 1), n_bytes;
    assert_true(quant_bytes(quant_find(type), n, &n_bytes));
    uint8_t *data = calloc(1, (size_t)n_bytes);
    assert_non_null(data);
    for (uint64_t i = 0; type == QUANT_F32 && i < n; i++) {
        memcpy(data + i * sizeof fill, &fill, sizeof fill);
    }
    writer_tensor(w, name, n_dims, ne, type, data, n_bytes);
    free(data);
}

static uint32_t dims_of(const uint64_t *ne) { return ne[1] > 0 ? 2 : 1; }

static void edit_tensor(struct gguf_writer *w, const struct gguf_tensor *t, const struct edit *e)
{
    uint32_t n_dims = (uint32_t)t->n_dims;
    if (e == NULL) {
        writer_tensor(w, t->name, n_dims, t->ne, t->type->id, t->data, t->n_bytes);
    } else if (e->what == EDIT_TENSOR_SHAPE) {
        put_tensor(w, t->name, dims_of(e->ne), e->ne, QUANT_F32, 0.0f);
    } else if (e->what == EDIT_TENSOR_TYPE) {
        put_tensor(w, t->name, n_dims, t->ne, e->u, 0.0f);
    } else if (e->what == EDIT_TENSOR_FILL) {
        put_tensor(w, t->name, n_dims, t->ne, QUANT_F32, e->f);
    }
}

static void put_all(struct gguf_writer *w, const struct gguf *g, const struct edits *e)
{
    bool no_tensors = false;
    for (size_t i = 0; i < g->n_kv; i++) {
        if (key_edit(e, g->kv[i].key) == NULL) {
            copy_key(w, &g->kv[i]);
        }
    }
    for (size_t i = 0; i < e->n; i++) {
        put_edited_key(w, &e->at[i]);
        no_tensors = no_tensors || e->at[i].what == EDIT_ALL_TENSORS_DROP;
    }
    for (size_t i = 0; !no_tensors && i < g->n_tensors; i++) {
        edit_tensor(w, &g->tensors[i], tensor_edit(e, g->tensors[i].name));
    }
    for (size_t i = 0; i < e->n; i++) {
        const uint64_t *ne = e->at[i].ne;
        if (e->at[i].what == EDIT_TENSOR_NEW && e->at[i].values != NULL) {
            writer_tensor(w, e->at[i].name, dims_of(ne), ne, QUANT_F32, e->at[i].values,
                          ne[0] * (ne[1] > 0 ? ne[1] : 1) * sizeof(float));
        } else if (e->at[i].what == EDIT_TENSOR_NEW) {
            put_tensor(w, e->at[i].name, dims_of(ne), ne, QUANT_F32, 0.0f);
        }
    }
}

void edit_model(const char *from, const char *to, const struct edit *edits, size_t n)
{
    const struct edits e = { edits, n };
    struct gguf *g;
    struct gguf_writer w;
    struct bytes out = { 0 };
    weft_error err;
    if (gguf_open(from, true, &g, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    writer_init(&w);
    put_all(&w, g, &e);
    assert_int_equal(writer_finish(&w, &out, &err), WEFT_OK);
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(out.data, 1, out.n, f), out.n);
    assert_int_equal(fclose(f), 0);
    free(out.data);
    writer_free(&w);
    gguf_close(g);
}
