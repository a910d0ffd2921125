/* weft logits: shows what the model expects behind every token of a given text. */
#include <stdlib.h>

#include "weft/checksum.h"
#include "weft/commands.h"
#include "weft/jsonl.h"
#include "weft/score.h"
#include "weft/trace_log.h"

enum { N_TOP = 64 };

struct logits {
    const struct options *o;
    struct session session;
    struct ids ids;
    char sha256[CHECKSUM_CAP];
    struct jsonl out;
    struct floats full;
    struct trace_log *trace;
};

static json_t *header(const struct logits *l, const char *schema, const char *full)
{
    weft_engine_info info = { .size = sizeof info };
    weft_error err = { 0 };
    if (weft_engine_get_info(l->session.engine, &info, &err) != WEFT_OK) {
        return NULL;
    }
    json_t *tokens = json_array();
    for (size_t i = 0; i < l->ids.n; i++) {
        jsonl_append(&tokens, json_integer(l->ids.at[i]));
    }
    json_t *flags =
        json_pack("{s:I, s:I, s:I, s:b, s:s, s:s}", "n_ctx", (json_int_t)info.n_ctx, "n_batch",
                  (json_int_t)info.n_batch, "n_threads", (json_int_t)info.n_threads,
                  "deterministic", (int)l->o->deterministic, "type_k",
                  options_kv_type(l->o->type_k), "type_v", options_kv_type(l->o->type_v));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:I, s:o, s:o, s:o}", "schema",
                     schema, "engine", "weft", "version", weft_version(), "backend", info.backend,
                     "kernels", info.kernels, "model", jsonl_string(l->o->model), "sha256",
                     l->sha256, "architecture", l->session.info.architecture, "n_vocab",
                     (json_int_t)l->session.info.n_vocab, "tokens", tokens, "flags", flags, "full",
                     full != NULL ? jsonl_string(full) : json_null());
}

static json_t *best(const float *logits, size_t n_vocab)
{
    int32_t ids[N_TOP];
    size_t n = score_top(logits, n_vocab, N_TOP, ids);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        jsonl_append(&list, json_pack("[i, o]", ids[i], jsonl_number((double)logits[ids[i]])));
    }
    return list;
}

static void write_position(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    struct logits *l = user;
    double lse = score_lse(logits, n_vocab);
    json_t *next = json_null(), *logprob = json_null(), *offset = json_null();
    if (pos + 1 < l->ids.n) {
        int32_t id = l->ids.at[pos + 1];
        next = json_integer(id);
        logprob = jsonl_number((double)logits[id] - lse);
    }
    if (l->full.path != NULL) {
        offset = json_integer(l->full.n_bytes);
    }
    jsonl_add(&l->out,
              json_pack("{s:I, s:i, s:o, s:o, s:o, s:o, s:o}", "pos", (json_int_t)pos, "token",
                        l->ids.at[pos], "next", next, "logprob", logprob, "lse", jsonl_number(lse),
                        "top", best(logits, n_vocab), "offset", offset));
    floats_add(&l->full, logits, n_vocab);
}

/* The engine gets its trace function when it is opened, so the file is opened before the engine. */
static int open_engine(struct logits *l)
{
    if (l->o->trace != NULL) {
        int code = trace_log_open(l->o->trace, l->o->full_trace, &l->trace);
        if (code != EXIT_OK) {
            return code;
        }
        l->session.trace = trace_log_add;
        l->session.trace_user = l->trace;
    }
    return session_engine(&l->session, l->o, 0);
}

static int write_all(struct logits *l)
{
    weft_seq *seq = NULL;
    int code = score_open(l->session.engine, l->ids.at, l->ids.n, write_position, l, &seq);
    if (code == EXIT_OK && l->o->full_logits != NULL) {
        code = floats_open(l->o->full_logits, &l->full);
    }
    code = code != EXIT_OK ? code : jsonl_open(l->o->output, &l->out);
    if (code == EXIT_OK && l->trace != NULL) {
        code = trace_log_header(l->trace, header(l, "weft-trace-1", l->o->full_trace));
    }
    if (code == EXIT_OK) {
        jsonl_add(&l->out, header(l, "weft-logits-1", l->o->full_logits));
        term_on_interrupt(TERM_FLAG_ONCE);
        code = score_run(l->session.engine, seq);
        term_on_interrupt(TERM_KILL);
    }
    weft_seq_release(&seq);
    int closed[] = { jsonl_close(&l->out), floats_close(&l->full) };
    code = code != EXIT_OK ? code : closed[0];
    return code != EXIT_OK ? code : closed[1];
}

int cmd_logits(const struct options *o, int n_args, char **args)
{
    struct logits l = { .o = o };
    if (!o->quiet) {
        term_progress_on();
    }
    int code = session_model(&l.session, o, false);
    code = code != EXIT_OK ? code : score_read(&l.session, o, n_args, args, "logits", &l.ids);
    code = code != EXIT_OK ? code : checksum_model(o->model, l.sha256);
    code = code != EXIT_OK ? code : open_engine(&l);
    code = code != EXIT_OK ? code : write_all(&l);
    session_close(&l.session);
    int closed = trace_log_close(l.trace);
    free(l.ids.at);
    return code != EXIT_OK ? code : closed;
}
