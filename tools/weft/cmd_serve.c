/* weft serve: the server's core with HTTP around it. This file turns options into their parameters,
 * and opens the model when the core asks for it. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json_text.h"
#include "serve/http/server.h"
#include "weft/commands.h"
#include "weft/prompt.h"
#include "weft/session.h"

/* Words that stood with commas between them. */
struct words {
    char **at;
    size_t n, cap;
};

struct serve {
    const struct options *o;
    struct session session;
    struct prompt_setup setup;
    char *variables;
    struct words hosts, names, origins, keys;
    struct core *core;
    struct core_params core_params;
    struct server_params params;
    size_t n_unlogged; /* lines in a row */
};

static int no_memory(void) { return term_fail(EXIT_MEMORY, "not enough memory for the server"); }

/* --- values with commas --- */

static bool add_word(struct words *words, const char *text, size_t n)
{
    if (!mem_reserve(&words->at, &words->cap, words->n + 1, sizeof *words->at)) {
        return false;
    }
    words->at[words->n] = strndup(text, n);
    return words->at[words->n] != NULL && ++words->n > 0;
}

static bool split(const struct word_list *list, struct words *words)
{
    for (size_t i = 0; i < list->n; i++) {
        for (const char *at = list->at[i]; *at != '\0';) {
            size_t n = strcspn(at, ",");
            if (n > 0 && !add_word(words, at, n)) {
                return false;
            }
            at += n + (at[n] == ',');
        }
    }
    return true;
}

static void free_words(struct words *words)
{
    for (size_t i = 0; i < words->n; i++) {
        free(words->at[i]);
    }
    free(words->at);
}

/* --- options --- */

static const struct io_limit key_limit = { "a file of keys", (size_t)1 << 20,
                                           "is it the right one?" };

static int read_key_file(struct serve *s)
{
    struct bytes text = { 0 };
    int code = io_read_text(s->o->serve.key_file, &key_limit, &text);
    size_t before = s->params.keys.n;
    int line = code == EXIT_OK && text.n > 0 ? api_keys_read(&s->params.keys, text.data) : 0;
    if (line < 0) {
        code = no_memory();
    } else if (line > 0) {
        code = term_fail(EXIT_USAGE, "%s, line %d: expected KEY, or NAME KEY", s->o->serve.key_file,
                         line);
    } else if (code == EXIT_OK && s->params.keys.n == before) {
        /* Everybody could use a server whose operator believes that it has keys. */
        code = term_fail(EXIT_USAGE, "%s: there is no key in it", s->o->serve.key_file);
    }
    bytes_free(&text);
    return code;
}

static int read_keys(struct serve *s)
{
    if (s->o->serve.keys.n > 0 && s->keys.n == 0) {
        return term_fail(EXIT_USAGE, "option --api-key: there is no key between the commas");
    }
    for (size_t i = 0; i < s->keys.n; i++) {
        if (!api_keys_add(&s->params.keys, NULL, s->keys.at[i])) {
            return no_memory();
        }
    }
    return s->o->serve.key_file != NULL ? read_key_file(s) : EXIT_OK;
}

/* Returns false if a line would have to wait: nobody reads the pipe, or the terminal stands still.
 */
static bool log_has_room(void)
{
    struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };
    return poll(&fd, 1, 0) != 0;
}

/* A server that waits for the reader of its log answers nobody, so the log has a gap instead. */
static void log_line(void *user, bool is_access, const char *line)
{
    struct serve *s = user;
    if (s->o->quiet || (is_access && s->o->serve.no_log)) {
        return;
    }
    if (!log_has_room()) {
        s->n_unlogged++;
        return;
    }
    if (s->n_unlogged > 0) {
        fprintf(stderr, s->params.log_json ? "{\"message\":\"%zu %s\"}\n" : "%zu %s\n",
                s->n_unlogged, "lines are missing here: the log was not read");
        s->n_unlogged = 0;
    }
    fprintf(stderr, "%s\n", line);
}

static void set_server(struct serve *s)
{
    const struct serve_options *o = &s->o->serve;
    struct server_params *p = &s->params;
    if (s->hosts.n > 0) {
        p->hosts = (const char *const *)s->hosts.at;
        p->n_hosts = s->hosts.n;
    }
    p->names = (const char *const *)s->names.at;
    p->n_names = s->names.n;
    p->origins = (const char *const *)s->origins.at;
    p->n_origins = s->origins.n;
    p->port = (int)o->port;
    p->prefix = o->prefix != NULL ? o->prefix : "";
    p->slots = !o->no_slots;
    p->metrics = o->metrics;
    p->log_json = o->log_json;
    p->max_connections = (size_t)o->max_connections;
    p->max_unfinished = (size_t)o->max_unfinished;
    p->max_body = (size_t)o->max_body << 20;
    p->max_bodies = size_max(p->max_bodies, 4 * p->max_body);
    p->body_timeout = p->write_timeout = (double)o->timeout;
    p->ping_interval = (double)o->ping;
    p->drain_delay = (double)o->drain_delay;
    p->drain_timeout = (double)o->drain_timeout;
    p->log = log_line;
    p->log_user = s;
}

static struct scope scope_of(const struct serve *s)
{
    const struct options *o = s->o;
    bool divided = o->at_once > 0 && !o->serve.unified;
    return (struct scope){
        .alias = o->alias,
        .path = o->model,
        .strict_model = o->serve.strict_model,
        .template_name = s->setup.source.n == 0 ? o->chat_template : NULL,
        .template_source = s->setup.source.n > 0 ? s->setup.source.data : NULL,
        .n_template_source = s->setup.source.n,
        .template_vars = o->template_vars != NULL ? s->variables : NULL,
        .reasoning = (enum reasoning_format)(o->reasoning % 3),
        .pooling = (weft_pooling)o->pooling,
        .sampling = options_sampling(o),
        .sampling_given = o->given,
        .n_predict = o->n_predict < 0 ? SIZE_MAX : (size_t)o->n_predict,
        .embeddings_only = o->serve.embeddings,
        .n_sequences = divided ? (size_t)o->at_once : 0,
        .slots = !o->serve.no_slots,
        .metrics = o->serve.metrics,
    };
}

/* --- the model --- */

/* A chat with less than this many tokens is hardly possible. */
enum { SHORT_CONTEXT = 256 };

/* The context of -c is that of all requests together; one of them has at most the model's. */
static int open_engine(struct serve *s)
{
    struct options *o = malloc(sizeof *o);
    if (o == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the options");
    }
    *o = *s->o;
    const size_t all = session_n_ctx(&s->session, o), most = s->session.info.n_ctx_train;
    const bool divided = o->at_once > 0 && !o->serve.unified;
    const size_t each = divided ? all / (size_t)o->at_once : all;
    if (all < WEFT_KV_PAGE) {
        free(o);
        return term_fail(EXIT_USAGE, "option -c: %zu tokens for all requests; expected at least %d",
                         all, WEFT_KV_PAGE);
    }
    if (each < SHORT_CONTEXT) {
        term_note("weft: a request may use no more than %zu tokens; a larger -c, a smaller -np or "
                  "-kvu gives it more",
                  each);
    }
    o->ctx = most > 0 && all > most ? (int64_t)most : o->ctx;
    const int code = session_engine(&s->session, o, all);
    free(o);
    return code;
}

/* Runs on a thread of the core, which takes model and engine. */
static int load(void *user, weft_model **model, weft_engine **engine)
{
    struct serve *s = user;
    int code = session_model(&s->session, s->o, false);
    code = code == EXIT_OK ? prompt_try(&s->session, &s->setup) : code;
    code = code == EXIT_OK ? open_engine(s) : code;
    if (code != EXIT_OK) {
        session_close(&s->session);
        return code;
    }
    *model = s->session.model;
    *engine = s->session.engine;
    s->session.model = NULL;
    s->session.engine = NULL;
    return EXIT_OK;
}

static int open_core(struct serve *s)
{
    s->core_params = (struct core_params){
        .load = load,
        .load_user = s,
        .scope = scope_of(s),
        .n_parallel = (size_t)s->o->at_once,
        .n_waiting = (size_t)s->o->serve.max_waiting,
        .wait_s = (int)s->o->serve.wait,
        .n_threads = (size_t)s->o->serve.threads,
    };
    s->core = core_open(&s->core_params);
    s->params.core = s->core;
    return s->core != NULL ? EXIT_OK : no_memory();
}

/* --- the command --- */

static int prepare(struct serve *s)
{
    const struct serve_options *o = &s->o->serve;
    server_defaults(&s->params);
    int code = prompt_setup(s->o, &s->setup);
    s->variables = code == EXIT_OK ? json_text(s->setup.variables, 0) : NULL;
    if (code == EXIT_OK &&
        (s->variables == NULL || !split(&o->hosts, &s->hosts) || !split(&o->names, &s->names) ||
         !split(&o->origins, &s->origins) || !split(&o->keys, &s->keys))) {
        code = no_memory();
    }
    code = code == EXIT_OK ? read_keys(s) : code;
    if (code == EXIT_OK) {
        set_server(s);
    }
    return code;
}

static int serve(struct serve *s)
{
    char why[512];
    struct server *server = server_open(&s->params, why, sizeof why);
    if (server == NULL) {
        return term_fail(EXIT_RUNTIME, "%s", why);
    }
    int code = server_run(server);
    server_close(server);
    return code < 0 ? term_fail(EXIT_MEMORY, "not enough memory for the server") : code;
}

int cmd_serve(const struct options *o, int n_args, char **args)
{
    struct serve s = { .o = o };
    (void)n_args;
    (void)args;
    int code = prepare(&s);
    code = code == EXIT_OK ? open_core(&s) : code;
    code = code == EXIT_OK ? serve(&s) : code;
    if (s.core != NULL && core_state(s.core) == CORE_LOADING) {
        /* Nobody waits for a model that is not needed any more. */
        _exit(code);
    }
    core_close(s.core);
    session_close(&s.session);
    prompt_setup_free(&s.setup);
    free(s.variables);
    free_words(&s.hosts);
    free_words(&s.names);
    free_words(&s.origins);
    free_words(&s.keys);
    api_keys_free(&s.params.keys);
    return code;
}
