/* The SHA-256 of a model, which tells whether two results come from the same file. */
#ifndef CHECKSUM_H
#define CHECKSUM_H

enum { CHECKSUM_CAP = 65 };

/* Writes the checksum of all parts of the model at `path`, one after the other, in hexadecimal.
 * Prints errors and returns an EXIT_ code. */
int checksum_model(const char *path, char dst[CHECKSUM_CAP]);

#endif
