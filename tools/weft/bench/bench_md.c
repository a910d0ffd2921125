/* The table of weft bench in Markdown, ready to be pasted into an issue. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "weft/bench/bench.h"

/* Writes a text in a cell; a bar would end the cell. */
static void cell(const char *text)
{
    fputs(" ", stdout);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '|') {
            putchar('\\');
        }
        putchar(c < 0x20 || c == 0x7f ? '?' : c);
    }
    fputs(" |", stdout);
}

static const char *amount(double n, char *dst, size_t cap)
{
    snprintf(dst, cap, "%.*f", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n);
    return dst;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void header(const struct bench *b, const struct bench_result *r)
{
    char read[32], macs[32];
    const weft_engine_info *e = &r->engine;
    printf("weft %s; %s, %s", weft_version(), b->device, e->backend);
    if (strcmp(e->kernels, e->backend) != 0) {
        printf(" with kernels %s", e->kernels);
    }
    if (strcmp(e->backend, "cpu") == 0) {
        printf(", %zu threads", e->n_threads);
    }
    if (b->o->type_k != WEFT_KV_F16 || b->o->type_v != WEFT_KV_F16) {
        printf(", K in %s, V in %s", options_kv_type(b->o->type_k), options_kv_type(b->o->type_v));
    }
    printf("; limits measured: reads %s GB/s",
           amount(r->limits.read_bytes_per_s * 1e-9, read, sizeof read));
    if (r->limits.macs_per_s > 0) {
        printf(", %s G multiply-adds/s", amount(r->limits.macs_per_s * 1e-9, macs, sizeof macs));
    }
    printf("\n\n");
}

static void head(void)
{
    puts("| model | type | size | params | threads | sequences | test | tok/s | min - max "
         "| ms/token | reached | of limit | ids |\n"
         "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- "
         "|");
}

/* Writes "31.2 GB/s | 88 % of 35.4 |", or the part of it that is known. */
static void reached(double per_s, double limit, const char *unit)
{
    char a[32], b[32];
    if (per_s > 0) {
        printf(" %s %s |", amount(per_s * 1e-9, a, sizeof a), unit);
    } else {
        printf(" - |");
    }
    if (per_s > 0 && limit > 0) {
        printf(" %.0f %% of %s |", bench_percent(per_s, limit), amount(limit * 1e-9, b, sizeof b));
    } else {
        printf(" - |");
    }
}

static void line(const struct bench *b, const struct bench_row *row, const struct bench_result *r)
{
    char name[96], a[32], c[32], d[32];
    const weft_model_info *m = &b->session.info;
    struct bench_rates v = bench_rates(row, r);
    bench_row_name(row, name, sizeof name);
    putchar('|');
    cell(base_name(b->path));
    cell(m->type);
    printf(" %s MiB | %s M |", amount((double)m->n_bytes / 1048576.0, a, sizeof a),
           amount((double)m->n_params * 1e-6, c, sizeof c));
    printf(" %zu | %zu | %s |", r->engine.n_threads, row->n_parallel, name);
    printf(" %s | %s - %s |", amount(v.median, a, sizeof a), amount(v.min, c, sizeof c),
           amount(v.max, d, sizeof d));
    printf(" %s |", amount(v.ms_token, a, sizeof a));
    if (row->n_prompt == 0) {
        reached(v.gb_s * 1e9, r->limits.read_bytes_per_s, "GB/s");
    } else {
        reached(v.macs_s, r->limits.macs_per_s, "GMAC/s");
    }
    if (r->has_ids) {
        printf(" %08" PRIx32 " |\n", r->hash);
    } else {
        printf(" - |\n");
    }
}

static void profile(const struct bench_row *row, const struct bench_result *r)
{
    char name[96], us[32];
    const struct bench_profile *p = &r->profile;
    double all = 0;
    bench_row_name(row, name, sizeof name);
    for (size_t i = 0; i < p->n_stages; i++) {
        all += p->stages[i].seconds;
    }
    printf("\nStages of %s, in a run of its own (steps: %zu) that waits for each of them and "
           "takes longer than the one above:\n\n"
           "| stage | calls | us/step | share | reads | of limit | multiplies | of limit |\n"
           "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
           name, p->n_steps);
    for (size_t i = 0; i < p->n_stages; i++) {
        const struct bench_stage *s = &p->stages[i];
        printf("| %s | %zu | %s | %.1f %% |", s->name, s->n_calls,
               amount(s->seconds * 1e6 / (double)p->n_steps, us, sizeof us),
               100 * s->seconds / all);
        reached((double)s->bytes / s->seconds, r->limits.read_bytes_per_s, "GB/s");
        reached((double)s->n_macs / s->seconds, r->limits.macs_per_s, "GMAC/s");
        putchar('\n');
    }
    putchar('\n');
}

void bench_write_md(const struct bench *b, const struct bench_row *row,
                    const struct bench_result *r)
{
    if (b->n_written == 0) {
        header(b, r);
    }
    if (b->n_written == 0 || b->o->bench.profile) {
        head();
    }
    line(b, row, r);
    if (b->o->bench.profile) {
        profile(row, r);
    }
}
