#include "run/device.h"

#include <stdio.h>
#include <string.h>

#include "format/preread.h"
#include "platform.h"
#include "run/api.h"

/* ---------------------------------------------------------------- choosing a device */

/* Returns the status for a GPU that cannot be used. A GPU that was lost is an error of its own,
 * because it is no reason to compute on the slow CPU. */
static weft_status problem_status(bool lost)
{
    return lost ? WEFT_E_DEVICE_LOST : WEFT_E_UNSUPPORTED;
}

/* Finds the first GPU that can be used, or says why there is none. */
static weft_status first_gpu(const struct cuda_platform *cuda, size_t *at, weft_error *why)
{
    weft_status status = error_set(why, problem_status(cuda->lost), "%s", cuda->problem);
    for (size_t i = 0; i < cuda->n_devices; i++) {
        struct cuda_device d;
        cuda_device_get(i, &d);
        if (d.problem[0] == '\0') {
            *at = i;
            return WEFT_OK;
        }
        if (i == 0 || (d.lost && status != WEFT_E_DEVICE_LOST)) {
            status = error_set(why, problem_status(d.lost), "cuda:%zu (%s): %s", i, d.description,
                               d.problem);
        }
    }
    return status;
}

/* A backend that is being opened. The file is read ahead until it is known which backend it will
 * be; then that backend reads the file with its own threads. */
struct opening {
    const struct model *m;
    struct backend_params *p;
    struct preread ahead;
};

static weft_status open_gpu(struct opening *o, size_t i, struct backend **out, weft_error *err)
{
    preread_stop(&o->ahead);
    o->p->device = (int)i;
    return cuda_backend_open(o->m, o->p, out, err);
}

static weft_status open_cpu(struct opening *o, struct backend **out, weft_error *err)
{
    preread_stop(&o->ahead);
    return cpu_backend_open(o->m, o->p, out, err);
}

static weft_status open_auto(struct opening *o, struct backend **out, weft_error *err)
{
    struct cuda_platform cuda;
    weft_error e = { WEFT_OK, "" };
    cuda_platform_get(&cuda);
    size_t i;
    weft_status status = first_gpu(&cuda, &i, &e);
    status = status == WEFT_OK ? open_gpu(o, i, out, &e) : status;
    if (status != WEFT_E_UNSUPPORTED) {
        return status == WEFT_OK ? status : error_set(err, status, "%s", e.message);
    }
    if (cuda.built) {
        log_line(o->p->log, WEFT_LOG_INFO, "no GPU: %s; running on the CPU", e.message);
    }
    return open_cpu(o, out, err);
}

/* Lists the names of the devices of this machine: "cpu, cuda:0 and cuda:1". */
static void list_names(const struct cuda_platform *cuda, char *dst, size_t cap)
{
    size_t n = (size_t)snprintf(dst, cap, "cpu");
    for (size_t i = 0; i < cuda->n_devices && n < cap; i++) {
        n += (size_t)snprintf(dst + n, cap - n, "%scuda:%zu",
                              i + 1 == cuda->n_devices ? " and " : ", ", i);
    }
}

/* Returns N if `device` is "cuda:N", otherwise SIZE_MAX. */
static size_t gpu_number(const char *device)
{
    const char *digits = device + strlen("cuda:");
    size_t n = 0, len = 0;
    if (strncmp(device, "cuda:", strlen("cuda:")) != 0) {
        return SIZE_MAX;
    }
    for (; len < 4 && digits[len] >= '0' && digits[len] <= '9'; len++) {
        n = n * 10 + (size_t)(digits[len] - '0');
    }
    return len > 0 && digits[len] == '\0' ? n : SIZE_MAX;
}

static weft_status open_first(struct opening *o, struct backend **out, weft_error *err)
{
    struct cuda_platform cuda;
    weft_error why;
    size_t i;
    cuda_platform_get(&cuda);
    weft_status status = first_gpu(&cuda, &i, &why);
    if (status != WEFT_OK) {
        return error_set(err, status, "device 'cuda': no GPU can be used: %s", why.message);
    }
    return open_gpu(o, i, out, err);
}

static weft_status open_numbered(struct opening *o, size_t i, struct backend **out, weft_error *err)
{
    struct cuda_platform cuda;
    struct cuda_device d;
    char names[160];
    cuda_platform_get(&cuda);
    if (i >= cuda.n_devices && cuda.problem[0] != '\0') {
        return error_set(err, problem_status(cuda.lost), "device 'cuda:%zu': %s", i, cuda.problem);
    }
    if (i >= cuda.n_devices) {
        list_names(&cuda, names, sizeof names);
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "there is no device 'cuda:%zu': the devices here are %s", i, names);
    }
    cuda_device_get(i, &d);
    if (d.problem[0] != '\0') {
        return error_set(err, problem_status(d.lost), "cuda:%zu (%s) cannot be used: %s", i,
                         d.description, d.problem);
    }
    return open_gpu(o, i, out, err);
}

/* `number` is the number of the GPU if `device` names one. */
static weft_status open_named(struct opening *o, const char *device, size_t number,
                              struct backend **out, weft_error *err)
{
    preread_start(&o->ahead, o->m->file);
    weft_status status = device == NULL || strcmp(device, "auto") == 0 ? open_auto(o, out, err)
                         : strcmp(device, "cuda") == 0                 ? open_first(o, out, err)
                                                       : open_numbered(o, number, out, err);
    preread_stop(&o->ahead);
    return status;
}

weft_status device_open_backend(const struct model *m, const char *device, struct backend_params *p,
                                struct backend **out, weft_error *err)
{
    struct opening o = { .m = m, .p = p };
    size_t number = 0;
    if (device != NULL && strcmp(device, "cpu") == 0) {
        return open_cpu(&o, out, err);
    }
    if (device != NULL && strcmp(device, "auto") != 0 && strcmp(device, "cuda") != 0) {
        number = gpu_number(device);
    }
    if (number == SIZE_MAX) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "device '%.64s' is unknown, expected auto, cpu, cuda, or cuda:N with the "
                         "number of a GPU",
                         device);
    }
    return open_named(&o, device, number, out, err);
}

/* ---------------------------------------------------------------- describing devices */

weft_status weft_platform_get(weft_platform_info *info, weft_error *err)
{
    struct cuda_platform cuda;
    struct cpu_platform cpu;
    weft_platform_info v = { .size = sizeof v };
    cuda_platform_get(&cuda);
    cpu_platform_get(&cpu);
    v.cuda_built = cuda.built;
    v.cuda_driver = cuda.driver;
    v.cuda_runtime = cuda.runtime;
    v.n_devices = cuda.n_devices + 1;
    v.cpu_kernels = cpu.kernels;
    v.n_cores = cpu.n_cores;
    v.n_threads = cpu.n_threads;
    snprintf(v.cuda_problem, sizeof v.cuda_problem, "%s", cuda.problem);
    snprintf(v.cpu_name, sizeof v.cpu_name, "%s", cpu.name);
    snprintf(v.cpu_features, sizeof v.cpu_features, "%s", cpu.features);
    return info_copy(info, &v, sizeof v, "weft_platform_info", err);
}

static void gpu_info(size_t i, weft_device_info *v)
{
    struct cuda_device d;
    cuda_device_get(i, &d);
    v->usable = d.problem[0] == '\0';
    v->major = d.major;
    v->minor = d.minor;
    v->n_units = d.n_sms;
    v->total_bytes = d.total_bytes;
    v->free_bytes = d.free_bytes;
    snprintf(v->name, sizeof v->name, "cuda:%zu", i);
    snprintf(v->description, sizeof v->description, "%s", d.description);
    snprintf(v->why, sizeof v->why, "%s", d.problem);
}

static void cpu_info(weft_device_info *v)
{
    struct cpu_platform cpu;
    cpu_platform_get(&cpu);
    v->usable = true;
    v->n_units = cpu.n_cores;
    v->total_bytes = cpu.total_bytes;
    v->free_bytes = cpu.free_bytes;
    snprintf(v->name, sizeof v->name, "cpu");
    snprintf(v->description, sizeof v->description, "%s", cpu.name);
}

weft_status weft_device_get(size_t i, weft_device_info *info, weft_error *err)
{
    struct cuda_platform cuda;
    weft_device_info v = { .size = sizeof v };
    cuda_platform_get(&cuda);
    if (i > cuda.n_devices) {
        return error_set(err, WEFT_E_ARG, "device %zu does not exist; there are %zu", i,
                         cuda.n_devices + 1);
    }
    if (i < cuda.n_devices) {
        gpu_info(i, &v);
    } else {
        cpu_info(&v);
    }
    return info_copy(info, &v, sizeof v, "weft_device_info", err);
}
