/* weft run: takes one prompt and generates text. Standard output carries only the text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/commands.h"
#include "weft/constrain.h"
#include "weft/generate.h"
#include "weft/io.h"
#include "weft/prompt.h"
#include "weft/session.h"
#include "weft/term.h"

struct run {
    const struct options *o;
    struct session session;
    struct bytes prompt;
    weft_prompt *chat; /* the prompt of a conversation with tools; NULL = none */
    struct ids ids;    /* of the prompt */
    size_t n_loaded;   /* tokens of the loaded state, which the prompt continues */
    int32_t last;      /* the last of these tokens */
    struct generated *texts;
    size_t n_texts;
    struct figures figures;
};

static int read_prompt(struct run *r, int n_args, char **args)
{
    const struct options *o = r->o;
    bool dash = n_args == 1 && strcmp(args[0], "-") == 0;
    if (n_args > 0 && !dash) {
        char text[192];
        snprintf(text, sizeof text,
                 "unexpected argument '%.80s'; the prompt is given with -p TEXT, -f FILE or -",
                 args[strcmp(args[0], "-") == 0 && n_args > 1]);
        return term_usage("run", text);
    }
    if (dash && (o->prompt != NULL || o->file != NULL)) {
        return term_usage("run", "- (standard input) contradicts -p and -f; give one of them");
    }
    if (dash && o->messages != NULL) {
        return term_usage("run", "- (standard input) contradicts --messages; give one of them");
    }
    if (!dash && o->prompt == NULL && o->file == NULL) {
        if (o->messages != NULL || (o->load_state != NULL && !o->chat)) {
            return EXIT_OK;
        }
        return term_usage("run",
                          "no prompt; give one with -p TEXT, -f FILE, or - for standard input");
    }
    if (o->prompt == NULL) {
        return io_read(dash ? "-" : o->file, &io_text, &r->prompt);
    }
    bool ok = o->escape ? io_unescape(o->prompt, &r->prompt)
                        : text_add(&r->prompt, o->prompt, strlen(o->prompt));
    return ok ? EXIT_OK : term_fail(EXIT_MEMORY, "not enough memory for the prompt");
}

/* Makes messages of -sys and of the prompt. */
static int make_messages(const struct run *r, json_t *list)
{
    const char *system = r->o->system;
    int code = EXIT_OK;
    if (r->prompt.n != 0 && memchr(r->prompt.data, '\0', r->prompt.n) != NULL) {
        return term_usage("run", "a chat message cannot hold a NUL byte");
    }
    if (system != NULL && *system != '\0') {
        code = prompt_add_message(list, "system", system, strlen(system));
    }
    return code == EXIT_OK ? prompt_add_message(list, "user", r->prompt.data, r->prompt.n) : code;
}

static int chat_prompt(struct run *r)
{
    struct prompt_setup setup;
    const struct prompt_form form = { .prefill = r->o->prefill,
                                      .continues = r->n_loaded > 0,
                                      .last = r->last };
    weft_prompt *prompt = NULL;
    json_t *list = r->o->messages == NULL ? json_array() : NULL;
    int code = prompt_setup(r->o, &setup);
    code = code == EXIT_OK && list != NULL ? make_messages(r, list) : code;
    code = code == EXIT_OK ? prompt_open(&r->session, &setup, list, &form, &prompt) : code;
    code = code == EXIT_OK ? prompt_ids(prompt, 0, &r->ids) : code;
    if (setup.tools.n > 0) {
        r->chat = prompt;
        prompt = NULL;
    }
    weft_prompt_release(&prompt);
    prompt_setup_free(&setup);
    json_decref(list);
    return code;
}

static int tokenize_prompt(struct run *r)
{
    if (r->o->chat) {
        return chat_prompt(r);
    }
    bool continues = r->n_loaded > 0;
    int code = session_tokenize(
        &r->session, r->prompt.n > 0 ? r->prompt.data : "", r->prompt.n,
        WEFT_TOKENIZE_SPECIAL | (continues ? WEFT_TOKENIZE_NO_PREFIX : WEFT_TOKENIZE_BOS), &r->ids);
    if (code == EXIT_OK && r->ids.n == 0 && !continues) {
        return term_usage("run",
                          "the prompt is empty, and this model does not begin a text with BOS; "
                          "give it at least one token");
    }
    return code;
}

/* Returns the positions that n texts need if they share the prompt's full pages. The last page of
 * the prompt and the last page of a text need not be full: a text may begin and leave one page more
 * than its length says. */
static size_t kv_wanted(const struct run *r)
{
    size_t n_ctx = session_n_ctx(&r->session, r->o), own = n_ctx, total;
    if (r->o->kv > 0 || r->n_texts == 1) {
        return (size_t)r->o->kv;
    }
    /* A state is loaded later, so its length is not known here. */
    if (r->o->load_state == NULL && r->o->n_predict >= 0 &&
        r->ids.n + (size_t)r->o->n_predict < n_ctx) {
        own = r->ids.n + (size_t)r->o->n_predict;
    }
    if (__builtin_mul_overflow(r->n_texts, own + 2 * WEFT_KV_PAGE, &total)) {
        return SIZE_MAX;
    }
    return size_max(total, n_ctx);
}

/* Text 0 computes the prompt; the others are forks of it with their own seeds. */
static int fork_texts(struct run *r, const struct generate_params *p)
{
    struct generate_params only_prompt = *p;
    only_prompt.limit = 0;
    only_prompt.stream = false;
    int code = generate(r->session.engine, r->texts, 1, &only_prompt, &r->figures);
    if (code != EXIT_OK || term_interrupted()) {
        return code;
    }
    r->texts[0].end = TEXT_RUNNING;
    for (size_t i = 1; i < r->n_texts; i++) {
        weft_error err = { 0 };
        weft_sampling s = options_sampling(r->o);
        s.seed += i;
        r->texts[i].number = i;
        weft_status status = weft_seq_fork(r->texts[0].seq, &r->texts[i].seq, &err);
        if (status == WEFT_OK) {
            status = weft_seq_set_sampling(r->texts[i].seq, &s, &err);
        }
        if (status != WEFT_OK) {
            return term_status(status, &err);
        }
    }
    return EXIT_OK;
}

static int show_prompt(const struct run *r)
{
    struct bytes text = { 0 };
    if (!r->o->display_prompt) {
        return EXIT_OK;
    }
    if (!r->o->chat) {
        /* The generated text begins with the character that the prompt leaves incomplete. */
        return io_write(r->prompt.data, io_whole(r->prompt.data, r->prompt.n));
    }
    int code =
        session_detokenize(r->session.model, r->ids.at, r->ids.n, WEFT_DETOKENIZE_SPECIAL, &text);
    code = code != EXIT_OK ? code : io_write(text.data, text.n);
    bytes_free(&text);
    return code;
}

static int too_long(const struct run *r)
{
    size_t n_ctx = session_n_ctx(&r->session, r->o), trained = r->session.info.n_ctx_train;
    char raise[96] = "", behind[64] = "";
    if (r->n_loaded > 0) {
        snprintf(behind, sizeof behind, " behind the %zu of the state", r->n_loaded);
    }
    if (n_ctx < trained) {
        snprintf(raise, sizeof raise, ", or raise it with -c, to at most %zu", trained);
    }
    return term_fail(EXIT_RUNTIME,
                     "the prompt has %zu tokens%s, and the context is %zu%s; shorten the prompt%s",
                     r->ids.n, behind, n_ctx,
                     r->n_loaded + r->ids.n <= n_ctx ? ", with no room for an answer" : "", raise);
}

static int open_texts(struct run *r)
{
    int code = session_engine(&r->session, r->o, kv_wanted(r));
    if (code != EXIT_OK) {
        return code;
    }
    r->texts = calloc(r->n_texts, sizeof *r->texts);
    if (r->texts == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for %zu texts", r->n_texts);
    }
    code = generated_open(&r->texts[0], r->session.engine, r->o);
    if (code == EXIT_OK && r->o->load_state != NULL) {
        weft_seq *seq = r->texts[0].seq;
        code = session_load_state(seq, r->o->load_state);
        r->n_loaded = weft_seq_len(seq);
        r->figures.n_state = r->n_loaded - weft_seq_pending(seq);
        code = code == EXIT_OK && r->n_loaded > 0 ? session_last(seq, &r->last) : code;
    }
    return code;
}

/* Tool calls follow the schemas of their tools, unless the user has given a grammar. */
static int constrain_calls(const struct run *r)
{
    weft_error err = { 0 };
    weft_reply *reply = NULL;
    if (r->chat == NULL || constrains(r->o)) {
        return EXIT_OK;
    }
    weft_status status = weft_reply_open(r->chat, NULL, &reply, &err);
    status = status == WEFT_OK ? weft_reply_constrain(reply, r->texts[0].seq, &err) : status;
    weft_reply_release(&reply);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

static int hand_in(struct run *r)
{
    weft_error err = { 0 };
    r->figures.started = term_seconds();
    /* An answer needs room for at least one token. */
    size_t n_answer = r->o->n_predict != 0, n_ctx = session_n_ctx(&r->session, r->o);
    if (r->n_loaded + r->ids.n + n_answer > n_ctx) {
        return too_long(r);
    }
    weft_status status = weft_seq_append(r->texts[0].seq, r->ids.at, r->ids.n, &err);
    return status == WEFT_OK ? constrain_calls(r) : term_status(status, &err);
}

/* Several texts are printed one after another. A line on standard error precedes each text, and a
 * newline follows it, or with -0 a NUL, which texts contain less often. */
static int show_texts(const struct run *r, bool streamed)
{
    int code = EXIT_OK;
    for (size_t i = 0; i < r->n_texts && code == EXIT_OK && !streamed; i++) {
        const struct generated *g = &r->texts[i];
        if (r->n_texts > 1 && !r->o->quiet) {
            term_note("weft: text %zu of %zu; seed %" PRIu64
                      "; %zu tokens; %zu bytes; %s; ids #%08" PRIx32,
                      i + 1, r->n_texts, r->o->seed + i, g->ids.n, g->text.n, text_end_name[g->end],
                      ids_hash(IDS_HASH_START, g->ids.at, g->ids.n));
        }
        code = io_write(g->text.data, g->text.n);
        if (code == EXIT_OK && r->n_texts > 1) {
            code = io_write(r->o->null ? "" : "\n", 1);
        }
    }
    if (code != EXIT_OK || r->n_texts > 1) {
        return code;
    }
    const struct bytes *last = &r->texts[0].text;
    bool open_line = last->n == 0 || last->data[last->n - 1] != '\n';
    if (r->o->null) {
        return io_write("", 1);
    }
    return open_line && isatty(STDOUT_FILENO) == 1 ? io_write("\n", 1) : EXIT_OK;
}

/* A script must be able to tell half a JSON text from a whole one. */
static int outcome(const struct run *r)
{
    for (size_t i = 0; i < r->n_texts; i++) {
        if (r->texts[i].end == TEXT_GRAMMAR) {
            return EXIT_GRAMMAR;
        }
    }
    return EXIT_OK;
}

/* Prints the log-probabilities of all tokens drawn, even after Ctrl-C. */
static void print_logprobs(const struct run *r)
{
    for (size_t i = 0; i < r->n_texts; i++) {
        const struct bytes *lines = &r->texts[i].logprobs;
        if (lines->n > 0) {
            fwrite(lines->data, 1, lines->n, stderr);
        }
    }
}

static void close_line(const struct run *r)
{
    uint32_t hash = IDS_HASH_START;
    const char *end = text_end_name[r->texts[0].end];
    for (size_t i = 0; i < r->n_texts; i++) {
        hash = ids_hash(hash, r->texts[i].ids.at, r->texts[i].ids.n);
        if (r->texts[i].end != r->texts[0].end) {
            end = "mixed ends";
        }
    }
    const struct bytes *last = &r->texts[r->n_texts - 1].text;
    bool prints = !r->o->quiet || r->o->logprobs >= 0;
    if (prints && last->n > 0 && last->data[last->n - 1] != '\n') {
        term_new_line();
    }
    print_logprobs(r);
    if (!r->o->quiet) {
        figures_print(&r->figures, r->o, end, hash);
    }
}

static int run(struct run *r)
{
    struct generate_params p = { .model = r->session.model,
                                 .limit = r->o->n_predict,
                                 .special = r->o->special,
                                 .logprobs = r->o->logprobs >= 0,
                                 .stream = r->n_texts == 1 && !r->o->no_stream };
    term_on_interrupt(TERM_FLAG_ONCE);
    int code = r->o->log_logits != NULL
                   ? logits_log_open(r->o->log_logits, r->session.model, &p.log)
                   : EXIT_OK;
    code = code == EXIT_OK ? show_prompt(r) : code;
    if (code == EXIT_OK && r->n_texts > 1) {
        code = fork_texts(r, &p);
    }
    if (code == EXIT_OK && !term_interrupted()) {
        code = generate(r->session.engine, r->texts, r->n_texts, &p, &r->figures);
    }
    int closed = logits_log_close(p.log);
    code = code == EXIT_OK ? closed : code;
    for (size_t i = 0; i < r->n_texts; i++) {
        if (r->texts[i].end == TEXT_RUNNING) {
            r->texts[i].end = term_interrupted() ? TEXT_INTERRUPTED : TEXT_FAILED;
        }
    }
    /* The texts so far are printed even if something failed, unless writing has failed. */
    if (io_failed()) {
        return EXIT_RUNTIME;
    }
    int shown = show_texts(r, p.stream);
    if (code == EXIT_OK && r->o->save_state != NULL) {
        code = session_save_state(r->texts[0].seq, r->o->save_state);
    }
    if (!io_failed()) {
        close_line(r);
    }
    if (code != EXIT_OK || shown != EXIT_OK) {
        return code != EXIT_OK ? code : shown;
    }
    return term_interrupted() ? EXIT_INTERRUPTED : outcome(r);
}

int cmd_run(const struct options *given, int n_args, char **args)
{
    struct options own = *given, *o = &own;
    struct run r = { .o = o, .n_texts = (size_t)o->parallel };
    if (!o->quiet) {
        term_progress_on();
    }
    int code = read_prompt(&r, n_args, args);
    code = code != EXIT_OK ? code : session_model(&r.session, o, false);
    code = code != EXIT_OK ? code : session_sampling(&r.session, o);
    /* A prompt that continues a state is read differently, so the state is loaded first. Without a
     * state the prompt is read first, so that a bad prompt is refused before the engine opens. */
    bool loads = o->load_state != NULL;
    code = code != EXIT_OK ? code : loads ? open_texts(&r) : tokenize_prompt(&r);
    code = code != EXIT_OK ? code : loads ? tokenize_prompt(&r) : open_texts(&r);
    code = code != EXIT_OK ? code : hand_in(&r);
    code = code != EXIT_OK ? code : run(&r);
    for (size_t i = 0; i < r.n_texts && r.texts != NULL; i++) {
        generated_free(&r.texts[i]);
    }
    free(r.texts);
    free(r.ids.at);
    weft_prompt_release(&r.chat);
    bytes_free(&r.prompt);
    session_close(&r.session);
    return code;
}
