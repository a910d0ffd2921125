/* Numbers: arithmetic, reading and printing as Python does it, on integers of 64 bits. */
#include "text/jinja_tables.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/number.h"

/* Steps that the shortest digits of a float cost: they are found by trying. */
enum { COST_FLOAT = 96 };

static noreturn void overflow(struct jwork *w)
{
    jfail(w, JINJA_RUNTIME, "an integer that needs more than 64 bits");
}

static noreturn void no_operator(struct jwork *w, int op, struct jval a, struct jval b)
{
    const char *name = op == JOP_FLOOR ? "//" : op == JOP_POWER ? "**" : (char[]){ (char)op, 0 };
    if (a.kind == J_UNDEFINED || b.kind == J_UNDEFINED) {
        jfail_undefined(w, a.kind == J_UNDEFINED ? a : b);
    }
    jfail(w, JINJA_RUNTIME, "%s cannot be applied to '%s' and '%s'", name, jtype(a), jtype(b));
}

/* Returns a * b^n by squaring. */
static int64_t power(struct jwork *w, int64_t base, int64_t n)
{
    int64_t result = 1;
    for (; n > 0; n >>= 1) {
        if ((n & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
            overflow(w);
        }
        if (n > 1 && __builtin_mul_overflow(base, base, &base)) {
            overflow(w);
        }
    }
    return result;
}

/* Returns a / b rounded down, or what remains of it; b != 0. */
static int64_t floor_div(struct jwork *w, int64_t a, int64_t b, bool rest)
{
    if (b == -1) {
        if (a == INT64_MIN && !rest) {
            overflow(w);
        }
        return rest ? 0 : -a;
    }
    int64_t q = a / b, r = a % b;
    if (r != 0 && (r < 0) != (b < 0)) {
        q--;
        r += b;
    }
    return rest ? r : q;
}

static struct jval whole(struct jwork *w, int op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool bad = false;
    switch (op) {
    case '+': bad = __builtin_add_overflow(a, b, &r); break;
    case '-': bad = __builtin_sub_overflow(a, b, &r); break;
    case '*': bad = __builtin_mul_overflow(a, b, &r); break;
    case '%': r = floor_div(w, a, b, true); break;
    case JOP_FLOOR: r = floor_div(w, a, b, false); break;
    default: r = power(w, a, b); break;
    }
    if (bad) {
        overflow(w);
    }
    return jint(r);
}

static struct jval broken(struct jwork *w, int op, double a, double b)
{
    double r;
    switch (op) {
    case '+': return jfloat(a + b);
    case '-': return jfloat(a - b);
    case '*': return jfloat(a * b);
    case '/': return jfloat(a / b);
    case JOP_POWER:
        if (a < 0 && b != floor(b)) {
            jfail(w, JINJA_RUNTIME, "a power that is a complex number");
        }
        return jfloat(pow(a, b));
    default: break;
    }
    r = fmod(a, b);
    if (r != 0 && (r < 0) != (b < 0)) {
        r += b;
    }
    if (op == '%') {
        return jfloat(r == 0 ? copysign(0, b) : r);
    }
    return jfloat(floor((a - r) / b + 0.5));
}

static struct jval numbers(struct jwork *w, int op, struct jval a, struct jval b)
{
    bool divides = op == '/' || op == '%' || op == JOP_FLOOR;
    if ((divides || (op == JOP_POWER && jdouble(a) == 0 && jdouble(b) < 0)) &&
        jdouble(divides ? b : a) == 0) {
        jfail(w, JINJA_RUNTIME, "division by zero");
    }
    bool as_whole =
        jis_whole(a) && jis_whole(b) && op != '/' && (op != JOP_POWER || jwhole(b) >= 0);
    return as_whole ? whole(w, op, jwhole(a), jwhole(b)) : broken(w, op, jdouble(a), jdouble(b));
}

/* Returns a list that is repeated. */
static struct jval repeat(struct jwork *w, struct jval v, int64_t times)
{
    struct jval out = jlist_new(w, v.kind, 0);
    for (int64_t k = 0; k < times && v.list->n > 0; k++) {
        for (size_t i = 0; i < v.list->n; i++) {
            jlist_add(w, out.list, v.list->items[i]);
        }
    }
    return out;
}

struct jval jarith(struct jwork *w, int op, struct jval a, struct jval b)
{
    if (jis_number(a) && jis_number(b)) {
        struct jval v = numbers(w, op, a, b);
        v.who = jwho(a.who, b.who);
        return v;
    }
    if (op == '+') {
        return jadd(w, a, b);
    }
    if (op == '%' && a.kind == J_STR) {
        return jpercent(w, a, b);
    }
    if (op == '*' && jis_whole(a)) {
        struct jval swapped = a;
        a = b;
        b = swapped;
    }
    if (op == '*' && jis_whole(b) && a.kind == J_STR) {
        return jstr_repeat(w, a, jwhole(b));
    }
    if (op == '*' && jis_whole(b) && (a.kind == J_LIST || a.kind == J_TUPLE)) {
        return repeat(w, a, jwhole(b));
    }
    no_operator(w, op, a, b);
}

struct jval jadd(struct jwork *w, struct jval a, struct jval b)
{
    if (a.kind == J_STR && b.kind == J_STR) {
        struct jbuf buf = { .w = w };
        a = b.safe && !a.safe ? jstr_escape(w, a) : a;
        b = a.safe && !b.safe ? jstr_escape(w, b) : b;
        jbuf_begin(&buf, a);
        jbuf_str(&buf, b);
        struct jval v = jbuf_join(&buf);
        v.safe = a.safe;
        return v;
    }
    if ((a.kind == J_LIST || a.kind == J_TUPLE) && a.kind == b.kind) {
        struct jval v = jlist_new(w, a.kind, a.list->n + b.list->n);
        for (size_t i = 0; i < a.list->n + b.list->n; i++) {
            jlist_add(w, v.list, i < a.list->n ? a.list->items[i] : b.list->items[i - a.list->n]);
        }
        return v;
    }
    no_operator(w, '+', a, b);
}

struct jval jnegate(struct jwork *w, struct jval v, int sign)
{
    if (v.kind == J_UNDEFINED) {
        jfail_undefined(w, v);
    }
    if (!jis_number(v)) {
        jfail(w, JINJA_RUNTIME, "bad operand type for unary %c: '%s'", sign < 0 ? '-' : '+',
              jtype(v));
    }
    struct jval r = v.kind == J_FLOAT ? jfloat(sign * v.f) : jarith(w, '*', v, jint(sign));
    r.who = v.who;
    return r;
}

void jbuf_int(struct jbuf *b, int64_t i, uint8_t who)
{
    char text[24];
    jsteps(b->w, 2);
    snprintf(text, sizeof text, "%" PRId64, i);
    jbuf_text(b, text, who);
}

/* Appends digits[n] with the point behind the first `point` of them. */
static void put_digits(struct jbuf *b, const char *digits, int n, int point, uint8_t who)
{
    if (point <= 0) {
        jbuf_text(b, "0.", who);
        jbuf_fill(b, '0', (size_t)-point, who);
        jbuf_add(b, digits, (size_t)n, who);
        return;
    }
    int whole_digits = n < point ? n : point;
    jbuf_add(b, digits, (size_t)whole_digits, who);
    jbuf_fill(b, '0', (size_t)(point - whole_digits), who);
    jbuf_text(b, ".", who);
    jbuf_text(b, n > point ? "" : "0", who);
    jbuf_add(b, digits + whole_digits, (size_t)(n - whole_digits), who);
}

void jbuf_float(struct jbuf *b, double f, uint8_t who)
{
    char text[40], digits[24];
    /* Up to 15 digits survive a double that is normal. */
    int n = 0, precision = fabs(f) < DBL_MIN ? 0 : 14;
    jsteps(b->w, COST_FLOAT);
    if (!isfinite(f)) {
        jbuf_text(b, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf", who);
        return;
    }
    do {
        snprintf(text, sizeof text, "%.*e", precision, fabs(f));
    } while (strtod(text, NULL) != fabs(f) && ++precision < 17);
    const char *e = strchr(text, 'e');
    for (const char *c = text; c < e; c++) {
        if (*c >= '0' && *c <= '9') {
            digits[n++] = *c;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    int exponent = atoi(e + 1);
    jbuf_text(b, signbit(f) ? "-" : "", who);
    if (exponent >= -4 && exponent < 16) {
        put_digits(b, digits, n, exponent + 1, who);
        return;
    }
    jbuf_add(b, digits, 1, who);
    jbuf_text(b, n > 1 ? "." : "", who);
    jbuf_add(b, digits + 1, (size_t)n - 1, who);
    snprintf(text, sizeof text, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    jbuf_text(b, text, who);
}

/* Copies a number without its underscores, which must stand between digits, to text[cap]. Returns
 * its length, or 0. */
static size_t plain(struct jval s, char *text, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool joins = i > 0 && i + 1 < s.n && strchr("+-._", s.s[i - 1]) == NULL &&
                     strchr("+-._", s.s[i + 1]) == NULL;
        if (s.s[i] == '_' && joins) {
            continue;
        }
        if (s.s[i] == '_' || s.s[i] == '\0' || n + 1 >= cap) {
            return 0;
        }
        text[n++] = s.s[i];
    }
    text[n] = '\0';
    return n;
}

bool jread_float(struct jwork *w, struct jval s, double *out)
{
    char text[512], *end;
    s = jstr_strip(w, s, jnone(), JSTRIP_LEFT | JSTRIP_RIGHT);
    size_t n = plain(s, text, sizeof text);
    if (n == 0 || strpbrk(text, "xX(") != NULL) {
        return false;
    }
    *out = number_read(text, &end);
    return (size_t)(end - text) == n;
}

/* Skips a prefix of the base; base 0 takes the one that it says. */
static const char *skip_prefix(const char *at, int *base)
{
    static const char letters[] = "xXoObB";
    static const int bases[] = { 16, 16, 8, 8, 2, 2 };
    for (size_t i = 0; at[0] == '0' && at[1] != '\0' && i < 6; i++) {
        if (at[1] == letters[i] && (*base == 0 || *base == bases[i])) {
            *base = bases[i];
            return at + 2;
        }
    }
    *base = *base == 0 ? 10 : *base;
    return at;
}

bool jread_int(struct jwork *w, struct jval s, int base, int64_t *out)
{
    char text[256];
    int64_t value = 0;
    s = jstr_strip(w, s, jnone(), JSTRIP_LEFT | JSTRIP_RIGHT);
    if (plain(s, text, sizeof text) == 0) {
        return false;
    }
    const char *at = text;
    int sign = *at == '-' ? -1 : 1;
    at += *at == '-' || *at == '+';
    at = skip_prefix(at, &base);
    const char *digits = at;
    bool fits = true;
    for (; *at != '\0'; at++) {
        int c = *at >= '0' && *at <= '9' ? *at - '0' : (*at | 32) - 'a' + 10;
        if (c < 0 || c >= base) {
            return false;
        }
        fits = fits && !__builtin_mul_overflow(value, base, &value) &&
               !__builtin_add_overflow(value, sign * c, &value);
    }
    if (!fits) {
        overflow(w);
    }
    *out = value;
    return at > digits;
}
