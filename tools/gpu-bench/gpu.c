/* weft-gpu-bench: measures how fast the first GPU is, how close the kernels come to that, and how
 * fast whole models run. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu-bench/gpu.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_GPU = 3 };

static const struct part {
    const char *name;
    void (*run)(struct bench *b);
    bool (*run_model)(struct bench *b, const char *path); /* false = it has failed */
} parts[] = {
    { "memory", bench_memory, NULL },   { "phases", bench_phases, NULL },
    { "matvec", bench_matvec, NULL },   { "layers", bench_layers, NULL },
    { "dequant", bench_dequant, NULL }, { "attend", bench_attend, NULL },
    { "tiled", bench_tiled, NULL },     { "small", bench_small, NULL },
    { "models", NULL, bench_model },    { "ids", NULL, bench_ids },
    { "step", NULL, bench_step },
};

enum { N_PARTS = sizeof parts / sizeof parts[0] };

struct args {
    bool smoke, no_graphs, no_pdl, no_arena, plant;
    bool parts[N_PARTS];
    const char *json;
    double read_rate; /* GB/s */
    size_t leak, n_repeats;
    const char **models;
    size_t n_models;
};

static void usage(FILE *f)
{
    fputs(
        "usage: weft-gpu-bench [OPTION]... [MODEL.gguf]...\n"
        "\n"
        "Times the first GPU, the kernels of Weft, and the models given. Every cell is a median;\n"
        "the last column of a table is the largest (highest - lowest) / median of its line.\n"
        "\n"
        "  --part NAME      only this part (may be repeated):",
        f);
    for (size_t i = 0; i < N_PARTS; i++) {
        fprintf(f, "%s%s", i == 6 ? "\n                   " : " ", parts[i].name);
    }
    fputs(
        "\n                   (ids: are a text's tokens the same, again and in every way to "
        "compute\n"
        "                   them? step: one step between cudaProfilerStart() and Stop())\n"
        "  --read-rate N    GB/s that count as 100 %, in place of what the part `memory` reads\n"
        "  --repeats N      of each timing of a kernel (default 11)\n"
        "  --json FILE      also write every value there, one object a line\n"
        "  --smoke          tiny sizes, one repetition: does it run at all?\n"
        "  --leak N         instead of all this: generate N tokens with engines of the models and\n"
        "                   fail if each quarter of their rounds leaves less memory free than "
        "the one before\n"
        "  --no-graphs      launch the kernels of models one by one\n"
        "  --no-pdl         no programmatic dependent launches\n"
        "  --no-arena       an allocation for each buffer of models, for compute-sanitizer\n"
        "  --plant          a fault that --part ids and --leak must find: do they?\n"
        "  -h, --help       this text\n",
        f);
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "weft-gpu-bench: %s%s\nTry 'weft-gpu-bench --help'.\n", what, value);
    return EXIT_USAGE;
}

static bool parse_part(struct args *a, const char *name)
{
    for (size_t i = 0; i < N_PARTS; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return a->parts[i] = true;
        }
    }
    return false;
}

static bool parse_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return *text >= '0' && *text <= '9' && *end == '\0' && *out >= 1.0 && *out < 1e9;
}

/* Parses an option without a value. Returns false if there is no such option. */
static bool parse_flag(struct args *a, const char *option)
{
    bool *flag = strcmp(option, "--smoke") == 0       ? &a->smoke
                 : strcmp(option, "--no-graphs") == 0 ? &a->no_graphs
                 : strcmp(option, "--no-pdl") == 0    ? &a->no_pdl
                 : strcmp(option, "--no-arena") == 0  ? &a->no_arena
                 : strcmp(option, "--plant") == 0     ? &a->plant
                                                      : NULL;
    if (flag != NULL) {
        *flag = true;
    }
    return flag != NULL;
}

/* Parses one option with its value. Returns false if either is wrong. */
static bool parse_option(struct args *a, const char *option, const char *value)
{
    double n;
    if (strcmp(option, "--json") == 0) {
        a->json = value;
        return true;
    }
    if (strcmp(option, "--part") == 0) {
        return parse_part(a, value);
    }
    if (!parse_number(value, &n)) {
        return false;
    }
    if (strcmp(option, "--leak") == 0) {
        a->leak = (size_t)n;
    } else if (strcmp(option, "--repeats") == 0) {
        a->n_repeats = (size_t)n;
    } else if (strcmp(option, "--read-rate") == 0) {
        a->read_rate = n;
    } else {
        return false;
    }
    return true;
}

/* Returns an exit code, or -1 to go on. */
static int parse(struct args *a, int argc, char **argv)
{
    bool some = false;
    a->models = calloc((size_t)argc, sizeof *a->models);
    for (int i = 1; i < argc && a->models != NULL; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return 0;
        }
        if (parse_flag(a, argv[i])) {
            continue;
        }
        if (argv[i][0] != '-') {
            a->models[a->n_models++] = argv[i];
        } else if (i + 1 == argc) {
            return wrong("unknown option, or its value is missing: ", argv[i]);
        } else if (!parse_option(a, argv[i], argv[i + 1])) {
            return wrong("unknown option or wrong value: ", argv[i]);
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        some = some || a->parts[i];
    }
    for (size_t i = 0; i < N_PARTS && !some; i++) {
        a->parts[i] = true;
    }
    if (a->leak > 0 && a->n_models == 0) {
        return wrong("--leak needs a model", "");
    }
    return -1;
}

/* Returns false and prints the reason if there is no usable GPU. */
static bool open_device(struct bench *b)
{
    weft_platform_info platform = { .size = sizeof platform };
    weft_device_info device = { .size = sizeof device };
    struct cudaDeviceProp p;
    OK(weft_platform_get(&platform, &bench_error));
    if (platform.cuda_problem[0] != '\0') {
        fprintf(stderr, "weft-gpu-bench: no GPU: %s\n", platform.cuda_problem);
        return false;
    }
    double start = bench_now(); /* before asking for free memory, which would open the context */
    CU(cudaSetDevice(0));
    CU(cudaFree(NULL));
    double seconds = bench_now() - start;
    OK(weft_device_get(0, &device, &bench_error));
    if (!device.usable) {
        fprintf(stderr, "weft-gpu-bench: no GPU: %s\n", device.why);
        return false;
    }
    CU(cudaGetDeviceProperties(&p, 0));
    CU(kernel_queue(0, &b->queue));
    b->queue.programmatic = b->queue.programmatic && !b->no_pdl;
    b->l2_bytes = (size_t)p.l2CacheSize;
    CU(cudaStreamCreateWithFlags(&b->queue.stream, cudaStreamNonBlocking));
    CU(cudaEventCreate(&b->begin));
    CU(cudaEventCreate(&b->end));
    report_fact(b, "device", "%s, sm_%d%d, %d SMs, L2 %.1f MB, %.1f GB", p.name, p.major, p.minor,
                p.multiProcessorCount, (double)p.l2CacheSize / 1e6, (double)p.totalGlobalMem / 1e9);
    report_fact(b, "CUDA", "driver %d.%d, runtime %d.%d; weft %s", platform.cuda_driver / 1000,
                platform.cuda_driver % 1000 / 10, platform.cuda_runtime / 1000,
                platform.cuda_runtime % 1000 / 10, weft_version());
    report_fact(b, "context", "%.0f ms", seconds * 1e3);
    return true;
}

static void close_device(struct bench *b)
{
    CU(cudaEventDestroy(b->begin));
    CU(cudaEventDestroy(b->end));
    CU(cudaStreamDestroy(b->queue.stream));
}

/* Returns false if a part has failed. */
static bool run_parts(struct bench *b, const struct args *a)
{
    bool passed = true;
    for (size_t i = 0; i < N_PARTS; i++) {
        if (a->parts[i] && parts[i].run != NULL) {
            parts[i].run(b);
        }
        for (size_t m = 0; a->parts[i] && parts[i].run == NULL && m < a->n_models; m++) {
            passed = parts[i].run_model(b, a->models[m]) && passed;
        }
    }
    return passed;
}

int main(int argc, char **argv)
{
    struct args a = { .n_repeats = 11 };
    int code = parse(&a, argc, argv);
    struct bench b = { .smoke = a.smoke,
                       .no_graphs = a.no_graphs,
                       .no_pdl = a.no_pdl,
                       .no_arena = a.no_arena,
                       .plant = a.plant,
                       .n_repeats = a.smoke ? 1 : a.n_repeats,
                       .read_rate = a.read_rate * 1e9 };
    if (code >= 0) {
        free(a.models);
        return code;
    }
    if (a.json != NULL && (b.json = fopen(a.json, "w")) == NULL) {
        bench_die("%s cannot be written", a.json);
    }
    code = EXIT_NO_GPU;
    if (open_device(&b)) {
        bool passed =
            a.leak == 0 ? run_parts(&b, &a) : bench_leak(&b, a.leak, a.models, a.n_models);
        code = passed ? 0 : EXIT_FAILED;
        close_device(&b);
    }
    if (b.json != NULL && fclose(b.json) != 0) {
        bench_die("%s cannot be written", a.json);
    }
    free(a.models);
    return code;
}
