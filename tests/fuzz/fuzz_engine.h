/* Tiny models made for the targets, and what must hold for every engine. */
#ifndef FUZZ_ENGINE_H
#define FUZZ_ENGINE_H

#include "base/mem.h"
#include "fuzz.h"
#include "synth/synth.h"
#include "weft.h"

/* The smallest model: a prompt of two pages takes about a millisecond. */
static inline struct synth_spec fuzz_spec(void)
{
    return (struct synth_spec){ .arch = "qwen3",
                                .name = "fuzz",
                                .n_layers = 2,
                                .dim = 32,
                                .n_heads = 2,
                                .n_kv_heads = 1,
                                .n_ff = 32,
                                .head_dim = 32,
                                .n_ctx = 256,
                                .norm_eps = 1e-5f,
                                .tied = true,
                                .pre = "qwen2",
                                .n_vocab = 512,
                                .rope_base = 1e6f,
                                .type_mix = "f32",
                                .seed = 1 };
}

/* Makes the bytes of the model's file. Returns false if there is no such model. */
static inline bool fuzz_model_bytes(const struct synth_spec *spec, struct bytes *out)
{
    char directory[] = "/tmp/weft-fuzz-XXXXXX", path[64];
    weft_error err;
    static char part[1 << 16];
    MUST(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/m.gguf", directory);
    weft_status s = synth_write(spec, path, &err);
    FILE *f = s == WEFT_OK ? fopen(path, "rb") : NULL;
    for (size_t n; f != NULL && (n = fread(part, 1, sizeof part, f)) > 0;) {
        MUST(bytes_add(out, part, n));
    }
    if (f != NULL) {
        fclose(f);
    }
    unlink(path);
    rmdir(directory);
    MUST(s == WEFT_OK || s == WEFT_E_ARG);
    return s == WEFT_OK;
}

static inline weft_model *fuzz_open(const struct synth_spec *spec)
{
    char path[64];
    struct bytes file = { 0 };
    weft_model *model = NULL;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_mmap = true;
    MUST(fuzz_model_bytes(spec, &file));
    int fd = fuzz_file((const uint8_t *)file.data, file.n, path);
    MUST(weft_model_open(path, &params, &model, NULL) == WEFT_OK);
    close(fd);
    free(file.data);
    return model;
}

static inline weft_engine *fuzz_engine(weft_model *model, const weft_engine_params *params)
{
    weft_engine *engine = NULL;
    weft_engine_params p = *params;
    p.device = "cpu";
    p.n_threads = 1;
    MUST(weft_engine_open(model, &p, &engine, NULL) == WEFT_OK);
    return engine;
}

/* Checks a call that may be refused: its status must not show a bug, and a refusal must have a
 * message. */
static inline weft_status fuzz_may(weft_status s, const weft_error *err)
{
    MUST(s != WEFT_E_INTERNAL && s != WEFT_E_HANDLE && s != WEFT_E_NOMEM && s != WEFT_E_BUSY);
    MUST(s == WEFT_OK || (err->code == s && err->message[0] != '\0'));
    return s;
}

/* Steps until nothing waits, or the sequence has finished or was cancelled. */
static inline void fuzz_compute(weft_engine *engine, weft_seq *seq)
{
    enum { MAX_STEPS = 1 << 13 }; /* each step computes at least one token of some sequence */
    weft_engine_info before = { .size = sizeof before }, after = before;
    for (int i = 0; weft_seq_pending(seq) > 0 && weft_seq_finish(seq) == WEFT_RUNNING; i++) {
        MUST(i < MAX_STEPS && weft_engine_get_info(engine, &before, NULL) == WEFT_OK);
        MUST(weft_engine_step(engine, NULL, NULL) == WEFT_OK);
        MUST(weft_engine_get_info(engine, &after, NULL) == WEFT_OK);
        if (after.n_rows == before.n_rows) {
            return;
        }
    }
}

enum { FUZZ_VOCAB = 512 };

/* Computes the logits behind tokens[n] in a new sequence. Returns false if the pool has no room for
 * it. */
static inline bool fuzz_logits(weft_engine *engine, const int32_t *tokens, size_t n,
                               float logits[FUZZ_VOCAB])
{
    weft_seq *seq = NULL;
    MUST(weft_seq_open(engine, NULL, &seq, NULL) == WEFT_OK);
    weft_status s = weft_seq_append(seq, tokens, n, NULL);
    MUST(s == WEFT_OK || s == WEFT_E_KV_FULL);
    if (s == WEFT_OK) {
        fuzz_compute(engine, seq);
        MUST(weft_seq_logits(seq, logits, FUZZ_VOCAB, NULL, NULL) == WEFT_OK);
    }
    weft_seq_release(&seq);
    return s == WEFT_OK;
}

/* Checks that the text gives the same bits in both engines, one of which computes everything by
 * itself. */
static inline void fuzz_same(weft_engine *engine, weft_engine *clean, const int32_t *tokens,
                             size_t n)
{
    static float got[FUZZ_VOCAB], want[FUZZ_VOCAB];
    if (fuzz_logits(engine, tokens, n, got)) {
        MUST(fuzz_logits(clean, tokens, n, want));
        MUST(memcmp(got, want, sizeof got) == 0);
    }
}

static inline weft_engine_stats fuzz_stats(const weft_engine *engine)
{
    weft_engine_stats s = { .size = sizeof s };
    MUST(weft_engine_get_stats(engine, &s, NULL) == WEFT_OK);
    MUST(s.n_pages == s.n_pages_used + s.n_pages_free && s.n_pages_known <= s.n_pages_free);
    MUST(s.n_pages_shared <= s.n_pages_used && s.n_pages_used <= s.n_page_refs);
    MUST(s.n_stored <= s.n_computed && s.n_computed <= s.n_tokens);
    MUST(s.n_stored <= 64 * s.n_pages_used && s.n_pages * s.page_bytes == s.kv_bytes);
    MUST(s.n_rows == s.n_prompt_rows + s.n_decode_rows);
    MUST(s.n_opened - s.n_released == s.n_seqs);
    MUST((s.seq_bytes > 0) == (s.n_seqs > 0));
    return s;
}

/* Checks that nothing is in use when no sequence is open. */
static inline void fuzz_idle(const weft_engine *engine)
{
    weft_engine_stats s = fuzz_stats(engine);
    MUST(s.n_seqs == 0 && s.n_pages_free == s.n_pages && s.n_page_refs == 0 && s.n_tokens == 0);
}

#endif
