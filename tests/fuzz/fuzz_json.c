/* Any bytes as JSON. The reader and jansson's parser accept the same texts and give the same
 * values; a text that is refused is refused with a place and with words. What was read, and
 * written again, is read again. The text's size bounds the time and the memory. */
#include <jansson.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "fuzz.h"

/* Both read such depths. */
enum { MOST = 1000 };

static void must_be_refused(const struct json_fault *f)
{
    MUST(f->kind != JSON_FAULT_MEMORY && f->line > 0 && f->column > 0 && f->text[0] != '\0');
    for (const char *c = f->text; *c != '\0'; c++) {
        MUST((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void read_again(const json_t *value)
{
    struct json_fault f;
    char *text = json_text(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    MUST(text != NULL);
    json_t *again = json_parse(text, strlen(text), MOST, JSON_READ_NUL, &f);
    MUST(again != NULL && json_equal(again, value));
    json_decref(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct json_fault f = { .kind = JSON_FAULT_MEMORY };
    const unsigned flags = fuzz_byte(&in) % 4;
    size_t n;
    char *text = fuzz_text(&in, &n);
    struct fuzz_cost cost = fuzz_begin();
    json_t *mine = json_parse(text, n, MOST, flags, &f);
    fuzz_end(cost, n);
    if (mine == NULL) {
        must_be_refused(&f);
    }
    if (mine != NULL || f.kind != JSON_FAULT_DEPTH) {
        json_t *other =
            json_loadb(text, n,
                       JSON_DECODE_ANY | ((flags & JSON_READ_NUL) != 0 ? JSON_ALLOW_NUL : 0) |
                           ((flags & JSON_READ_ONCE) != 0 ? JSON_REJECT_DUPLICATES : 0),
                       NULL);
        MUST(mine != NULL ? json_equal(mine, other) : other == NULL);
        json_decref(other);
    }
    if (mine != NULL) {
        read_again(mine);
    }
    json_decref(mine);
    free(text);
    return 0;
}
