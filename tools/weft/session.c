/* Opens models and engines for the sub-commands, and wraps calls of the library that return
 * arrays. */
#include "weft/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "weft/term.h"

static void on_log(void *user, weft_log_level level, const char *text)
{
    const struct session *s = user;
    if (level == WEFT_LOG_WARN) {
        if (!s->quiet) {
            term_note("weft: %s", text);
        }
    } else {
        term_progress("%s", text);
    }
}

/* Shows how far the upload or repacking of weights is, and how fast, ten times a second. */
static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct session *s = user;
    double now = term_seconds();
    if (s->upload_started == 0) {
        s->upload_started = s->upload_shown = now;
    } else if (now - s->upload_shown >= 0.1) {
        s->upload_shown = now;
        term_progress("weights: %.0f%% of %.2f GB, %.1f GB/s", 100.0 * (double)done / (double)total,
                      (double)total * 1e-9, (double)done * 1e-9 / (now - s->upload_started));
    }
    return true;
}

int session_model(struct session *s, const struct options *o, bool vocab_only)
{
    weft_error err = { 0 };
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    s->quiet = o->quiet;
    p.vocab_only = vocab_only;
    p.no_mmap = o->no_mmap;
    p.log = on_log;
    p.log_user = s;
    term_progress("loading %s", o->model);
    weft_status status = weft_model_open(o->model, &p, &s->model, &err);
    if (status != WEFT_OK) {
        int code = term_status(status, &err);
        return status == WEFT_E_IO ? EXIT_MODEL : code;
    }
    s->info.size = sizeof s->info;
    status = weft_model_get_info(s->model, &s->info, &err);
    term_progress_clear();
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

int session_sampling(const struct session *s, struct options *o)
{
    weft_error err = { 0 };
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    unsigned fields = 0;
    weft_status status = weft_model_get_sampling(s->model, &sampling, &fields, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    options_follow(o, &sampling, fields);
    return EXIT_OK;
}

size_t session_n_ctx(const struct session *s, const struct options *o)
{
    size_t trained = s->info.n_ctx_train;
    if (o->ctx > 0) {
        return (size_t)o->ctx;
    }
    return o->ctx == 0 || (trained > 0 && trained < WEFT_CTX_DEFAULT) ? trained : WEFT_CTX_DEFAULT;
}

int session_check_ctx(const struct session *s, const struct options *o)
{
    if (o->ctx <= 0 || (size_t)o->ctx <= s->info.n_ctx_train) {
        return EXIT_OK;
    }
    return term_fail(
        EXIT_USAGE,
        "option -c: %" PRId64
        " is more than the longest context of the model, %zu tokens; ask for at most that",
        o->ctx, s->info.n_ctx_train);
}

/* Prints a line that stays, if the CPU computes although the user may have hoped for a GPU. */
static void remark_device(const struct session *s, const char *device)
{
    weft_engine_info info = { .size = sizeof info };
    weft_platform_info platform = { .size = sizeof platform };
    if (s->quiet || strcmp(device, "auto") != 0 ||
        weft_engine_get_info(s->engine, &info, NULL) != WEFT_OK ||
        weft_platform_get(&platform, NULL) != WEFT_OK || !platform.cuda_built ||
        strcmp(info.backend, "cpu") != 0) {
        return;
    }
    /* The last device is the CPU. */
    term_note(platform.n_devices > 1 ? "weft: running on the CPU; weft doctor -m FILE says why"
                                     : "weft: no GPU, running on the CPU; weft doctor says why");
}

int session_engine(struct session *s, const struct options *o, size_t n_kv)
{
    weft_error err = { 0 };
    weft_engine_params p = options_engine(o);
    p.progress = on_progress;
    p.progress_user = s;
    p.trace = s->trace;
    p.trace_user = s->trace_user;
    s->upload_started = 0;
    if (n_kv > 0) {
        p.n_kv = n_kv;
    }
    if (session_check_ctx(s, o) != EXIT_OK) {
        return EXIT_USAGE;
    }
    term_progress("opening the engine");
    weft_status status = weft_engine_open(s->model, &p, &s->engine, &err);
    term_progress_clear();
    if (status != WEFT_OK) {
        int code = term_status(status, &err);
        if (status != WEFT_E_UNSUPPORTED) {
            term_note("weft: -c sets n_ctx, --kv n_kv, -b n_batch, -t n_threads, -ctk type_k, -ctv "
                      "type_v and --device the device");
        }
        /* Here the device or the instruction set is unsupported, not the model. */
        return status == WEFT_E_UNSUPPORTED ? EXIT_RUNTIME : code;
    }
    remark_device(s, o->device);
    return EXIT_OK;
}

void session_close(struct session *s)
{
    weft_engine_release(&s->engine);
    weft_model_release(&s->model);
}

/* A bad state is neither wrong usage nor a bad model. */
static int state_status(weft_status status, const weft_error *err)
{
    if (status == WEFT_OK) {
        return EXIT_OK;
    }
    int code = term_status(status, err);
    if (status == WEFT_E_ENGINE) {
        term_note("weft: -c sets n_ctx, -ctk type_k and -ctv type_v");
    }
    return code == EXIT_USAGE || code == EXIT_MODEL ? EXIT_RUNTIME : code;
}

int session_load_state(weft_seq *seq, const char *path)
{
    weft_error err = { 0 };
    return state_status(weft_seq_load_file(seq, path, &err), &err);
}

int session_save_state(weft_seq *seq, const char *path)
{
    weft_error err = { 0 };
    return state_status(weft_seq_save_file(seq, path, &err), &err);
}

bool ids_reserve(struct ids *ids, size_t cap)
{
    if (cap <= ids->cap) {
        return true;
    }
    int32_t *at = cap > SIZE_MAX / sizeof *at ? NULL : realloc(ids->at, cap * sizeof *at);
    if (at == NULL) {
        return false;
    }
    ids->at = at;
    ids->cap = cap;
    return true;
}

bool ids_add(struct ids *ids, int32_t id)
{
    if (ids->n == ids->cap && !ids_reserve(ids, ids->cap * 2 + 64)) {
        return false;
    }
    ids->at[ids->n++] = id;
    return true;
}

int ids_parse(const char *word, struct ids *ids)
{
    int64_t id;
    if (!args_int(word, &id) || id < 0 || id > INT32_MAX) {
        return term_fail(EXIT_USAGE, "'%.40s' is not a token id; expected a whole number", word);
    }
    return ids_add(ids, (int32_t)id) ? EXIT_OK
                                     : term_fail(EXIT_MEMORY, "not enough memory for the ids");
}

int ids_read(const char *path, struct ids *ids)
{
    static const char spaces[] = " \t\r\n";
    struct bytes text = { 0 };
    int code = io_read(path, &io_ids, &text);
    if (code == EXIT_OK && text.n != 0 && memchr(text.data, '\0', text.n) != NULL) {
        code = term_fail(EXIT_USAGE, "the ids hold a NUL byte");
    }
    char *rest, *word = text.n > 0 ? strtok_r(text.data, spaces, &rest) : NULL;
    for (; code == EXIT_OK && word != NULL; word = strtok_r(NULL, spaces, &rest)) {
        code = ids_parse(word, ids);
    }
    bytes_free(&text);
    return code;
}

static int no_memory(const char *what)
{
    return term_fail(EXIT_MEMORY, "not enough memory for %s", what);
}

int session_last(weft_seq *seq, int32_t *last)
{
    weft_error err = { 0 };
    size_t n = weft_seq_len(seq);
    int32_t *tokens = calloc(n + 1, sizeof *tokens);
    if (tokens == NULL) {
        return no_memory("the tokens of the state");
    }
    weft_status status = weft_seq_tokens(seq, tokens, n, &n, &err);
    *last = n > 0 ? tokens[n - 1] : -1;
    free(tokens);
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

int session_tokenize(const struct session *s, const char *text, size_t n, unsigned flags,
                     struct ids *out)
{
    weft_error err = { 0 };
    /* A token stands for at least one byte, so the first try nearly always fits. */
    size_t needed = n + 16;
    weft_status status = WEFT_E_BUFFER;
    while (status == WEFT_E_BUFFER) {
        if (!ids_reserve(out, needed)) {
            return no_memory("the tokens of the prompt");
        }
        status = weft_tokenize(s->model, text, n, flags, out->at, out->cap, &needed, &err);
    }
    out->n = status == WEFT_OK ? needed : 0;
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}

int session_detokenize(const weft_model *model, const int32_t *ids, size_t n, unsigned flags,
                       struct bytes *out)
{
    weft_error err = { 0 };
    size_t needed = 0;
    weft_status status = weft_detokenize(model, ids, n, flags, NULL, 0, &needed, &err);
    if (status == WEFT_E_BUFFER) {
        if (!text_reserve(out, needed)) {
            return no_memory("the text of the tokens");
        }
        status = weft_detokenize(model, ids, n, flags, out->data + out->n, needed, &needed, &err);
        out->n += status == WEFT_OK ? needed : 0;
        out->data[out->n] = '\0';
    }
    return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
}
