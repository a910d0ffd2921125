/* Values from JSON. */
#include "text/jinja_run.h"
#include "text/jinja_tables.h"

struct reader {
    struct jwork *w;
    const struct jinja_params *params; /* NULL: `who` wrote all strings */
    uint8_t who;
    bool copies; /* strings are copied */
    size_t depth;
};

static struct jval read_value(struct reader *r, const json_t *value);

static struct jval read_string(const struct reader *r, const char *s, size_t n, uint8_t who)
{
    if (n > UINT32_MAX) {
        jfail(r->w, JINJA_LIMIT, "a string of more than 4 GiB");
    }
    struct jval v = { .kind = J_STR, .who = who, .s = s, .n = (uint32_t)n };
    if (r->copies) {
        struct jbuf b = { .w = r->w };
        jbuf_str(&b, v);
        v = jbuf_take(&b);
        v.who = who;
    }
    return v;
}

/* Returns who wrote a string. */
static uint8_t writer_of(const struct reader *r, const json_t *string)
{
    for (size_t i = 0; r->params != NULL && i < r->params->n_writers; i++) {
        if (r->params->writers[i].string == string) {
            return r->params->writers[i].who;
        }
    }
    return r->who;
}

static struct jval read_array(struct reader *r, const json_t *value)
{
    struct jval out = jlist_new(r->w, J_LIST, json_array_size(value));
    for (size_t i = 0; i < json_array_size(value); i++) {
        jlist_add(r->w, out.list, read_value(r, json_array_get(value, i)));
    }
    return out;
}

static struct jval read_object(struct reader *r, const json_t *value)
{
    struct jval out = jdict_new(r->w, J_DICT);
    void *it = json_object_iter((json_t *)value);
    for (; it != NULL; it = json_object_iter_next((json_t *)value, it)) {
        const char *key = json_object_iter_key(it);
        struct jval name = read_string(r, key, json_object_iter_key_len(it), r->who);
        jdict_set(r->w, out.dict, name, read_value(r, json_object_iter_value(it)));
    }
    return out;
}

static struct jval read_nested(struct reader *r, const json_t *value)
{
    if (r->depth++ == JINJA_MAX_DEPTH) {
        jfail(r->w, JINJA_LIMIT, "a value whose lists and objects are nested deeper than %d",
              JINJA_MAX_DEPTH);
    }
    struct jval v = json_is_array(value) ? read_array(r, value) : read_object(r, value);
    r->depth--;
    return v;
}

static struct jval read_value(struct reader *r, const json_t *value)
{
    struct jval v = jnone();
    switch (json_typeof(value)) {
    case JSON_NULL: break;
    case JSON_TRUE:
    case JSON_FALSE: v = jbool(json_is_true(value)); break;
    case JSON_INTEGER: v = jint(json_integer_value(value)); break;
    case JSON_REAL: v = jfloat(json_real_value(value)); break;
    case JSON_STRING:
        return read_string(r, json_string_value(value), json_string_length(value),
                           writer_of(r, value));
    default: return read_nested(r, value);
    }
    v.who = r->who;
    return v;
}

struct jval jvalue_of(struct jwork *w, const json_t *value, uint8_t who,
                      const struct jinja_params *params)
{
    struct reader r = { .w = w, .params = params, .who = who };
    return read_value(&r, value);
}

struct jval jvalue_copy(struct jwork *w, const json_t *value, uint8_t who)
{
    struct reader r = { .w = w, .who = who, .copies = true };
    return read_value(&r, value);
}
