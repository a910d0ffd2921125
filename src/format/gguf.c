/* An opened GGUF model file: look-up by name, and joining the parts of a split model into one list
 * of tensors. gguf_parse.c parses the bytes, gguf_get.c converts values. */
#include "format/gguf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "format/gguf_parse.h"

/* "-00001-of-00003.gguf", as gguf-split of llama.cpp writes it. */
#define SUFFIX_BYTES 20

/* The end of a long path says more than its beginning, and a message must not be all path. */
const char *gguf_path(const char *path)
{
    size_t n = strlen(path);
    if (n <= 160) {
        return path;
    }
    return utf8_start(path + n - 160);
}

/* Allocates two to four slots per name; the number of slots is a power of two. */
static weft_status index_alloc(size_t n, uint32_t **index, size_t *slots, weft_error *err)
{
    size_t want = 16;
    while (want < 2 * n) {
        want *= 2;
    }
    *index = mem_array(want, sizeof **index);
    if (*index == NULL) {
        return error_nomem(err, "an index of names", want * sizeof **index);
    }
    *slots = want;
    return WEFT_OK;
}

/* Lets one loop serve both tables: entry i is seen only through its name. */
static const char *name_at(const struct gguf *g, bool tensors, size_t i)
{
    return tensors ? g->tensors[i].name : g->kv[i].key;
}

static size_t home_of(const struct gguf *g, const char *name, size_t slots)
{
    return (size_t)hash_bytes(&g->seed, name, strlen(name)) & (slots - 1);
}

weft_status gguf_index(struct gguf *g, bool tensors, weft_error *err)
{
    uint32_t **index = tensors ? &g->tensor_index : &g->kv_index;
    size_t *slots = tensors ? &g->tensor_slots : &g->kv_slots;
    const char *kind = tensors ? "tensor" : "key";
    size_t n = tensors ? g->n_tensors : g->n_kv;
    free(*index);
    TRY(index_alloc(n, index, slots, err));
    for (size_t i = 0; i < n; i++) {
        const char *name = name_at(g, tensors, i);
        size_t slot = home_of(g, name, *slots);
        for (; (*index)[slot] != 0; slot = (slot + 1) & (*slots - 1)) {
            if (strcmp(name_at(g, tensors, (*index)[slot] - 1), name) == 0) {
                return error_set(err, WEFT_E_FORMAT,
                                 "%s: %s '%.72s' is there twice (number %u and %zu)",
                                 gguf_path(g->parts[0].path), kind, name, (*index)[slot], i + 1);
            }
        }
        (*index)[slot] = (uint32_t)(i + 1);
    }
    return WEFT_OK;
}

/* Returns the number of the entry plus 1; 0 if there is none. */
static uint32_t index_find(const struct gguf *g, bool tensors, const char *name)
{
    const uint32_t *index = tensors ? g->tensor_index : g->kv_index;
    size_t slots = tensors ? g->tensor_slots : g->kv_slots;
    size_t slot = home_of(g, name, slots);
    while (index[slot] != 0 && strcmp(name_at(g, tensors, index[slot] - 1), name) != 0) {
        slot = (slot + 1) & (slots - 1);
    }
    return index[slot];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t i = index_find(g, false, key);
    return i > 0 ? &g->kv[i - 1] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    uint32_t i = index_find(g, true, name);
    return i > 0 ? &g->tensors[i - 1] : NULL;
}

void gguf_forget(const struct gguf *g, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < g->n_parts; i++) {
        file_forget(&g->parts[i], p, n);
    }
}

weft_status gguf_read(const struct gguf *g, const uint8_t *p, size_t n, void *dst, weft_error *err)
{
    size_t i = 0;
    while (i + 1 < g->n_parts && !(p >= g->parts[i].data && p < g->parts[i].data + g->parts[i].n)) {
        i++;
    }
    return file_read(&g->parts[i], p, n, dst, err);
}

void gguf_close(struct gguf *g)
{
    if (g == NULL) {
        return;
    }
    for (size_t i = 0; g->kv != NULL && i < g->n_kv; i++) {
        free(g->kv[i].strs);
    }
    for (size_t i = 0; g->parts != NULL && i < g->n_parts; i++) {
        file_close(&g->parts[i]);
    }
    free(g->kv);
    free(g->tensors);
    free(g->parts);
    free(g->names);
    free(g->kv_index);
    free(g->tensor_index);
    free(g);
}

weft_status gguf_check(const struct gguf *g, weft_error *err)
{
    for (size_t i = 0; i < g->n_parts; i++) {
        TRY(file_check(&g->parts[i], err));
    }
    return WEFT_OK;
}

/* Opens one file by itself, whether it is a whole model or a part of one. */
static weft_status open_one(const char *path, bool use_mmap, struct gguf **out, weft_error *err)
{
    struct gguf *g = mem_array(1, sizeof *g);
    struct file *parts = mem_array(1, sizeof *parts);
    if (g == NULL || parts == NULL) {
        free(g);
        free(parts);
        return error_nomem(err, "a file", sizeof *g + sizeof *parts);
    }
    g->parts = parts;
    g->seed = hash_seed_draw();
    const struct file_how how = { .use_mmap = use_mmap,
                                  .judge = gguf_judge,
                                  .user = (char *)(uintptr_t)path };
    weft_status status = file_open(path, &how, &g->parts[0], err);
    if (status == WEFT_OK) {
        g->n_parts = 1;
        g->n_bytes = g->parts[0].n;
        status = gguf_parse(g, err);
    }
    if (status != WEFT_OK) {
        gguf_close(g);
        return status;
    }
    *out = g;
    return WEFT_OK;
}

struct split {
    /* The number of this part, the count of parts, and the tensors of all parts together. */
    uint32_t no, count, n_tensors;
};

static weft_status read_split_keys(const struct gguf *g, struct split *s, weft_error *err)
{
    *s = (struct split){ .count = 0 };
    TRY(gguf_opt_u32(g, "split.count", &s->count, err));
    if (s->count <= 1) {
        return WEFT_OK;
    }
    TRY(gguf_get_u32(g, "split.no", &s->no, err));
    return gguf_get_u32(g, "split.tensors.count", &s->n_tensors, err);
}

static weft_status read_split(const struct gguf *g, struct split *s, weft_error *err)
{
    weft_status status = read_split_keys(g, s, err);
    return status == WEFT_OK ? status : error_prefix(err, status, gguf_path(g->parts[0].path));
}

/* Turns path[n] into the path of part `no`, whose suffix has the same length. */
static void name_part(char *path, size_t n, uint32_t no, uint32_t count)
{
    char suffix[SUFFIX_BYTES + 1];
    snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", (no + 1) % 100000, count % 100000);
    memcpy(path + n - SUFFIX_BYTES, suffix, SUFFIX_BYTES);
}

/* Returns true if the path is named as part s->no of s->count must be. */
static bool named_as(const char *path, const struct split *s)
{
    size_t n = strlen(path);
    char *want = n > SUFFIX_BYTES ? strdup(path) : NULL;
    if (want == NULL) {
        return false;
    }
    name_part(want, n, s->no, s->count);
    bool same = strcmp(want, path) == 0;
    free(want);
    return same;
}

static weft_status not_first(const char *path, const struct split *s, weft_error *err)
{
    char *first = named_as(path, s) ? strdup(path) : NULL;
    if (first != NULL) {
        name_part(first, strlen(first), 0, s->count);
    }
    weft_status status =
        error_set(err, WEFT_E_ARG, "%s is part %u of %u of a split model; open the first part%s%s",
                  gguf_path(path), s->no + 1, s->count, first != NULL ? " instead: " : "",
                  first != NULL ? gguf_path(first) : "");
    free(first);
    return status;
}

/* Opens part `no` and checks that it agrees with the first part. */
static weft_status open_part(const char *path, bool use_mmap, const struct split *first,
                             uint32_t no, struct gguf **out, weft_error *err)
{
    weft_status status = open_one(path, use_mmap, out, err);
    if (status == WEFT_E_IO && err != NULL) {
        char which[64];
        snprintf(which, sizeof which, "part %u of %u of a split model", no + 1, first->count);
        return error_prefix(err, status, which);
    }
    TRY(status);
    struct split s;
    TRY(read_split(*out, &s, err));
    if (s.no != no || s.count != first->count || s.n_tensors != first->n_tensors) {
        return error_set(
            err, WEFT_E_FORMAT,
            "%s says it is part %u of %u with %u tensors in all, but part %u of %u with "
            "%u is expected; the parts are of different models",
            gguf_path(path), s.no + 1, s.count, s.n_tensors, no + 1, first->count,
            first->n_tensors);
    }
    return WEFT_OK;
}

/* Returns the bytes of the names of all tensors, NULs included. */
static size_t tensor_name_bytes(const struct gguf *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        n += strlen(g->tensors[i].name) + 1;
    }
    return n;
}

/* Moves the tensors and the file of every part into the first one. The names move to new memory. */
static weft_status join(struct gguf **part, const struct split *s, weft_error *err)
{
    struct gguf *g = part[0];
    size_t n_tensors = 0;
    size_t name_bytes = 0;
    for (size_t i = 0; i < g->n_kv; i++) {
        name_bytes += strlen(g->kv[i].key) + 1;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        n_tensors += part[i]->n_tensors;
        name_bytes += tensor_name_bytes(part[i]);
    }
    if (n_tensors != s->n_tensors || n_tensors > GGUF_MAX_TENSORS) {
        return error_set(
            err, WEFT_E_FORMAT,
            "%s: the %u parts have %zu tensors, but split.tensors.count is %u (at most "
            "%d)",
            gguf_path(g->parts[0].path), s->count, n_tensors, s->n_tensors, GGUF_MAX_TENSORS);
    }
    struct gguf_tensor *tensors = mem_array(n_tensors, sizeof *tensors);
    struct file *parts = mem_array(s->count, sizeof *parts);
    char *names = mem_array(name_bytes, 1);
    if (tensors == NULL || parts == NULL || names == NULL) {
        free(tensors);
        free(parts);
        free(names);
        return error_nomem(err, "the parts of a split model", n_tensors * sizeof *tensors);
    }
    char *to = names;
    for (size_t i = 0; i < g->n_kv; i++) {
        g->kv[i].key = strcpy(to, g->kv[i].key);
        to += strlen(to) + 1;
    }
    size_t t = 0;
    g->n_bytes = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        for (size_t j = 0; j < part[i]->n_tensors; j++, t++) {
            tensors[t] = part[i]->tensors[j];
            tensors[t].part = i;
            tensors[t].name = strcpy(to, tensors[t].name);
            to += strlen(to) + 1;
        }
        parts[i] = part[i]->parts[0];
        g->n_bytes += parts[i].n;
        part[i]->n_parts = 0;
    }
    free(g->tensors);
    free(g->parts);
    free(g->names);
    g->tensors = tensors;
    g->n_tensors = n_tensors;
    g->parts = parts;
    g->n_parts = s->count;
    g->names = names;
    return gguf_index(g, true, err);
}

/* Opens the other parts of *g, whose first part is open, and joins them into it. */
static weft_status open_split(struct gguf *g, const struct split *s, bool use_mmap, weft_error *err)
{
    const char *path = g->parts[0].path;
    if (s->no != 0) {
        return not_first(path, s, err);
    }
    if (!named_as(path, s)) {
        return error_set(err, WEFT_E_ARG,
                         "%s is the first of %u parts of a split model, but is not called "
                         "...-00001-of-%05u.gguf; give the parts their original names",
                         gguf_path(path), s->count, s->count);
    }
    struct gguf **part = mem_array(s->count, sizeof(*part));
    char *name = strdup(path);
    weft_status status = part == NULL || name == NULL
                             ? error_nomem(err, "parts", s->count * sizeof(*part))
                             : WEFT_OK;
    if (status == WEFT_OK) {
        part[0] = g;
    }
    for (uint32_t i = 1; status == WEFT_OK && i < s->count; i++) {
        name_part(name, strlen(name), i, s->count);
        status = open_part(name, use_mmap, s, i, &part[i], err);
    }
    if (status == WEFT_OK) {
        status = join(part, s, err);
    }
    for (uint32_t i = 1; part != NULL && i < s->count; i++) {
        gguf_close(part[i]);
    }
    free(part);
    free(name);
    return status;
}

weft_status gguf_open(const char *path, bool use_mmap, struct gguf **out, weft_error *err)
{
    struct gguf *g = NULL;
    struct split s;
    TRY(open_one(path, use_mmap, &g, err));
    weft_status status = read_split(g, &s, err);
    if (status == WEFT_OK && s.count > 1) {
        status = s.count <= 99999 ? open_split(g, &s, use_mmap, err)
                                  : error_set(err, WEFT_E_FORMAT,
                                              "%s: split.count is %u; at most 99999 is expected",
                                              gguf_path(path), s.count);
    }
    if (status != WEFT_OK) {
        gguf_close(g);
        return status;
    }
    *out = g;
    return WEFT_OK;
}
