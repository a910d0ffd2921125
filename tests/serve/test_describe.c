/* What the server says about itself, with a core that the test makes up: the JSON is parsed, and
 * the metrics are read by a small parser of their format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "serve/describe.h"

static struct {
    struct scope scope;
    struct core_figures figures;
    enum core_state state;
    struct job_figures jobs[3];
    size_t n_jobs;
} fake;

enum core_state core_state(struct core *core)
{
    (void)core;
    return fake.state;
}

const struct scope *core_scope(struct core *core)
{
    (void)core;
    scope_set_name(&fake.scope); /* as core_open() does */
    return &fake.scope;
}

void core_figures(struct core *core, struct core_figures *figures)
{
    (void)core;
    *figures = fake.figures;
}

bool core_running(struct core *core, size_t i, struct job_figures *figures)
{
    (void)core;
    if (i >= fake.n_jobs) {
        return false;
    }
    *figures = fake.jobs[i];
    return true;
}

#define MODEL_FILE "models/weft-demo-qwen2.gguf"

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    struct scope *s = &fake.scope;
    s->path = MODEL_FILE;
    s->sampling = (weft_sampling)WEFT_SAMPLING_INIT;
    s->n_predict = SIZE_MAX;
    s->slots = s->metrics = true;
    s->info.size = sizeof s->info;
    assert_int_equal(weft_model_open(MODEL_FILE, NULL, &s->model, NULL), WEFT_OK);
    assert_int_equal(weft_model_get_info(s->model, &s->info, NULL), WEFT_OK);
    s->n_ctx = 512;
    s->n_parallel = 4;
    s->created = 1790000000;
    s->engine_info.page = WEFT_KV_PAGE;
    figures_init(&fake.figures, s->n_ctx);
    fake.state = CORE_READY;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_model_release(&fake.scope.model);
    return 0;
}

/* ---------------------------------------------------------------- JSON */

static bool holds_null(const json_t *value)
{
    const char *key;
    json_t *part;
    size_t i;
    bool found = json_is_null(value);
    json_object_foreach((json_t *)(uintptr_t)value, key, part)
    {
        found = found || holds_null(part);
    }
    json_array_foreach(value, i, part) { found = found || holds_null(part); }
    return found;
}

static json_t *parse(char *text)
{
    assert_non_null(text);
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(value);
    assert_false(holds_null(value));
    free(text);
    return value;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static json_int_t int_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void models(void **state)
{
    (void)state;
    json_t *all = parse(describe_models(NULL));
    assert_string_equal(text_of(all, "object"), "list");
    const json_t *model = json_array_get(json_object_get(all, "data"), 0);
    const json_t *meta = json_object_get(model, "meta");
    assert_string_equal(text_of(model, "id"), "weft-demo-qwen2.gguf");
    assert_string_equal(text_of(model, "object"), "model");
    assert_string_equal(text_of(model, "owned_by"), "weft");
    assert_int_equal(int_of(model, "created"), 1790000000);
    assert_int_equal(int_of(model, "max_model_len"), 512);
    assert_int_equal(int_of(meta, "n_ctx"), 512);
    assert_int_equal(int_of(meta, "n_ctx_train"), 1024);
    assert_int_equal(int_of(meta, "n_vocab"), 1024);
    assert_int_equal(int_of(meta, "n_embd"), 256);
    assert_int_equal(int_of(meta, "n_params"), 2034944);
    assert_string_equal(text_of(meta, "ftype"), "Q8_0");
    const json_t *second = json_array_get(json_object_get(all, "models"), 0);
    const json_t *can = json_object_get(second, "capabilities");
    assert_string_equal(text_of(second, "model"), "weft-demo-qwen2.gguf");
    assert_string_equal(json_string_value(json_array_get(can, 0)), "completion");
    assert_string_equal(json_string_value(json_array_get(can, 1)), "tools");
    json_decref(all);
}

static void a_model_by_name(void **state)
{
    (void)state;
    fake.scope.alias = "qwen \xff\"";
    json_t *model = parse(describe_model(NULL, "gpt-4o"));
    assert_string_equal(text_of(model, "id"), "qwen \xef\xbf\xbd\"");
    json_decref(model);
    fake.scope.strict_model = true;
    assert_false(describe_knows(NULL, "gpt-4o"));
    assert_null(describe_model(NULL, "gpt-4o"));
    assert_true(describe_knows(NULL, fake.scope.alias));
    json_decref(parse(describe_model(NULL, fake.scope.alias)));
}

static const char *first_capability(char *text, char *dst, size_t cap)
{
    json_t *all = parse(text);
    const json_t *one = json_array_get(json_object_get(all, "models"), 0);
    const json_t *can = json_object_get(one, "capabilities");
    assert_int_equal(json_array_size(can), 1);
    snprintf(dst, cap, "%s", json_string_value(json_array_get(can, 0)));
    json_decref(all);
    return dst;
}

static void other_capabilities(void **state)
{
    (void)state;
    char text[32];
    fake.scope.info.chat_template = NULL;
    assert_string_equal(first_capability(describe_models(NULL), text, sizeof text), "completion");
    fake.scope.embeddings_only = true;
    assert_string_equal(first_capability(describe_models(NULL), text, sizeof text), "embedding");
    fake.scope.info.n_labels = 1;
    assert_string_equal(first_capability(describe_models(NULL), text, sizeof text), "rerank");
}

static void props(void **state)
{
    (void)state;
    json_t *all = parse(describe_props(NULL));
    const json_t *settings = json_object_get(all, "default_generation_settings");
    const json_t *params = json_object_get(settings, "params");
    assert_int_equal(int_of(settings, "n_ctx"), 512);
    assert_int_equal(int_of(params, "top_k"), 40);
    assert_int_equal(int_of(params, "n_predict"), -1);
    assert_true(json_real_value(json_object_get(params, "temperature")) == 0.8);
    assert_true(json_real_value(json_object_get(params, "min_p")) == 0.05);
    assert_int_equal(int_of(all, "total_slots"), 4);
    assert_string_equal(text_of(all, "model_path"), MODEL_FILE);
    assert_string_equal(text_of(all, "model_alias"), "weft-demo-qwen2.gguf");
    assert_string_equal(text_of(all, "eos_token"), "<|im_end|>");
    assert_string_equal(text_of(all, "build_info"), "b" WEFT_VERSION);
    assert_int_equal(strlen(text_of(all, "chat_template")), 613);
    assert_non_null(strstr(text_of(all, "chat_template"), "{{- '<|im_start|>system\\n'"));
    const json_t *caps = json_object_get(all, "chat_template_caps");
    assert_true(json_is_true(json_object_get(caps, "supports_tools")));
    assert_true(json_is_false(json_object_get(json_object_get(all, "modalities"), "vision")));
    assert_true(json_is_true(json_object_get(all, "endpoint_slots")));
    json_decref(all);
}

static void other_templates(void **state)
{
    (void)state;
    fake.scope.template_source = "{{ a }}b";
    fake.scope.n_template_source = 7;
    json_t *all = parse(describe_props(NULL));
    assert_string_equal(text_of(all, "chat_template"), "{{ a }}");
    json_decref(all);
    fake.scope.template_source = NULL;
    fake.scope.template_name = "chatml";
    all = parse(describe_props(NULL));
    assert_string_equal(text_of(all, "chat_template"), "");
    assert_string_equal(text_of(all, "chat_template_name"), "chatml");
    json_decref(all);
    fake.scope.template_name = NULL;
    fake.scope.path = "/nowhere/gone.gguf";
    fake.scope.alias = NULL;
    fake.scope.info.bos = -1;
    all = parse(describe_props(NULL));
    assert_string_equal(text_of(all, "chat_template"), "");
    assert_string_equal(text_of(all, "bos_token"), "");
    assert_string_equal(text_of(all, "model_alias"), "gone.gguf");
    json_decref(all);
}

static void slots(void **state)
{
    (void)state;
    fake.jobs[0] = (struct job_figures){ .number = 7, .n_max = 100, .n_generated = 12 };
    fake.jobs[1] = (struct job_figures){ .number = 9, .n_max = SIZE_MAX, .n_generated = 3 };
    fake.n_jobs = 2;
    json_t *all = parse(describe_slots(NULL));
    assert_int_equal(json_array_size(all), 4);
    const json_t *slot = json_array_get(all, 0), *other = json_array_get(all, 1);
    const json_t *next = json_array_get(json_object_get(slot, "next_token"), 0);
    assert_int_equal(int_of(slot, "id"), 0);
    assert_int_equal(int_of(slot, "id_task"), 7);
    assert_true(json_is_true(json_object_get(slot, "is_processing")));
    assert_int_equal(int_of(next, "n_decoded"), 12);
    assert_int_equal(int_of(next, "n_remain"), 88);
    next = json_array_get(json_object_get(other, "next_token"), 0);
    assert_int_equal(int_of(next, "n_remain"), -1);
    assert_true(json_is_false(json_object_get(json_array_get(all, 3), "is_processing")));
    assert_null(json_object_get(slot, "prompt"));
    assert_null(json_object_get(slot, "params"));
    json_decref(all);
    /* More run than were planned. */
    fake.scope.n_parallel = 1;
    all = parse(describe_slots(NULL));
    assert_int_equal(json_array_size(all), 2);
    json_decref(all);
}

/* ---------------------------------------------------------------- metrics */

enum { MAX_SAMPLES = 1000, MAX_FAMILIES = 200 };

struct sample {
    char name[80], labels[160], le[16];
    double value;
};

struct family {
    char name[80], type[16];
};

static struct sample samples[MAX_SAMPLES];
static struct family families[MAX_FAMILIES];
static size_t n_samples, n_families;

/* Returns the family of a sample: that of the latest # TYPE, whose name it must have. */
static void check_family(const struct sample *s)
{
    assert_true(n_families > 0);
    const struct family *f = &families[n_families - 1];
    const size_t n = strlen(f->name);
    assert_memory_equal(s->name, f->name, n);
    const char *rest = s->name + n;
    if (strcmp(f->type, "histogram") == 0) {
        assert_true(strcmp(rest, "_bucket") == 0 || strcmp(rest, "_sum") == 0 ||
                    strcmp(rest, "_count") == 0);
        assert_int_equal(s->le[0] != '\0', strcmp(rest, "_bucket") == 0);
    } else {
        assert_string_equal(rest, "");
    }
    assert_true(s->value >= 0);
    /* A counter is named so. llama.cpp's n_tokens_max is the exception. */
    const bool total = n > 6 && strcmp(f->name + n - 6, "_total") == 0;
    if (strcmp(f->type, "counter") == 0 && strcmp(f->name, "llamacpp:n_tokens_max") != 0) {
        assert_true(total);
    } else if (strcmp(f->type, "gauge") == 0) {
        assert_false(total);
    }
}

/* Reads name="value",... up to the closing brace; returns what stands behind it. */
static const char *read_labels(struct sample *s, const char *at)
{
    const char *start = at;
    while (*at != '}') {
        char label[64], value[128];
        size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz_"), m = 0;
        assert_in_range(n, 1, sizeof label - 1);
        snprintf(label, sizeof label, "%.*s", (int)n, at);
        at += n;
        assert_memory_equal(at, "=\"", 2);
        for (at += 2; *at != '"'; at++) {
            at += *at == '\\';
            assert_true(*at != '\0' && *at != '\n' && m + 1 < sizeof value);
            value[m++] = *at;
        }
        value[m] = '\0';
        at += at[1] == ',' ? 2 : 1;
        if (strcmp(label, "le") == 0) {
            snprintf(s->le, sizeof s->le, "%.15s", value);
        }
    }
    snprintf(s->labels, sizeof s->labels, "%.*s", (int)(at - start), start);
    return at + 1;
}

static void read_sample(const char *line)
{
    assert_in_range(n_samples, 0, MAX_SAMPLES - 1);
    struct sample *s = &samples[n_samples++];
    memset(s, 0, sizeof *s);
    const size_t n = strcspn(line, "{ ");
    char *end;
    assert_in_range(n, 1, sizeof s->name - 1);
    memcpy(s->name, line, n);
    line = line[n] == '{' ? read_labels(s, line + n + 1) : line + n;
    assert_int_equal(*line, ' ');
    s->value = strtod(line + 1, &end);
    assert_true(end > line + 1 && *end == '\0');
    check_family(s);
}

static void read_type(const char *line, const char *help)
{
    assert_in_range(n_families, 0, MAX_FAMILIES - 1);
    struct family *f = &families[n_families++];
    assert_int_equal(sscanf(line, "# TYPE %79s %15s", f->name, f->type), 2);
    assert_true(strcmp(f->type, "counter") == 0 || strcmp(f->type, "gauge") == 0 ||
                strcmp(f->type, "histogram") == 0);
    /* # HELP of the same name stands before it and says something. */
    const size_t n = strlen(f->name);
    assert_memory_equal(help, "# HELP ", 7);
    assert_memory_equal(help + 7, f->name, n);
    assert_true(help[7 + n] == ' ' && strlen(help + 7 + n) > 5);
    for (size_t i = 0; i + 1 < n_families; i++) {
        assert_string_not_equal(families[i].name, f->name);
    }
}

static void read_metrics(const struct http_figures *http)
{
    char *text = describe_metrics(NULL, http), *rest = NULL;
    assert_non_null(text);
    assert_int_equal(text[strlen(text) - 1], '\n');
    n_samples = n_families = 0;
    const char *before = "";
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            read_type(line, before);
        } else if (line[0] != '#') {
            read_sample(line);
        }
        before = line;
    }
    free(text);
}

static const struct sample *find(const char *name, const char *labels)
{
    for (size_t i = 0; i < n_samples; i++) {
        if (strcmp(samples[i].name, name) == 0 && strstr(samples[i].labels, labels) != NULL) {
            return &samples[i];
        }
    }
    return NULL;
}

static double value_of(const char *name, const char *labels)
{
    const struct sample *s = find(name, labels);
    if (s == NULL) {
        fail_msg("no sample %s{%s}", name, labels);
    }
    return s->value;
}

/* Buckets are cumulated, their bounds rise, and the last one is all. */
static void check_histogram(const char *name)
{
    char bucket[100], count[100];
    double last = -1, bound = -1, n = 0;
    snprintf(bucket, sizeof bucket, "%s_bucket", name);
    snprintf(count, sizeof count, "%s_count", name);
    for (size_t i = 0; i < n_samples; i++) {
        if (strcmp(samples[i].name, bucket) == 0) {
            const double le = strtod(samples[i].le, NULL);
            assert_true(le > bound && samples[i].value >= n);
            assert_true(strcmp(samples[i].le, "+Inf") == 0 || strpbrk(samples[i].le, ".e") != NULL);
            bound = le;
            n = last = samples[i].value;
        }
    }
    assert_true(bound > 1e300);
    assert_true(last == value_of(count, ""));
}

static void all_histograms(void **state)
{
    (void)state;
    struct core_figures *f = &fake.figures;
    for (size_t i = 0; i < 1000; i++) {
        histogram_add(&f->first_token, (double)i * 0.01);
        histogram_add(&f->whole, (double)i * 20);
        histogram_add(&f->prompt_tokens, (double)i);
    }
    histogram_add(&f->queued, 0.3);
    histogram_add(&f->queued, 0.3000001);
    read_metrics(NULL);
    size_t n = 0;
    for (size_t i = 0; i < n_families; i++) {
        if (strcmp(families[i].type, "histogram") == 0) {
            check_histogram(families[i].name);
            n++;
        }
    }
    assert_int_equal(n, 12);
    assert_true(value_of("vllm:request_queue_time_seconds_bucket", "le=\"0.3\"") == 1);
    assert_true(value_of("vllm:request_queue_time_seconds_bucket", "le=\"0.5\"") == 2);
    assert_true(value_of("vllm:time_to_first_token_seconds_count", "") == 1000);
    assert_true(value_of("vllm:time_to_first_token_seconds_bucket", "le=\"1.0\"") == 101);
    assert_true(value_of("vllm:request_prompt_tokens_bucket", "le=\"500.0\"") == 501);
    assert_null(find("vllm:request_prompt_tokens_bucket", "le=\"1000.0\""));
    assert_true(value_of("vllm:request_prompt_tokens_bucket", "le=\"+Inf\"") == 1000);
    assert_true(value_of("vllm:request_prompt_tokens_sum", "") == 499500);
}

static void counters(void **state)
{
    (void)state;
    struct core_figures *f = &fake.figures;
    fake.scope.alias = "a \"b\"\\c\nd\xff";
    f->n_running = 3;
    f->n_waiting = 5;
    f->n_prompt = 1000;
    f->n_cached = 400;
    f->n_generated = (UINT64_C(1) << 45) + 1;
    f->prompt_seconds = 0.5;
    f->finished[FINISH_STOP] = 1;
    f->finished[FINISH_TOOL_CALLS] = 2;
    f->finished[FINISH_ABORT] = 4;
    f->engine.n_pages = 64;
    f->engine.n_pages_used = 16;
    f->engine.n_steps = 10;
    f->engine.n_decode_rows = 25;
    read_metrics(NULL);
    const char *labels = "model_name=\"a \\\"b\\\"\\\\c\\nd?\",engine=\"0\"";
    assert_true(value_of("vllm:num_requests_running", labels) == 3);
    assert_true(value_of("vllm:num_requests_waiting", labels) == 5);
    assert_true(value_of("vllm:kv_cache_usage_perc", labels) == 0.25);
    assert_true(value_of("vllm:prompt_tokens_total", labels) == 1000);
    assert_true(value_of("vllm:prefix_cache_hits_total", labels) == 400);
    assert_true(value_of("vllm:generation_tokens_total", labels) == 0x1p45 + 1);
    assert_true(value_of("vllm:request_success_total", "finished_reason=\"stop\"") == 3);
    assert_true(value_of("vllm:request_success_total", "finished_reason=\"abort\"") == 4);
    assert_true(value_of("vllm:cache_config_info", "block_size=\"64\",num_gpu_blocks=\"64\"") == 1);
    assert_true(value_of("llamacpp:prompt_tokens_total", "") == 600);
    assert_true(value_of("llamacpp:prompt_tokens_seconds", "") == 1200);
    assert_true(value_of("llamacpp:predicted_tokens_seconds", "") == 0);
    assert_true(value_of("llamacpp:n_busy_slots_per_decode", "") == 2.5);
    assert_true(value_of("weft_kv_pages_used", "") == 16);
    assert_true(value_of("weft_requests_total", "finish=\"tool_calls\"") == 2);
    assert_true(value_of("weft_ready", "") == 1);
    assert_true(value_of("weft_parallel", "") == 4);
    assert_null(find("weft_connections", ""));
}

static void of_http(void **state)
{
    (void)state;
    const struct http_count counts[] = { { "/v1/chat/completions", 200, 5 }, { "other", 404, 1 } };
    const struct http_figures http = {
        .n_connections = 2, .bytes_out = UINT64_C(1) << 50, .counts = counts, .n_counts = 2
    };
    read_metrics(&http);
    assert_true(value_of("weft_connections", "") == 2);
    assert_true(value_of("weft_out_bytes_total", "") == 0x1p50);
    assert_true(value_of("weft_http_requests_total", "route=\"other\",status=\"404\"") == 1);
    assert_true(value_of("weft_http_requests_total", "completions\",status=\"200\"") == 5);
}

/* Until the model is there only the command line is looked at. */
static void while_loading(void **state)
{
    (void)state;
    weft_model_release(&fake.scope.model);
    memset(&fake.scope.info, 0, sizeof fake.scope.info);
    fake.scope.alias = "soon";
    fake.state = CORE_LOADING;
    json_t *all = parse(describe_models(NULL));
    const json_t *model = json_array_get(json_object_get(all, "data"), 0);
    assert_string_equal(text_of(model, "id"), "soon");
    assert_null(json_object_get(model, "meta"));
    json_decref(all);
    all = parse(describe_props(NULL));
    assert_string_equal(text_of(all, "model_alias"), "soon");
    assert_null(json_object_get(all, "total_slots"));
    json_decref(all);
    all = parse(describe_slots(NULL));
    assert_int_equal(json_array_size(all), 0);
    json_decref(all);
    read_metrics(NULL);
    assert_true(value_of("weft_ready", "") == 0);
    assert_true(value_of("weft_since_last_step_seconds", "") == 0);
}

static void the_clock(void **state)
{
    (void)state;
    const double before = figures_now();
    assert_true(before > 0);
    fake.figures.last_step = before - 10;
    read_metrics(NULL);
    const double since = value_of("weft_since_last_step_seconds", "");
    assert_true(since >= 10 && since <= 10 + (figures_now() - before));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(models),          CASE(a_model_by_name), CASE(other_capabilities), CASE(props),
        CASE(other_templates), CASE(slots),           CASE(all_histograms),     CASE(counters),
        CASE(of_http),         CASE(while_loading),   CASE(the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
