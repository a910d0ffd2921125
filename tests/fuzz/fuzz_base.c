/* Any bytes as the base of weft perplexity --kl-base; most of them are an honest base that was
 * changed. The base is refused, or compared with; then every figure of the comparison is a number,
 * so that no gate passes because a figure is missing. Memory is bounded by the file's size. */
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sanitizer/common_interface_defs.h>

#include "fuzz_engine.h"
#include "weft/commands.h"

enum { WINDOW = 4, N_WINDOWS = 3, HEADER = 40, N_TOKENS = WINDOW * N_WINDOWS };
enum { ROW_BYTES = FUZZ_VOCAB * sizeof(float), ROWS = HEADER + N_TOKENS * sizeof(int32_t) };
enum { MAX_FILE = 1 << 18 };
/* Bytes for the model, the engine and buffers of files, and bytes for each byte of the base. */
enum { FIXED_BYTES = 8 << 20, BASE_BYTES = 8 };

static char model_path[64];
static struct bytes honest;
static int printed = -1, nowhere = -1;

/* Runs the sub-command; its output goes to a file. Returns its exit code. */
static int run(struct options *o, int n_args, char **args)
{
    int saved[2] = { dup(1), dup(2) };
    MUST(ftruncate(printed, 0) == 0 && lseek(printed, 0, SEEK_SET) == 0);
    MUST(saved[0] >= 0 && saved[1] >= 0 && dup2(printed, 1) == 1 && dup2(nowhere, 2) == 2);
    o->model = model_path;
    o->device = "cpu";
    o->threads = 1;
    o->quiet = o->json = true;
    int code = cmd_perplexity(o, n_args, args);
    fflush(stdout);
    MUST(dup2(saved[0], 1) == 1 && dup2(saved[1], 2) == 2);
    close(saved[0]);
    close(saved[1]);
    return code;
}

/* Makes a text of N_WINDOWS windows, and its base. */
static void start(void)
{
    static char ids[8 * N_TOKENS];
    struct synth_spec spec = fuzz_spec();
    struct bytes model = { 0 };
    char text[64], base[64];
    size_t n = 0;
    for (int i = 0; i < N_TOKENS; i++) {
        n += (size_t)snprintf(ids + n, sizeof ids - n, "%d ", i * 37 % FUZZ_VOCAB);
    }
    MUST(fuzz_model_bytes(&spec, &model));
    fuzz_file((const uint8_t *)model.data, model.n, model_path); /* stays open */
    free(model.data);
    int text_file = fuzz_file((const uint8_t *)ids, n, text), base_file = fuzz_file(NULL, 0, base);
    printed = memfd_create("printed", 0);
    nowhere = open("/dev/null", O_WRONLY);
    __sanitizer_set_report_fd((void *)(intptr_t)dup(2));
    struct options o;
    options_init(&o);
    o.tokens = text;
    o.ctx = WINDOW;
    o.save_base = base;
    MUST(run(&o, 0, NULL) == EXIT_OK);
    honest.n = (size_t)lseek(base_file, 0, SEEK_END);
    MUST(honest.n == ROWS + N_WINDOWS * ROW_BYTES);
    honest.data = malloc(honest.n);
    MUST(honest.data != NULL && pread(base_file, honest.data, honest.n, 0) == (ssize_t)honest.n);
    close(text_file);
    close(base_file);
}

/* Makes one change to the base data[*n]: a logit, bytes in front of the logits, or the length. */
static void change(struct fuzz_input *in, uint8_t *data, size_t *n)
{
    static const float values[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0, 1e-40f, 100 };
    uint8_t how = fuzz_byte(in);
    if (how % 4 < 2) {
        size_t row = fuzz_byte(in) % N_WINDOWS, from = fuzz_u16(in) % FUZZ_VOCAB;
        size_t to = (how & 16) != 0 ? FUZZ_VOCAB : from + 1; /* one logit, or all behind it */
        for (size_t i = from; i < to; i++) {
            memcpy(data + ROWS + row * ROW_BYTES + i * sizeof(float), &values[how >> 5],
                   sizeof(float));
        }
    } else if (how % 4 == 2) {
        size_t at = fuzz_byte(in) % ROWS, n_bytes;
        const char *bytes = fuzz_bytes(in, 1 + fuzz_byte(in) % 8, &n_bytes);
        memcpy(data + at, bytes, n_bytes < ROWS - at ? n_bytes : ROWS - at);
    } else {
        *n = fuzz_u16(in) % (honest.n + ROW_BYTES);
    }
}

/* Checks that one line of JSON was printed and that its figures are numbers. */
static void check_figures(void)
{
    /* The perplexity of the base itself may be too large for a number. */
    static const char *const figures[] = { "ppl",    "n_scored", "ln_ppl_ratio",  "kl_mean",
                                           "kl_max", "kl_99",    "p_change_mean", "same_top" };
    char text[4096];
    ssize_t n = pread(printed, text, sizeof text, 0);
    json_t *j = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
    MUST(j != NULL);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        const json_t *figure = json_object_get(j, figures[i]);
        MUST(json_is_number(figure) && isfinite(json_number_value(figure)));
    }
    MUST(json_number_value(json_object_get(j, "n_scored")) > 0);
    MUST(json_number_value(json_object_get(j, "kl_mean")) > -1e-6);
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t base[MAX_FILE];
    struct fuzz_input in = { data, size };
    char path[64];
    if (honest.data == NULL) {
        start();
    }
    size_t n = honest.n;
    memset(base, 0, honest.n + ROW_BYTES);
    if ((fuzz_byte(&in) & 7) == 0) {
        n = in.n < sizeof base ? in.n : sizeof base;
        memcpy(base, in.data, n);
    } else {
        memcpy(base, honest.data, n);
        while (in.n > 0) {
            change(&in, base, &n);
        }
    }
    int fd = fuzz_file(base, n, path);
    struct options o;
    options_init(&o);
    o.kl_base = path;
    struct fuzz_cost begin = fuzz_begin();
    int code = run(&o, 0, NULL);
    MUST(fuzz_peak - begin.bytes <= FIXED_BYTES + BASE_BYTES * n);
    MUST(code == EXIT_OK || code == EXIT_RUNTIME || code == EXIT_USAGE);
    if (code == EXIT_OK) {
        check_figures();
    }
    close(fd);
    return 0;
}
