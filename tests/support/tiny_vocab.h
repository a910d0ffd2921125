/* Small vocabularies for tests, written as GGUF files. Every field of the file is a field here, for
 * tests to change. */
#ifndef TESTS_TINY_VOCAB_H
#define TESTS_TINY_VOCAB_H

#include "synth/writer.h"
#include "text/tokenizer.h"

struct entry {
    const char *text;
    int32_t type;
    float score;
};

struct spec {
    const char *model, *pre, *name;
    /* The entries behind the bytes. The list ends with an entry whose text is NULL. */
    const struct entry *entries;
    const char *const *merges; /* ends with NULL */
    bool no_bytes;
    int64_t bos, eos, unknown; /* -1: the file has no such key */
    int add_bos;               /* -1: the file has no such key */
    bool add_eos;              /* the key is written, with true */
    /* The key tokenizer.ggml.ROLE_token_id is written, with FIRST_BPE; NULL: it is not. */
    const char *role;
};

enum { FIRST_SPM = 3 + 256, FIRST_BPE = 256 }; /* id of the first entry */

/* The two vocabularies most tests begin with, and the ids of their entries. */
extern const struct spec spm_spec, bpe_spec;
enum { A = FIRST_SPM, B, C, AB, BC, SP, SP_A, AA, AAAA, USER, TOOL, TOO };
enum { B_AB = FIRST_BPE, B_BC, B_ABC, B_SP_A, B_AA, B_AAAA, B_CAB, B_END, B_TOOL, B_UNK };

void write_spec(struct gguf_writer *w, const struct spec *s);
/* Opens the tokenizer that has been written and frees the writer. Needs the scratch directory. */
weft_status open_written(struct gguf_writer *w, struct tokenizer **t, weft_error *err);
weft_status try_spec(const struct spec *s, struct tokenizer **t, weft_error *err);
/* These end the test if they fail. */
struct tokenizer *open_spec(const struct spec *s);
struct tokenizer *open_file(const char *path);

void encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
            struct tokens *out);
/* Expect the ids of a text, and the text of ids; lists of ids end with -1. */
void expect_ids(const struct tokenizer *t, const char *text, unsigned flags, const int32_t *want);
void expect_text(const struct tokenizer *t, const int32_t *ids, unsigned flags, const char *want);
#define IDS(...) ((const int32_t[]){ __VA_ARGS__, -1 })
#define NO_IDS ((const int32_t[]){ -1 })

#endif
