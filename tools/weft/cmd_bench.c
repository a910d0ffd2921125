/* weft bench: goes through the models, the numbers of threads and the tests. If a row fails, its
 * name is printed on standard error, and the other rows are still computed. */
#include <stdlib.h>
#include <string.h>

#include "weft/bench/bench.h"
#include "weft/commands.h"
#include "weft/term.h"

enum { FORMAT_CSV = 3 };

/* Names the device that the engines compute on; with `auto` it is only known once an engine is
 * open. */
static void name_device(struct bench *b, const char *backend)
{
    weft_platform_info platform = { .size = sizeof platform };
    weft_device_info device = { .size = sizeof device };
    const char *asked = b->o->device;
    bool cpu = strcmp(backend, "cpu") == 0;
    if (weft_platform_get(&platform, NULL) != WEFT_OK) {
        return;
    }
    for (size_t i = 0; i < platform.n_devices; i++) {
        if (weft_device_get(i, &device, NULL) != WEFT_OK) {
            continue;
        }
        bool is_cpu = strcmp(device.name, "cpu") == 0;
        bool named = strchr(asked, ':') == NULL || strcmp(asked, device.name) == 0;
        if (is_cpu == cpu && device.usable && (is_cpu || named)) {
            memcpy(b->device, device.description, sizeof b->device);
            return;
        }
    }
}

/* Keeps the first failure in *code. Returns false after Ctrl-C, or when nobody reads the output any
 * more. */
static bool note(int *code, int result)
{
    *code = *code == EXIT_OK || result == EXIT_INTERRUPTED ? result : *code;
    return result != EXIT_INTERRUPTED && !io_failed();
}

static bool run_row(struct bench *b, const struct bench_row *row, int *code)
{
    struct bench_result result = { 0 };
    int failed = bench_run(b, row, &result);
    if (failed == EXIT_OK) {
        if (b->device[0] == '\0') {
            name_device(b, result.engine.backend);
        }
        failed = bench_write(b, row, &result);
    }
    bench_result_free(&result);
    return note(code, failed);
}

/* Runs the tests of one depth and one number of sequences. */
static bool run_tests(struct bench *b, struct bench_row row, int *code)
{
    const struct bench_options *o = &b->o->bench;
    bool go = true;
    for (size_t i = 0; i < o->n_prompt.n && go; i++) {
        row.n_prompt = (size_t)o->n_prompt.at[i];
        row.n_gen = 0;
        go = row.n_prompt == 0 || run_row(b, &row, code);
    }
    for (size_t i = 0; i < o->n_gen.n && go; i++) {
        row.n_prompt = 0;
        row.n_gen = (size_t)o->n_gen.at[i];
        go = row.n_gen == 0 || run_row(b, &row, code);
    }
    for (size_t i = 0; i < o->n_pairs && go; i++) {
        row.n_prompt = (size_t)o->pairs[i].n_prompt;
        row.n_gen = (size_t)o->pairs[i].n_gen;
        go = run_row(b, &row, code);
    }
    return go;
}

static bool run_model(struct bench *b, int *code)
{
    const struct bench_options *o = &b->o->bench;
    const size_t n_threads = o->n_threads.n > 0 ? o->n_threads.n : 1;
    struct options with_path = *b->o;
    bool go = true;
    with_path.model = b->path;
    int opened = session_model(&b->session, &with_path, false);
    go = note(code, opened);
    b->limits_known = false;
    for (size_t t = 0; t < n_threads && go && opened == EXIT_OK; t++) {
        for (size_t d = 0; d < o->n_depth.n && go; d++) {
            for (size_t p = 0; p < o->n_parallel.n && go; p++) {
                struct bench_row row = { .n_depth = (size_t)o->n_depth.at[d],
                                         .n_parallel = (size_t)o->n_parallel.at[p] };
                row.n_threads = o->n_threads.n > 0 ? (size_t)o->n_threads.at[t] : 0;
                go = run_tests(b, row, code);
            }
        }
    }
    session_close(&b->session);
    return go;
}

static int run_models(struct bench *b)
{
    const struct bench_options *o = &b->o->bench;
    int code = EXIT_OK;
    bool go = true;
    for (size_t i = 0; i < o->n_models && go; i++) {
        char *paths = strdup(o->models[i]), *rest = paths;
        if (paths == NULL) {
            return term_fail(EXIT_MEMORY, "not enough memory for the names of the models");
        }
        while (go && rest != NULL) {
            b->path = strsep(&rest, ",");
            go = run_model(b, &code);
        }
        free(paths);
    }
    int ended = io_failed() ? EXIT_OK : bench_end(b);
    return code != EXIT_OK ? code : ended;
}

static bool any_test(const struct bench_options *o)
{
    bool any = o->n_pairs > 0;
    for (size_t i = 0; i < o->n_prompt.n; i++) {
        any |= o->n_prompt.at[i] > 0;
    }
    for (size_t i = 0; i < o->n_gen.n; i++) {
        any |= o->n_gen.at[i] > 0;
    }
    return any;
}

int cmd_bench(const struct options *o, int n_args, char **args)
{
    struct bench b = { .o = o };
    (void)n_args;
    (void)args;
    if (o->bench.n_models == 0) {
        return term_usage("bench", "no model; name one with -m FILE");
    }
    if (!any_test(&o->bench)) {
        return term_usage("bench", "no test; -p, -n or -pg needs a number above 0");
    }
    if (o->bench.profile && o->bench.format == FORMAT_CSV) {
        return term_usage("bench", "--profile needs -o md, json or jsonl; a table of values holds "
                                   "no tables");
    }
    if (!o->quiet) {
        term_progress_on();
    }
    int code = o->bench.prompt_ids != NULL ? ids_read(o->bench.prompt_ids, &b.prompt) : EXIT_OK;
    if (code == EXIT_OK) {
        term_on_interrupt(TERM_FLAG_ONCE);
        code = run_models(&b);
    }
    free(b.prompt.at);
    return code;
}
