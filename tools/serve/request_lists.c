/* Fields that are lists: stop strings, biases, samplers. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/reading.h"

/* ---------------------------------------------------------------- stop strings */

static bool add_stop(struct reading *r, const json_t *stop)
{
    struct generation *g = &r->out->generation;
    if (!json_is_string(stop)) {
        return field_wrong(r->fault, "stop", stop, "a string or a list of strings");
    }
    const size_t n = json_string_length(stop);
    if (n > MAX_STOP_BYTES) {
        return fault_request(r->fault, "stop", "a stop string has %zu bytes, expected at most %d",
                             n, MAX_STOP_BYTES);
    }
    if (n == 0) {
        return true;
    }
    if (g->n_stops == MAX_STOPS) {
        return fault_request(r->fault, "stop", "more than %d stop strings", MAX_STOPS);
    }
    g->stops[g->n_stops] = copy_text(r, json_string_value(stop), n);
    return g->stops[g->n_stops++] != NULL;
}

bool read_stops(struct reading *r)
{
    const json_t *stop = r->form.stop, *one;
    size_t i;
    if (stop == NULL) {
        return true;
    }
    r->out->generation.stops = mem_array(MAX_STOPS, sizeof(char *));
    if (r->out->generation.stops == NULL) {
        return fault_memory(r->fault);
    }
    if (!json_is_array(stop)) {
        return add_stop(r, stop);
    }
    json_array_foreach(stop, i, one)
    {
        if (!add_stop(r, one)) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- biases */

/* A bias of false bans the token. */
static bool bias_of(struct reading *r, const json_t *v, float *out)
{
    *out = json_is_false(v) ? -INFINITY : (float)json_number_value(v);
    return json_is_false(v) || (json_is_number(v) && isfinite(*out)) ||
           field_wrong(r->fault, "logit_bias", v, "a number, or false to ban the token");
}

/* Of two biases for a token the later one counts. */
static bool set_bias(struct reading *r, int32_t token, float bias)
{
    struct generation *g = &r->out->generation;
    size_t i = 0;
    while (i < g->sampling.n_bias && g->bias[i].token != token) {
        i++;
    }
    if (i == MAX_BIAS) {
        return fault_request(r->fault, "logit_bias", "biases of more than %d tokens", MAX_BIAS);
    }
    g->bias[i] = (weft_logit_bias){ token, bias };
    g->sampling.n_bias = size_max(g->sampling.n_bias, i + 1);
    return true;
}

/* Biases all tokens of a text. */
static bool bias_text(struct reading *r, const char *text, float bias)
{
    struct tokens tokens = { 0 };
    bool ok = add_text_tokens(r, text, strlen(text), 0, &tokens);
    for (size_t i = 0; i < tokens.n && ok; i++) {
        ok = set_bias(r, tokens.data[i], bias);
    }
    free(tokens.data);
    return ok;
}

static bool bias_id(struct reading *r, const json_t *id, float bias)
{
    struct tokens one = { 0 };
    const bool ok = add_token(r, id, "logit_bias", &one) && set_bias(r, one.data[0], bias);
    free(one.data);
    return ok;
}

/* A key is the digits of an id, or a text. */
static bool bias_key(struct reading *r, const char *key, float bias)
{
    if (key[0] == '\0' || strspn(key, "0123456789") != strlen(key)) {
        return bias_text(r, key, bias);
    }
    errno = 0;
    json_t *id = json_integer(strtoll(key, NULL, 10));
    const bool ok = id == NULL ? fault_memory(r->fault) : bias_id(r, id, bias);
    json_decref(id);
    return ok;
}

static bool bias_pair(struct reading *r, const json_t *pair)
{
    const json_t *token = json_array_get(pair, 0);
    float bias;
    if (json_array_size(pair) != 2) {
        return field_wrong(r->fault, "logit_bias", pair, "pairs of a token and its bias");
    }
    if (!bias_of(r, json_array_get(pair, 1), &bias)) {
        return false;
    }
    return json_is_string(token) ? bias_text(r, json_string_value(token), bias)
                                 : bias_id(r, token, bias);
}

static bool bias_object(struct reading *r, json_t *object)
{
    const char *key;
    json_t *v;
    float bias;
    json_object_foreach(object, key, v)
    {
        if (!bias_of(r, v, &bias) || !bias_key(r, key, bias)) {
            return false;
        }
    }
    return true;
}

bool read_bias(struct reading *r)
{
    json_t *list = r->form.bias, *pair;
    struct generation *g = &r->out->generation;
    size_t i;
    if (list == NULL) {
        return true;
    }
    g->sampling.bias = g->bias = mem_array(MAX_BIAS, sizeof *g->bias);
    if (g->bias == NULL) {
        return fault_memory(r->fault);
    }
    if (json_is_object(list)) {
        return bias_object(r, list);
    }
    if (!json_is_array(list)) {
        return field_wrong(r->fault, "logit_bias", list, "an object, or a list of pairs");
    }
    json_array_foreach(list, i, pair)
    {
        if (!bias_pair(r, pair)) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- samplers */

enum sampler { PENALTIES = 1, TOP_K = 2, TYPICAL = 4, TOP_P = 8, MIN_P = 16, TEMPERATURE = 32 };

static const struct {
    const char *name;
    char letter;
    unsigned sampler; /* 0 = Weft does not have it; where it matters, another field says so */
} samplers[] = {
    { "penalties", 'e', PENALTIES },     { "top_k", 'k', TOP_K }, { "typ_p", 'y', TYPICAL },
    { "typical_p", 'y', TYPICAL },       { "top_p", 'p', TOP_P }, { "min_p", 'm', MIN_P },
    { "temperature", 't', TEMPERATURE }, { "dry", 'd', 0 },       { "xtc", 'x', 0 },
    { "top_n_sigma", 's', 0 },           { "infill", 'i', 0 },    { "adaptive_p", 'a', 0 },
};

static unsigned by_name(const char *name)
{
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        if (strcmp(samplers[i].name, name) == 0) {
            return samplers[i].sampler;
        }
    }
    return 0;
}

static unsigned by_letter(char letter)
{
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        if (samplers[i].letter == letter) {
            return samplers[i].sampler;
        }
    }
    return 0;
}

static void switch_off(weft_sampling *s, unsigned on)
{
    if ((on & PENALTIES) == 0) {
        s->repeat_penalty = 1;
        s->frequency_penalty = s->presence_penalty = 0;
    }
    s->top_k = on & TOP_K ? s->top_k : 0;
    s->typical_p = on & TYPICAL ? s->typical_p : 1;
    s->top_p = on & TOP_P ? s->top_p : 1;
    s->min_p = on & MIN_P ? s->min_p : 0;
    s->temperature = on & TEMPERATURE ? s->temperature : 1;
}

/* The order of Weft's samplers is fixed, so only what the list leaves out counts. */
bool read_samplers(struct reading *r)
{
    const json_t *list = r->form.samplers, *name;
    unsigned on = 0;
    size_t i;
    if (list == NULL) {
        return true;
    }
    if (!json_is_array(list) && !json_is_string(list)) {
        return field_wrong(r->fault, "samplers", list, "a list of names, or a string of letters");
    }
    for (const char *c = json_string_value(list); c != NULL && *c != '\0'; c++) {
        on |= by_letter(*c);
    }
    json_array_foreach(list, i, name)
    {
        if (!json_is_string(name)) {
            return field_wrong(r->fault, "samplers", name, "a name");
        }
        on |= by_name(json_string_value(name));
    }
    switch_off(&r->form.sampling, on);
    return true;
}
