/* weft help, weft version and the manual page. All of this is made from the command table and the
 * option table. completion.c makes the completions for shells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/io.h"

enum { WIDTH = 80, INDENT = 32 };

static const char exit_codes[] =
    "0 success, 1 run-time error, 2 wrong usage, 3 model refused, 4 out of memory, "
    "5 the grammar came to a dead end, 130 interrupted";

/* Prints the words of text[n] in lines of WIDTH columns. The first line begins at column `at`, the
 * other lines at `indent`. */
static void wrap(const char *text, size_t n, size_t at, size_t indent)
{
    size_t column = at;
    while (n > 0) {
        size_t word = 0;
        while (word < n && text[word] != ' ') {
            word++;
        }
        if (column > indent && column + 1 + word > WIDTH) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, word, stdout);
        column += word;
        word += word < n;
        text += word;
        n -= word;
    }
    putchar('\n');
}

/* Writes "-n, --predict, --n-predict N". */
static int option_names(const struct arg_option *o, char *dst, size_t cap)
{
    int n = 0;
    for (size_t i = 0; i < 4 && o->names[i] != NULL; i++) {
        n += snprintf(dst + n, cap - (size_t)n, "%s%s", i > 0 ? ", " : "", o->names[i]);
    }
    if (o->value != NULL) {
        n += snprintf(dst + n, cap - (size_t)n, " %s", o->value);
    }
    return n;
}

/* Writes "most tokens computed in one step (default: 512)". */
static void option_text(const struct arg_option *o, const struct options *defaults, char *dst,
                        size_t cap)
{
    char value[80];
    args_default(o, defaults, value, sizeof value);
    if (value[0] != '\0') {
        snprintf(dst, cap, "%s (default: %s)", o->help, value);
    } else {
        snprintf(dst, cap, "%s", o->help);
    }
}

static void print_option(const struct arg_option *o, const struct options *defaults)
{
    char names[128], text[256];
    int n = printf("  ") + option_names(o, names, sizeof names);
    option_text(o, defaults, text, sizeof text);
    fputs(names, stdout);
    if (n + 2 > INDENT) {
        printf("\n%*s", INDENT, "");
    } else {
        printf("%*s", INDENT - n, "");
    }
    wrap(text, strlen(text), INDENT, INDENT);
}

static void print_paragraphs(const char *text)
{
    for (;;) {
        const char *end = strstr(text, "\n\n");
        wrap(text, end != NULL ? (size_t)(end - text) : strlen(text), 0, 0);
        putchar('\n');
        if (end == NULL) {
            return;
        }
        text = end + 2;
    }
}

static void print_lines(const char *before, const char *text)
{
    while (text != NULL && *text != '\0') {
        int n = (int)strcspn(text, "\n");
        printf("%s%.*s\n", before, n, text);
        text += n + (text[n] == '\n');
    }
}

int help_command(const struct command *c)
{
    struct options *defaults = malloc(sizeof *defaults);
    if (defaults == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the help");
    }
    options_init(defaults);
    printf("weft %s: %s\n\nusage: weft %s %s\n\n", c->name, c->summary, c->name, c->usage);
    print_paragraphs(c->description);
    printf("options:\n");
    for (const struct arg_option *o = option_table; o->names[0] != NULL; o++) {
        if ((o->commands & c->bit) && o->kind != ARG_TAKEN) {
            print_option(o, defaults);
        }
    }
    printf("  %-*s%s\n", INDENT - 2, "-h, --help", "this help");
    if (c->examples != NULL) {
        printf("\nexamples:\n");
        print_lines("  ", c->examples);
    }
    printf("\nexit codes: ");
    wrap(exit_codes, strlen(exit_codes), 12, 12);
    free(defaults);
    return io_flush();
}

void help_overview(FILE *to)
{
    fprintf(to, "weft %s: runs GGUF language models\n\nusage: weft COMMAND [OPTION...]\n\n",
            weft_version());
    for (const struct command *c = command_table; c->name != NULL; c++) {
        fprintf(to, "  %-12s%s\n", c->name, c->summary);
    }
    fprintf(to, "\nweft help COMMAND lists the options of a command.\n");
}

/* Prints text for roff: backslashes and hyphens are escaped, and no line begins like a request. */
static void roff(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || text[i - 1] == '\n';
        if (first && (text[i] == '.' || text[i] == '\'')) {
            fputs("\\&", stdout);
        }
        if (text[i] == '\\') {
            fputs("\\e", stdout);
        } else if (text[i] == '-') {
            fputs("\\-", stdout);
        } else if (text[i] == '\'') {
            fputs("\\(aq", stdout);
        } else if (text[i] == '\n' && i + 1 < n && text[i + 1] == '\n') {
            fputs("\n.PP", stdout);
        } else {
            putchar(text[i]);
        }
    }
}

static void roff_line(const char *request, const char *text)
{
    fputs(request, stdout);
    roff(text, strlen(text));
    putchar('\n');
}

static void man_command(const struct command *c, const struct options *defaults)
{
    char text[256];
    printf(".SH WEFT %s\n.B weft ", c->name);
    roff_line("", c->name);
    roff_line("", c->usage);
    roff_line(".PP\n", c->description);
    for (const struct arg_option *o = option_table; o->names[0] != NULL; o++) {
        if ((o->commands & c->bit) && o->kind != ARG_TAKEN) {
            option_names(o, text, sizeof text);
            roff_line(".TP\n.B ", text);
            option_text(o, defaults, text, sizeof text);
            roff_line("", text);
        }
    }
    if (c->examples != NULL) {
        printf(".PP\nExamples:\n.PP\n.nf\n");
        roff_line("", c->examples);
        printf(".fi\n");
    }
}

static int print_man(void)
{
    struct options *defaults = malloc(sizeof *defaults);
    if (defaults == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the manual page");
    }
    options_init(defaults);
    printf(".TH WEFT 1 \"\" \"weft %s\" \"User Commands\"\n", weft_version());
    printf(".SH NAME\nweft \\- run GGUF language models\n");
    printf(".SH SYNOPSIS\n.B weft\n.I COMMAND\n.RI [ OPTION ...]\n");
    printf(".SH DESCRIPTION\n");
    roff_line("",
              "Weft runs language models in GGUF files. It has one sub-command per job. Options "
              "are matched "
              "exactly; a long one takes its value as the next argument or behind an equals sign.");
    for (const struct command *c = command_table; c->name != NULL; c++) {
        man_command(c, defaults);
    }
    printf(".SH EXIT STATUS\n");
    roff_line("", exit_codes);
    printf(".SH FILES\n.TP\n.I ~/.weft_history\n");
    roff_line(
        "", "what was typed in weft chat; readable by its owner only. --no-history does without.");
    free(defaults);
    return io_flush();
}

int cmd_help(const struct options *o, int n_args, char **args)
{
    if (o->completion != NULL) {
        return n_args == 0 && !o->man
                   ? print_completion(o->completion)
                   : term_usage("help", "--completion takes neither a command nor --man");
    }
    if (o->man) {
        return n_args == 0 ? print_man() : term_usage("help", "--man takes no command");
    }
    if (n_args == 0) {
        help_overview(stdout);
        return io_flush();
    }
    if (n_args > 1) {
        return term_usage("help", "takes one command");
    }
    const struct command *c = command_find(args[0]);
    return c != NULL ? help_command(c) : command_unknown(args[0]);
}

int cmd_version(const struct options *o, int n_args, char **args)
{
    (void)o;
    (void)n_args;
    (void)args;
    printf("weft %s\n", weft_version());
    return io_flush();
}
