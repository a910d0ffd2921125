#include "run/saved.h"

#include <inttypes.h>

#include "backend.h"
#include "base/hash.h"
#include "base/mem.h"
#include "format/kv_type.h"

enum { VERSION = 1, CHECKSUM = 8 };

/* The types of K and V. A file gives the index in this table, plus 1. */
static const weft_kv_type kv_types[][2] = { { WEFT_KV_F16, WEFT_KV_F16 },
                                            { WEFT_KV_Q8_0, WEFT_KV_F16 },
                                            { WEFT_KV_F16, WEFT_KV_Q8_0 },
                                            { WEFT_KV_Q8_0, WEFT_KV_Q8_0 } };
enum { N_KV_TYPES = sizeof kv_types / sizeof kv_types[0] };

static uint32_t number_of(const weft_kv_type type[2])
{
    uint32_t i = 0;
    while (kv_types[i][0] != type[0] || kv_types[i][1] != type[1]) {
        i++;
    }
    return i + 1;
}

static const char magic[8] = "WEFTSEQ";

/* ---------------------------------------------------------------- numbers */

static uint8_t *put32(uint8_t *at, uint32_t v)
{
    for (size_t i = 0; i < 4; i++) {
        at[i] = (uint8_t)(v >> 8 * i);
    }
    return at + 4;
}

static uint8_t *put64(uint8_t *at, uint64_t v)
{
    return put32(put32(at, (uint32_t)v), (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t **at)
{
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        v |= (uint32_t) * (*at)++ << 8 * i;
    }
    return v;
}

static uint64_t get64(const uint8_t **at)
{
    uint64_t low = get32(at);
    return low | (uint64_t)get32(at) << 32;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* ---------------------------------------------------------------- writing */

/* Returns SAVED_ROPE_FACTORS for a text of n tokens. */
static uint32_t factors_for(const struct model *m, size_t n)
{
    return m->rope_border != SIZE_MAX ? 1u + model_rope_set(m, n) : 0;
}

bool saved_rope_fits(const struct saved *s, const struct model *m)
{
    return s->fields[SAVED_ROPE_FACTORS] == factors_for(m, s->n_tokens);
}

struct saved saved_of(const struct model *m, uint64_t fingerprint, size_t n_tokens,
                      const weft_kv_type kv_type[2])
{
    const struct config *c = &m->config;
    return (struct saved){
        .n_tokens = n_tokens,
        .fingerprint = fingerprint,
        .kv_type = { kv_type[0], kv_type[1] },
        .fields = { [SAVED_LAYERS] = (uint32_t)c->n_layers,
                    [SAVED_KV_HEADS] = (uint32_t)c->n_kv_heads,
                    [SAVED_HEAD_DIM] = (uint32_t)c->head_dim,
                    [SAVED_VOCAB] = (uint32_t)c->n_vocab,
                    [SAVED_ROT] = (uint32_t)c->n_rot,
                    [SAVED_ROPE_BASE] = bits_of(c->rope_base),
                    [SAVED_ROPE_SCALE] = bits_of(c->rope_scale),
                    [SAVED_ROPE_ATTN_FACTOR] = bits_of(c->rope_attn_factor),
                    [SAVED_ROPE_FACTORS] = factors_for(m, n_tokens) },
    };
}

bool saved_layout(const struct saved *s, struct saved_layout *out)
{
    size_t tokens, kv;
    out->tokens = SAVED_HEAD;
    out->position_bytes = kv_type_bytes(s->kv_type[0], s->fields[SAVED_HEAD_DIM]) +
                          kv_type_bytes(s->kv_type[1], s->fields[SAVED_HEAD_DIM]);
    return mul_ok(out->position_bytes, s->fields[SAVED_LAYERS], &out->position_bytes) &&
           mul_ok(out->position_bytes, s->fields[SAVED_KV_HEADS], &out->position_bytes) &&
           mul_ok(s->n_tokens, sizeof(int32_t), &tokens) &&
           mul_ok(s->n_computed, out->position_bytes, &kv) &&
           add_ok(out->tokens, tokens, &out->kv) && add_ok(out->kv, kv, &out->checksum) &&
           add_ok(out->checksum, CHECKSUM, &out->n);
}

void saved_begin(const struct saved *s, uint8_t *dst)
{
    memcpy(dst, magic, sizeof magic);
    uint8_t *at = put32(put32(dst + sizeof magic, VERSION), number_of(s->kv_type));
    at = put64(at, s->fingerprint);
    for (size_t i = 0; i < SAVED_N_FIELDS; i++) {
        at = put32(at, s->fields[i]);
    }
    put64(put64(put32(at, KV_PAGE), s->n_tokens), s->n_computed);
}

void saved_seal(const struct saved_layout *l, uint8_t *dst)
{
    put64(dst + l->checksum, hash64(HASH64_START, dst, l->checksum));
}

/* ---------------------------------------------------------------- reading */

static weft_status was_cut(const struct saved *s, size_t n, size_t expected, weft_error *err)
{
    return error_set(err, WEFT_E_FORMAT,
                     "the saved state was cut: it has %zu bytes, expected %zu for its %zu tokens; "
                     "save it again",
                     n, expected, s->n_tokens);
}

static weft_status contradicts(const struct saved *s, size_t n, weft_error *err)
{
    return error_set(err, WEFT_E_FORMAT,
                     "the saved state contradicts itself: %zu bytes for %zu tokens, %zu of them "
                     "computed",
                     n, s->n_tokens, s->n_computed);
}

static weft_status unsupported(const char *what, uint32_t found, uint32_t expected, weft_error *err)
{
    return error_set(err, WEFT_E_UNSUPPORTED,
                     "the saved state has %s %" PRIu32 ", expected %" PRIu32
                     "; another version of Weft wrote it",
                     what, found, expected);
}

weft_status saved_head(const uint8_t *head, size_t n, struct saved *s, struct saved_layout *l,
                       weft_error *err)
{
    if (n < sizeof magic || memcmp(head, magic, sizeof magic) != 0) {
        return error_set(err, WEFT_E_FORMAT,
                         "this is no saved state: its %zu bytes do not begin with '%s'", n, magic);
    }
    if (n < SAVED_HEAD + CHECKSUM) {
        return error_set(err, WEFT_E_FORMAT,
                         "the saved state was cut: it has %zu bytes, expected at least %d", n,
                         SAVED_HEAD + CHECKSUM);
    }
    const uint8_t *at = head + sizeof magic;
    uint32_t version = get32(&at), type = get32(&at);
    if (version != VERSION) {
        return unsupported("version", version, VERSION, err);
    }
    if (type < 1 || type > N_KV_TYPES) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the saved state has K and V of type %" PRIu32
                         ", expected 1 to %d; another version of Weft wrote it",
                         type, N_KV_TYPES);
    }
    memcpy(s->kv_type, kv_types[type - 1], sizeof s->kv_type);
    s->fingerprint = get64(&at);
    for (size_t i = 0; i < SAVED_N_FIELDS; i++) {
        s->fields[i] = get32(&at);
    }
    uint32_t page = get32(&at);
    if (page != KV_PAGE) {
        return unsupported("a page size of", page, KV_PAGE, err);
    }
    s->n_tokens = get64(&at);
    s->n_computed = get64(&at);
    if (!saved_layout(s, l) || s->n_computed > s->n_tokens || l->n < n) {
        return contradicts(s, n, err);
    }
    return l->n > n ? was_cut(s, n, l->n, err) : WEFT_OK;
}

weft_status saved_intact(const uint8_t *data, const struct saved_layout *l, weft_error *err)
{
    const uint8_t *sum = data + l->checksum;
    if (get64(&sum) != hash64(HASH64_START, data, l->checksum)) {
        return error_set(err, WEFT_E_FORMAT,
                         "the saved state is damaged: the checksum does not fit its %zu bytes; "
                         "save it again",
                         l->n);
    }
    return WEFT_OK;
}

/* Returns true if both have the same RoPE. Which of two sets of factors was used does not matter.
 */
static bool same_rope(const struct saved *found, const struct saved *expected)
{
    for (size_t i = SAVED_ROPE_BASE; i < SAVED_ROPE_FACTORS; i++) {
        if (found->fields[i] != expected->fields[i]) {
            return false;
        }
    }
    const uint32_t factors = found->fields[SAVED_ROPE_FACTORS];
    return expected->fields[SAVED_ROPE_FACTORS] == 0 ? factors == 0 : factors == 1 || factors == 2;
}

static weft_status other_types(const struct saved *found, const struct saved *expected,
                               weft_error *err)
{
    const char *k = kv_type_name(found->kv_type[0]), *v = kv_type_name(found->kv_type[1]);
    return error_set(err, WEFT_E_ENGINE,
                     "the saved state has K in %s and V in %s, and this engine keeps K in %s and V "
                     "in %s; open the engine with type_k %s and type_v %s",
                     k, v, kv_type_name(expected->kv_type[0]), kv_type_name(expected->kv_type[1]),
                     k, v);
}

weft_status saved_check(const struct saved *found, const struct saved *expected, weft_error *err)
{
    static const char *const names[SAVED_ROPE_FACTORS] = {
        [SAVED_LAYERS] = "layers",          [SAVED_KV_HEADS] = "KV heads",
        [SAVED_HEAD_DIM] = "values a head", [SAVED_VOCAB] = "entries in the vocabulary",
        [SAVED_ROT] = "rotated dimensions",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names && names[i] != NULL; i++) {
        if (found->fields[i] != expected->fields[i]) {
            return error_set(err, WEFT_E_ARG,
                             "the saved state is of another model: of %" PRIu32
                             " %s, and this one has %" PRIu32,
                             found->fields[i], names[i], expected->fields[i]);
        }
    }
    if (found->fingerprint != expected->fingerprint) {
        return error_set(err, WEFT_E_ARG,
                         "the saved state is of another model: its fingerprint is %016" PRIx64
                         ", and this one's %016" PRIx64,
                         found->fingerprint, expected->fingerprint);
    }
    if (found->kv_type[0] != expected->kv_type[0] || found->kv_type[1] != expected->kv_type[1]) {
        return other_types(found, expected, err);
    }
    return same_rope(found, expected)
               ? WEFT_OK
               : error_set(err, WEFT_E_ARG,
                           "the saved state was computed with other settings of RoPE than this "
                           "model's; compute its text again");
}
