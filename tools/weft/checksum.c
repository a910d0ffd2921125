#include "weft/checksum.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft.h"
#include "weft/term.h"

enum { BLOCK = 1 << 20 };

static int add_file(const char *path, struct sha256_ctx *sha, uint8_t *block)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        return term_fail(EXIT_RUNTIME, "%s: cannot be read: %s", path, strerror(errno));
    }
    size_t n = BLOCK;
    while (n == BLOCK && !term_interrupted()) {
        n = fread(block, 1, BLOCK, in);
        sha256_update(sha, n, block);
    }
    int code = ferror(in) ? term_fail(EXIT_RUNTIME, "%s: cannot be read: %s", path, strerror(errno))
               : term_interrupted() ? EXIT_INTERRUPTED
                                    : EXIT_OK;
    fclose(in);
    return code;
}

static int add_parts(const weft_file *file, struct sha256_ctx *sha)
{
    uint8_t *block = malloc(BLOCK);
    if (block == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for a checksum");
    }
    int code = EXIT_OK;
    for (size_t i = 0; i < weft_file_n_parts(file) && code == EXIT_OK; i++) {
        term_progress("checksum of %s", weft_file_part(file, i));
        code = add_file(weft_file_part(file, i), sha, block);
    }
    term_progress_clear();
    free(block);
    return code;
}

int checksum_model(const char *path, char dst[CHECKSUM_CAP])
{
    weft_file *file = NULL;
    weft_error err = { 0 };
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    weft_status status = weft_file_open(path, &file, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    sha256_init(&sha);
    int code = add_parts(file, &sha);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(dst + 2 * i, 3, "%02x", digest[i]);
    }
    weft_file_release(&file);
    return code;
}
