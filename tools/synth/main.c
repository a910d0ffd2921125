/* weft-synth: writes a model with a real shape and random weights, for benchmarks and tests that
 * cannot download a model. Exit codes: 0 written, 1 failed, 2 wrong usage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "format/quant.h"
#include "synth/synth.h"

static void usage(FILE *f)
{
    fputs("usage: weft-synth --like MODEL [--type TYPE] -o FILE [--seed N] [--sparse]\n"
          "                  [--biases] [--fused-qkv] [--labels N] [--key KEY]...\n"
          "\n"
          "Writes a GGUF model with the shape of a real one, random weights and a generated\n"
          "vocabulary. It is as fast and as large as the real model, but talks nonsense.\n"
          "\n"
          "  --like MODEL   one of:",
          f);
    for (size_t i = 0; synth_preset_name(i) != NULL; i++) {
        fprintf(f, "%s%s", i % 5 == 0 ? "\n                   " : " ", synth_preset_name(i));
    }
    fputs(
        "\n  --type TYPE    q4_k_m (default; the mix of llama.cpp), or one type for all matrices,\n"
        "                 or several with a + between them, which matrices take in turn:",
        f);
    for (size_t i = 0; quant_at(i) != NULL; i++) {
        fprintf(f, "%s%s", i % 8 == 0 ? "\n                   " : " ", quant_at(i)->name);
    }
    fputs(
        "\n  -o FILE        where to write it\n"
        "  --seed N       of the weights (default 1); same seed, same file\n"
        "  --key KEY      NAME=TYPE:VALUE, in place of the model's own key or besides; TYPE is\n"
        "                 bool, str, u8 to u64, i8 to i64, f32, f64 or an array: i32[]:1,2;\n"
        "                 may be repeated\n"
        "  --biases       a bias on every product where files of the architecture may have one\n"
        "  --fused-qkv    q, k and v are one tensor\n"
        "  --labels N     a classifier with N rows, as rerankers have (qwen3, qwen3vl)\n"
        "  --sparse       matrices are zeros, holes in the file that take no disk: for what does\n"
        "                 not compute with them\n"
        "  -h, --help     this text\n",
        f);
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "weft-synth: %s%s\nTry 'weft-synth --help'.\n", what, value);
    return 2;
}

enum { MAX_KEYS = 64 };

struct args {
    const char *like, *type, *out, *seed, *labels;
    const char *keys[MAX_KEYS];
    size_t n_keys;
    bool sparse, biases, fused_qkv;
};

/* Returns NULL if there is no such switch. */
static bool *flag(struct args *a, const char *option)
{
    return strcmp(option, "--sparse") == 0      ? &a->sparse
           : strcmp(option, "--biases") == 0    ? &a->biases
           : strcmp(option, "--fused-qkv") == 0 ? &a->fused_qkv
                                                : NULL;
}

/* Returns the place for the value of an option, NULL if there is no such option. */
static const char **slot(struct args *a, const char *option)
{
    return strcmp(option, "--like") == 0                          ? &a->like
           : strcmp(option, "--type") == 0                        ? &a->type
           : strcmp(option, "--seed") == 0                        ? &a->seed
           : strcmp(option, "-o") == 0                            ? &a->out
           : strcmp(option, "--labels") == 0                      ? &a->labels
           : strcmp(option, "--key") == 0 && a->n_keys < MAX_KEYS ? &a->keys[a->n_keys++]
                                                                  : NULL;
}

/* Reads the value of an option, if the option was given. */
static bool number(const char *text, uint64_t *out)
{
    if (text == NULL) {
        return true;
    }
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && text[0] >= '0' && text[0] <= '9';
}

static int write_it(const struct synth_spec *spec, const char *out)
{
    weft_error err = { 0 };
    struct timespec start, end;
    struct stat st;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (synth_write(spec, out, &err) != WEFT_OK || stat(out, &st) != 0) {
        fprintf(stderr, "weft-synth: %s\n", err.message);
        return err.code == WEFT_E_ARG ? 2 : 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double s = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
    double mb = (double)st.st_size / 1e6;
    printf("%s: %s %s, %.1f MB in %.1f s (%.0f MB/s)\n", out, spec->name, spec->type_mix, mb, s,
           mb / s);
    return 0;
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return 0;
        }
        bool *on = flag(&a, argv[i]);
        if (on != NULL) {
            *on = true;
            continue;
        }
        const char **value = slot(&a, argv[i]);
        if (value == NULL) {
            return wrong("unknown option, or one too many: ", argv[i]);
        }
        if (i + 1 == argc) {
            return wrong("a value is missing after ", argv[i]);
        }
        *value = argv[++i];
    }
    struct synth_spec spec;
    if (a.like == NULL || a.out == NULL) {
        return wrong("--like and -o are needed", "");
    }
    if (!synth_preset(a.like, &spec)) {
        return wrong("there is no model ", a.like);
    }
    if (a.type != NULL) {
        spec.type_mix = a.type;
    }
    spec.keys = a.keys;
    spec.n_keys = a.n_keys;
    spec.sparse = a.sparse;
    spec.biases = a.biases;
    spec.fused_qkv = a.fused_qkv;
    uint64_t labels = 0;
    if (!number(a.seed, &spec.seed)) {
        return wrong("--seed needs a number, not ", a.seed);
    }
    if (!number(a.labels, &labels) || labels > 1000) {
        return wrong("--labels needs a number up to 1000, not ", a.labels);
    }
    spec.n_labels = (size_t)labels;
    return write_it(&spec, a.out);
}
