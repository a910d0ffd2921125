#include "support/level.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SAID = 32 };

/* The lines that were printed. Tests with threads ask before they start any. */
static const char *said[MAX_SAID];
static int n_said;

static void say_once(const char *left)
{
    for (int i = 0; i < n_said; i++) {
        if (strcmp(said[i], left) == 0) {
            return;
        }
    }
    if (n_said < MAX_SAID) {
        said[n_said++] = left;
    }
    printf("left: %s\n", left);
}

bool level_all(const char *left)
{
    const char *level = getenv("WEFT_TEST_LEVEL");
    if (level == NULL || *level == '\0' || strcmp(level, "all") == 0) {
        return true;
    }
    if (strcmp(level, "thin") != 0) {
        fprintf(stderr, "WEFT_TEST_LEVEL is '%s', expected thin or all\n", level);
        exit(2);
    }
    say_once(left);
    return false;
}
