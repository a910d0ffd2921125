/* The argument parser: exact names, strict numbers, and a suggestion for a name that is nearly
 * right. See args.h for the table's columns. */
#include "weft/args.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_WORD = 40 };

bool args_refuse(struct arg_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return false;
}

bool args_int(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    if (errno != 0) {
        return false;
    }
    *out = v;
    return true;
}

bool args_float(const char *text, double *out)
{
    /* strtod also accepts "nan", "inf", hexadecimal and leading spaces, which are not allowed
     * here. */
    if (*text == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0') {
        return false;
    }
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(v)) {
        return false;
    }
    *out = v;
    return true;
}

/* The Levenshtein distance, where swapping two neighbours counts as one edit. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX_WORD || m > MAX_WORD) {
        return SIZE_MAX;
    }
    size_t rows[3][MAX_WORD + 1];
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3];
        const size_t *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = size_min(up[j], row[j - 1]) + 1;
            best = size_min(best, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = size_min(best, up2[j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *args_nearest(const char *word, const char *const *words, size_t n)
{
    /* A third of the word may be wrong; with more errors it is another word. */
    size_t best = strlen(word) < 4 ? 1 : strlen(word) / 3 + 1;
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, words[i]);
        if (d <= best && (found == NULL || d < best)) {
            best = d;
            found = words[i];
        }
    }
    return found;
}

const struct arg_option *args_find(const struct arg_option *table, unsigned command,
                                   const char *name)
{
    for (const struct arg_option *o = table; o->names[0] != NULL; o++) {
        for (size_t i = 0; i < 4 && o->names[i] != NULL && (o->commands & command); i++) {
            if (strcmp(o->names[i], name) == 0) {
                return o;
            }
        }
    }
    return NULL;
}

/* Returns true if `value` is one of the choices "a|b|c". */
static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *c = choices;; c++) {
        size_t len = strcspn(c, "|");
        if (len == n && memcmp(c, value, n) == 0) {
            return true;
        }
        c += len;
        if (*c == '\0') {
            return false;
        }
    }
}

static bool unknown(const struct arg_option *table, unsigned command, const char *name,
                    struct arg_error *err)
{
    const char *names[256] = { "--help" };
    size_t n = 1;
    for (const struct arg_option *o = table; o->names[0] != NULL; o++) {
        for (size_t i = 0;
             i < 4 && o->names[i] != NULL && (o->commands & command) && o->kind != ARG_TAKEN; i++) {
            if (n < sizeof names / sizeof *names) {
                names[n++] = o->names[i];
            }
        }
    }
    const char *near = args_nearest(name, names, n);
    if (near == NULL) {
        return args_refuse(err, "unknown option %.80s", name);
    }
    return args_refuse(err, "unknown option %.80s; did you mean %s?", name, near);
}

static bool set_choice(const struct arg_option *o, const char *name, const char *value,
                       size_t *field, struct arg_error *err)
{
    size_t n = strlen(value), i = 0;
    for (const char *c = o->choices;; c += strcspn(c, "|") + 1, i++) {
        size_t len = strcspn(c, "|");
        if (len == n && memcmp(c, value, n) == 0) {
            *field = i;
            return true;
        }
        if (c[len] == '\0') {
            return args_refuse(err, "option %s: '%.80s' is none of %s", name, value, o->choices);
        }
    }
}

static bool out_of_range(const struct arg_option *o, const char *name, const char *value,
                         struct arg_error *err)
{
    return args_refuse(err, "option %s: %.80s is out of range, expected %s %.10g and at most %.10g",
                       name, value, o->above_min ? "more than" : "at least", o->min, o->max);
}

static const char *take_number(const char *text, int64_t *out)
{
    char digits[19] = "";
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof digits) {
        return NULL;
    }
    memcpy(digits, text, n);
    return args_int(digits, out) ? text + n : NULL;
}

/* Reads FIRST, FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR at `text`. Returns what follows,
 * NULL if it is none of these. */
static const char *take_range(const char *text, int64_t *first, int64_t *last, int64_t *step,
                              bool *multiply)
{
    const char *c = take_number(text, first);
    *last = c != NULL ? *first : 0;
    *step = 1;
    *multiply = false;
    if (c != NULL && *c == '-') {
        c = take_number(c + 1, last);
        if (c != NULL && (*c == '+' || *c == '*')) {
            *multiply = *c == '*';
            c = take_number(c + 1, step);
        }
    }
    bool ends = !*multiply || (*step > 1 && *first > 0);
    return c != NULL && *last >= *first && *step > 0 && *step <= INT32_MAX && ends ? c : NULL;
}

static bool set_list(const struct arg_option *o, const char *name, const char *value,
                     struct arg_list *list, struct arg_error *err)
{
    int64_t first, last, step;
    bool multiply;
    list->n = list->given ? list->n : 0;
    list->given = true;
    for (const char *c = value;; c++) {
        c = take_range(c, &first, &last, &step, &multiply);
        if (c == NULL || (*c != ',' && *c != '\0')) {
            return args_refuse(
                err,
                "option %s: '%.80s' is no list of numbers; expected such as 512, 1,2,4, "
                "1-4, 0-4096+512 or 1-64*2",
                name, value);
        }
        if ((double)first < o->min || (double)last > o->max) {
            return out_of_range(o, name, value, err);
        }
        for (int64_t i = first; i <= last; i = multiply ? i * step : i + step) {
            if (list->n == ARG_LIST_MAX) {
                return args_refuse(err, "option %s: more than %d numbers", name, ARG_LIST_MAX);
            }
            list->at[list->n++] = i;
        }
        if (*c == '\0') {
            return true;
        }
    }
}

static bool store(const struct arg_option *o, const char *name, const char *value, void *fields,
                  struct arg_error *err)
{
    char *field = (char *)fields + o->offset;
    int64_t i;
    double d;
    switch (o->kind) {
    case ARG_FLAG: *(bool *)field = true; return true;
    case ARG_STRING: *(const char **)field = value; return true;
    case ARG_CHOICE: return set_choice(o, name, value, (size_t *)field, err);
    case ARG_LIST: return set_list(o, name, value, (struct arg_list *)field, err);
    case ARG_INT:
        if (!args_int(value, &i)) {
            return args_refuse(err, "option %s: '%.80s' is not a whole number", name, value);
        }
        if ((double)i < o->min || (double)i > o->max) {
            return out_of_range(o, name, value, err);
        }
        *(int64_t *)field = i;
        return true;
    case ARG_FLOAT:
        if (!args_float(value, &d)) {
            return args_refuse(err, "option %s: '%.80s' is not a number", name, value);
        }
        /* The value is compared as the float that it will become, so that 1e-60 is not "more than
         * 0". */
        if ((double)(float)d < o->min || d > o->max ||
            (o->above_min && (double)(float)d <= o->min)) {
            return out_of_range(o, name, value, err);
        }
        *(double *)field = d;
        return true;
    case ARG_TAKEN:
        if (o->parse == NULL) {
            return true;
        }
        break;
    case ARG_CUSTOM: break;
    }
    struct arg_error why = { "" };
    return o->parse(fields, value, &why) || args_refuse(err, "option %s: %.300s", name, why.text);
}

bool args_set(const struct arg_option *o, const char *name, const char *value, void *fields,
              struct arg_error *err)
{
    bool stored = store(o, name, value, fields, err);
    if (stored && o->given_bit != 0) {
        *(unsigned *)(void *)((char *)fields + o->given) |= o->given_bit;
    }
    return stored;
}

static bool is_option(const struct arg_option *table, unsigned command, const char *text)
{
    return args_find(table, command, text) != NULL || strcmp(text, "-h") == 0 ||
           strcmp(text, "--help") == 0;
}

/* Says that the value is missing. An option that is followed by another option has lost its value;
 * a value that looks like an option can be given with "=". */
static void missing_value(const struct arg_option *o, const char *name, const char *found,
                          struct arg_error *err)
{
    if (found == NULL) {
        args_refuse(err, "option %s needs a value (%s)", name, o->value);
        return;
    }
    const char *spelled = name;
    for (size_t i = 0; i < 4 && o->names[i] != NULL; i++) {
        spelled = strncmp(o->names[i], "--", 2) == 0 ? o->names[i] : spelled;
    }
    args_refuse(err,
                "option %s needs a value (%s), found option %.40s; if that is the value: %s=%.40s",
                name, o->value, found, spelled, found);
}

/* Takes the option at argv[i] and its value: the text behind "=", or the next argument. Returns how
 * many arguments were used, 0 after an error. */
static int take(const struct arg_option *table, unsigned command, int argc, char **argv, int i,
                void *fields, struct arg_error *err)
{
    char name[MAX_WORD + 1];
    const char *equals = strncmp(argv[i], "--", 2) == 0 ? strchr(argv[i], '=') : NULL;
    size_t len = equals != NULL ? (size_t)(equals - argv[i]) : strlen(argv[i]);
    if (len > MAX_WORD) {
        args_refuse(err, "unknown option %.80s", argv[i]);
        return 0;
    }
    memcpy(name, argv[i], len);
    name[len] = '\0';
    const struct arg_option *o = args_find(table, command, name);
    if (o == NULL) {
        unknown(table, command, name, err);
        return 0;
    }
    if (o->kind == ARG_TAKEN && o->value == NULL) {
        const char *value = equals != NULL ? equals + 1 : "";
        bool follows = equals == NULL && o->choices != NULL && i + 1 < argc &&
                       is_choice(o->choices, argv[i + 1]);
        return args_set(o, name, follows ? argv[i + 1] : value, fields, err) ? 1 + follows : 0;
    }
    if (o->kind == ARG_FLAG) {
        if (equals != NULL) {
            args_refuse(err, "option %s takes no value", name);
            return 0;
        }
        return args_set(o, name, NULL, fields, err) ? 1 : 0;
    }
    if (equals != NULL) {
        return args_set(o, name, equals + 1, fields, err) ? 1 : 0;
    }
    if (i + 1 == argc || is_option(table, command, argv[i + 1])) {
        missing_value(o, name, i + 1 == argc ? NULL : argv[i + 1], err);
        return 0;
    }
    return args_set(o, name, argv[i + 1], fields, err) ? 2 : 0;
}

int args_parse(const struct arg_option *table, unsigned command, int argc, char **argv,
               void *fields, struct arg_error *err)
{
    int n_positional = 0;
    bool only_positional = false;
    for (int i = 0; i < argc;) {
        char *arg = argv[i];
        if (only_positional || arg[0] != '-' || arg[1] == '\0') {
            argv[n_positional++] = arg;
            i++;
        } else if (strcmp(arg, "--") == 0) {
            only_positional = true;
            i++;
        } else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            return ARGS_HELP;
        } else {
            int used = take(table, command, argc, argv, i, fields, err);
            if (used == 0) {
                return ARGS_BAD;
            }
            i += used;
        }
    }
    return n_positional;
}

void args_default(const struct arg_option *o, const void *defaults, char *dst, size_t cap)
{
    const char *field = (const char *)defaults + o->offset;
    size_t len = 0;
    if (cap == 0) {
        return;
    }
    dst[0] = '\0';
    if (o->otherwise != NULL) {
        snprintf(dst, cap, "%s", o->otherwise);
    } else if (o->kind == ARG_INT) {
        snprintf(dst, cap, "%lld", (long long)*(const int64_t *)field);
    } else if (o->kind == ARG_LIST) {
        const struct arg_list *list = (const struct arg_list *)field;
        for (size_t i = 0; i < list->n && len < cap; i++) {
            len += (size_t)snprintf(dst + len, cap - len, "%s%lld", i > 0 ? "," : "",
                                    (long long)list->at[i]);
        }
    } else if (o->kind == ARG_FLOAT) {
        snprintf(dst, cap, "%g", *(const double *)field);
    } else if (o->kind == ARG_CHOICE) {
        const char *c = o->choices;
        for (size_t i = *(const size_t *)field; i > 0; i--) {
            c += strcspn(c, "|") + 1;
        }
        len = strcspn(c, "|");
        snprintf(dst, cap, "%.*s", (int)len, c);
    }
}
