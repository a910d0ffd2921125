/* weft doctor: lists the devices of this machine, and says which can be used and why the others
 * cannot. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/io.h"
#include "weft/jsonl.h"
#include "weft/session.h"

struct diagnosis {
    const struct options *o;
    struct session session; /* with -m */
    weft_platform_info platform;
    weft_device_info *devices; /* [platform.n_devices] */
    const weft_device_info *automatic;
    size_t n_kv;
    uint64_t kv_bytes, need_bytes; /* need: weights, K and V */
};

enum fit { FIT_NO, FIT_YES, FIT_UNKNOWN };

/* ---------------------------------------------------------------- finding out */

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* The first usable device is what "auto" means; the CPU is the last one and is always usable. */
static int find_devices(struct diagnosis *d)
{
    weft_error err = { 0 };
    d->platform.size = sizeof d->platform;
    weft_status status = weft_platform_get(&d->platform, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    d->devices = calloc(d->platform.n_devices, sizeof *d->devices);
    if (d->devices == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the list of devices");
    }
    for (size_t i = 0; i < d->platform.n_devices; i++) {
        d->devices[i].size = sizeof d->devices[i];
        status = weft_device_get(i, &d->devices[i], &err);
        if (status != WEFT_OK) {
            return term_status(status, &err);
        }
        if (d->devices[i].usable && d->automatic == NULL) {
            d->automatic = &d->devices[i];
        }
    }
    return EXIT_OK;
}

/* Returns the bytes of n values of K or V: halves, or 34 bytes for each 32 values. */
static uint64_t value_bytes(size_t type, uint64_t n)
{
    return type == WEFT_KV_Q8_0 ? ceil_div(n, 32) * 34 : times(2, n);
}

static int measure_model(struct diagnosis *d)
{
    int code = session_model(&d->session, d->o, false);
    code = code != EXIT_OK ? code : session_check_ctx(&d->session, d->o);
    if (code != EXIT_OK) {
        return code;
    }
    const weft_model_info *m = &d->session.info;
    size_t n_ctx = session_n_ctx(&d->session, d->o);
    size_t n_kv = d->o->kv > 0 ? (size_t)d->o->kv : size_max(n_ctx, WEFT_CTX_DEFAULT);
    d->n_kv = round_up(n_kv, WEFT_KV_PAGE);
    uint64_t position = 0;
    for (size_t i = 0; i < m->n_layers; i++) {
        weft_layer_info l = { .size = sizeof l };
        weft_error err = { 0 };
        weft_status status = weft_model_get_layer(d->session.model, i, &l, &err);
        if (status != WEFT_OK) {
            return term_status(status, &err);
        }
        position += l.n_kv_heads *
                    (value_bytes(d->o->type_k, l.k_dim) + value_bytes(d->o->type_v, l.v_dim));
    }
    d->kv_bytes = times(position, d->n_kv);
    if (__builtin_add_overflow(d->kv_bytes, m->n_bytes, &d->need_bytes)) {
        d->need_bytes = UINT64_MAX;
    }
    return EXIT_OK;
}

static enum fit fits(const struct diagnosis *d, const weft_device_info *device)
{
    if (!device->usable || device->free_bytes == 0) {
        return device->usable ? FIT_UNKNOWN : FIT_NO;
    }
    return d->need_bytes <= device->free_bytes ? FIT_YES : FIT_NO;
}

static bool is_gpu(const weft_device_info *device) { return strcmp(device->name, "cpu") != 0; }

/* Explains why `auto` chooses what it chooses; the obstacle to a better choice comes first. */
static void why_automatic(const struct diagnosis *d, char *dst, size_t cap)
{
    if (is_gpu(d->automatic)) {
        bool full = d->o->model != NULL && fits(d, d->automatic) == FIT_NO;
        snprintf(dst, cap, "the first GPU that can be used%s",
                 full ? ", but this model does not fit there; a smaller -c or --kv needs less, "
                        "--device cpu none of it"
                      : "");
    } else if (d->platform.n_devices == 1) {
        snprintf(dst, cap, "%s", d->platform.cuda_problem);
    } else {
        snprintf(dst, cap, "no GPU can be used; %s: %s", d->devices[0].name, d->devices[0].why);
    }
}

/* ---------------------------------------------------------------- text */

static const char *amount(uint64_t bytes, char *dst, size_t cap)
{
    double mib = (double)bytes / 1048576.0;
    snprintf(dst, cap, mib < 1024 ? "%.1f MiB" : "%.1f GiB", mib < 1024 ? mib : mib / 1024);
    return dst;
}

static void print_device(const weft_device_info *v)
{
    char total[32], left[32];
    printf("  %-8s %s", v->name, v->description[0] != '\0' ? v->description : "unknown");
    if (v->major > 0) {
        printf(", compute capability %d.%d, %zu multiprocessors", v->major, v->minor, v->n_units);
    }
    if (v->total_bytes > 0) {
        printf(", %s", amount(v->total_bytes, total, sizeof total));
    }
    if (v->free_bytes > 0) {
        printf(", %s of it free", amount(v->free_bytes, left, sizeof left));
    }
    printf(v->usable ? "\n" : "\n           cannot be used: %s\n", v->why);
}

static void print_fit(const struct diagnosis *d, const weft_device_info *v)
{
    char spare[32];
    switch (fits(d, v)) {
    case FIT_YES:
        printf("  %-8s fits, and leaves %s for activations\n", v->name,
               amount(v->free_bytes - d->need_bytes, spare, sizeof spare));
        break;
    case FIT_NO:
        printf("  %-8s %s\n", v->name, v->usable ? "does not fit" : "cannot be used");
        break;
    case FIT_UNKNOWN: printf("  %-8s unknown: so is its free memory\n", v->name); break;
    }
}

static void print_text(const struct diagnosis *d)
{
    const weft_platform_info *p = &d->platform;
    char why[512], weights[32], kv[32];
    printf("weft %s\n", weft_version());
    if (p->cuda_built) {
        printf("CUDA %d.%d, ", p->cuda_runtime / 1000, p->cuda_runtime % 1000 / 10);
        printf(p->cuda_driver > 0 ? "driver for CUDA up to %d.%d\n" : "no driver\n",
               p->cuda_driver / 1000, p->cuda_driver % 1000 / 10);
    } else {
        printf("no CUDA in this build\n");
    }
    printf("CPU %s, %zu cores, %zu threads, %s; kernels: %s\n", p->cpu_name, p->n_cores,
           p->n_threads, p->cpu_features[0] != '\0' ? p->cpu_features : "no vector instructions",
           p->cpu_kernels);
    printf("\ndevices:\n");
    for (size_t i = 0; i < p->n_devices; i++) {
        print_device(&d->devices[i]);
    }
    if (d->o->model != NULL) {
        printf("\nmodel: %s, weights %s, KV %s for %zu positions (K in %s, V in %s)\n",
               d->session.info.architecture,
               amount(d->session.info.n_bytes, weights, sizeof weights),
               amount(d->kv_bytes, kv, sizeof kv), d->n_kv, options_kv_type(d->o->type_k),
               options_kv_type(d->o->type_v));
        for (size_t i = 0; i < p->n_devices; i++) {
            print_fit(d, &d->devices[i]);
        }
    }
    why_automatic(d, why, sizeof why);
    printf("\n--device auto uses %s: %s\n", d->automatic->name, why);
}

/* ---------------------------------------------------------------- JSON */

static json_t *bytes(uint64_t n) { return n > 0 ? json_integer((json_int_t)n) : json_null(); }

static json_t *device_json(const struct diagnosis *d, const weft_device_info *v)
{
    char capability[32];
    snprintf(capability, sizeof capability, "%d.%d", v->major, v->minor);
    json_t *one =
        json_pack("{s:s, s:s, s:s?, s:I, s:o, s:o, s:b, s:s}", "name", v->name, "description",
                  v->description, "compute_capability", v->major > 0 ? capability : NULL, "units",
                  (json_int_t)v->n_units, "total_bytes", bytes(v->total_bytes), "free_bytes",
                  bytes(v->free_bytes), "usable", v->usable, "why", v->why);
    if (d->o->model != NULL) {
        enum fit fit = fits(d, v);
        jsonl_set(&one, "fits", fit == FIT_UNKNOWN ? json_null() : json_boolean(fit));
    }
    return one;
}

static json_t *platform_json(const struct diagnosis *d)
{
    const weft_platform_info *p = &d->platform;
    return json_pack("{s:s, s:{s:b, s:i, s:i, s:s}, s:{s:s, s:s, s:s, s:I, s:I}}", "version",
                     weft_version(), "cuda", "built", p->cuda_built, "runtime", p->cuda_runtime,
                     "driver", p->cuda_driver, "problem", p->cuda_problem, "cpu", "name",
                     p->cpu_name, "features", p->cpu_features, "kernels", p->cpu_kernels, "cores",
                     (json_int_t)p->n_cores, "threads", (json_int_t)p->n_threads);
}

/* jansson accepts NULL values and then fails, so only the result has to be checked. */
static int print_json(const struct diagnosis *d)
{
    char why[512];
    json_t *root = platform_json(d), *devices = json_array();
    bool ok = root != NULL;
    for (size_t i = 0; i < d->platform.n_devices; i++) {
        ok = json_array_append_new(devices, device_json(d, &d->devices[i])) == 0 && ok;
    }
    ok = json_object_set_new(root, "devices", devices) == 0 && ok;
    if (d->o->model != NULL) {
        json_t *model =
            json_pack("{s:s, s:o, s:o, s:I}", "architecture", d->session.info.architecture,
                      "weight_bytes", bytes(d->session.info.n_bytes), "kv_bytes",
                      bytes(d->kv_bytes), "positions", (json_int_t)d->n_kv);
        ok = json_object_set_new(root, "model", model) == 0 && ok;
    }
    why_automatic(d, why, sizeof why);
    json_t *automatic = json_pack("{s:s, s:s}", "device", d->automatic->name, "why", why);
    ok = json_object_set_new(root, "auto", automatic) == 0 && ok;
    int code = ok ? jsonl_dump(NULL, stdout, root, JSON_INDENT(2))
                  : term_fail(EXIT_MEMORY, "not enough memory for the JSON");
    if (code == EXIT_OK) {
        putchar('\n');
    }
    json_decref(root);
    return code;
}

int cmd_doctor(const struct options *o, int n_args, char **args)
{
    struct diagnosis d = { .o = o };
    (void)n_args;
    (void)args;
    int code = o->model != NULL ? measure_model(&d) : EXIT_OK;
    code = code != EXIT_OK ? code : find_devices(&d);
    if (code == EXIT_OK && o->json) {
        code = print_json(&d);
    } else if (code == EXIT_OK) {
        print_text(&d);
    }
    free(d.devices);
    session_close(&d.session);
    return code != EXIT_OK ? code : io_flush();
}
