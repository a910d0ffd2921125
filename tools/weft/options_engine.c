/* The options of the engine, as the library takes them. */
#include "weft/options.h"

enum { DEFAULT_AHEAD = 8 };

const char *options_kv_type(size_t type) { return type == WEFT_KV_Q8_0 ? "q8_0" : "f16"; }

weft_engine_params options_engine(const struct options *o)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    bool keeps = o->log_logits != NULL || o->logprobs >= 0;
    size_t ahead = o->temperature == 0 && !keeps ? DEFAULT_AHEAD : 1;
    p.device = o->device;
    p.deterministic = o->deterministic;
    p.no_graphs = o->no_graphs;
    p.no_pdl = o->no_pdl;
    p.no_arena = o->no_arena;
    p.pin_threads = o->pin_threads;
    p.no_repack = o->no_repack;
    p.n_ahead = o->ahead > 0 ? (size_t)o->ahead : ahead;
    p.cpu_isa = (weft_cpu_isa)o->cpu_isa;
    p.n_ctx = o->ctx < 0 ? 0 : o->ctx == 0 ? WEFT_CTX_MODEL : (size_t)o->ctx;
    p.n_kv = (size_t)o->kv;
    p.n_batch = (size_t)o->batch;
    p.n_threads = (size_t)o->threads;
    p.type_k = (weft_kv_type)o->type_k;
    p.type_v = (weft_kv_type)o->type_v;
    return p;
}
