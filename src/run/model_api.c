/* The public functions on a model: open, release, information, tokens. */
#include "run/model_api.h"

#include <string.h>

#include "draw/recommended.h"
#include "format/keys.h"
#include "run/remarks.h"

static void close_all(struct weft_model *h)
{
    template_close(h->chat);
    template_close(h->chat_tools);
    model_close(h->model);
    free(h);
}

weft_status weft_model_open(const char *path, const weft_model_params *params, weft_model **out,
                            weft_error *err)
{
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    if (path == NULL || out == NULL) {
        return error_set(err, WEFT_E_ARG, "%s is NULL", path == NULL ? "path" : "out");
    }
    TRY(params_copy(&p, sizeof p, params, "weft_model_params", err));
    struct weft_model *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return error_nomem(err, "the model handle", sizeof *h);
    }
    weft_status status = model_open(path, &p, &h->model, err);
    if (status == WEFT_OK) {
        status = model_open_chat(h, err);
    }
    if (status != WEFT_OK) {
        close_all(h);
        return status;
    }
    h->magic = MODEL_MAGIC;
    h->log = (struct log){ p.log, p.log_user };
    atomic_init(&h->refs, 1);
    atomic_init(&h->fingerprint, 0);
    const struct model *m = h->model;
    log_line(&h->log, WEFT_LOG_INFO, "%s: %s '%s', %.2f M parameters, %.1f MiB, %zu tokens", path,
             m->arch_name, m->name, (double)m->n_params / 1e6, (double)m->n_bytes / 1048576.0,
             tokenizer_n_vocab(m->tokenizer));
    keys_log(m->file, &h->log);
    remarks_log(m, &h->log);
    *out = h;
    return WEFT_OK;
}

weft_status model_check(const weft_model *m, weft_error *err)
{
    return handle_check(m, m ? &m->magic : NULL, MODEL_MAGIC, "model", err);
}

void model_retain(struct weft_model *m) { atomic_fetch_add(&m->refs, 1); }

void weft_model_release(weft_model **model)
{
    if (model == NULL || model_check(*model, NULL) != WEFT_OK) {
        return;
    }
    struct weft_model *h = *model;
    *model = NULL;
    if (atomic_fetch_sub(&h->refs, 1) == 1) {
        h->magic = 0;
        close_all(h);
    }
}

/* Returns the name of the tensor type that holds most weights. */
static const char *main_type(const struct gguf *g)
{
    const char *best = "";
    uint64_t most = 0;
    for (size_t i = 0; quant_at(i) != NULL; i++) {
        uint64_t n = 0;
        for (size_t j = 0; j < g->n_tensors; j++) {
            n += g->tensors[j].type == quant_at(i) ? g->tensors[j].n_elements : 0;
        }
        if (n > most) {
            most = n;
            best = quant_at(i)->name;
        }
    }
    return best;
}

/* Returns the widest window of a layer, or 0 if a layer sees all positions. */
static size_t widest_window(const struct model *m)
{
    size_t widest = 0;
    for (size_t i = 0; m->layers != NULL && i < m->config.n_layers; i++) {
        const size_t window = m->layers[i].attn.window;
        if (window == 0) {
            return 0;
        }
        widest = size_max(window, widest);
    }
    return widest;
}

weft_status weft_model_get_info(const weft_model *model, weft_model_info *info, weft_error *err)
{
    TRY(model_check(model, err));
    const struct model *m = model->model;
    const struct config *c = &m->config;
    const weft_model_info v = {
        .architecture = m->arch_name,
        .name = m->name,
        .type = main_type(m->file),
        .chat_template = model->chat != NULL ? "file" : NULL,
        .n_vocab = tokenizer_n_vocab(m->tokenizer),
        .n_ctx_train = c->n_ctx_train,
        .n_layers = c->n_layers,
        .dim = c->dim,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .n_ff = c->n_ff,
        .n_params = m->n_params,
        .n_bytes = m->n_bytes,
        .bos = tokenizer_bos(m->tokenizer),
        .eos = tokenizer_eos(m->tokenizer),
        .adds_bos = tokenizer_adds_bos(m->tokenizer),
        .n_window = widest_window(m),
        .adds_eos = tokenizer_adds_eos(m->tokenizer),
        .chat_remark = model->chat != NULL ? NULL : model->no_chat.message,
        .n_rope_short = m->rope_border < m->config.n_ctx_train ? m->rope_border : 0,
        .n_labels = m->classifier.n_labels,
    };
    return info_copy(info, &v, sizeof v, "weft_model_info", err);
}

static const char *const mixers[N_MIXERS] = { [MIX_ATTENTION] = "attention" };
static const char *const ffns[N_FFNS] = { [FFN_DENSE] = "dense" };

weft_status weft_model_get_layer(const weft_model *model, size_t i, weft_layer_info *info,
                                 weft_error *err)
{
    TRY(model_check(model, err));
    TRY(info_check(info, "weft_layer_info", err));
    const struct model *m = model->model;
    const size_t n_layers = m->layers != NULL ? m->config.n_layers : 0;
    if (i >= n_layers) {
        return error_set(err, WEFT_E_ARG, "there is no layer %zu; the model has %zu%s", i, n_layers,
                         m->vocab_only ? ", as it was opened with vocab_only" : "");
    }
    const struct layer *l = &m->layers[i];
    const struct kv *kv = layer_kv(m, l);
    weft_layer_info v = {
        .mixer = mixers[l->mixer],
        .ffn = ffns[l->ffn],
        .n_heads = l->attn.n_heads,
        .n_kv_heads = kv->n_heads,
        .k_dim = kv->k_dim,
        .v_dim = kv->v_dim,
        .n_window = l->attn.window,
        .n_ff = l->n_ff,
    };
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        v.n_bytes += l->t[t].n_bytes;
    }
    return info_copy(info, &v, sizeof v, "weft_layer_info", err);
}

weft_status weft_model_get_sampling(const weft_model *model, weft_sampling *sampling,
                                    unsigned *fields, weft_error *err)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    TRY(model_check(model, err));
    TRY(info_check(sampling, "weft_sampling", err));
    TRY(gguf_check(model->model->file, err));
    unsigned found = recommended_read(model->model->file, &model->log, &s);
    if (fields != NULL) {
        *fields = found;
    }
    return info_copy(sampling, &s, sizeof s, "weft_sampling", err);
}

weft_status weft_tokenize(const weft_model *model, const char *text, size_t n, unsigned flags,
                          int32_t *dst, size_t cap, size_t *needed, weft_error *err)
{
    TRY(model_check(model, err));
    TRY(array_check(text, n, sizeof *text, "text", err));
    struct tokens t = { 0 };
    weft_status status =
        tokenizer_encode(model->model->tokenizer, text != NULL ? text : "", n, flags, &t, err);
    if (status == WEFT_OK) {
        status = copy_out(t.data, t.n, sizeof *dst, dst, cap, needed, err);
    }
    free(t.data);
    return status;
}

weft_status weft_detokenize(const weft_model *model, const int32_t *tokens, size_t n,
                            unsigned flags, char *dst, size_t cap, size_t *needed, weft_error *err)
{
    TRY(model_check(model, err));
    TRY(array_check(tokens, n, sizeof *tokens, "tokens", err));
    struct bytes b = { 0 };
    weft_status status = tokenizer_decode(model->model->tokenizer, tokens, n, flags, &b, err);
    if (status == WEFT_OK) {
        status = copy_out(b.data, b.n, 1, dst, cap, needed, err);
    }
    free(b.data);
    return status;
}

weft_status weft_token_text(const weft_model *model, int32_t token, char *dst, size_t cap,
                            size_t *needed, weft_error *err)
{
    TRY(model_check(model, err));
    TRY(tokenizer_check(model->model->tokenizer, &token, 1, err));
    struct gguf_str s = tokenizer_text(model->model->tokenizer, token);
    return copy_out(s.s, s.n, 1, dst, cap, needed, err);
}

bool weft_token_is_end(const weft_model *model, int32_t token)
{
    return model_check(model, NULL) == WEFT_OK && tokenizer_is_end(model->model->tokenizer, token);
}
