#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu-bench/gpu.h"

enum { NAME_WIDTH = 26, CELL_WIDTH = 16 };

double bench_percent(const struct bench *b, double bytes_per_second)
{
    return b->read_rate > 0.0 ? 100.0 * bytes_per_second / b->read_rate : -1.0;
}

/* Writes the object and frees it. */
static void write_json(const struct bench *b, json_t *object)
{
    if (b->json != NULL) {
        json_dumpf(object, b->json, JSON_COMPACT | JSON_REAL_PRECISION(9));
        fputc('\n', b->json);
        fflush(b->json);
    }
    json_decref(object);
}

struct table table_begin(struct bench *b, const char *section, const char *title,
                         const char *const *columns)
{
    struct table t = { .bench = b, .section = section };
    printf("\n%s: %s\n%-*s", section, title, NAME_WIDTH, "");
    for (; columns[t.n_columns] != NULL; t.n_columns++) {
        t.columns[t.n_columns] = columns[t.n_columns];
        printf(" %*s", CELL_WIDTH, columns[t.n_columns]);
    }
    printf("   spread\n");
    return t;
}

void table_row(struct table *t, const char *name)
{
    t->name = name;
    t->n_cells = 0;
    t->spread = 0.0;
    printf("%-*s", NAME_WIDTH, name);
    fflush(stdout);
}

void table_skip(struct table *t)
{
    t->n_cells++;
    printf(" %*s", CELL_WIDTH, "-");
}

void table_cell(struct table *t, struct spread value, const char *unit, double percent)
{
    char text[64], more[24] = "";
    double m = value.median;
    int digits = m >= 1000.0 ? 0 : m >= 100.0 ? 1 : m >= 10.0 ? 2 : 3;
    if (percent >= 0.0) {
        snprintf(more, sizeof more, " (%.0f %%)", percent);
    }
    snprintf(text, sizeof text, "%.*f%s", digits, m, more);
    printf(" %*s", CELL_WIDTH, text);
    fflush(stdout);
    t->spread = fmax(t->spread, m > 0.0 ? (value.high - value.low) / m : 0.0);
    json_t *o = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:s}", "section", t->section, "name",
                          t->name, "column", t->columns[t->n_cells++], "value", m, "low", value.low,
                          "high", value.high, "unit", unit);
    if (o != NULL && percent >= 0.0) {
        json_object_set_new(o, "percent", json_real(percent));
    }
    write_json(t->bench, o);
}

void table_row_end(struct table *t)
{
    printf(" %6.1f %%\n", 100.0 * t->spread);
    fflush(stdout);
}

void report_fact(struct bench *b, const char *name, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("%-*s %s\n", NAME_WIDTH, name, text);
    fflush(stdout);
    write_json(b, json_pack("{s:s, s:s, s:s}", "section", "facts", "name", name, "text", text));
}
