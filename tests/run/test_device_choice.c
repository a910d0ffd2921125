/* src/run/device.c: which device a name means, and what "auto" does and says. The machines are made
 * up here: the file is compiled into this program with other backends than the real ones. */
#define cuda_platform_get made_up_cuda
#define cuda_device_get made_up_device
#define cuda_backend_open made_up_cuda_open
#define cpu_platform_get made_up_cpu
#define cpu_backend_open made_up_cpu_open
#define device_open_backend choose_backend
#define weft_platform_get choose_platform_get
#define weft_device_get choose_device_get
#include "platform.h"
#include "src/run/device.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MAX_GPUS = 4 };

/* The machine, and what was done with it. */
static struct {
    struct cuda_platform cuda;
    struct cuda_device gpus[MAX_GPUS];
    weft_status cuda_status;
    size_t n_asked, n_woken[MAX_GPUS]; /* questions about the platform, and about each GPU */
    int opened;                        /* the GPU that was opened last, -1 = none */
    size_t n_cpu;                      /* backends opened on the CPU */
    char line[512];
    size_t n_lines;
} machine;

static struct backend gpu_backend, cpu_backend;
static struct gguf no_file;
static const struct model model = { .file = &no_file };

void made_up_cuda(struct cuda_platform *p)
{
    machine.n_asked++;
    *p = machine.cuda;
}

void made_up_device(size_t i, struct cuda_device *d)
{
    assert_true(i < machine.cuda.n_devices);
    machine.n_woken[i]++;
    *d = machine.gpus[i];
}

weft_status made_up_cuda_open(const struct model *m, const struct backend_params *p,
                              struct backend **out, weft_error *err)
{
    (void)m;
    machine.opened = p->device;
    if (machine.cuda_status != WEFT_OK) {
        return error_set(err, machine.cuda_status, "cuda:%d: needs 12345 of 678 MiB", p->device);
    }
    *out = &gpu_backend;
    return WEFT_OK;
}

void made_up_cpu(struct cpu_platform *p)
{
    *p = (struct cpu_platform){ .name = "Abacus",
                                .features = "beads",
                                .kernels = "fingers",
                                .n_cores = 5,
                                .n_threads = 10,
                                .total_bytes = 77,
                                .free_bytes = 66 };
}

weft_status made_up_cpu_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err)
{
    (void)m;
    (void)p;
    (void)err;
    machine.n_cpu++;
    *out = &cpu_backend;
    return WEFT_OK;
}

static void take_line(void *user, weft_log_level level, const char *text)
{
    (void)user;
    assert_int_equal(level, WEFT_LOG_INFO);
    snprintf(machine.line, sizeof machine.line, "%s", text);
    machine.n_lines++;
}

/* ---------------------------------------------------------------- machines */

static void no_cuda(void)
{
    memset(&machine, 0, sizeof machine);
    machine.opened = -1;
    strcpy(machine.cuda.problem, "not built, get nvcc");
}

static void no_gpu(void)
{
    no_cuda();
    machine.cuda.built = true;
    strcpy(machine.cuda.problem, "no driver, get one");
}

/* usable: one letter per GPU, y or n. */
static void gpus(const char *usable)
{
    no_cuda();
    machine.cuda = (struct cuda_platform){
        .built = true, .driver = 13010, .runtime = 13000, .n_devices = strlen(usable)
    };
    for (size_t i = 0; i < machine.cuda.n_devices; i++) {
        struct cuda_device *d = &machine.gpus[i];
        *d =
            (struct cuda_device){ .major = 9, .n_sms = 132, .total_bytes = 800, .free_bytes = 700 };
        snprintf(d->description, sizeof d->description, "Card %zu", i);
        if (usable[i] == 'n') {
            snprintf(d->problem, sizeof d->problem, "it is %zu years old", i + 10);
        }
    }
}

static weft_error err;

static weft_status open_device(const char *device, struct backend **out)
{
    static const struct log log = { take_line, NULL };
    struct backend_params p = { .device = -7, .log = &log };
    *out = NULL;
    err = (weft_error){ WEFT_OK, "" };
    return choose_backend(&model, device, &p, out, &err);
}

static void says(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strstr(text, *words) == NULL) {
            fail_msg("'%s' does not say '%s'", text, *words);
        }
    }
}
#define SAYS(text, ...) says(text, (const char *const[]){ __VA_ARGS__, NULL })

static void opens_gpu(const char *device, int i)
{
    struct backend *b;
    size_t n_lines = machine.n_lines;
    assert_int_equal(open_device(device, &b), WEFT_OK);
    assert_ptr_equal(b, &gpu_backend);
    assert_int_equal(machine.opened, i);
    assert_int_equal(machine.n_lines, n_lines);
    assert_int_equal(machine.n_cpu, 0);
}

/* n_lines: the lines that the log gets. */
static void opens_cpu(const char *device, size_t n_lines)
{
    struct backend *b;
    machine.n_lines = 0;
    assert_int_equal(open_device(device, &b), WEFT_OK);
    assert_ptr_equal(b, &cpu_backend);
    assert_int_equal(machine.n_lines, n_lines);
}

static void refuses(const char *device, weft_status want)
{
    struct backend *b;
    machine.n_lines = machine.n_cpu = 0;
    assert_int_equal(open_device(device, &b), want);
    assert_int_equal(err.code, want);
    assert_null(b);
    assert_int_equal(machine.n_lines, 0);
    assert_int_equal(machine.n_cpu, 0);
}

/* ---------------------------------------------------------------- tests */

static void test_build_without_cuda(void **state)
{
    (void)state;
    no_cuda();
    opens_cpu(NULL, 0);
    opens_cpu("auto", 0);
    opens_cpu("cpu", 0);
    refuses("cuda", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "'cuda'", "not built, get nvcc");
    refuses("cuda:0", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "'cuda:0'", "not built, get nvcc");
    assert_int_equal(machine.opened, -1);
}

static void test_no_gpu(void **state)
{
    (void)state;
    no_gpu();
    opens_cpu(NULL, 1);
    assert_string_equal(machine.line, "no GPU: no driver, get one; running on the CPU");
    opens_cpu("auto", 1);
    opens_cpu("cpu", 0);
    refuses("cuda", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "no driver, get one");
    refuses("cuda:3", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "'cuda:3'", "no driver, get one");
}

static void test_the_cpu_asks_nobody(void **state)
{
    (void)state;
    gpus("yy");
    opens_cpu("cpu", 0);
    assert_int_equal(machine.n_asked, 0);
    assert_int_equal(machine.n_woken[0] + machine.n_woken[1], 0);
}

static void test_first_that_can_be_used(void **state)
{
    (void)state;
    gpus("yy");
    opens_gpu("auto", 0);
    opens_gpu("cuda", 0);
    /* A GPU that is not wanted is not woken: a context would take some of its memory. */
    assert_int_equal(machine.n_woken[1], 0);
    gpus("nyy");
    opens_gpu(NULL, 1);
    opens_gpu("cuda", 1);
    assert_int_equal(machine.n_woken[2], 0);
}

static void test_numbers(void **state)
{
    (void)state;
    gpus("yny");
    opens_gpu("cuda:0", 0);
    opens_gpu("cuda:2", 2);
    opens_gpu("cuda:02", 2);
    assert_int_equal(machine.n_woken[1], 0);
    refuses("cuda:1", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "cuda:1 (Card 1)", "it is 11 years old");
    refuses("cuda:7", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "'cuda:7'", "cpu, cuda:0, cuda:1 and cuda:2");
    refuses("cuda:9999", WEFT_E_UNSUPPORTED);
    gpus("y");
    refuses("cuda:1", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "cpu and cuda:0");
}

static void test_none_can_be_used(void **state)
{
    (void)state;
    gpus("nn");
    opens_cpu("auto", 1);
    assert_string_equal(machine.line,
                        "no GPU: cuda:0 (Card 0): it is 10 years old; running on the CPU");
    refuses("cuda", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "cuda:0 (Card 0)", "it is 10 years old");
    assert_int_equal(machine.opened, -1);
}

/* If the GPU has no room, "auto" does not take the CPU: the user would only see that it is slow. */
static void test_no_room(void **state)
{
    (void)state;
    gpus("y");
    machine.cuda_status = WEFT_E_DEVMEM;
    const char *const names[] = { NULL, "auto", "cuda", "cuda:0" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        refuses(names[i], WEFT_E_DEVMEM);
        assert_string_equal(err.message, "cuda:0: needs 12345 of 678 MiB");
    }
}

/* A kernel's fault has taken the GPU from this process. Even then "auto" does not take the CPU, and
 * logs nothing. */
static void test_lost(void **state)
{
    (void)state;
    const char *const names[] = { NULL, "auto", "cuda", "cuda:1" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        gpus("nn");
        machine.gpus[1].lost = true;
        refuses(names[i], WEFT_E_DEVICE_LOST);
        SAYS(err.message, "cuda:1 (Card 1)", "it is 11 years old");
    }
    refuses("cuda:0", WEFT_E_UNSUPPORTED);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        no_gpu();
        machine.cuda.lost = true;
        refuses(names[i], WEFT_E_DEVICE_LOST);
        SAYS(err.message, "no driver, get one");
    }
}

static void test_unsupported_model(void **state)
{
    (void)state;
    gpus("yy");
    machine.cuda_status = WEFT_E_UNSUPPORTED;
    opens_cpu("auto", 1);
    assert_string_equal(machine.line, "no GPU: cuda:0: needs 12345 of 678 MiB; running on the CPU");
    refuses("cuda", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "cuda:0: needs 12345");
    refuses("cuda:1", WEFT_E_UNSUPPORTED);
    SAYS(err.message, "cuda:1: needs 12345");
}

static void test_other_failures(void **state)
{
    const weft_status others[] = { WEFT_E_NOMEM, WEFT_E_IO, WEFT_E_CANCELLED, WEFT_E_DEVICE_LOST };
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        gpus("y");
        machine.cuda_status = others[i];
        refuses("auto", others[i]);
        SAYS(err.message, "cuda:0: needs 12345");
        refuses("cuda:0", others[i]);
    }
}

static void test_unknown_names(void **state)
{
    static const char *const names[] = { "",        "abacus",  "CPU",      "auto ",      "cuda:",
                                         "cuda:x",  "cuda:-1", "cuda: 1",  "cuda:1x",    "cuda1",
                                         "cuda:+1", "cud",     "cuda:0x1", "cuda:00001", "gpu",
                                         "cpu:0",   "cpux",    "cp" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        gpus("yy");
        refuses(names[i], WEFT_E_UNSUPPORTED);
        SAYS(err.message, names[i], "auto, cpu, cuda");
        assert_int_equal(machine.n_asked, 0);
    }
}

static void test_nobody_listens(void **state)
{
    static const struct log silence = { NULL, NULL };
    struct backend_params p = { .log = &silence };
    struct backend *b = NULL;
    (void)state;
    no_gpu();
    assert_int_equal(choose_backend(&model, "auto", &p, &b, NULL), WEFT_OK);
    assert_ptr_equal(b, &cpu_backend);
    assert_int_equal(choose_backend(&model, "cuda", &p, &b, NULL), WEFT_E_UNSUPPORTED);
    gpus("y");
    machine.cuda_status = WEFT_E_DEVMEM;
    assert_int_equal(choose_backend(&model, "auto", &p, &b, NULL), WEFT_E_DEVMEM);
}

static void test_list(void **state)
{
    weft_platform_info p = { .size = sizeof p };
    weft_device_info d = { .size = sizeof d };
    (void)state;
    gpus("yn");
    assert_int_equal(choose_platform_get(&p, &err), WEFT_OK);
    assert_true(p.cuda_built && p.cuda_driver == 13010 && p.cuda_runtime == 13000);
    assert_string_equal(p.cuda_problem, "");
    assert_string_equal(p.cpu_name, "Abacus");
    assert_string_equal(p.cpu_features, "beads");
    assert_string_equal(p.cpu_kernels, "fingers");
    assert_true(p.n_cores == 5 && p.n_threads == 10 && p.n_devices == 3);
    assert_int_equal(choose_device_get(0, &d, &err), WEFT_OK);
    assert_string_equal(d.name, "cuda:0");
    assert_string_equal(d.description, "Card 0");
    assert_true(d.usable && d.major == 9 && d.minor == 0 && d.n_units == 132);
    assert_true(d.total_bytes == 800 && d.free_bytes == 700);
    assert_string_equal(d.why, "");
    assert_int_equal(choose_device_get(1, &d, &err), WEFT_OK);
    assert_string_equal(d.name, "cuda:1");
    assert_false(d.usable);
    assert_string_equal(d.why, "it is 11 years old");
    assert_int_equal(choose_device_get(2, &d, &err), WEFT_OK);
    assert_string_equal(d.name, "cpu");
    assert_string_equal(d.description, "Abacus");
    assert_true(d.usable && d.major == 0 && d.n_units == 5);
    assert_true(d.total_bytes == 77 && d.free_bytes == 66);
    assert_int_equal(choose_device_get(3, &d, &err), WEFT_E_ARG);
    SAYS(err.message, "device 3", "there are 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build_without_cuda),
        cmocka_unit_test(test_no_gpu),
        cmocka_unit_test(test_the_cpu_asks_nobody),
        cmocka_unit_test(test_first_that_can_be_used),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_none_can_be_used),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_unsupported_model),
        cmocka_unit_test(test_other_failures),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests_name("device choice", tests, NULL, NULL);
}
