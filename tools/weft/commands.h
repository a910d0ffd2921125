/* The sub-commands, one row each. main() dispatches by this table; the help and the manual page are
 * made from it. */
#ifndef WEFT_COMMANDS_H
#define WEFT_COMMANDS_H

#include <stdio.h>

#include "weft/options.h"
#include "weft/term.h"

struct command {
    const char *name;
    unsigned bit;            /* its bit in the option table */
    const char *usage;       /* the text behind the name */
    const char *summary;     /* one line */
    const char *description; /* paragraphs, separated by an empty line */
    const char *examples;    /* one per line */
    /* args are the positional arguments. Returns the exit code. */
    int (*run)(const struct options *o, int n_args, char **args);
    bool positional; /* takes positional arguments */
};

extern const struct command command_table[]; /* ends with a NULL name */
const struct command *command_find(const char *name);
/* Prints that there is no such command; returns the exit code. */
int command_unknown(const char *name);

int cmd_run(const struct options *o, int n_args, char **args);
int cmd_chat(const struct options *o, int n_args, char **args);
int cmd_tokenize(const struct options *o, int n_args, char **args);
int cmd_template(const struct options *o, int n_args, char **args);
int cmd_detokenize(const struct options *o, int n_args, char **args);
int cmd_inspect(const struct options *o, int n_args, char **args);
int cmd_doctor(const struct options *o, int n_args, char **args);
int cmd_logits(const struct options *o, int n_args, char **args);
int cmd_perplexity(const struct options *o, int n_args, char **args);
int cmd_bench(const struct options *o, int n_args, char **args);
int cmd_batch(const struct options *o, int n_args, char **args);
int cmd_embed(const struct options *o, int n_args, char **args);
int cmd_serve(const struct options *o, int n_args, char **args);
int cmd_help(const struct options *o, int n_args, char **args);
int cmd_version(const struct options *o, int n_args, char **args);

void help_overview(FILE *to);
/* Returns the exit code. */
int help_command(const struct command *c);
/* Prints a completion for "bash" or "zsh". Returns the exit code. */
int print_completion(const char *shell);

#endif
