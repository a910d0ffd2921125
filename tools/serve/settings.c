#include "serve/settings.h"

#include "serve/json_put.h"

/* Biases, and the bans of end tokens that ignore_eos stands for. */
static void put_biases(struct json_put *p, const struct scope *scope, const weft_sampling *s)
{
    bool first = true;
    json_put(p, ",'ignore_eos':%i,'logit_bias':[", s->ignore_end);
    for (size_t i = 0; i < s->n_bias; i++) {
        json_put(p, "%c{'bias':", first ? ' ' : ',');
        if (s->bias[i].bias < -1e30f) {
            json_put(p, "null");
        } else {
            json_put_number(p, (double)s->bias[i].bias);
        }
        json_put(p, ",'token':%d}", (int)s->bias[i].token);
        first = false;
    }
    for (size_t i = 0; s->ignore_end && i < scope->info.n_vocab; i++) {
        if (weft_token_is_end(scope->model, (int32_t)i)) {
            json_put(p, "%c{'bias':null,'token':%zu}", first ? ' ' : ',', i);
            first = false;
        }
    }
    json_put(p, "]");
}

static void put_sampling(struct json_put *p, const weft_sampling *s)
{
    json_put(p, "'temperature':%g,'top_k':%d,'top_p':%g,'min_p':%g,'typical_p':%g",
             (double)s->temperature, (int)s->top_k, (double)s->top_p, (double)s->min_p,
             (double)s->typical_p);
    json_put(p, ",'repeat_last_n':%d,'repeat_penalty':%g,'presence_penalty':%g",
             (int)s->repeat_last_n, (double)s->repeat_penalty, (double)s->presence_penalty);
    json_put(p, ",'frequency_penalty':%g", (double)s->frequency_penalty);
}

/* Samplers that Weft does not have, switched off. */
static void put_lacking(struct json_put *p)
{
    json_put(p, ",'dynatemp_range':0,'dynatemp_exponent':1,'top_n_sigma':-1,'xtc_probability':0"
                ",'xtc_threshold':0.1,'dry_multiplier':0,'mirostat':0,'adaptive_target':-1"
                ",'adaptive_decay':0.9,'min_keep':0,'lora':[]"
                ",'samplers':['penalties','top_k','typ_p','top_p','min_p','temperature']");
}

static void put_stops(struct json_put *p, const struct generation *g)
{
    json_put(p, ",'stop':[");
    for (size_t i = 0; g != NULL && i < g->n_stops; i++) {
        json_put(p, i == 0 ? "%s" : ",%s", g->stops[i]);
    }
    json_put(p, "]");
}

static void put_limits(struct json_put *p, const struct scope *scope, const struct generation *g)
{
    const size_t n_max = g != NULL ? g->n_max : scope->n_predict;
    const long long shown = n_max == SIZE_MAX ? -1 : (long long)n_max;
    const int n_top = g != NULL ? g->n_top : -1;
    json_put(p, ",'max_tokens':%lld,'n_predict':%lld,'n_keep':0,'n_discard':0", shown, shown);
    json_put(p, ",'n_probs':%d,'grammar':%.*s", n_top < 0 ? 0 : n_top,
             g != NULL ? (int)g->n_grammar : 0, g != NULL && g->grammar != NULL ? g->grammar : "");
}

char *settings_json(const struct scope *scope, const struct request *request)
{
    struct json_put p = { 0 };
    const struct generation *g = request != NULL ? &request->generation : NULL;
    const weft_sampling *s = g != NULL ? &g->sampling : &scope->sampling;
    if (g != NULL) {
        json_put(&p, "{'seed':%lld,", (long long)s->seed);
    } else {
        json_put(&p, "{'seed':-1,");
    }
    put_sampling(&p, s);
    put_lacking(&p);
    put_stops(&p, g);
    put_limits(&p, scope, g);
    put_biases(&p, scope, s);
    json_put(&p, ",'stream':%i,'timings_per_token':false,'post_sampling_probs':false}",
             request != NULL && request->stream);
    return json_put_end(&p);
}
