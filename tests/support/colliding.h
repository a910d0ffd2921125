/* Names for hostile files. Their FNV-1a hashes, which have no seed, collide in a table: to find one
 * of the names, such a table walks through all of them. */
#ifndef TESTS_COLLIDING_H
#define TESTS_COLLIDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COLLIDING_LETTERS = 6 };
struct colliding_name {
    char text[COLLIDING_LETTERS + 1];
};

/* Returns the first n names whose hash `hits`; the caller frees them. Ends the test if there are
 * fewer. */
struct colliding_name *colliding_names(size_t n, bool (*hits)(uint64_t hash));

#endif
