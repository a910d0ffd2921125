/* Prints what bash and zsh complete behind `weft`: commands, their options, and the values of
 * options. This is made from the command table and the option table, as the help is, so that no
 * option can be missing. */
#include <stdio.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/io.h"

/* What a shell offers for a value. */
enum offer { OFFER_NOTHING, OFFER_WORDS, OFFER_FILES, OFFER_MODELS };

static enum offer offer_of(const struct arg_option *o)
{
    if (o->choices != NULL || o->offset == offsetof(struct options, chat_template)) {
        return OFFER_WORDS;
    }
    if (o->value == NULL || strcmp(o->value, "FILE") != 0) {
        return OFFER_NOTHING;
    }
    return strcmp(o->names[0], "-m") == 0 ? OFFER_MODELS : OFFER_FILES;
}

/* Prints the words of an option with OFFER_WORDS, with a space between them. */
static void print_words(const struct arg_option *o)
{
    for (const char *c = o->choices; c != NULL && *c != '\0'; c++) {
        putchar(*c == '|' ? ' ' : *c);
    }
    for (size_t i = 0; o->choices == NULL && weft_chat_template_name(i) != NULL; i++) {
        printf("%s%s", i > 0 ? " " : "", weft_chat_template_name(i));
    }
}

static void print_commands(void)
{
    for (const struct command *c = command_table; c->name != NULL; c++) {
        printf("%s%s", c != command_table ? " " : "", c->name);
    }
}

/* Returns true if the positional arguments of a command name a model. */
static bool takes_model(const struct command *c)
{
    return c->positional && strncmp(c->usage, "FILE", 4) == 0;
}

/* Returns true if the option takes a value, so that the next word is not an option. */
static bool takes_value(const struct arg_option *o, const struct command *c)
{
    return (o->commands & c->bit) != 0 && o->value != NULL;
}

static bool is_shown(const struct arg_option *o, const struct command *c)
{
    return (o->commands & c->bit) != 0 && o->kind != ARG_TAKEN;
}

/* --- bash --- */

/* If this is left to Readline ("default"), it completes the names of files itself, with all the
 * quoting that they need. Models are offered first, and other files if there are no models. */
static const char bash_begin[] =
    "# Completion of weft for bash, made by `weft help --completion bash`.\n"
    "\n"
    "_weft_files() { COMPREPLY=(); compopt -o default 2>/dev/null; }\n"
    "\n"
    "_weft_models()\n"
    "{\n"
    "    local name=${cur#[\\\"\\']}\n"
    "    mapfile -t COMPREPLY < <(compgen -f -X '!*.gguf' -- \"$name\"; compgen -d -- \"$name\")\n"
    "    if [[ ${#COMPREPLY[@]} -gt 0 ]]; then compopt -o filenames 2>/dev/null; else _weft_files; "
    "fi\n"
    "}\n"
    "\n"
    "_weft_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n"
    "\n"
    "_weft()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} options=\n"
    "    COMPREPLY=()\n"
    "    # readline divides --option=value into three words\n"
    "    if [[ $cur == '=' ]]; then\n"
    "        cur=\n"
    "    elif [[ $prev == '=' && COMP_CWORD -gt 2 ]]; then\n"
    "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    fi\n";

static void bash_names(const struct arg_option *o, const char *between)
{
    for (size_t i = 0; i < 4 && o->names[i] != NULL; i++) {
        printf("%s%s", i > 0 ? between : "", o->names[i]);
    }
}

static void bash_value(const struct arg_option *o)
{
    printf("        ");
    bash_names(o, " | ");
    switch (offer_of(o)) {
    case OFFER_NOTHING: printf(") return ;;\n"); break;
    case OFFER_FILES: printf(") _weft_files; return ;;\n"); break;
    case OFFER_MODELS: printf(") _weft_models; return ;;\n"); break;
    case OFFER_WORDS:
        printf(") _weft_words '");
        print_words(o);
        printf("'; return ;;\n");
        break;
    }
}

static void bash_command(const struct command *c)
{
    printf("    %s)\n        options='", c->name);
    for (const struct arg_option *o = option_table; o->names[0] != NULL; o++) {
        if (is_shown(o, c)) {
            bash_names(o, " ");
            putchar(' ');
        }
    }
    printf("-h --help'\n        case $prev in\n");
    for (const struct arg_option *o = option_table; o->names[0] != NULL; o++) {
        if (takes_value(o, c)) {
            bash_value(o);
        }
    }
    printf("        esac\n");
    if (takes_model(c)) {
        printf("        [[ $cur == -* ]] || { _weft_models; return; }\n");
    } else if (c->bit == CMD_HELP) {
        printf("        [[ $cur == -* ]] || options='");
        print_commands();
        printf("'\n");
    }
    printf("        ;;\n");
}

static void print_bash(void)
{
    fputs(bash_begin, stdout);
    printf("    if [[ COMP_CWORD -eq 1 ]]; then\n        _weft_words '");
    print_commands();
    printf(" --help --version'\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (const struct command *c = command_table; c->name != NULL; c++) {
        bash_command(c);
    }
    printf("    esac\n    _weft_words \"$options\"\n}\n\ncomplete -F _weft weft\n");
}

/* --- zsh --- */

static const char zsh_begin[] =
    "#compdef weft\n"
    "# Completion of weft for zsh, made by `weft help --completion zsh`.\n"
    "\n"
    "_weft()\n"
    "{\n"
    "    local curcontext=$curcontext\n"
    "    if (( CURRENT == 2 )); then\n"
    "        local -a commands=(\n";

/* zsh reads the file from a folder of functions as the body of _weft; it may also be sourced. */
static const char zsh_end[] = "    esac\n"
                              "}\n"
                              "\n"
                              "if [[ $funcstack[1] == _weft ]]; then\n"
                              "    _weft \"$@\"\n"
                              "else\n"
                              "    compdef _weft weft\n"
                              "fi\n";

/* Prints text inside '...', with a backslash before characters that end a description in
 * _arguments. */
static void zsh_text(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'') {
            fputs("'\\''", stdout);
        } else {
            if (strchr("[]:\\", *c) != NULL) {
                putchar('\\');
            }
            putchar(*c);
        }
    }
}

static void zsh_offer(const struct arg_option *o)
{
    putchar(':');
    zsh_text(o->value);
    switch (offer_of(o)) {
    case OFFER_NOTHING: printf(": "); break;
    case OFFER_FILES: printf(":_files"); break;
    case OFFER_MODELS: printf(":_files -g \"*.gguf\""); break;
    case OFFER_WORDS:
        printf(":(");
        print_words(o);
        putchar(')');
        break;
    }
}

/* Prints a line for each name. If one name is given, the others are no longer offered, unless the
 * option can be repeated. */
static void zsh_option(const struct arg_option *o)
{
    bool again = o->kind == ARG_LIST || (o->kind == ARG_CUSTOM && o->choices == NULL);
    for (size_t i = 0; i < 4 && o->names[i] != NULL; i++) {
        bool is_long = strncmp(o->names[i], "--", 2) == 0;
        printf(" \\\n            '");
        if (again) {
            putchar('*');
        } else {
            putchar('(');
            bash_names(o, " ");
            putchar(')');
        }
        printf("%s%s[", o->names[i], is_long && o->value != NULL ? "=" : "");
        zsh_text(o->help);
        putchar(']');
        if (o->value != NULL) {
            zsh_offer(o);
        }
        putchar('\'');
    }
}

static void zsh_command(const struct command *c)
{
    printf("    %s)\n        _arguments", c->name);
    for (const struct arg_option *o = option_table; o->names[0] != NULL; o++) {
        if (is_shown(o, c)) {
            zsh_option(o);
        }
    }
    printf(" \\\n            '(-)'{-h,--help}'[this help]'");
    if (takes_model(c)) {
        printf(" \\\n            '1:FILE:_files -g \"*.gguf\"'");
    } else if (c->bit == CMD_HELP) {
        printf(" \\\n            '1:COMMAND:(");
        print_commands();
        printf(")'");
    }
    printf("\n        ;;\n");
}

static void print_zsh(void)
{
    fputs(zsh_begin, stdout);
    for (const struct command *c = command_table; c->name != NULL; c++) {
        printf("            '%s:", c->name);
        zsh_text(c->summary);
        printf("'\n");
    }
    printf("        )\n        _describe command commands\n        return\n    fi\n"
           "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
           "    case $command in\n");
    for (const struct command *c = command_table; c->name != NULL; c++) {
        zsh_command(c);
    }
    fputs(zsh_end, stdout);
}

int print_completion(const char *shell)
{
    if (strcmp(shell, "zsh") == 0) {
        print_zsh();
    } else {
        print_bash();
    }
    return io_flush();
}
