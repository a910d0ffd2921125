/* A table-driven argument parser with llama.cpp's spelling: names of any length behind one or two
 * dashes, matched exactly. One table fills a struct, prints the help and makes the manual page. The
 * parser never prints and never exits. */
#ifndef WEFT_ARGS_H
#define WEFT_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_FLAG,   /* no value; sets a bool */
    ARG_INT,    /* int64_t */
    ARG_FLOAT,  /* double */
    ARG_STRING, /* const char *, pointing into argv */
    ARG_CHOICE, /* size_t, an index into `choices` */
    ARG_LIST,   /* struct arg_list */
    /* `parse` stores the value. */
    ARG_CUSTOM,
    /* An option of another program that means nothing here. It is accepted with its value (it has
     * none if `value` is NULL; with `choices`, a value follows only if it is one of them) and left
     * out of the help. If `parse` is not NULL, it looks at the value, "" if there is none. */
    ARG_TAKEN
};

/* A list of numbers: 4, or 1,2,4, or 1-4 (each), or 0-4096+512 (in steps), or 1-64*2 (each twice
 * the one before). An option that is given again adds to its list. */
enum { ARG_LIST_MAX = 64 };
struct arg_list {
    int64_t at[ARG_LIST_MAX];
    size_t n;
    bool given; /* false = these are the defaults */
};

struct arg_error {
    char text[384];
};

struct arg_option {
    /* "-n", "--predict"; unused names are NULL. A row with names[0] NULL ends the table. */
    const char *names[4];
    enum arg_kind kind;
    /* The sub-commands that know this option, as a bit mask. */
    unsigned commands;
    /* Offset of the field in the struct that args_parse() fills. */
    size_t offset;
    /* How the help names the value; NULL for a flag. */
    const char *value;
    const char *help; /* one line */
    /* The default in words. NULL = the help shows the number in the defaults, or nothing. */
    const char *otherwise;
    /* The range of ARG_INT, ARG_FLOAT and ARG_LIST. */
    double min, max;
    bool above_min; /* the range excludes min */
    /* ARG_CHOICE: "auto|cpu"; ARG_CUSTOM: values that a shell offers. */
    const char *choices;
    /* Offset of an unsigned in that struct, and the bit of it that is set when the option was
     * given; 0 = none. */
    size_t given;
    unsigned given_bit;
    bool (*parse)(void *fields, const char *value, struct arg_error *err);
};

enum { ARGS_HELP = -1, ARGS_BAD = -2 };

/* Reads argv[0..argc) for `command` (one bit). Positional arguments are moved to the front of argv,
 * and the result is their number; "-" is positional, and so is everything that follows "--".
 * ARGS_HELP: -h or --help was given. ARGS_BAD: *err says why. */
int args_parse(const struct arg_option *table, unsigned command, int argc, char **argv,
               void *fields, struct arg_error *err);

/* Returns the option of `command` called `name` (with its dashes), or NULL. */
const struct arg_option *args_find(const struct arg_option *table, unsigned command,
                                   const char *name);
/* Checks and stores one value. The message uses `name`. */
bool args_set(const struct arg_option *o, const char *name, const char *value, void *fields,
              struct arg_error *err);

/* Fills *err with the message; returns false. */
__attribute__((format(printf, 2, 3))) bool args_refuse(struct arg_error *err, const char *fmt, ...);
/* Turn a whole text into a number. They return false if the text has anything else in it, if the
 * number overflows, or if a float is not finite. */
bool args_int(const char *text, int64_t *out);
bool args_float(const char *text, double *out);

/* Returns the one of n words that is nearest to `word` by editing distance, or NULL if none is
 * near. */
const char *args_nearest(const char *word, const char *const *words, size_t n);

/* Writes the default as the help shows it. `defaults` is a filled struct; the text is "" if there
 * is nothing to show. */
void args_default(const struct arg_option *o, const void *defaults, char *dst, size_t cap);

#endif
