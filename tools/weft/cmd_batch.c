/* weft batch: answers a file of requests. It opens the files and the model, shows how far the batch
 * is, and says at the end what became of it; tools/serve/batch.c does the work. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve/batch.h"
#include "weft/commands.h"
#include "weft/prompt.h"

/* How often a line says how far the batch is, on a terminal and elsewhere. */
#define SECONDS_SHOWN 0.2
#define SECONDS_NOTED 60.0

struct batch_command {
    const struct options *o;
    struct session session;
    struct prompt_setup setup;
    struct core *core;
    int input, output;
    uint64_t n_input; /* bytes of the input; 0 = unknown */
    struct batch_done done;
    struct batch_figures figures;
    double said; /* figures.seconds when progress was last shown */
};

/* ---------------------------------------------------------------- the files */

static bool is_standard(const char *path) { return path == NULL || strcmp(path, "-") == 0; }

static const char *input_name(const struct batch_command *b)
{
    return is_standard(b->o->input) ? "standard input" : b->o->input;
}

static const char *output_name(const struct batch_command *b)
{
    return is_standard(b->o->output) ? "standard output" : b->o->output;
}

static int read_failed(const char *path, int error)
{
    return term_fail(EXIT_RUNTIME, "%s: cannot be read: %s", path, strerror(error));
}

static int open_input(struct batch_command *b)
{
    struct stat s;
    b->input = is_standard(b->o->input) ? STDIN_FILENO : open(b->o->input, O_RDONLY | O_CLOEXEC);
    if (b->input == -1) {
        return read_failed(b->o->input, errno);
    }
    if (fstat(b->input, &s) == 0 && S_ISREG(s.st_mode)) {
        b->n_input = (uint64_t)s.st_size;
    }
    return EXIT_OK;
}

/* Two batches that write to one file would cut each other's last lines. Some file systems have no
 * locks; there nothing is checked. */
static int lock_output(struct batch_command *b)
{
    if (flock(b->output, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return term_fail(EXIT_RUNTIME,
                         "%s: another batch is writing to it; each needs an output of its own",
                         b->o->output);
    }
    return EXIT_OK;
}

static int read_done(struct batch_command *b)
{
    uint64_t line = 0;
    int error = 0;
    switch (batch_done_read(&b->done, b->output, &line, &error)) {
    case BATCH_DONE_OK: return EXIT_OK;
    case BATCH_DONE_STRANGE:
        return term_fail(EXIT_USAGE,
                         "%s: line %" PRIu64 " is no answer of a batch; nothing was changed, "
                         "name another file with -o",
                         b->o->output, line);
    default:
        return error == ENOMEM ? term_fail(EXIT_MEMORY, "not enough memory for what is done")
                               : read_failed(b->o->output, error);
    }
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A batch goes on where a regular file ends; a pipe or a device only takes lines. */
static int open_output(struct batch_command *b)
{
    struct stat s, input;
    const char *path = b->o->output;
    if (is_standard(path)) {
        b->output = STDOUT_FILENO;
        return EXIT_OK;
    }
    const bool special = stat(path, &s) == 0 && !S_ISREG(s.st_mode);
    b->output = open(path, (special ? O_WRONLY : O_RDWR | O_CREAT) | O_APPEND | O_CLOEXEC, 0666);
    if (b->output == -1 || fstat(b->output, &s) != 0) {
        return term_write_failed(path, errno);
    }
    if (!S_ISREG(s.st_mode)) {
        return EXIT_OK;
    }
    if (fstat(b->input, &input) == 0 && same_file(&s, &input)) {
        return term_fail(EXIT_USAGE, "%s: the output would be written into the input", path);
    }
    const int code = lock_output(b);
    return code == EXIT_OK ? read_done(b) : code;
}

static void close_files(struct batch_command *b)
{
    if (b->input > STDIN_FILENO) {
        close(b->input);
    }
    if (b->output > STDOUT_FILENO) {
        close(b->output);
    }
}

/* ---------------------------------------------------------------- the model */

/* Runs on a thread of the core, which gets model and engine if it succeeds. */
static int load(void *user, weft_model **model, weft_engine **engine)
{
    struct batch_command *b = user;
    struct session *s = &b->session;
    int code = session_model(s, b->o, false);
    code = code == EXIT_OK ? prompt_try(s, &b->setup) : code;
    if (code == EXIT_OK) {
        const bool from_parallel = b->o->kv == 0 && b->o->at_once > 0;
        const size_t n = from_parallel ? (size_t)b->o->at_once : 0;
        code = session_engine(s, b->o, n * session_n_ctx(s, b->o));
    }
    if (code != EXIT_OK) {
        session_close(s);
        return code;
    }
    *model = s->model;
    *engine = s->engine;
    s->model = NULL;
    s->engine = NULL;
    return EXIT_OK;
}

static int open_core(struct batch_command *b)
{
    const struct options *o = b->o;
    const bool source = b->setup.source.n > 0;
    struct core_params p = {
        .load = load, .load_user = b, .n_parallel = (size_t)o->at_once, .n_waiting = SIZE_MAX
    };
    p.scope = (struct scope){ .alias = o->alias,
                              .path = o->model,
                              .template_name = source ? NULL : o->chat_template,
                              .template_source = source ? b->setup.source.data : NULL,
                              .n_template_source = b->setup.source.n,
                              .template_vars = o->template_vars,
                              .reasoning = (enum reasoning_format)(o->reasoning % 3),
                              .pooling = (weft_pooling)o->pooling,
                              .sampling = options_sampling(o),
                              .sampling_given = o->given,
                              .n_predict = o->n_predict < 0 ? SIZE_MAX : (size_t)o->n_predict };
    b->core = core_open(&p);
    return b->core != NULL
               ? EXIT_OK
               : term_fail(EXIT_MEMORY, "not enough memory or threads to answer requests");
}

/* ---------------------------------------------------------------- what is shown */

static bool on_stop(void *user)
{
    (void)user;
    return term_interrupted();
}

static double rate(uint64_t n, double seconds) { return seconds > 0 ? (double)n / seconds : 0; }

/* Shows the rows that were computed, because answers that are not complete have no figures yet. */
static void on_progress(void *user, const struct batch_figures *f)
{
    struct batch_command *b = user;
    const bool terminal = isatty(STDERR_FILENO) == 1;
    if (b->o->quiet || f->seconds - b->said < (terminal ? SECONDS_SHOWN : SECONDS_NOTED)) {
        return;
    }
    struct core_figures core;
    char read[16] = "", line[160];
    core_figures(b->core, &core);
    b->said = f->seconds;
    if (b->n_input > 0) {
        snprintf(read, sizeof read, "%.0f%% read, ", 100 * (double)f->n_read / (double)b->n_input);
    }
    snprintf(line, sizeof line,
             "%s%" PRIu64 " answered, %" PRIu64 " failed, %zu at work; prompts %.1f, "
             "generation %.1f tok/s",
             read, f->n_answered, f->n_failed, f->n_running,
             rate(core.engine.n_prompt_rows, f->seconds),
             rate(core.engine.n_decode_rows, f->seconds));
    if (terminal) {
        term_progress("%s", line);
    } else {
        term_note("weft: %s", line);
    }
}

static void close_line(const struct batch_command *b)
{
    const struct batch_figures *f = &b->figures;
    term_note("weft: %" PRIu64 " lines: %" PRIu64 " answered, %" PRIu64 " failed, %" PRIu64
              " answered before; %" PRIu64 " prompt tokens (%" PRIu64 " cached), %" PRIu64
              " generated in %.2f s: %.1f and %.1f tok/s",
              f->n_lines, f->n_answered - f->n_failed, f->n_failed, f->n_skipped, f->n_prompt,
              f->n_cached, f->n_generated, f->seconds, rate(f->n_prompt, f->seconds),
              rate(f->n_generated, f->seconds));
}

/* Failures of earlier runs count too: the output is not good because a later run found nothing
 * left to do. */
static int say_failed(const struct batch_command *b)
{
    const uint64_t now = b->figures.n_failed, before = b->done.n_failed;
    if (now + before == 0) {
        return EXIT_OK;
    }
    return term_fail(EXIT_RUNTIME,
                     "%" PRIu64 " of %" PRIu64 " lines have failed%s; their answers in %s say why",
                     now + before, b->figures.n_lines,
                     before > 0 ? ", some of them in an earlier run" : "", output_name(b));
}

static int say_end(struct batch_command *b, enum batch_end end, int error)
{
    term_progress_clear();
    if (!b->o->quiet && end != BATCH_NO_MODEL) {
        close_line(b);
    }
    switch (end) {
    case BATCH_COMPLETE: return say_failed(b);
    case BATCH_STOPPED: return EXIT_INTERRUPTED;
    case BATCH_NO_MODEL:
        return core_load_code(b->core) >= 0
                   ? core_load_code(b->core)
                   : term_fail(EXIT_MEMORY, "not enough memory for the requests");
    case BATCH_LOST:
        return term_fail(EXIT_RUNTIME, "the device has failed; the same command goes on with what "
                                       "is missing");
    case BATCH_READ: return read_failed(input_name(b), error);
    case BATCH_WRITE: return term_write_failed(output_name(b), error);
    default: return term_fail(EXIT_MEMORY, "not enough memory for the requests");
    }
}

/* ---------------------------------------------------------------- the command */

static int run(struct batch_command *b)
{
    const struct batch_params p = { .core = b->core,
                                    .input = b->input,
                                    .output = b->output,
                                    .done = &b->done,
                                    .shard = (uint64_t)b->o->shard,
                                    .n_shards = (uint64_t)b->o->n_shards,
                                    .stop = on_stop,
                                    .progress = on_progress,
                                    .user = b };
    int error = 0;
    term_on_interrupt(TERM_FLAG_ONCE);
    const enum batch_end end = batch_run(&p, &b->figures, &error);
    return say_end(b, end, error);
}

int cmd_batch(const struct options *o, int n_args, char **args)
{
    struct batch_command b = { .o = o, .input = -1, .output = -1 };
    (void)n_args;
    (void)args;
    if (o->input == NULL) {
        return term_usage("batch", "no requests; name a file of them with -i FILE");
    }
    if (!o->quiet) {
        term_progress_on();
    }
    int code = prompt_setup(o, &b.setup);
    code = code != EXIT_OK ? code : open_input(&b);
    code = code != EXIT_OK ? code : open_output(&b);
    code = code != EXIT_OK ? code : open_core(&b);
    code = code != EXIT_OK ? code : run(&b);
    core_close(b.core);
    prompt_setup_free(&b.setup);
    batch_done_free(&b.done);
    close_files(&b);
    return code;
}
