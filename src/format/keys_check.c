/* Refuses files with a key that changes what is computed and is not obeyed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/keys.h"

/* A value and what it is compared with. */
struct check {
    const struct gguf_kv *kv;
    const struct key_rule *rule;
    const struct key_facts *facts;
    weft_error *err;
};

static weft_status wrong_type(const struct check *c, const char *expected)
{
    bool array = c->kv->type == GGUF_ARR;
    return error_set(c->err, WEFT_E_FORMAT, "key '%s' is %s%s, but %s is expected", c->kv->key,
                     array ? "an array of " : "", gguf_type_name(c->kv->element), expected);
}

static weft_status refuse(const struct check *c, const char *found, const char *expected)
{
    return error_set(c->err, WEFT_E_UNSUPPORTED,
                     "key %s is %s: %s, which Weft does not compute; it runs models where this "
                     "is %s",
                     c->kv->key, found, c->rule->what, expected);
}

static const char *number_text(const struct check *c, double v, char *buf, size_t cap)
{
    if (c->kv->element == GGUF_BOOL) {
        return v != 0 ? "true" : "false";
    }
    snprintf(buf, cap, "%.7g", v);
    return buf;
}

/* Refuses element i: it is v, and should be `low` or `high`. */
static weft_status refuse_number(const struct check *c, size_t i, double v, double low, double high)
{
    char found[64], expected[80], a[32], b[32];
    const char *value = number_text(c, v, a, sizeof a);
    if (c->kv->type == GGUF_ARR) {
        snprintf(found, sizeof found, "%s at %zu", value, i);
    } else {
        snprintf(found, sizeof found, "%s", value);
    }
    snprintf(expected, sizeof expected, "%s", number_text(c, low, a, sizeof a));
    if (low != high && c->kv->element != GGUF_BOOL) {
        snprintf(expected, sizeof expected, "%s or %s", number_text(c, low, a, sizeof a),
                 number_text(c, high, b, sizeof b));
    }
    return refuse(c, found, expected);
}

static weft_status check_numbers(const struct check *c, double low, double high)
{
    for (size_t i = 0; i < c->kv->n; i++) {
        double v;
        if (!gguf_number_at(c->kv, i, &v)) {
            return wrong_type(c, "a number");
        }
        /* Values are meant as floats, whatever their width. */
        if ((float)v != (float)low && (float)v != (float)high) {
            return refuse_number(c, i, v, low, high);
        }
    }
    return WEFT_OK;
}

/* Writers round the root in float or in double, so one step of a float on either side is
 * accepted. */
static weft_status check_scale(const struct check *c)
{
    double v = 0, want = 1 / sqrt((double)c->facts->head_dim);
    if (c->kv->type == GGUF_ARR || !gguf_number_at(c->kv, 0, &v)) {
        return wrong_type(c, "a number");
    }
    bool same = v == 0 || fabs(v - want) <= want * 0x1p-22;
    return same ? WEFT_OK : refuse_number(c, 0, v, 0, want);
}

static weft_status check_empty(const struct check *c)
{
    char found[48];
    if (c->kv->type != GGUF_ARR && c->kv->type != GGUF_STR) {
        return wrong_type(c, "an array");
    }
    size_t n = c->kv->type == GGUF_STR ? c->kv->strs[0].n : c->kv->n;
    snprintf(found, sizeof found, "of length %zu", n);
    return n == 0 ? WEFT_OK : refuse(c, found, "empty");
}

static weft_status check_silu(const struct check *c)
{
    char found[48];
    if (c->kv->type != GGUF_STR) {
        return wrong_type(c, "a str");
    }
    struct gguf_str s = c->kv->strs[0];
    snprintf(found, sizeof found, "'%.*s'", (int)size_min(s.n, 32), s.s);
    bool same = gguf_str_is(s, "silu") || gguf_str_is(s, "swish");
    return same ? WEFT_OK : refuse(c, found, "silu");
}

/* A number is the period of the layers without a window; an array says for each layer whether it
 * has one. */
static weft_status check_pattern(const struct check *c)
{
    double want = c->kv->type == GGUF_ARR ? 1 : 0;
    return check_numbers(c, want, want);
}

static weft_status check_sections(const struct check *c)
{
    for (size_t i = 0; i < c->kv->n; i++) {
        double v;
        if (!gguf_number_at(c->kv, i, &v)) {
            return wrong_type(c, "an array of numbers");
        }
        if (v != 0 && (c->kv->type != GGUF_ARR || i >= 3)) {
            return refuse_number(c, i, v, 0, 0);
        }
    }
    return WEFT_OK;
}

/* Configs round the factor to some decimals. */
static weft_status check_yarn_factor(const struct check *c)
{
    double v = 0, own = (double)c->facts->yarn_factor;
    if (c->kv->type == GGUF_ARR || !gguf_number_at(c->kv, 0, &v)) {
        return wrong_type(c, "a number");
    }
    bool same = v == c->rule->low || fabs(v - own) <= own * 1e-4;
    return same ? WEFT_OK : refuse_number(c, 0, v, c->rule->low, own);
}

static weft_status check_value(const struct check *c)
{
    const struct key_facts *facts = c->facts;
    switch (c->rule->test) {
    case KEY_NUMBER: return check_numbers(c, c->rule->low, c->rule->high);
    case KEY_EMPTY: return check_empty(c);
    case KEY_SILU: return check_silu(c);
    case KEY_DIM: return check_numbers(c, 0, (double)facts->dim);
    case KEY_HEAD_DIM: return check_numbers(c, 0, (double)facts->head_dim);
    case KEY_N_ROT: return check_numbers(c, 0, (double)facts->n_rot);
    case KEY_ROPE_BASE: return check_numbers(c, 0, (double)facts->rope_base);
    case KEY_SCALE: return check_scale(c);
    case KEY_PATTERN: return check_pattern(c);
    case KEY_SECTIONS: return check_sections(c);
    case KEY_YARN_FACTOR: return check_yarn_factor(c);
    }
    return WEFT_OK;
}

weft_status keys_check(const struct gguf *g, const struct key_facts *facts, weft_error *err)
{
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct key_rule *rule = keys_find(g, g->kv[i].key);
        bool asked = rule != NULL && rule->use == WEFT_KEY_REFUSED &&
                     (facts != NULL || (rule->name[0] != '.' && !rule->drawn));
        if (asked && !(rule->windowed && facts->window == 0) &&
            !(rule->of_yarn && facts->yarn_factor == 0.0f)) {
            const struct check c = { &g->kv[i], rule, facts, err };
            TRY(check_value(&c));
        }
    }
    return WEFT_OK;
}
