/* weft inspect --json: writes everything as one object. A GGUF string may hold any bytes, but JSON
 * may not, so bytes that are not UTF-8 become U+FFFD and are counted in "replaced". */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weft/inspect.h"
#include "weft/jsonl.h"
#include "weft/term.h"

struct json_state {
    const struct inspection *in;
    size_t replaced; /* parts of strings that were not UTF-8 */
    int code;
};

/* jansson accepts NULL values and then fails, so only the root has to be checked. */
static json_t *text(struct json_state *s, const char *data, size_t n)
{
    struct bytes clean = { 0 };
    size_t bad = 0;
    json_t *j =
        io_utf8(data, n, &clean, &bad) ? json_stringn(n > 0 ? clean.data : "", clean.n) : NULL;
    s->replaced += bad;
    bytes_free(&clean);
    return j;
}

static json_t *c_text(struct json_state *s, const char *t) { return text(s, t, strlen(t)); }

/* A u64 that does not fit into signed 64 bits becomes a string, because many JSON readers cannot
 * hold it. */
static json_t *number(uint64_t n)
{
    char digits[24];
    if (n <= INT64_MAX) {
        return json_integer((json_int_t)n);
    }
    snprintf(digits, sizeof digits, "%" PRIu64, n);
    return json_string(digits);
}

static json_t *element(struct json_state *s, size_t i, size_t j, const char *type,
                       struct bytes *value)
{
    int64_t whole;
    value->n = 0;
    s->code = inspect_value(s->in, i, j, value);
    if (s->code != EXIT_OK) {
        return NULL;
    }
    const char *data = value->n > 0 ? value->data : "";
    if (*type == 'b') {
        return json_boolean(strcmp(data, "true") == 0);
    }
    if ((*type == 'u' || *type == 'i') && args_int(data, &whole)) {
        return json_integer(whole);
    }
    /* JSON has no nan and no inf, so they stay words. */
    if (*type == 'f' && isfinite(strtod(data, NULL))) {
        return json_real(strtod(data, NULL));
    }
    return text(s, data, value->n);
}

static json_t *array(struct json_state *s, size_t i, const weft_key_info *k)
{
    struct bytes value = { 0 };
    size_t shown = s->in->o->full ? k->n : size_min(k->n, SHORT_ARRAY);
    json_t *list = json_array();
    for (size_t j = 0; j < shown && list != NULL; j++) {
        jsonl_append(&list, element(s, i, j, k->element, &value));
    }
    bytes_free(&value);
    return s->in->o->full ? list : json_pack("{s:o, s:o}", "n", number(k->n), "first", list);
}

static json_t *key(struct json_state *s, size_t i, const weft_key_info *k)
{
    struct bytes value = { 0 };
    json_t *j = NULL;
    if (strcmp(k->type, "arr") == 0) {
        j = json_pack("{s:s, s:s, s:o}", "type", "arr", "element", k->element, "value",
                      array(s, i, k));
    } else {
        j = json_pack("{s:s, s:o}", "type", k->type, "value", element(s, i, 0, k->type, &value));
    }
    bytes_free(&value);
    return j;
}

static json_t *metadata(struct json_state *s)
{
    json_t *all = json_object();
    for (size_t i = 0; i < weft_file_n_keys(s->in->file) && all != NULL; i++) {
        weft_key_info k;
        struct bytes name = { 0 };
        size_t bad = 0;
        bool ok = weft_file_key(s->in->file, i, &k, NULL) == WEFT_OK &&
                  io_utf8(k.name, strlen(k.name), &name, &bad);
        jsonl_set(&all, name.n > 0 ? name.data : "", ok ? key(s, i, &k) : NULL);
        s->replaced += bad;
        bytes_free(&name);
    }
    return all;
}

static json_t *unknown_keys(struct json_state *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < weft_file_n_keys(s->in->file) && all != NULL; i++) {
        weft_key_info k;
        if (inspect_unknown(s->in, i) && weft_file_key(s->in->file, i, &k, NULL) == WEFT_OK) {
            jsonl_append(&all, c_text(s, k.name));
        }
    }
    return all;
}

static json_t *warnings(struct json_state *s)
{
    const struct bytes *b = &s->in->warnings;
    json_t *all = json_array();
    for (size_t at = 0; at < b->n && all != NULL; at += strlen(b->data + at) + 1) {
        jsonl_append(&all, c_text(s, b->data + at));
    }
    return all;
}

static json_t *tensors(struct json_state *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < weft_file_n_tensors(s->in->file) && all != NULL; i++) {
        weft_tensor_info t;
        json_t *one = NULL;
        if (weft_file_tensor(s->in->file, i, &t, NULL) == WEFT_OK) {
            json_t *shape = json_array();
            for (size_t d = 0; d < t.n_dims; d++) {
                jsonl_append(&shape, number(t.shape[d]));
            }
            one = json_pack("{s:o, s:s, s:o, s:o, s:o, s:o}", "name", c_text(s, t.name), "type",
                            t.type, "shape", shape, "bytes", number(t.n_bytes), "offset",
                            number(t.offset), "part", number(t.part));
        }
        jsonl_append(&all, one);
    }
    return all;
}

static json_t *totals(const struct inspection *in)
{
    json_t *all = json_object();
    for (size_t i = 0; i < in->n_totals; i++) {
        const struct type_total *t = &in->totals[i];
        jsonl_set(&all, t->type,
                  json_pack("{s:o, s:o, s:o}", "tensors", number(t->n_tensors), "elements",
                            number(t->n_elements), "bytes", number(t->n_bytes)));
    }
    return all;
}

int inspect_print_json(const struct inspection *in)
{
    struct json_state s = { .in = in };
    const weft_file *f = in->file;
    json_t *root =
        json_pack("{s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "file", c_text(&s, in->path),
                  "version", (int)weft_file_version(f), "parts", number(weft_file_n_parts(f)),
                  "bytes", number(weft_file_bytes(f)), "metadata", metadata(&s), "unknown_keys",
                  unknown_keys(&s), "tensors", tensors(&s), "types", totals(in));
    if (in->checked) {
        jsonl_set(&root, "check",
                  json_pack("{s:b, s:o, s:o}", "ok", in->check_code == EXIT_OK, "message",
                            c_text(&s, in->check_text), "warnings", warnings(&s)));
    }
    jsonl_set(&root, "replaced", number(s.replaced));
    int code = s.code;
    if (code == EXIT_OK) {
        code = jsonl_dump(NULL, stdout, root, JSON_INDENT(2));
    }
    json_decref(root);
    if (code != EXIT_OK) {
        return code;
    }
    putchar('\n');
    return io_flush();
}
