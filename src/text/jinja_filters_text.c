/* Filters of texts and numbers. */
#include "text/jinja_tables.h"

#include <math.h>
#include <stdio.h>

int64_t jneed_int(struct jwork *w, struct jval v)
{
    if (v.kind == J_UNDEFINED) {
        jfail_undefined(w, v);
    }
    if (!jis_whole(v)) {
        jfail(w, JINJA_RUNTIME, "an argument of type '%s' where an integer is needed", jtype(v));
    }
    return jwhole(v);
}

int64_t jarg_int(struct jwork *w, struct jval v, int64_t absent)
{
    return v.kind == J_MISSING || v.kind == J_NONE ? absent : jneed_int(w, v);
}

struct jval jarg_str(struct jwork *w, struct jval v, const char *absent)
{
    if (absent != NULL && (v.kind == J_MISSING || v.kind == J_NONE)) {
        return jtext(absent);
    }
    if (v.kind != J_STR) {
        jfail(w, JINJA_RUNTIME, "an argument of type '%s' where a string is needed", jtype(v));
    }
    return v;
}

JFUNCTION(upper) { return jstr_case(w, jstr(w, self), JCASE_UPPER); }
JFUNCTION(lower) { return jstr_case(w, jstr(w, self), JCASE_LOWER); }
JFUNCTION(capitalize) { return jstr_case(w, jstr(w, self), JCASE_CAPITALIZE); }

/* Words begin at the text's start and behind white space and ( { [ < -. */
JFUNCTION(title)
{
    struct jval s = jstr(w, self);
    struct jbuf b = { .w = w };
    bool begins = true;
    size_t len;
    jsteps(w, s.n);
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t c = jstr_char(s, i, &len);
        jbuf_char(&b, begins ? jchar_upper(c) : jchar_lower(c), jstr_who(s, i));
        begins = jchar_space(c) || (c < 0x80 && strchr("-({[<", (int)c) != NULL);
    }
    struct jval v = jbuf_take(&b);
    v.safe = s.safe;
    return v;
}

JFUNCTION(trim)
{
    return jstr_strip(w, jstr(w, self), jarg(arg[0], jnone()), JSTRIP_LEFT | JSTRIP_RIGHT);
}

JFUNCTION(replace)
{
    return jstr_replace(w, jstr(w, self), jstr(w, arg[0]), jstr(w, arg[1]),
                        jarg_int(w, arg[2], -1));
}

JFUNCTION(string) { return jstr(w, self); }

JFUNCTION(safe)
{
    struct jval v = jstr(w, self);
    v.safe = true;
    return v;
}

JFUNCTION(escape)
{
    struct jval s = jstr(w, self);
    return s.safe ? s : jstr_escape(w, s);
}

JFUNCTION(force_escape) { return jstr_escape(w, jstr(w, self)); }

/* Lines are those of splitlines(); empty ones get no indentation unless `blank` is set. */
JFUNCTION(indent)
{
    struct jval newline = jtext("\n"), width = arg[0];
    if (width.kind != J_STR) {
        width = jstr_repeat(w, jtext(" "), jarg_int(w, width, 4));
    }
    bool first = jarg_bool(arg[1], false), blank = jarg_bool(arg[2], false);
    const struct jlist *lines = jstr_lines(w, jadd(w, self, newline), false).list;
    struct jbuf b = { .w = w };
    for (size_t i = 0; i < lines->n; i++) {
        if (i > 0) {
            jbuf_str(&b, newline);
        }
        if (i == 0 ? first : blank || lines->items[i].n > 0) {
            jbuf_str(&b, width);
        }
        jbuf_str(&b, lines->items[i]);
    }
    struct jval v = jbuf_take(&b);
    v.safe = self.safe;
    return v;
}

JFUNCTION(center) { return jstr_pad(w, jstr(w, self), jarg_int(w, arg[0], 80), jtext(" "), 0); }

JFUNCTION(word_count)
{
    struct jval s = jstr(w, self);
    int64_t n = 0;
    bool inside = false;
    size_t len;
    jsteps(w, s.n / 16);
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t c = jstr_char(s, i, &len);
        bool is = c == '_' || jchar_word(c);
        n += is && !inside;
        inside = is;
    }
    return jint(n);
}

JFUNCTION(truncate)
{
    struct jval s = jarg_str(w, self, ""), end = jarg_str(w, arg[2], "...");
    int64_t length = jarg_int(w, arg[0], 255), leeway = jarg_int(w, arg[3], 5);
    int64_t n_end = (int64_t)jstr_chars(w, end);
    if (length < n_end || leeway < 0) {
        jfail(w, JINJA_RUNTIME, "truncate: the length must be at least %lld", (long long)n_end);
    }
    if ((int64_t)jstr_chars(w, s) - leeway <= length) {
        return s;
    }
    struct jval head = jstr_part(s, 0, jstr_at(w, s, (size_t)(length - n_end)));
    size_t space =
        jarg_bool(arg[1], false) ? SIZE_MAX : jstr_find_last(w, head, jtext(" "), head.n);
    return jadd(w, space == SIZE_MAX ? head : jstr_part(head, 0, space), end);
}

/* Returns int(v), where v is a number or a text; false if it is neither. */
static bool to_int(struct jwork *w, struct jval v, int base, int64_t *out)
{
    double f;
    if (v.kind == J_UNDEFINED) {
        jfail_undefined(w, v);
    }
    if (jis_whole(v)) {
        *out = jwhole(v);
        return true;
    }
    if (v.kind == J_STR && jread_int(w, v, base, out)) {
        return true;
    }
    if (v.kind == J_FLOAT) {
        f = v.f;
    } else if (v.kind != J_STR || !jread_float(w, v, &f)) {
        return false;
    }
    if (f - f != 0) {
        return false;
    }
    if (fabs(f) >= 9223372036854775808.0) {
        jfail(w, JINJA_RUNTIME, "int: a number that needs more than 64 bits");
    }
    *out = (int64_t)f;
    return true;
}

JFUNCTION(int_filter)
{
    int64_t base = jarg_int(w, arg[1], 10), value;
    if (base != 0 && (base < 2 || base > 36)) {
        base = 10;
    }
    struct jval v = to_int(w, self, (int)base, &value) ? jint(value) : jarg(arg[0], jint(0));
    v.who = self.kind == J_STR ? jstr_most(w, self) : self.who;
    return v;
}

JFUNCTION(float_filter)
{
    double f = 0;
    struct jval v = jarg(arg[0], jfloat(0));
    if (self.kind == J_UNDEFINED) {
        jfail_undefined(w, self);
    }
    if (jis_number(self) || (self.kind == J_STR && jread_float(w, self, &f))) {
        v = jfloat(jis_number(self) ? jdouble(self) : f);
        v.who = self.kind == J_STR ? jstr_most(w, self) : self.who;
    }
    return v;
}

static void need_number(struct jwork *w, const char *what, struct jval v)
{
    if (!jis_number(v)) {
        jfail(w, JINJA_RUNTIME, "%s: '%s' is no number", what, jtype(v));
    }
}

JFUNCTION(abs_filter)
{
    need_number(w, "abs", self);
    return jnegate(w, self, signbit(jdouble(self)) ? -1 : 1);
}

/* Rounds half to even at a digit, as Python does: from the decimal text of the number. */
static double round_to(double f, int64_t digits)
{
    char text[400];
    if (digits > 22 || !isfinite(f)) {
        return f;
    }
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        return strtod(text, NULL);
    }
    double unit = pow(10, (double)(digits < -308 ? 308 : -digits));
    return nearbyint(f / unit) * unit;
}

JFUNCTION(round_filter)
{
    need_number(w, "round", self);
    int64_t digits = jarg_int(w, arg[0], 0);
    struct jval method = jarg_str(w, arg[1], "common"), v = jnegate(w, self, 1);
    double unit = pow(10, (double)digits), f = jdouble(v);
    bool up = jis(method, "ceil");
    if (up || jis(method, "floor")) {
        v = jfloat((up ? ceil(f * unit) : floor(f * unit)) / unit);
    } else if (!jis(method, "common")) {
        jfail(w, JINJA_RUNTIME, "round: the method must be common, ceil or floor");
    } else if (v.kind == J_FLOAT) {
        v = jfloat(round_to(f, digits));
    } else if (digits < 0) {
        v = jint((int64_t)round_to(f, digits));
    }
    v.who = self.who;
    return v;
}

JFUNCTION(format)
{
    struct jval rest = jlist_new(w, J_TUPLE, all->n), named = jdict_new(w, J_DICT);
    for (size_t i = 0; i < all->n; i++) {
        jlist_add(w, rest.list, all->pos[i]);
    }
    for (size_t i = 0; i < all->n_kw; i++) {
        jdict_set(w, named.dict, all->kw[2 * i], all->kw[2 * i + 1]);
    }
    return jpercent(w, jstr(w, self), all->n_kw > 0 ? named : rest);
}

const struct jnative jtext_filters[] = {
    { "upper", "", upper },
    { "lower", "", lower },
    { "capitalize", "", capitalize },
    { "title", "", title },
    { "trim", "chars?", trim },
    { "replace", "old new count?", replace },
    { "string", "", string },
    { "safe", "", safe },
    { "escape", "", escape },
    { "e", "", escape },
    { "forceescape", "", force_escape },
    { "indent", "width? first? blank?", indent },
    { "center", "width?", center },
    { "wordcount", "", word_count },
    { "truncate", "length? killwords? end? leeway?", truncate },
    { "int", "default? base?", int_filter },
    { "float", "default?", float_filter },
    { "abs", "", abs_filter },
    { "round", "precision? method?", round_filter },
    { "format", "*", format },
    JEND,
};
