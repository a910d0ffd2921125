/* The SHA-256 of a model, so that two results can be known to be of the same file. */
#ifndef CHECKSUM_H
#define CHECKSUM_H

enum { CHECKSUM_CAP = 65 };

/* Of all parts of the model at `path`, one after the other, in hexadecimal. Returns an EXIT_ code,
 * having said what is wrong. */
int checksum_model(const char *path, char dst[CHECKSUM_CAP]);

#endif
