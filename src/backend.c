#include "backend.h"

const char *const stage_names[N_STAGES] = {
#define STAGE(id, name) [STAGE_##id] = name,
    STAGES(STAGE)
#undef STAGE
};

const enum stage tensor_stages[N_LAYER_TENSORS] = {
#define LAYER_TENSOR(id, name, rows, cols, stage) [id] = STAGE_##stage,
    LAYER_TENSORS(LAYER_TENSOR)
#undef LAYER_TENSOR
};

size_t backend_value_cols(const struct model *m, enum backend_value value, size_t layer)
{
    static const enum layer_size sizes[] = {
        [VALUE_X] = SIZE_DIM,    [VALUE_Q] = SIZE_Q,         [VALUE_K] = SIZE_K,
        [VALUE_V] = SIZE_V,      [VALUE_ATTENTION] = SIZE_O, [VALUE_FFN_ACT] = SIZE_FF,
        [VALUE_NORM] = SIZE_DIM,
    };
    const enum layer_size size = sizes[value];
    /* Values of SIZE_DIM may belong to no layer. */
    return size == SIZE_DIM ? m->config.dim : layer_size(m, &m->layers[layer], size);
}

static weft_status check_list(const struct backend_ops *ops, const struct stage_list *list,
                              const char *what, weft_error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!ops->has(list->stages[i])) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "the model needs the stage %s for its %s, and backend %s lacks it",
                             stage_names[list->stages[i]], what, ops->name);
        }
    }
    return WEFT_OK;
}

static weft_status check_act(const struct backend_ops *ops, enum act act, weft_error *err)
{
    static const char *const names[] = { [ACT_SILU] = "silu" };
    if ((ops->acts >> act & 1) == 0) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the model needs the activation %s, and backend %s lacks it", names[act],
                         ops->name);
    }
    return WEFT_OK;
}

static weft_status check_stores(const struct backend_ops *ops, const struct model *m,
                                weft_error *err)
{
    for (size_t i = 0; i < m->n_stores; i++) {
        if (m->kv[i].k_dim != m->kv[i].v_dim) {
            return error_set(err, WEFT_E_UNSUPPORTED,
                             "the model has heads of %zu values in K and %zu in V, and backend %s "
                             "needs them alike",
                             m->kv[i].k_dim, m->kv[i].v_dim, ops->name);
        }
    }
    return WEFT_OK;
}

weft_status backend_check(const struct backend_ops *ops, const struct model *m, weft_error *err)
{
    TRY(check_stores(ops, m, err));
    TRY(check_list(ops, &embed_stages, "embedding", err));
    for (size_t l = 0; l < m->config.n_layers; l++) {
        TRY(check_act(ops, m->layers[l].act, err));
        TRY(check_list(ops, &mixer_stages[m->layers[l].mixer], "mixers", err));
        TRY(check_list(ops, &ffn_stages[m->layers[l].ffn], "feed-forward networks", err));
    }
    return check_list(ops, &head_stages, "head", err);
}
