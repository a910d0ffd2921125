/* Names for hostile files: their FNV-1a hashes, which have no seed, are all of one kind. Tables
 * that use such a hash walk through all of them for each. */
#ifndef TESTS_COLLIDING_H
#define TESTS_COLLIDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COLLIDING_LETTERS = 6 };
struct colliding_name {
    char text[COLLIDING_LETTERS + 1];
};

/* The first n names whose hash `hits`, for the caller to free(). Ends the test if there are fewer.
 */
struct colliding_name *colliding_names(size_t n, bool (*hits)(uint64_t hash));

#endif
