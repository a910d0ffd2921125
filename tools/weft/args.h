/* A table-driven argument parser with llama.cpp's spelling: names of any length behind one or two
 * dashes, matched exactly. One table fills a struct, prints the help and makes the manual page.
 * Never prints, never exits. */
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
    ARG_CUSTOM, /* `parse` stores it */
    /* Another program's option that means nothing here: taken with its value (none if `value` is
     * NULL; one of `choices` if that follows), and left out of the help. `parse`, if not NULL,
     * looks at the value, "" if there is none. */
    ARG_TAKEN
};

/* Numbers: 4, 1,2,4, 1-4 (each), 0-4096+512 (in steps), 1-64*2 (each twice the one before). An
 * option given again adds to its list. */
enum { ARG_LIST_MAX = 64 };
struct arg_list {
    int64_t at[ARG_LIST_MAX];
    size_t n;
    bool given; /* false: these are the defaults */
};

struct arg_error {
    char text[384];
};

struct arg_option {
    const char *names[4];  /* "-n", "--predict"; unused ones NULL; names[0] NULL ends a table */
    enum arg_kind kind;    /* what the value is */
    unsigned commands;     /* bit mask of the sub-commands that know this option */
    size_t offset;         /* of the field in the struct that args_parse() fills */
    const char *value;     /* what the help calls the value; NULL for a flag */
    const char *help;      /* one line */
    const char *otherwise; /* the default in words; NULL: the number in the defaults, or none */
    double min, max;       /* ARG_INT, ARG_FLOAT, ARG_LIST: the range */
    bool above_min;        /* the range excludes min */
    const char *choices;   /* ARG_CHOICE: "auto|cpu"; ARG_CUSTOM: values that a shell offers */
    /* of an unsigned in that struct, and the bit of it that says that the option was given; 0 =
     * none */
    size_t given;
    unsigned given_bit;
    bool (*parse)(void *fields, const char *value, struct arg_error *err);
};

enum { ARGS_HELP = -1, ARGS_BAD = -2 };

/* Reads argv[0..argc) for `command` (one bit). Positional arguments are moved to the front of argv
 * and counted in the return value; "-" is one, and all that follows "--". ARGS_HELP: -h or --help
 * was met. ARGS_BAD: *err says why. */
int args_parse(const struct arg_option *table, unsigned command, int argc, char **argv,
               void *fields, struct arg_error *err);

/* The option of `command` called `name` (with its dashes), or NULL. */
const struct arg_option *args_find(const struct arg_option *table, unsigned command,
                                   const char *name);
/* Checks and stores one value. `name` is for the message. */
bool args_set(const struct arg_option *o, const char *name, const char *value, void *fields,
              struct arg_error *err);

/* Whole text to number; false for anything around it, overflow, or (floats) not finite. */
bool args_int(const char *text, int64_t *out);
bool args_float(const char *text, double *out);

/* The words of n that is nearest to `word` by editing distance, or NULL if none is near. */
const char *args_nearest(const char *word, const char *const *words, size_t n);

/* The default as the help shows it, from `defaults` (a filled struct); "" if there is none to show.
 */
void args_default(const struct arg_option *o, const void *defaults, char *dst, size_t cap);

#endif
