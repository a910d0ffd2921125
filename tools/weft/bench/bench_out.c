/* Writes the figures of a row as JSON or CSV. A row is written as soon as it is known, so that an
 * interrupted run leaves the rows that it has. */
#include "weft/bench/bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_text.h"
#include "weft/jsonl.h"
#include "weft/term.h"

/* In the order of the option's choices. */
enum { FORMAT_MD, FORMAT_JSON, FORMAT_JSONL, FORMAT_CSV };

/* ---------------------------------------------------------------- figures */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_percent(double reached, double limit) { return limit > 0 ? 100 * reached / limit : 0; }

struct bench_rates bench_rates(const struct bench_row *row, const struct bench_result *r)
{
    struct bench_rates v = { 0 };
    size_t each = row->n_prompt + row->n_gen;
    double tokens = (double)(each * row->n_parallel), mean = 0, squares = 0;
    double *rates = calloc(r->n, sizeof *rates);
    if (rates == NULL || r->n == 0) {
        free(rates);
        return v;
    }
    for (size_t i = 0; i < r->n; i++) {
        rates[i] = tokens / r->seconds[i];
        mean += rates[i] / (double)r->n;
    }
    for (size_t i = 0; i < r->n; i++) {
        squares += (rates[i] - mean) * (rates[i] - mean);
    }
    qsort(rates, r->n, sizeof *rates, by_value);
    v.median = (rates[(r->n - 1) / 2] + rates[r->n / 2]) / 2;
    v.min = rates[0];
    v.max = rates[r->n - 1];
    v.stddev = r->n > 1 ? sqrt(squares / (double)(r->n - 1)) : 0;
    double seconds = tokens / v.median;
    v.ms_token = seconds * 1e3 / (double)each;
    v.gb_s = (double)r->bytes / seconds * 1e-9;
    v.read_percent = bench_percent(v.gb_s * 1e9, r->limits.read_bytes_per_s);
    v.macs_s = r->macs / seconds;
    v.macs_percent = bench_percent(v.macs_s, r->limits.macs_per_s);
    free(rates);
    return v;
}

/* ---------------------------------------------------------------- JSON */

/* jansson accepts NULL values and then fails, so only the final value has to be checked. */

static json_t *count(uint64_t n) { return json_integer((json_int_t)n); }

static json_t *known(double x) { return x > 0 ? jsonl_number(x) : json_null(); }

static void set(json_t *to, const char *key, json_t *value, bool *ok)
{
    *ok = json_object_set_new(to, key, value) == 0 && *ok;
}

static void add_model(const struct bench *b, json_t *to, bool *ok)
{
    const weft_model_info *m = &b->session.info;
    set(to, "model", jsonl_string(b->path), ok);
    set(to, "model_name", jsonl_string(m->name), ok);
    set(to, "architecture", jsonl_string(m->architecture), ok);
    set(to, "type", jsonl_string(m->type), ok);
    set(to, "n_bytes", count(m->n_bytes), ok);
    set(to, "n_params", count(m->n_params), ok);
}

static void add_test(const struct bench *b, const struct bench_row *row,
                     const struct bench_result *r, json_t *to, bool *ok)
{
    char name[96];
    bench_row_name(row, name, sizeof name);
    set(to, "backend", jsonl_string(r->engine.backend), ok);
    set(to, "device", jsonl_string(b->device), ok);
    set(to, "kernels", jsonl_string(r->engine.kernels), ok);
    set(to, "n_threads", count(r->engine.n_threads), ok);
    set(to, "n_batch", count(r->engine.n_batch), ok);
    set(to, "type_k", json_string(options_kv_type(b->o->type_k)), ok);
    set(to, "type_v", json_string(options_kv_type(b->o->type_v)), ok);
    set(to, "deterministic", json_boolean(b->o->deterministic), ok);
    set(to, "n_parallel", count(row->n_parallel), ok);
    set(to, "test", jsonl_string(name), ok);
    set(to, "n_prompt", count(row->n_prompt), ok);
    set(to, "n_gen", count(row->n_gen), ok);
    set(to, "n_depth", count(row->n_depth), ok);
    set(to, "n_reps", count(r->n), ok);
}

static void add_rates(const struct bench_rates *v, const struct bench_result *r, json_t *to,
                      bool *ok)
{
    json_t *samples = json_array();
    for (size_t i = 0; i < r->n; i++) {
        *ok = json_array_append_new(samples, json_real(r->seconds[i])) == 0 && *ok;
    }
    set(to, "tok_s", jsonl_number(v->median), ok);
    set(to, "tok_s_min", jsonl_number(v->min), ok);
    set(to, "tok_s_max", jsonl_number(v->max), ok);
    set(to, "tok_s_stddev", jsonl_number(v->stddev), ok);
    set(to, "ms_token", jsonl_number(v->ms_token), ok);
    set(to, "samples_s", samples, ok);
    set(to, "gb_s", known(v->gb_s), ok);
    set(to, "read_limit_gb_s", known(r->limits.read_bytes_per_s * 1e-9), ok);
    set(to, "read_percent", known(v->read_percent), ok);
    set(to, "macs_s", known(v->macs_s), ok);
    set(to, "macs_limit", known(r->limits.macs_per_s), ok);
    set(to, "macs_percent", known(v->macs_percent), ok);
}

static void add_ids(const struct bench_result *r, json_t *to, bool *ok)
{
    char hash[16];
    json_t *ids = json_array();
    for (size_t i = 0; i < r->ids.n; i++) {
        *ok = json_array_append_new(ids, json_integer(r->ids.at[i])) == 0 && *ok;
    }
    snprintf(hash, sizeof hash, "%08" PRIx32, r->hash);
    set(to, "ids_hash", r->has_ids ? json_string(hash) : json_null(), ok);
    set(to, "ids", ids, ok);
}

static void add_time(json_t *to, bool *ok)
{
    char now[32] = "";
    struct tm t;
    time_t seconds = time(NULL);
    if (gmtime_r(&seconds, &t) != NULL) {
        strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &t);
    }
    set(to, "version", json_string(weft_version()), ok);
    set(to, "timestamp", json_string(now), ok);
}

static void add_profile(const struct bench_result *r, json_t *to, bool *ok)
{
    const struct bench_profile *p = &r->profile;
    json_t *list = json_array();
    double all = 0;
    for (size_t i = 0; i < p->n_stages; i++) {
        all += p->stages[i].seconds;
    }
    for (size_t i = 0; i < p->n_stages; i++) {
        const struct bench_stage *s = &p->stages[i];
        double gb_s = (double)s->bytes / s->seconds * 1e-9;
        double macs_s = (double)s->n_macs / s->seconds;
        json_t *one = json_object();
        set(one, "stage", json_string(s->name), ok);
        set(one, "calls", count(s->n_calls), ok);
        set(one, "us_step", jsonl_number(s->seconds * 1e6 / (double)p->n_steps), ok);
        set(one, "share_percent", jsonl_number(bench_percent(s->seconds, all)), ok);
        set(one, "gb_s", known(gb_s), ok);
        set(one, "read_percent", known(bench_percent(gb_s * 1e9, r->limits.read_bytes_per_s)), ok);
        set(one, "macs_s", known(macs_s), ok);
        set(one, "macs_percent", known(bench_percent(macs_s, r->limits.macs_per_s)), ok);
        *ok = json_array_append_new(list, one) == 0 && *ok;
    }
    set(to, "profile_steps", count(p->n_steps), ok);
    set(to, "profile", list, ok);
}

static json_t *to_json(const struct bench *b, const struct bench_row *row,
                       const struct bench_result *r)
{
    struct bench_rates v = bench_rates(row, r);
    json_t *object = json_object();
    bool ok = object != NULL;
    add_model(b, object, &ok);
    add_test(b, row, r, object, &ok);
    add_rates(&v, r, object, &ok);
    add_ids(r, object, &ok);
    add_time(object, &ok);
    if (b->o->bench.profile) {
        add_profile(r, object, &ok);
    }
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* ---------------------------------------------------------------- CSV */

/* As in RFC 4180, all texts are in quotes, and quotes in them are doubled. Lines end with a newline
 * alone. */
static void csv_text(const char *t)
{
    putchar('"');
    for (; *t != '\0'; t++) {
        if (*t == '"') {
            putchar('"');
        }
        putchar(*t);
    }
    putchar('"');
}

/* The numbers of an array are one field, with spaces between them; an unknown value is an empty
 * field. */
static void csv_value(json_t *value)
{
    size_t i;
    json_t *element;
    if (json_is_string(value)) {
        csv_text(json_string_value(value));
    } else if (json_is_array(value)) {
        putchar('"');
        json_array_foreach(value, i, element)
        {
            printf(i > 0 ? " %.9g" : "%.9g", json_number_value(element));
        }
        putchar('"');
    } else if (json_is_integer(value)) {
        printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        printf("%d", json_is_true(value));
    } else if (json_is_real(value)) {
        printf("%.9g", json_real_value(value));
    }
}

static void csv_line(json_t *object, bool keys)
{
    const char *key, *before = "";
    json_t *value;
    json_object_foreach(object, key, value)
    {
        fputs(before, stdout);
        if (keys) {
            csv_text(key);
        } else {
            csv_value(value);
        }
        before = ",";
    }
    putchar('\n');
}

/* ---------------------------------------------------------------- rows */

static int write_object(const struct bench *b, json_t *object)
{
    if (b->o->bench.format == FORMAT_CSV) {
        if (b->n_written == 0) {
            csv_line(object, true);
        }
        csv_line(object, false);
        return EXIT_OK;
    }
    char *text = json_text(object, JSON_REAL_PRECISION(9));
    if (text == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the output");
    }
    if (b->o->bench.format == FORMAT_JSON) {
        fputs(b->n_written == 0 ? "[\n" : ",\n", stdout);
    }
    fputs(text, stdout);
    free(text);
    if (b->o->bench.format == FORMAT_JSONL) {
        putchar('\n');
    }
    return EXIT_OK;
}

int bench_write(struct bench *b, const struct bench_row *row, const struct bench_result *r)
{
    if (b->o->bench.format == FORMAT_MD) {
        bench_write_md(b, row, r);
    } else {
        json_t *object = to_json(b, row, r);
        if (object == NULL) {
            return term_fail(EXIT_MEMORY, "not enough memory for the output");
        }
        int code = write_object(b, object);
        json_decref(object);
        if (code != EXIT_OK) {
            return code;
        }
    }
    b->n_written++;
    return io_flush();
}

int bench_end(const struct bench *b)
{
    if (b->o->bench.format == FORMAT_JSON) {
        fputs(b->n_written == 0 ? "[]\n" : "\n]\n", stdout);
    }
    return io_flush();
}
