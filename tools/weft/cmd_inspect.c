/* weft inspect: shows what a GGUF file holds and whether it is sound. To check that, it opens the
 * file as a model, which validates every tensor. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "weft/commands.h"
#include "weft/inspect.h"
#include "weft/io.h"

int inspect_value(const struct inspection *in, size_t i, size_t j, struct bytes *value)
{
    weft_error err = { 0 };
    size_t n = 0;
    value->n = 0;
    weft_status status = weft_file_value(in->file, i, j, NULL, 0, &n, &err);
    if (status == WEFT_E_BUFFER || status == WEFT_OK) {
        if (!text_reserve(value, n)) {
            return term_fail(EXIT_MEMORY, "not enough memory for a value of %zu bytes", n);
        }
        status = weft_file_value(in->file, i, j, value->data, n, &n, &err);
    }
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    value->n = n;
    value->data[n] = '\0';
    return EXIT_OK;
}

uint64_t inspect_elements(const weft_tensor_info *t)
{
    return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
}

/* Prints a value on one line, cut at SHORT_TEXT bytes unless --full is given. */
static int print_value(const struct inspection *in, size_t i, size_t j, bool quoted)
{
    struct bytes value = { 0 }, line = { 0 };
    int code = inspect_value(in, i, j, &value);
    const size_t shown = utf8_fit(value.data, value.n, in->o->full ? value.n : SHORT_TEXT);
    if (code == EXIT_OK && !io_escape(value.data, shown, quoted ? '"' : 0, &line)) {
        code = term_fail(EXIT_MEMORY, "not enough memory for a value of %zu bytes", value.n);
    }
    if (code == EXIT_OK) {
        printf(quoted ? "\"%.*s\"" : "%.*s", (int)line.n, line.n > 0 ? line.data : "");
        if (shown < value.n) {
            printf("... (%zu bytes)", value.n);
        }
    }
    bytes_free(&value);
    bytes_free(&line);
    return code;
}

static int print_key(const struct inspection *in, size_t i)
{
    weft_error err = { 0 };
    weft_key_info k;
    struct bytes name = { 0 };
    int code = EXIT_OK;
    weft_status status = weft_file_key(in->file, i, &k, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    if (!io_escape(k.name, strlen(k.name), 0, &name)) {
        bytes_free(&name);
        return term_fail(EXIT_MEMORY, "not enough memory for a name");
    }
    bool list = strcmp(k.type, "arr") == 0, quoted = strcmp(k.element, "str") == 0 && list;
    size_t shown = in->o->full ? k.n : size_min(k.n, SHORT_ARRAY);
    printf("  %-42s %-5s ", name.n > 0 ? name.data : "", list ? k.element : k.type);
    if (list) {
        printf("[%zu] ", k.n);
    }
    for (size_t j = 0; j < shown && code == EXIT_OK; j++) {
        fputs(j > 0 ? ", " : "", stdout);
        code = print_value(in, i, j, quoted);
    }
    puts(shown < k.n ? ", ..." : "");
    bytes_free(&name);
    return code;
}

bool inspect_unknown(const struct inspection *in, size_t i)
{
    weft_key_use use = WEFT_KEY_OBEYED;
    return weft_file_key_use(in->file, i, &use, NULL) == WEFT_OK && use == WEFT_KEY_UNKNOWN;
}

static int print_unknown(const struct inspection *in)
{
    bool first = true;
    int code = EXIT_OK;
    for (size_t i = 0; i < weft_file_n_keys(in->file) && code == EXIT_OK; i++) {
        if (inspect_unknown(in, i)) {
            fputs(first ? "\nmetadata that Weft does not know and does not obey:\n" : "", stdout);
            first = false;
            code = print_key(in, i);
        }
    }
    return code;
}

static int print_tensor(const weft_tensor_info *t)
{
    struct bytes name = { 0 };
    char shape[96] = "";
    size_t n = 0;
    if (!io_escape(t->name, strlen(t->name), 0, &name)) {
        bytes_free(&name);
        return term_fail(EXIT_MEMORY, "not enough memory for a name");
    }
    for (size_t d = 0; d < t->n_dims && n < sizeof shape; d++) {
        n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%" PRIu64, d > 0 ? " x " : "",
                              t->shape[d]);
    }
    printf("  %-42s %-7s %-22s %12" PRIu64 "\n", name.n > 0 ? name.data : "", t->type, shape,
           t->n_bytes);
    bytes_free(&name);
    return EXIT_OK;
}

static int count_types(struct inspection *in)
{
    weft_error err = { 0 };
    for (size_t i = 0; i < weft_file_n_tensors(in->file); i++) {
        weft_tensor_info t;
        size_t k = 0;
        weft_status status = weft_file_tensor(in->file, i, &t, &err);
        if (status != WEFT_OK) {
            return term_status(status, &err);
        }
        while (k < in->n_totals && strcmp(in->totals[k].type, t.type) != 0) {
            k++;
        }
        if (k == in->n_totals) {
            if (k == MAX_TYPES) {
                continue;
            }
            in->totals[in->n_totals++] = (struct type_total){ .type = t.type };
        }
        in->totals[k].n_tensors++;
        in->totals[k].n_elements += inspect_elements(&t);
        in->totals[k].n_bytes += t.n_bytes;
    }
    return EXIT_OK;
}

static int print_sections(const struct inspection *in)
{
    const weft_file *f = in->file;
    bool all = !in->o->keys && !in->o->tensors;
    int code = EXIT_OK;
    printf("GGUF version %" PRIu32 ", %zu part%s, %" PRIu64 " bytes, %zu keys, %zu tensor%s\n",
           weft_file_version(f), weft_file_n_parts(f), weft_file_n_parts(f) == 1 ? "" : "s",
           weft_file_bytes(f), weft_file_n_keys(f), weft_file_n_tensors(f),
           weft_file_n_tensors(f) == 1 ? "" : "s");
    if (all || in->o->keys) {
        puts("\nmetadata:");
    }
    for (size_t i = 0; i < weft_file_n_keys(f) && code == EXIT_OK && (all || in->o->keys); i++) {
        code = print_key(in, i);
    }
    if (code == EXIT_OK && (all || in->o->keys)) {
        code = print_unknown(in);
    }
    if (weft_file_n_tensors(f) == 0) {
        return code;
    }
    if (all || in->o->tensors) {
        puts("\ntensors (row length first, bytes last):");
    }
    for (size_t i = 0; i < weft_file_n_tensors(f) && code == EXIT_OK && (all || in->o->tensors);
         i++) {
        weft_tensor_info t;
        weft_error err = { 0 };
        weft_status status = weft_file_tensor(f, i, &t, &err);
        code = status == WEFT_OK ? print_tensor(&t) : term_status(status, &err);
    }
    puts("\ntypes:");
    for (size_t i = 0; i < in->n_totals && code == EXIT_OK; i++) {
        const struct type_total *t = &in->totals[i];
        printf("  %-7s %5" PRIu64 " tensors %15" PRIu64 " elements %15" PRIu64 " bytes\n", t->type,
               t->n_tensors, t->n_elements, t->n_bytes);
    }
    return code;
}

static void on_log(void *user, weft_log_level level, const char *text)
{
    struct inspection *in = user;
    if (level == WEFT_LOG_WARN && !text_add(&in->warnings, text, strlen(text) + 1)) {
        term_note("weft: %s", text);
    }
}

/* Opens the file as a model; the verdict goes to in->check_text. This happens before it is opened
 * as a file, so that a file that is read instead of mapped is in memory only once. */
static void check(struct inspection *in)
{
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    weft_model_info info = { .size = sizeof info };
    weft_model *model = NULL;
    weft_error err = { 0 };
    in->checked = true;
    p.no_mmap = in->o->no_mmap;
    p.log = on_log;
    p.log_user = in;
    weft_status status = weft_model_open(in->path, &p, &model, &err);
    if (status == WEFT_OK) {
        status = weft_model_get_info(model, &info, &err);
    }
    if (status == WEFT_OK) {
        snprintf(
            in->check_text, sizeof in->check_text,
            "%s, %zu layers, width %zu, %zu heads (%zu for k and v), vocabulary %zu, context %zu, "
            "%" PRIu64 " weights, %s",
            info.architecture, info.n_layers, info.dim, info.n_heads, info.n_kv_heads, info.n_vocab,
            info.n_ctx_train, info.n_params,
            info.chat_template != NULL ? "chat by the file's own template" : info.chat_remark);
    } else {
        snprintf(in->check_text, sizeof in->check_text, "%s", err.message);
        in->check_code = status == WEFT_E_NOMEM ? EXIT_MEMORY : EXIT_MODEL;
    }
    weft_model_release(&model);
}

static void print_verdict(const struct inspection *in)
{
    putchar('\n');
    for (size_t at = 0; at < in->warnings.n; at += strlen(in->warnings.data + at) + 1) {
        printf("warning: %s\n", in->warnings.data + at);
    }
    printf("ok: %s\n", in->check_text);
}

static int report(struct inspection *in)
{
    int code = count_types(in);
    if (code != EXIT_OK) {
        return code;
    }
    if (in->checked && weft_file_n_tensors(in->file) == 0) {
        in->check_code = EXIT_OK;
        snprintf(in->check_text, sizeof in->check_text,
                 "well-formed; it has no tensors, so it is no model");
    }
    if (in->o->json) {
        code = inspect_print_json(in);
    } else {
        code = print_sections(in);
        if (code == EXIT_OK && in->checked && in->check_code == EXIT_OK) {
            print_verdict(in);
        }
        int flushed = io_flush();
        code = code != EXIT_OK ? code : flushed;
    }
    if (in->check_code != EXIT_OK) {
        term_fail(0, "%s", in->check_text);
    }
    return code != EXIT_OK ? code : in->check_code;
}

int cmd_inspect(const struct options *o, int n_args, char **args)
{
    weft_error err = { 0 };
    struct inspection in = { .o = o, .path = n_args == 1 ? args[0] : o->model };
    if (n_args > 1 || in.path == NULL || (n_args == 1 && o->model != NULL)) {
        return term_usage("inspect", "give one FILE");
    }
    if (!o->no_check) {
        check(&in);
    }
    weft_status status = o->no_mmap ? weft_file_load(in.path, &in.file, &err)
                                    : weft_file_open(in.path, &in.file, &err);
    int code = EXIT_OK;
    if (status == WEFT_OK) {
        code = report(&in);
        weft_file_release(&in.file);
    } else {
        code = term_status(status, &err);
        code = status == WEFT_E_IO ? EXIT_MODEL : code;
    }
    bytes_free(&in.warnings);
    return code;
}
