/* The methods of strings. */
#include "text/jinja_tables.h"

#define METHOD_CASE(name, to)                                                                      \
    JFUNCTION(name) { return jstr_case(w, self, to); }
METHOD_CASE(upper, JCASE_UPPER)
METHOD_CASE(lower, JCASE_LOWER)
METHOD_CASE(title, JCASE_TITLE)
METHOD_CASE(capitalize, JCASE_CAPITALIZE)
METHOD_CASE(swapcase, JCASE_SWAP)

JFUNCTION(casefold)
{
    return jstr_replace(w, jstr_case(w, self, JCASE_LOWER), jtext("\xc3\x9f"), jtext("ss"), -1);
}

#define METHOD_STRIP(name, sides)                                                                  \
    JFUNCTION(name) { return jstr_strip(w, self, strip_set(w, arg[0]), sides); }
static struct jval strip_set(struct jwork *w, struct jval v)
{
    return v.kind == J_MISSING || v.kind == J_NONE ? jnone() : jarg_str(w, v, NULL);
}
METHOD_STRIP(strip, JSTRIP_LEFT | JSTRIP_RIGHT)
METHOD_STRIP(lstrip, JSTRIP_LEFT)
METHOD_STRIP(rstrip, JSTRIP_RIGHT)

JFUNCTION(split)
{
    return jstr_split(w, self, strip_set(w, arg[0]), jarg_int(w, arg[1], -1), false);
}

JFUNCTION(rsplit)
{
    return jstr_split(w, self, strip_set(w, arg[0]), jarg_int(w, arg[1], -1), true);
}

JFUNCTION(splitlines) { return jstr_lines(w, self, jarg_bool(arg[0], false)); }

/* Splits at the first or last separator; parts that do not exist are empty. */
static struct jval partition_at(struct jwork *w, struct jval self, struct jval sep, bool last)
{
    struct jval out = jlist_new(w, J_TUPLE, 3), empty = jstr_part(self, 0, 0);
    sep = jarg_str(w, sep, NULL);
    if (sep.n == 0) {
        jfail(w, JINJA_RUNTIME, "partition() with an empty separator");
    }
    size_t at = last ? jstr_find_last(w, self, sep, self.n) : jstr_find(w, self, sep, 0);
    if (at == SIZE_MAX) {
        jlist_add(w, out.list, last ? empty : self);
        jlist_add(w, out.list, empty);
        jlist_add(w, out.list, last ? self : empty);
        return out;
    }
    jlist_add(w, out.list, jstr_part(self, 0, at));
    jlist_add(w, out.list, jstr_part(self, at, sep.n));
    jlist_add(w, out.list, jstr_part(self, at + sep.n, self.n - at - sep.n));
    return out;
}

JFUNCTION(partition) { return partition_at(w, self, arg[0], false); }
JFUNCTION(rpartition) { return partition_at(w, self, arg[0], true); }

JFUNCTION(join)
{
    const struct jlist *list = jiterate(w, arg[0]);
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].kind != J_STR) {
            jfail(w, JINJA_RUNTIME, "join(): item %zu is of type '%s', not a string", i,
                  jtype(list->items[i]));
        }
    }
    return jstr_join(w, self, list);
}

JFUNCTION(replace)
{
    return jstr_replace(w, self, jarg_str(w, arg[0], NULL), jarg_str(w, arg[1], NULL),
                        jarg_int(w, arg[2], -1));
}

/* Returns the part of self between the bounds that the arguments give, and where it begins. */
static struct jval window(struct jwork *w, struct jval self, const struct jval *from,
                          int64_t *begin)
{
    int64_t at[3];
    struct jval bounds[3] = { jarg(from[0], jnone()), jarg(from[1], jnone()), jnone() };
    jslice_bounds(w, jstr_chars(w, self), bounds, at);
    *begin = at[0];
    return jslice(w, self, bounds);
}

static bool beyond(struct jwork *w, struct jval self, struct jval from)
{
    return jarg_int(w, from, 0) > (int64_t)jstr_chars(w, self);
}

/* One text, or a tuple of texts. */
static bool has_end(struct jwork *w, struct jval self, struct jval part, bool tail)
{
    if (part.kind == J_TUPLE) {
        bool any = false;
        for (size_t i = 0; i < part.list->n && !any; i++) {
            struct jval one = jarg_str(w, part.list->items[i], NULL);
            any = one.n <= self.n && jstr_has(self, tail ? self.n - one.n : 0, one);
        }
        return any;
    }
    part = jarg_str(w, part, NULL);
    return part.n <= self.n && jstr_has(self, tail ? self.n - part.n : 0, part);
}

JFUNCTION(startswith)
{
    int64_t begin;
    struct jval part = window(w, self, arg + 1, &begin);
    return jbool(!beyond(w, self, arg[1]) && has_end(w, part, arg[0], false));
}

JFUNCTION(endswith)
{
    int64_t begin;
    struct jval part = window(w, self, arg + 1, &begin);
    return jbool(!beyond(w, self, arg[1]) && has_end(w, part, arg[0], true));
}

/* Returns the index of a character, or -1. */
static int64_t find_in(struct jwork *w, struct jval self, const struct jval *arg, bool last)
{
    int64_t begin;
    struct jval part = window(w, self, arg + 1, &begin), what = jarg_str(w, arg[0], NULL);
    size_t at = last ? jstr_find_last(w, part, what, part.n) : jstr_find(w, part, what, 0);
    if (at == SIZE_MAX || beyond(w, self, arg[1])) {
        return -1;
    }
    return begin + (int64_t)jstr_chars(w, jstr_part(part, 0, at));
}

JFUNCTION(find) { return jint(find_in(w, self, arg, false)); }
JFUNCTION(rfind) { return jint(find_in(w, self, arg, true)); }

static struct jval index_in(struct jwork *w, struct jval self, const struct jval *arg, bool last)
{
    int64_t at = find_in(w, self, arg, last);
    if (at < 0) {
        jfail(w, JINJA_RUNTIME, "index(): the text is not found");
    }
    return jint(at);
}

JFUNCTION(str_index) { return index_in(w, self, arg, false); }
JFUNCTION(rindex_) { return index_in(w, self, arg, true); }

JFUNCTION(count)
{
    int64_t begin, n = 0;
    struct jval part = window(w, self, arg + 1, &begin), what = jarg_str(w, arg[0], NULL);
    if (what.n == 0) {
        return jint(beyond(w, self, arg[1]) ? 0 : (int64_t)jstr_chars(w, part) + 1);
    }
    for (size_t at = 0; (at = jstr_find(w, part, what, at)) != SIZE_MAX; at += what.n) {
        jsteps(w, 1);
        n++;
    }
    return jint(n);
}

static struct jval padded(struct jwork *w, struct jval self, const struct jval *arg, int side)
{
    struct jval fill = jarg_str(w, arg[1], " ");
    if (jstr_chars(w, fill) != 1) {
        jfail(w, JINJA_RUNTIME, "the fill must be exactly one character");
    }
    return jstr_pad(w, self, jarg_int(w, arg[0], 0), fill, side);
}

JFUNCTION(center) { return padded(w, self, arg, 0); }
JFUNCTION(ljust) { return padded(w, self, arg, -1); }
JFUNCTION(rjust) { return padded(w, self, arg, 1); }

/* Zeros go between a sign and the digits. */
JFUNCTION(zfill)
{
    size_t sign = self.n > 0 && (self.s[0] == '-' || self.s[0] == '+');
    struct jval digits = jstr_part(self, sign, self.n - sign);
    int64_t width = jarg_int(w, arg[0], 0);
    width = width < 0 ? 0 : width - (int64_t)sign;
    return jadd(w, jstr_part(self, 0, sign), jstr_pad(w, digits, width, jtext("0"), 1));
}

JFUNCTION(removeprefix)
{
    struct jval part = jarg_str(w, arg[0], NULL);
    return jstr_has(self, 0, part) ? jstr_part(self, part.n, self.n - part.n) : self;
}

JFUNCTION(removesuffix)
{
    struct jval part = jarg_str(w, arg[0], NULL);
    bool has = part.n <= self.n && jstr_has(self, self.n - part.n, part);
    return has ? jstr_part(self, 0, self.n - part.n) : self;
}

JFUNCTION(format) { return jformat(w, self, all); }

const struct jnative jstr_methods[] = {
    { "upper", "", upper },
    { "lower", "", lower },
    { "casefold", "", casefold },
    { "title", "", title },
    { "capitalize", "", capitalize },
    { "swapcase", "", swapcase },
    { "strip", "1?", strip },
    { "lstrip", "1?", lstrip },
    { "rstrip", "1?", rstrip },
    { "split", "sep? maxsplit?", split },
    { "rsplit", "sep? maxsplit?", rsplit },
    { "splitlines", "keepends?", splitlines },
    { "partition", "1", partition },
    { "rpartition", "1", rpartition },
    { "join", "1", join },
    { "replace", "1 2 3?", replace },
    { "startswith", "1 2? 3?", startswith },
    { "endswith", "1 2? 3?", endswith },
    { "find", "1 2? 3?", find },
    { "rfind", "1 2? 3?", rfind },
    { "index", "1 2? 3?", str_index },
    { "rindex", "1 2? 3?", rindex_ },
    { "count", "1 2? 3?", count },
    { "center", "1 2?", center },
    { "ljust", "1 2?", ljust },
    { "rjust", "1 2?", rjust },
    { "zfill", "1", zfill },
    { "removeprefix", "1", removeprefix },
    { "removesuffix", "1", removesuffix },
    { "format", "*", format },
    JEND,
};
