/* A batch with a core that the test makes up: it answers with what it was asked, the latest request
 * first. What comes out is read as JSON. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "serve/batch.h"
#include "support/scratch.h"

/* ---------------------------------------------------------------- the core */

enum { MAX_JOBS = 64 };

struct job {
    enum route route;
    char *body;
    char id[JOB_ID_MAX + 1];
    const struct sink *sink;
    void *user;
};

static struct {
    struct scope scope;
    int fd, loading; /* core_drain() is called so often until the model is there */
    size_t n, most, n_submitted, n_cancelled;
    struct job *jobs[MAX_JOBS];
    size_t lose_after, refuse_after; /* that many were submitted; 0 = never */
    bool fails;
} fake;

enum core_state core_state(struct core *core)
{
    (void)core;
    return fake.loading > 0                                             ? CORE_LOADING
           : fake.fails                                                 ? CORE_FAILED
           : fake.lose_after > 0 && fake.n_submitted >= fake.lose_after ? CORE_LOST
                                                                        : CORE_READY;
}

const struct scope *core_scope(struct core *core)
{
    (void)core;
    return &fake.scope;
}

int core_fd(struct core *core)
{
    (void)core;
    return fake.fd;
}

struct job *core_submit(struct core *core, const struct job_params *params)
{
    assert_int_equal(core_state(core), CORE_READY);
    assert_true(fake.n < MAX_JOBS);
    if (fake.refuse_after > 0 && fake.n_submitted >= fake.refuse_after) {
        return NULL;
    }
    struct job *job = calloc(1, sizeof *job);
    assert_non_null(job);
    job->route = params->route;
    job->body = strndup(params->body, params->n_body);
    snprintf(job->id, sizeof job->id, "%s", params->id);
    job->sink = params->sink;
    job->user = params->user;
    fake.jobs[fake.n++] = job;
    fake.n_submitted++;
    fake.most = fake.n > fake.most ? fake.n : fake.most;
    return job;
}

static void job_free(struct job *job)
{
    free(job->body);
    free(job);
}

void core_cancel(struct core *core, struct job *job, struct job_figures *figures)
{
    if (figures != NULL) {
        *figures = (struct job_figures){ 0 };
    }
    (void)core;
    size_t i = 0;
    while (i < fake.n && fake.jobs[i] != job) {
        i++;
    }
    assert_true(i < fake.n);
    fake.jobs[i] = fake.jobs[--fake.n];
    fake.n_cancelled++;
    job_free(job);
}

/* The answer holds the request, on two lines. */
static void finish(struct job *job, int status)
{
    char *body = NULL;
    assert_true(asprintf(&body, "{\"route\":%d,\n\"asked\":%s}", (int)job->route, job->body) > 0);
    const struct outcome outcome = {
        .status = status,
        .body = body,
        .n_body = strlen(body),
        .figures = { .n_prompt = 10, .n_cached = 4, .n_generated = 3 },
    };
    job->sink->end(job->user, &outcome);
    free(body);
    job_free(job);
}

void core_drain(struct core *core)
{
    fake.loading -= fake.loading > 0;
    const bool lost = core_state(core) == CORE_LOST;
    for (size_t i = 0; fake.n > 0 && (i < 1 || lost); i++) {
        struct job *job = fake.jobs[--fake.n];
        finish(job, lost ? 503 : strstr(job->body, "bad") != NULL ? 400 : 200);
    }
}

/* ---------------------------------------------------------------- a run */

static struct {
    enum batch_end end;
    int error;
    struct batch_figures figures;
    uint64_t stop_after; /* answers; 0 = never */
    size_t n_reports;
} ran;

static bool should_stop(void *user)
{
    (void)user;
    return ran.stop_after > 0 && ran.figures.n_answered >= ran.stop_after;
}

static void on_progress(void *user, const struct batch_figures *figures)
{
    (void)user;
    assert_ptr_equal(figures, &ran.figures);
    assert_true(figures->n_answered + figures->n_skipped + figures->n_running <= figures->n_lines);
    ran.n_reports++;
}

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(&ran, 0, sizeof ran);
    fake.fd = eventfd(1, EFD_CLOEXEC); /* always readable */
    fake.scope.n_parallel = 2;
    fake.loading = 3;
    unlink(scratch_path("out"));
    return fake.fd == -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(fake.n, 0);
    return close(fake.fd);
}

static void run_fds(int input, int output, const struct batch_done *done, const char *shard)
{
    unsigned i = 0, n = 0;
    sscanf(shard, "%u/%u", &i, &n);
    const struct batch_params params = { .input = input,
                                         .output = output,
                                         .done = done,
                                         .shard = i,
                                         .n_shards = n,
                                         .stop = should_stop,
                                         .progress = on_progress };
    ran.end = batch_run(&params, &ran.figures, &ran.error);
}

static int open_input(const char *text)
{
    const int fd = open(scratch_write("in", text, strlen(text)), O_RDONLY);
    assert_true(fd >= 0);
    return fd;
}

/* Runs a batch that goes on where the output ends. Returns the status of reading the output. */
static enum batch_done_status run_on(const char *text, const char *shard)
{
    const int input = open_input(text);
    const int output = open(scratch_path("out"), O_RDWR | O_CREAT | O_APPEND, 0600);
    struct batch_done done = { 0 };
    uint64_t line = 0;
    int error = 0;
    assert_true(output >= 0);
    const enum batch_done_status status = batch_done_read(&done, output, &line, &error);
    if (status == BATCH_DONE_OK) {
        run_fds(input, output, &done, shard);
    }
    batch_done_free(&done);
    close(input);
    close(output);
    return status;
}

/* ---------------------------------------------------------------- the output */

static char output_text[1 << 20];

static size_t read_output(void)
{
    FILE *f = fopen(scratch_path("out"), "r");
    assert_non_null(f);
    const size_t n = fread(output_text, 1, sizeof output_text - 1, f);
    output_text[n] = '\0';
    fclose(f);
    return n;
}

/* Parses the lines of the output; the last one ends with a newline. */
static json_t *parse_output(void)
{
    json_t *all = json_array();
    const size_t n = read_output();
    assert_true(n == 0 || output_text[n - 1] == '\n');
    for (char *rest = NULL, *line = strtok_r(output_text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        json_t *one = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        assert_non_null(one);
        assert_int_equal(json_object_size(one), 4);
        assert_int_equal(json_array_append_new(all, one), 0);
    }
    return all;
}

/* Finds the only line with this id in the output. */
static const json_t *line_of(const json_t *all, const char *id)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        if (strcmp(json_string_value(json_object_get(one, "id")), id) == 0) {
            assert_null(found);
            found = one;
        }
    }
    assert_non_null(found);
    return found;
}

static const json_t *body_of(const json_t *all, const char *id, int status)
{
    const json_t *line = line_of(all, id), *response = json_object_get(line, "response");
    assert_true(json_is_null(json_object_get(line, "error")));
    assert_int_equal(json_integer_value(json_object_get(response, "status_code")), status);
    assert_string_equal(json_string_value(json_object_get(response, "request_id")), id);
    return json_object_get(response, "body");
}

static void check_fault(const json_t *all, const char *id, const char *code, const char *words)
{
    const json_t *line = line_of(all, id), *error = json_object_get(line, "error");
    assert_true(json_is_null(json_object_get(line, "response")));
    assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    const char *message = json_string_value(json_object_get(error, "message"));
    if (strstr(message, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, message);
    }
}

static void check_figures(enum batch_end end, size_t lines, size_t answered, size_t failed)
{
    assert_int_equal(ran.end, end);
    assert_int_equal(ran.figures.n_lines, lines);
    assert_int_equal(ran.figures.n_answered, answered);
    assert_int_equal(ran.figures.n_failed, failed);
    assert_int_equal(ran.figures.n_running, 0);
}

/* Lines with the custom_ids r0, r1, ... */
static char *make_lines(size_t n)
{
    char *text = calloc(n + 1, 128);
    assert_non_null(text);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        at += (size_t)sprintf(text + at,
                              "{\"custom_id\":\"r%zu\",\"method\":\"POST\",\"url\":"
                              "\"/v1/completions\",\"body\":{\"prompt\":\"p%zu\"}}\n",
                              i, i);
    }
    return text;
}

/* Every custom_id is answered once, with the answer to its own request. */
static void check_answers(size_t n, size_t step, size_t first)
{
    json_t *all = parse_output();
    char id[40], prompt[40];
    assert_int_equal(json_array_size(all), n);
    for (size_t i = 0; i < n; i++) {
        const size_t number = first + i * step;
        snprintf(id, sizeof id, "batch_req_%zu", number + 1);
        const json_t *asked = json_object_get(body_of(all, id, 200), "asked");
        snprintf(prompt, sizeof prompt, "p%zu", number);
        assert_string_equal(json_string_value(json_object_get(asked, "prompt")), prompt);
        snprintf(prompt, sizeof prompt, "r%zu", number);
        const json_t *custom_id = json_object_get(line_of(all, id), "custom_id");
        assert_string_equal(json_string_value(custom_id), prompt);
    }
    json_decref(all);
}

/* ---------------------------------------------------------------- tests */

static void every_route(void **state)
{
    (void)state;
    static const char text[] =
        "\xef\xbb\xbf{\"custom_id\":\"a\\u0000\\\"\",\"method\":\"POST\",\"url\":\"/v1/chat/"
        "completions\",\"body\":{\"messages\":[],\"stream\":true,\"stream_options\":{}}}\r\n"
        "\n  \t\r\n"
        "{\"custom_id\":\"b\",\"url\":\"/v1/completions\",\"body\":{\"x\":1.5,\"stream\":false}}\n"
        "{\"custom_id\":\"c\",\"method\":null,\"url\":\"/v1/embeddings\",\"body\":{\"bad\":1}}\n"
        "{\"custom_id\":\"d\",\"method\":\"POST\",\"url\":\"/v1/rerank\",\"body\":{}}";
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 4, 4, 1);
    assert_int_equal(ran.figures.n_prompt, 40);
    assert_int_equal(ran.figures.n_cached, 16);
    assert_int_equal(ran.figures.n_generated, 12);
    assert_int_equal(ran.figures.n_read, strlen(text));
    assert_true(ran.n_reports > 0 && ran.figures.seconds >= 0);
    json_t *all = parse_output();
    const json_t *body = body_of(all, "batch_req_1", 200);
    assert_int_equal(json_integer_value(json_object_get(body, "route")), ROUTE_CHAT);
    assert_int_equal(json_object_size(json_object_get(body, "asked")), 1);
    body = body_of(all, "batch_req_4", 200);
    assert_int_equal(json_integer_value(json_object_get(body, "route")), ROUTE_COMPLETIONS);
    assert_true(json_real_value(json_object_get(json_object_get(body, "asked"), "x")) == 1.5);
    body = body_of(all, "batch_req_5", 400);
    assert_int_equal(json_integer_value(json_object_get(body, "route")), ROUTE_EMBEDDINGS);
    body = body_of(all, "batch_req_6", 200);
    assert_int_equal(json_integer_value(json_object_get(body, "route")), ROUTE_RERANK);
    json_decref(all);
    assert_int_equal(read_output() > 0, 1);
    assert_non_null(strstr(output_text, "\"custom_id\":\"a\\u0000\\\"\""));
}

static void faults_are_of_their_line(void **state)
{
    (void)state;
    char deep[400] = "{\"custom_id\":\"k\",\"url\":\"/v1/completions\",\"body\":";
    memset(deep + strlen(deep), '[', 100);
    char *text = NULL;
    assert_true(
        asprintf(&text, "%s%s\n%s",
                 "{\"custom_id\":\"a\",\n"
                 "[]\n"
                 "{\"url\":\"/v1/completions\",\"body\":{}}\n"
                 "{\"custom_id\":7,\"url\":\"/v1/completions\",\"body\":{}}\n"
                 "{\"custom_id\":\"e\",\"method\":\"GET\",\"url\":\"/v1/completions\","
                 "\"body\":{}}\n"
                 "{\"custom_id\":\"f\",\"url\":\"/v1/images/\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                 "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                 "\xc3\xa4\xc3\xa4\",\"body\":{}}\n"
                 "{\"custom_id\":\"g\",\"body\":{}}\n"
                 "{\"custom_id\":\"h\",\"url\":\"/v1/completions\",\"body\":\"x\"}\n"
                 "{\"custom_id\":\"\xff\"}\n"
                 "{\"custom_id\":\"j\",\"custom_id\":\"j\"}\n",
                 deep, "{\"custom_id\":\"l\",\"url\":\"/v1/completions\",\"body\":{}}\n") > 0);
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 12, 12, 11);
    json_t *all = parse_output();
    check_fault(all, "batch_req_1", "invalid_json", "line 1: column");
    check_fault(all, "batch_req_2", "invalid_json", "line 2: expected an object");
    check_fault(all, "batch_req_3", "missing_custom_id", "custom_id");
    check_fault(all, "batch_req_4", "missing_custom_id", "string");
    check_fault(all, "batch_req_5", "invalid_method", "method is GET");
    check_fault(all, "batch_req_6", "invalid_url", "/v1/images/");
    check_fault(all, "batch_req_7", "invalid_url", "missing");
    check_fault(all, "batch_req_8", "invalid_body", "object");
    check_fault(all, "batch_req_9", "invalid_json", "column");
    check_fault(all, "batch_req_10", "invalid_json", "duplicate");
    check_fault(all, "batch_req_11", "invalid_json", "nested more than 65");
    body_of(all, "batch_req_12", 200);
    assert_true(json_is_null(json_object_get(line_of(all, "batch_req_1"), "custom_id")));
    json_decref(all);
    /* A later run has nothing left to do, although some lines have no custom_id. */
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 12, 0, 0);
    assert_int_equal(ran.figures.n_skipped, 12);
    free(text);
}

static void a_line_that_is_too_long(void **state)
{
    (void)state;
    const size_t n = MAX_BODY + 100000;
    char *text = malloc(n + 1000);
    assert_non_null(text);
    memset(text, 'x', n);
    strcpy(text + n, "\n{\"custom_id\":\"b\",\"url\":\"/v1/completions\",\"body\":{}}\n");
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 2, 2, 1);
    assert_int_equal(ran.figures.n_read, strlen(text));
    json_t *all = parse_output();
    check_fault(all, "batch_req_1", "line_too_long", "16 MiB");
    body_of(all, "batch_req_2", 200);
    json_decref(all);
    free(text);
}

/* The core never has more than two helpings, however long the input is. */
static void as_many_as_there_is_room_for(void **state)
{
    (void)state;
    char *text = make_lines(300);
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 300, 300, 0);
    assert_int_equal(fake.most, 4);
    check_answers(300, 1, 0);
    free(text);
}

/* A writer that is slow and leaves in the middle of a line. */
static void from_a_pipe(void **state)
{
    (void)state;
    int fds[2];
    char *text = make_lines(3);
    const int output = open(scratch_path("out"), O_RDWR | O_CREAT | O_APPEND, 0600);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
    assert_int_equal(write(fds[1], "{\"custom", 8), 8);
    close(fds[1]);
    run_fds(fds[0], output, NULL, "");
    check_figures(BATCH_COMPLETE, 4, 4, 1);
    close(fds[0]);
    close(output);
    free(text);
}

static void shards(void **state)
{
    (void)state;
    char *text = make_lines(10);
    assert_int_equal(run_on(text, "1/3"), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 3, 3, 0);
    check_answers(3, 3, 1);
    unlink(scratch_path("out"));
    assert_int_equal(run_on(text, "0/3"), BATCH_DONE_OK);
    check_answers(4, 3, 0);
    unlink(scratch_path("out"));
    assert_int_equal(run_on(text, "11/12"), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 0, 0, 0);
    free(text);
}

static void stopped_and_resumed(void **state)
{
    (void)state;
    char *text = make_lines(40);
    ran.stop_after = 15;
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    assert_int_equal(ran.end, BATCH_STOPPED);
    assert_in_range(ran.figures.n_answered, 15, 17);
    assert_int_equal(ran.figures.n_running, 0);
    assert_true(fake.n_cancelled > 0);
    const size_t answered = ran.figures.n_answered;
    /* The last line is torn. */
    const size_t n = read_output();
    assert_int_equal(truncate(scratch_path("out"), (off_t)n - 20), 0);
    ran.stop_after = 0;
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 40, 40 - answered + 1, 0);
    assert_int_equal(ran.figures.n_skipped, answered - 1);
    check_answers(40, 1, 0);
    free(text);
}

static void earlier_failures_are_counted(void **state)
{
    (void)state;
    static const char before[] =
        "{\"id\":\"batch_req_1\",\"custom_id\":\"r0\",\"response\":{\"status_code\":400,"
        "\"request_id\":\"x\",\"body\":{}},\"error\":null}\n\n"
        "{\"id\":\"batch_req_2\",\"custom_id\":\"r1\",\"response\":null,\"error\":{}}\n"
        "{\"id\":\"batch_req_3\",\"custom_id\":\"r2\",\"response\":{\"status_code\":200}}\n"
        "{\"id\":\"batch_re";
    const int fd = open(scratch_write("out", before, strlen(before)), O_RDWR);
    struct batch_done done = { 0 };
    uint64_t line = 0;
    int error = 0;
    assert_int_equal(batch_done_read(&done, fd, &line, &error), BATCH_DONE_OK);
    assert_int_equal(done.n, 3);
    assert_int_equal(done.n_failed, 2);
    assert_int_equal(lseek(fd, 0, SEEK_END), strlen(before) - 15);
    batch_done_free(&done);
    close(fd);
}

/* A file that is something else is neither cut nor written to. */
static void not_an_output(void **state)
{
    (void)state;
    static const char *const strange[] = {
        "my diary",
        "{\"id\":\"batch_req_1\",\"custom_id\":\"a\"}\nmy diary",
        "{\"a\":1}\n",
        "{\"id\":\"batch_req_1\",\"id\":7}\n",
        "{\"id\":\"batch_req_1\n",
    };
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        scratch_write("out", strange[i], strlen(strange[i]));
        assert_int_equal(run_on("", ""), BATCH_DONE_STRANGE);
        assert_int_equal(read_output(), strlen(strange[i]));
    }
    const int fd = open("/", O_RDONLY);
    struct batch_done done = { 0 };
    uint64_t line = 0;
    int error = 0;
    assert_int_equal(batch_done_read(&done, fd, &line, &error), BATCH_DONE_FAILED);
    assert_int_equal(error, EISDIR);
    batch_done_free(&done);
    close(fd);
}

/* The table of what is done grows. */
static void many_are_done(void **state)
{
    (void)state;
    char *text = make_lines(3000);
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 3000, 0, 0);
    assert_int_equal(ran.figures.n_skipped, 3000);
    free(text);
}

static void outputs_that_fail(void **state)
{
    (void)state;
    char *text = make_lines(9);
    int input = open_input(text), fds[2];
    const int full = open("/dev/full", O_WRONLY);
    run_fds(input, full, NULL, "");
    assert_int_equal(ran.end, BATCH_WRITE);
    assert_int_equal(ran.error, ENOSPC);
    assert_int_equal(ran.figures.n_answered, 0);
    close(full);
    close(input);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    input = open_input(text);
    run_fds(input, fds[1], NULL, "");
    assert_int_equal(ran.end, BATCH_WRITE);
    assert_int_equal(ran.error, EPIPE);
    close(input);
    close(fds[1]);
    free(text);
}

static void an_input_that_fails(void **state)
{
    (void)state;
    const int input = open("/", O_RDONLY), output = open("/dev/null", O_WRONLY);
    run_fds(input, output, NULL, "");
    assert_int_equal(ran.end, BATCH_READ);
    assert_int_equal(ran.error, EISDIR);
    close(input);
    close(output);
}

/* No answer says that the device was lost, so a later run computes what is missing. */
static void a_lost_device(void **state)
{
    (void)state;
    char *text = make_lines(20);
    fake.lose_after = 9;
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    assert_int_equal(ran.end, BATCH_LOST);
    assert_in_range(ran.figures.n_answered, 1, 8);
    assert_int_equal(ran.figures.n_failed, 0);
    fake.lose_after = 0;
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    assert_int_equal(ran.end, BATCH_COMPLETE);
    check_answers(20, 1, 0);
    free(text);
}

static void no_model(void **state)
{
    (void)state;
    fake.fails = true;
    assert_int_equal(run_on("{}\n", ""), BATCH_DONE_OK);
    check_figures(BATCH_NO_MODEL, 0, 0, 0);
    assert_int_equal(ran.n_reports, 0);
}

static void no_memory(void **state)
{
    (void)state;
    char *text = make_lines(20);
    fake.refuse_after = 6;
    assert_int_equal(run_on(text, ""), BATCH_DONE_OK);
    assert_int_equal(ran.end, BATCH_NO_MEMORY);
    free(text);
}

static void nothing_to_do(void **state)
{
    (void)state;
    assert_int_equal(run_on("", ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 0, 0, 0);
    assert_int_equal(run_on("\n\n", ""), BATCH_DONE_OK);
    check_figures(BATCH_COMPLETE, 0, 0, 0);
    assert_int_equal(read_output(), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_route),
        CASE(faults_are_of_their_line),
        CASE(a_line_that_is_too_long),
        CASE(as_many_as_there_is_room_for),
        CASE(from_a_pipe),
        CASE(shards),
        CASE(stopped_and_resumed),
        CASE(earlier_failures_are_counted),
        CASE(not_an_output),
        CASE(many_are_done),
        CASE(outputs_that_fail),
        CASE(an_input_that_fails),
        CASE(a_lost_device),
        CASE(no_model),
        CASE(no_memory),
        CASE(nothing_to_do),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
