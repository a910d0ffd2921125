/* weft chat: a conversation on the terminal or, without a terminal, one message per line. Answers
 * go to standard output, as does what the line editor (edit.c) shows on a terminal. Everything else
 * goes to standard error. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/commands.h"
#include "weft/line.h"
#include "weft/session.h"
#include "weft/talk.h"

enum next { NEXT_MESSAGE, NEXT_LEAVE, NEXT_INTERRUPTED, NEXT_FAILED, NEXT_NO_MEMORY };

struct chat {
    struct options o;
    struct session session;
    struct talk talk;
    struct line_reader *lines;
    /* Lines with a / are commands on a terminal and with --commands. A pipe may carry text from
     * strangers, which must not write files. */
    bool obeys;
    bool leave;
};

struct chat_command {
    const char *name;
    const char *argument; /* NULL: none */
    const char *help;
    int (*run)(struct chat *c, const char *argument);
};

static int do_help(struct chat *c, const char *argument);

static int started_over(const struct chat *c, int code)
{
    if (code == EXIT_OK && !c->o.quiet) {
        term_note("started over");
    }
    return code;
}

static int do_clear(struct chat *c, const char *argument)
{
    (void)argument;
    return started_over(c, talk_restart(&c->talk, NULL));
}

static int do_undo(struct chat *c, const char *argument)
{
    (void)argument;
    char *text;
    int code = talk_undo(&c->talk, &text);
    if (code == EXIT_OK && (text == NULL || !c->o.quiet)) {
        term_note(text != NULL ? "took back the last exchange" : "there is nothing to take back");
    }
    free(text);
    return code;
}

static int do_retry(struct chat *c, const char *argument)
{
    (void)argument;
    char *text;
    int code = talk_undo(&c->talk, &text);
    if (text == NULL) {
        if (code == EXIT_OK) {
            term_note("there is nothing to try again");
        }
        return code;
    }
    /* The same seed might give the same answer again. */
    c->o.seed++;
    code = talk_set_sampling(&c->talk);
    code = code != EXIT_OK ? code : talk_say(&c->talk, text);
    free(text);
    return code;
}

static int do_system(struct chat *c, const char *argument)
{
    return started_over(c, talk_restart(&c->talk, argument));
}

static int do_think(struct chat *c, const char *argument)
{
    const bool on = strcmp(argument, "on") == 0;
    if (!on && strcmp(argument, "off") != 0) {
        term_note("/think on or /think off");
        return EXIT_OK;
    }
    return talk_set_thinking(&c->talk, on);
}

static int do_set(struct chat *c, const char *argument)
{
    static const char *const names[] = { "temp",           "top-k", "top-p", "min-p",
                                         "repeat-penalty", "seed",  "n" };
    struct arg_error err = { "" };
    char word[32], option[40];
    size_t n = strcspn(argument, " "), i = 0;
    const char *value = argument + n + strspn(argument + n, " ");
    snprintf(word, sizeof word, "%.*s", n < sizeof word ? (int)n : 0, argument);
    while (i < sizeof names / sizeof *names && strcmp(names[i], word) != 0) {
        i++;
    }
    if (i == sizeof names / sizeof *names || *value == '\0') {
        term_note(
            "/set NAME VALUE, where NAME is temp, top-k, top-p, min-p, repeat-penalty, seed or n");
        return EXIT_OK;
    }
    snprintf(option, sizeof option, "%s%s", word[1] == '\0' ? "-" : "--", word);
    const struct arg_option *o = args_find(option_table, CMD_CHAT, option);
    struct options before = c->o;
    if (o == NULL || !args_set(o, option, value, &c->o, &err)) {
        term_note("%s", err.text);
        return EXIT_OK;
    }
    if (!c->o.seed_given) {
        options_seed(&c->o);
    }
    if (strcmp(word, "n") != 0 && talk_set_sampling(&c->talk) != EXIT_OK) {
        c->o = before;
    }
    return EXIT_OK;
}

/* Tells the user which RoPE factors the conversation has, if the file has two sets of them. */
static void note_rope(const struct chat *c, uint64_t n_again)
{
    const size_t border = c->session.info.n_rope_short;
    if (border > 0) {
        const bool is_long = weft_seq_len(c->talk.answer.seq) > border;
        term_note("RoPE factors: %s (short up to %zu tokens); %" PRIu64
                  " tokens computed again because they changed",
                  is_long ? "long" : "short", border, n_again);
    }
}

static int do_stats(struct chat *c, const char *argument)
{
    weft_engine_info info = { .size = sizeof info };
    weft_engine_stats s = { .size = sizeof s };
    (void)argument;
    if (weft_engine_get_info(c->session.engine, &info, NULL) == WEFT_OK &&
        weft_engine_get_stats(c->session.engine, &s, NULL) == WEFT_OK) {
        term_note("context: %zu of %zu tokens; %zu messages; %s, %zu threads",
                  weft_seq_len(c->talk.answer.seq), info.n_ctx, c->talk.n, info.kernels,
                  info.n_threads);
        term_note("KV pool: %zu of %zu pages used, %.1f of %.1f MiB; computed: %" PRIu64
                  " tokens read, %" PRIu64 " generated, %" PRIu64 " found",
                  s.n_pages_used, s.n_pages, (double)(s.n_pages_used * s.page_bytes) / 1048576.0,
                  (double)s.kv_bytes / 1048576.0, s.n_prompt_rows, s.n_decode_rows, s.n_cached);
        note_rope(c, s.n_again);
    }
    figures_print(&c->talk.figures, &c->o, text_end_name[c->talk.answer.end], c->talk.hash);
    return EXIT_OK;
}

static int do_save(struct chat *c, const char *argument)
{
    if (options_is_model(&c->o, argument)) {
        term_note("/save would write over the model; name another file");
        return EXIT_OK;
    }
    int code = talk_save(&c->talk, argument);
    if (code == EXIT_OK && !c->o.quiet) {
        term_note("saved %zu tokens", weft_seq_len(c->talk.answer.seq));
    }
    return code;
}

static int do_load(struct chat *c, const char *argument)
{
    int code = talk_load(&c->talk, argument);
    if (code == EXIT_OK && !c->o.quiet) {
        term_note("loaded %zu tokens; /undo does not go back behind them, /clear drops them",
                  c->talk.base);
    }
    return code;
}

static int do_quit(struct chat *c, const char *argument)
{
    (void)argument;
    c->leave = true;
    return EXIT_OK;
}

static const struct chat_command chat_commands[] = {
    { "/help", NULL, "this list", do_help },
    { "/clear", NULL, "start over, with the same system prompt", do_clear },
    { "/undo", NULL, "take the last exchange back", do_undo },
    { "/retry", NULL, "answer the last message again, with the next seed", do_retry },
    { "/system", "TEXT", "start over with this system prompt", do_system },
    { "/set", "NAME VALUE", "temp, top-k, top-p, min-p, repeat-penalty, seed or n", do_set },
    { "/think", "on|off", "think before answers, or not, where the template knows how", do_think },
    { "/save", "FILE", "keep the conversation in a file", do_save },
    { "/load", "FILE", "go on with the conversation in a file, in place of this one", do_load },
    { "/stats", NULL, "tokens and speed so far", do_stats },
    { "/quit", NULL, "leave; so does Ctrl-D", do_quit },
};
enum { N_COMMANDS = sizeof chat_commands / sizeof *chat_commands };

static int do_help(struct chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct chat_command *k = &chat_commands[i];
        term_note("%-8s %-11s %s", k->name, k->argument != NULL ? k->argument : "", k->help);
    }
    term_note("A message goes on after a line that ends with \\, and between two lines of \"\"\".");
    return EXIT_OK;
}

static int command(struct chat *c, const char *line)
{
    const char *names[N_COMMANDS];
    size_t n = strcspn(line, " ");
    const char *argument = line + n + strspn(line + n, " ");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct chat_command *k = &chat_commands[i];
        names[i] = k->name;
        if (strlen(k->name) != n || memcmp(k->name, line, n) != 0) {
            continue;
        }
        if ((k->argument == NULL) != (*argument == '\0')) {
            term_note("%s takes %s", k->name,
                      k->argument != NULL ? k->argument : "nothing behind it");
            return EXIT_RUNTIME;
        }
        return k->run(c, argument);
    }
    const char *near = args_nearest(line, names, N_COMMANDS);
    term_note("unknown command %.40s; %s%s", line,
              near != NULL ? "did you mean " : "/help lists them", near != NULL ? near : "");
    return EXIT_RUNTIME;
}

static enum next line_failed(enum line_result r)
{
    return r == LINE_END         ? NEXT_LEAVE
           : r == LINE_LEAVE     ? NEXT_INTERRUPTED
           : r == LINE_NO_MEMORY ? NEXT_NO_MEMORY
                                 : NEXT_FAILED;
}

static enum next add(struct bytes *text, const char *line, size_t n)
{
    if (!text_add(text, line, n)) {
        term_fail(0, "not enough memory for the message");
        return NEXT_NO_MEMORY;
    }
    return io_check("the message", text->n, &io_text) == EXIT_OK ? NEXT_MESSAGE : NEXT_FAILED;
}

/* Adds the lines up to one that ends with """. */
static enum next read_block(struct chat *c, struct bytes *text, const char *line, size_t n)
{
    for (;;) {
        bool last = n >= 3 && memcmp(line + n - 3, "\"\"\"", 3) == 0;
        n -= last ? 3 : 0;
        enum next added = add(text, line, n);
        added = added == NEXT_MESSAGE && !last ? add(text, "\n", 1) : added;
        if (added != NEXT_MESSAGE) {
            return added;
        }
        if (last) {
            /* A newline before a closing """ on a line of its own belongs to the quotes. */
            text->n -= n == 0 && text->n > 0 && text->data[text->n - 1] == '\n';
            text->data[text->n] = '\0';
            return NEXT_MESSAGE;
        }
        enum line_result got = line_read(c->lines, "... ", &line, &n);
        if (got == LINE_INTERRUPTED || got == LINE_LEAVE) {
            text->n = 0;
            return NEXT_MESSAGE;
        }
        if (got == LINE_END && text->n > 0) {
            /* The end of the input closes the block too, so that nothing is dropped silently. */
            text->data[--text->n] = '\0';
            return NEXT_MESSAGE;
        }
        if (got != LINE_OK) {
            return line_failed(got);
        }
    }
}

/* Reads one message of one or more lines; it is empty if Ctrl-C dropped it. *is_command: the
 * message is one line that begins with /, and commands are obeyed. */
static enum next read_message(struct chat *c, struct bytes *text, bool *is_command)
{
    const char *line;
    size_t n;
    text->n = 0;
    enum line_result got = line_read(c->lines, "> ", &line, &n);
    /* A pasted text of several lines is a message as it stands: no further line is read. */
    bool pasted = got == LINE_OK && memchr(line, '\n', n) != NULL;
    *is_command = c->obeys && got == LINE_OK && !pasted && n > 0 && line[0] == '/';
    if (got == LINE_OK && !pasted && n >= 3 && memcmp(line, "\"\"\"", 3) == 0) {
        enum next first = n == 3 ? NEXT_MESSAGE : read_block(c, text, line + 3, n - 3);
        if (n == 3) {
            got = line_read(c->lines, "... ", &line, &n);
            first = got == LINE_OK ? read_block(c, text, line, n) : line_failed(got);
        }
        return first;
    }
    while (got == LINE_OK && n > 0 && line[n - 1] == '\\') {
        enum next added = add(text, line, n - 1);
        added = added == NEXT_MESSAGE ? add(text, "\n", 1) : added;
        if (added != NEXT_MESSAGE) {
            return added;
        }
        *is_command = false;
        got = line_read(c->lines, "... ", &line, &n);
    }
    if (got == LINE_INTERRUPTED || (got == LINE_LEAVE && text->n > 0)) {
        text->n = 0;
        return NEXT_MESSAGE;
    }
    if (got == LINE_END && text->n > 0) {
        return NEXT_MESSAGE;
    }
    if (got != LINE_OK) {
        return line_failed(got);
    }
    return add(text, line, n);
}

/* Handles one message or command. Returns its exit code; only EXIT_INTERRUPTED ends the chat. */
static int serve(struct chat *c, const struct bytes *text, bool is_command, bool terminal)
{
    if (text->n == 0) {
        return EXIT_OK;
    }
    if (memchr(text->data, '\0', text->n) != NULL) {
        return term_fail(EXIT_RUNTIME, "a message cannot hold a NUL byte");
    }
    int code = is_command ? command(c, text->data) : talk_say(&c->talk, text->data);
    /* On a terminal Ctrl-C has stopped only this answer. */
    if (code == EXIT_OK && c->talk.answer.end == TEXT_INTERRUPTED && !terminal) {
        return EXIT_INTERRUPTED;
    }
    return code;
}

static int loop(struct chat *c)
{
    bool terminal = isatty(STDIN_FILENO) == 1, is_command;
    struct bytes text = { 0 };
    enum next next = NEXT_MESSAGE;
    int code = EXIT_OK;
    c->obeys = terminal || c->o.commands;
    while (!c->leave && code != EXIT_INTERRUPTED && !io_failed()) {
        next = read_message(c, &text, &is_command);
        if (next != NEXT_MESSAGE) {
            break;
        }
        int served = serve(c, &text, is_command, terminal);
        /* The exit code tells a script of a refused message; a person has read the printed
         * error. */
        if (served != EXIT_OK && !terminal) {
            code = served;
        }
    }
    bytes_free(&text);
    if (io_failed() || next == NEXT_FAILED) {
        return EXIT_RUNTIME;
    }
    return next == NEXT_INTERRUPTED ? EXIT_INTERRUPTED
           : next == NEXT_NO_MEMORY ? EXIT_MEMORY
                                    : code;
}

static int chat(struct chat *c)
{
    c->talk.session = &c->session;
    c->talk.o = &c->o;
    int code = talk_open(&c->talk);
    if (code != EXIT_OK) {
        return code;
    }
    c->lines = line_open(!c->o.no_history);
    if (c->lines == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory to read lines");
    }
    if (!c->o.quiet && isatty(STDIN_FILENO) == 1) {
        term_note("%s; /help lists the commands, Ctrl-D leaves",
                  c->session.info.name[0] != '\0' ? c->session.info.name : c->o.model);
    }
    code = loop(c);
    line_close(c->lines);
    if (!c->o.quiet && !io_failed()) {
        figures_print(&c->talk.figures, &c->o,
                      code == EXIT_INTERRUPTED ? "interrupted" : text_end_name[c->talk.answer.end],
                      c->talk.hash);
    }
    return code;
}

int cmd_chat(const struct options *o, int n_args, char **args)
{
    (void)n_args;
    (void)args;
    struct chat *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the chat");
    }
    c->o = *o;
    if (!o->quiet) {
        term_progress_on();
    }
    int code = session_model(&c->session, o, false);
    code = code != EXIT_OK ? code : session_sampling(&c->session, &c->o);
    code = code != EXIT_OK ? code : session_engine(&c->session, &c->o, 0);
    code = code != EXIT_OK ? code : chat(c);
    talk_close(&c->talk);
    session_close(&c->session);
    free(c);
    return code;
}
