/* The counters in the text format of Prometheus, version 0.0.4: under names of our own, and under
 * those of vLLM and of llama.cpp's server, which autoscalers, gateways and dashboards read. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "serve/describe.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

struct metrics {
    struct bytes out;
    bool failed;         /* there was not enough memory */
    struct bytes labels; /* those of vLLM: model_name="...",engine="0" */
    const struct scope *scope;
    struct core_figures figures;
    bool ready;
};

struct metric {
    const char *name, *help;
    double value;
};

static void add(struct metrics *m, const char *text)
{
    m->failed = m->failed || !text_add(&m->out, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void addf(struct metrics *m, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    add(m, line);
}

static void add_head(struct metrics *m, const char *name, const char *type, const char *help)
{
    addf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Counts are written in full, so that rates of large ones are exact. */
static void add_value(struct metrics *m, double value)
{
    addf(m, value == floor(value) && fabs(value) < 9e15 ? " %.0f\n" : " %.15g\n", value);
}

static void add_plain(struct metrics *m, const char *type, const struct metric *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_head(m, all[i].name, type, all[i].help);
        add(m, all[i].name);
        add_value(m, all[i].value);
    }
}

/* Writes a sample with the labels of vLLM and, if `label` is not NULL, one more. */
static void add_sample(struct metrics *m, const char *name, const char *suffix, const char *label,
                       const char *label_value, double value)
{
    addf(m, "%s%s{", name, suffix);
    add(m, m->labels.data);
    if (label != NULL) {
        addf(m, ",%s=\"%s\"", label, label_value);
    }
    add(m, "}");
    add_value(m, value);
}

static void add_labelled(struct metrics *m, const char *type, const struct metric *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_head(m, all[i].name, type, all[i].help);
        add_sample(m, all[i].name, "", NULL, NULL, all[i].value);
    }
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

/* ---------------------------------------------------------------- histograms */

/* Writes a bound as clients of Prometheus in Python do, "1.0", because sums over servers go by the
 * text of the label. */
static void write_bound(double bound, char dst[32])
{
    int n = snprintf(dst, 30, "%g", bound);
    if (strpbrk(dst, ".e") == NULL) {
        memcpy(dst + n, ".0", sizeof ".0");
    }
}

static void add_histogram(struct metrics *m, const char *name, const char *help,
                          const struct histogram *h)
{
    char bound[32];
    uint64_t n = 0;
    add_head(m, name, "histogram", help);
    for (size_t i = 0; i < h->n_bounds; i++) {
        n += h->counts[i];
        write_bound(h->bounds[i], bound);
        add_sample(m, name, "_bucket", "le", bound, (double)n);
    }
    n += h->counts[h->n_bounds];
    add_sample(m, name, "_bucket", "le", "+Inf", (double)n);
    add_sample(m, name, "_sum", NULL, NULL, h->sum);
    add_sample(m, name, "_count", NULL, NULL, (double)n);
}

static void add_histograms(struct metrics *m)
{
    const struct core_figures *f = &m->figures;
    const struct {
        const char *name, *help;
        const struct histogram *h;
    } all[] = {
        { "vllm:time_to_first_token_seconds", "Seconds from arrival to the first token.",
          &f->first_token },
        { "vllm:time_per_output_token_seconds", "Seconds between two tokens.", &f->next_token },
        { "vllm:inter_token_latency_seconds", "Seconds between two tokens.", &f->next_token },
        { "vllm:e2e_request_latency_seconds", "Seconds from arrival to the end.", &f->whole },
        { "vllm:request_queue_time_seconds", "Seconds that a request waited.", &f->queued },
        { "vllm:request_prefill_time_seconds", "Seconds from admission to the first token.",
          &f->prefill },
        { "vllm:request_decode_time_seconds", "Seconds from the first token to the last.",
          &f->decode },
        { "vllm:request_inference_time_seconds", "Seconds from admission to the last token.",
          &f->inference },
        { "vllm:request_prompt_tokens", "Tokens of a request's prompts.", &f->prompt_tokens },
        { "vllm:request_generation_tokens", "Tokens generated for a request.",
          &f->generated_tokens },
        { "vllm:request_params_max_tokens", "Most tokens that a request asked for.",
          &f->max_tokens },
        { "vllm:iteration_tokens_total", "Rows of a step of the engine.", &f->step_tokens },
    };
    for (size_t i = 0; i < LENGTH(all); i++) {
        add_histogram(m, all[i].name, all[i].help, all[i].h);
    }
}

/* ---------------------------------------------------------------- names of others */

static void add_finished(struct metrics *m)
{
    const char *name = "vllm:request_success_total";
    const uint64_t *n = m->figures.finished;
    add_head(m, name, "counter", "Requests that have ended, by reason.");
    add_sample(m, name, "", "finished_reason", "stop",
               (double)(n[FINISH_STOP] + n[FINISH_TOOL_CALLS]));
    add_sample(m, name, "", "finished_reason", "length", (double)n[FINISH_LENGTH]);
    add_sample(m, name, "", "finished_reason", "abort", (double)n[FINISH_ABORT]);
    add_sample(m, name, "", "finished_reason", "error", (double)n[FINISH_ERROR]);
}

static void add_cache_info(struct metrics *m)
{
    add_head(m, "vllm:cache_config_info", "gauge", "The KV cache, as labels.");
    addf(m, "vllm:cache_config_info{block_size=\"%zu\",num_gpu_blocks=\"%zu\",engine=\"0\"} 1\n",
         m->scope->engine_info.page, m->figures.engine.n_pages);
}

static void add_vllm(struct metrics *m)
{
    const struct core_figures *f = &m->figures;
    const struct metric gauges[] = {
        { "vllm:num_requests_running", "Requests that are computed now.", (double)f->n_running },
        { "vllm:num_requests_waiting", "Requests that wait.", (double)f->n_waiting },
        { "vllm:kv_cache_usage_perc", "Part of the KV cache that is in use, from 0 to 1.",
          ratio((double)f->engine.n_pages_used, (double)f->engine.n_pages) },
    };
    const struct metric counters[] = {
        { "vllm:prefix_cache_queries_total", "Tokens of prompts looked for in the KV cache.",
          (double)f->n_prompt },
        { "vllm:prefix_cache_hits_total", "Tokens of prompts found in the KV cache.",
          (double)f->n_cached },
        { "vllm:num_preemptions_total", "Times that a request gave its memory to others.",
          (double)f->n_parked },
        { "vllm:prompt_tokens_total", "Tokens of prompts.", (double)f->n_prompt },
        { "vllm:generation_tokens_total", "Tokens generated.", (double)f->n_generated },
    };
    add_labelled(m, "gauge", gauges, LENGTH(gauges));
    add_labelled(m, "counter", counters, LENGTH(counters));
    add_finished(m);
    if (m->ready) {
        add_cache_info(m);
    }
    add_histograms(m);
}

/* llama.cpp's server counts as tokens of prompts only those that it computed. */
static void add_llamacpp(struct metrics *m)
{
    const struct core_figures *f = &m->figures;
    const double computed = (double)(f->n_prompt - f->n_cached);
    const struct metric counters[] = {
        { "llamacpp:prompt_tokens_total", "Tokens of prompts that were computed.", computed },
        { "llamacpp:prompt_tokens_cached_total", "Tokens of prompts found in the KV cache.",
          (double)f->n_cached },
        { "llamacpp:prompt_seconds_total", "Seconds from admission to the first token.",
          f->prompt_seconds },
        { "llamacpp:tokens_predicted_total", "Tokens generated.", (double)f->n_generated },
        { "llamacpp:tokens_predicted_seconds_total", "Seconds from the first token to the last.",
          f->generated_seconds },
        { "llamacpp:n_decode_total", "Steps of the engine.", (double)f->engine.n_steps },
        { "llamacpp:n_tokens_max", "Tokens of the longest sequence so far.",
          (double)f->n_tokens_most },
        { "llamacpp:spec_decode_num_draft_tokens_total", "Always 0: nothing is drafted.", 0 },
        { "llamacpp:spec_decode_num_accepted_tokens_total", "Always 0: nothing is drafted.", 0 },
        { "llamacpp:spec_decode_num_drafts_total", "Always 0: nothing is drafted.", 0 },
    };
    const struct metric gauges[] = {
        { "llamacpp:prompt_tokens_seconds", "Tokens of prompts computed per second of a request.",
          ratio(computed, f->prompt_seconds) },
        { "llamacpp:predicted_tokens_seconds", "Tokens generated per second of a request.",
          ratio((double)f->n_generated, f->generated_seconds) },
        { "llamacpp:requests_processing", "Requests that are computed now.", (double)f->n_running },
        { "llamacpp:requests_deferred", "Requests that wait.", (double)f->n_waiting },
        { "llamacpp:n_busy_slots_per_decode", "Sequences that generate in a step, on average.",
          ratio((double)f->engine.n_decode_rows, (double)f->engine.n_steps) },
    };
    add_plain(m, "counter", counters, LENGTH(counters));
    add_plain(m, "gauge", gauges, LENGTH(gauges));
}

/* ---------------------------------------------------------------- names of our own */

static void add_memory(struct metrics *m)
{
    const weft_engine_stats *e = &m->figures.engine;
    const struct metric gauges[] = {
        { "weft_kv_pages", "Pages of the KV cache.", (double)e->n_pages },
        { "weft_kv_pages_used", "Pages that sequences use.", (double)e->n_pages_used },
        { "weft_kv_pages_shared", "Pages that more than one sequence uses.",
          (double)e->n_pages_shared },
        { "weft_kv_pages_known", "Free pages whose text can be used again.",
          (double)e->n_pages_known },
        { "weft_kv_bytes", "Memory of the KV cache.", (double)e->kv_bytes },
        { "weft_weight_bytes", "Memory of the weights.", (double)e->weight_bytes },
        { "weft_scratch_bytes", "Memory of a step.", (double)e->scratch_bytes },
        { "weft_sequence_bytes", "Host memory of sequences.", (double)e->seq_bytes },
        { "weft_sequences", "Open sequences.", (double)e->n_seqs },
        { "weft_sequence_tokens", "Tokens of the open sequences.", (double)e->n_tokens },
    };
    add_plain(m, "gauge", gauges, LENGTH(gauges));
}

static void add_work(struct metrics *m)
{
    const weft_engine_stats *e = &m->figures.engine;
    const struct metric counters[] = {
        { "weft_steps_total", "Steps of the engine.", (double)e->n_steps },
        { "weft_prompt_rows_total", "Rows computed of prompts.", (double)e->n_prompt_rows },
        { "weft_decode_rows_total", "Rows computed of drawn tokens.", (double)e->n_decode_rows },
        { "weft_cached_rows_total", "Rows found in the KV cache.", (double)e->n_cached },
        { "weft_page_copies_total", "Shared pages that were copied.", (double)e->n_page_copies },
        { "weft_cancelled_total", "Sequences that were cancelled.", (double)e->n_cancelled },
        { "weft_kv_full_total", "Calls that found the KV cache full.", (double)e->n_kv_full },
        { "weft_parked_total", "Times that a request gave its memory to others.",
          (double)m->figures.n_parked },
    };
    add_plain(m, "counter", counters, LENGTH(counters));
}

static void add_requests(struct metrics *m)
{
    static const char *const reasons[N_FINISH] = {
        [FINISH_STOP] = "stop",   [FINISH_LENGTH] = "length", [FINISH_TOOL_CALLS] = "tool_calls",
        [FINISH_ABORT] = "abort", [FINISH_ERROR] = "error",
    };
    add_head(m, "weft_requests_total", "counter", "Requests that have ended, by reason.");
    for (size_t i = 0; i < N_FINISH; i++) {
        addf(m, "weft_requests_total{finish=\"%s\"} %" PRIu64 "\n", reasons[i],
             m->figures.finished[i]);
    }
}

/* A probe sees by the last one that work waits and nothing is computed. */
static void add_state(struct metrics *m)
{
    const double last = m->figures.last_step;
    const struct metric gauges[] = {
        { "weft_ready", "1 = the model is loaded and can be used.", m->ready },
        { "weft_requests_running", "Requests that are computed now.",
          (double)m->figures.n_running },
        { "weft_requests_waiting", "Requests that wait.", (double)m->figures.n_waiting },
        { "weft_parallel", "Requests that can be computed at once.",
          m->ready ? (double)m->scope->n_parallel : 0 },
        { "weft_since_last_step_seconds", "Seconds since a step has ended; 0 = none yet.",
          last > 0 ? figures_now() - last : 0 },
    };
    add_head(m, "weft_build_info", "gauge", "The version, as a label.");
    addf(m, "weft_build_info{version=\"%s\"} 1\n", weft_version());
    add_plain(m, "gauge", gauges, LENGTH(gauges));
}

static void add_http(struct metrics *m, const struct http_figures *h)
{
    const struct metric gauges[] = {
        { "weft_connections", "Open connections.", (double)h->n_connections },
        { "weft_connections_paused", "Requests whose client reads slowly.", (double)h->n_paused },
        { "weft_draining", "1 = the server is shutting down.", h->draining },
    };
    const struct metric counters[] = {
        { "weft_connections_total", "Connections that were accepted.", (double)h->n_accepted },
        { "weft_connections_refused_total", "Connections that were too many.",
          (double)h->n_refused },
        { "weft_clients_gone_total", "Clients that left before their answer was complete.",
          (double)h->n_gone },
        { "weft_clients_slow_total", "Clients that were given up because they did not read.",
          (double)h->n_slow },
        { "weft_in_bytes_total", "Bytes received.", (double)h->bytes_in },
        { "weft_out_bytes_total", "Bytes sent.", (double)h->bytes_out },
    };
    add_plain(m, "gauge", gauges, LENGTH(gauges));
    add_plain(m, "counter", counters, LENGTH(counters));
    add_head(m, "weft_http_requests_total", "counter", "Requests answered, by route and status.");
    for (size_t i = 0; i < h->n_counts; i++) {
        addf(m, "weft_http_requests_total{route=\"%s\",status=\"%d\"} %" PRIu64 "\n",
             h->counts[i].route, h->counts[i].status, h->counts[i].n);
    }
}

/* ---------------------------------------------------------------- the whole */

/* Appends a label's value with backslashes where the format wants them, and '?' for bytes that are
 * not UTF-8. */
static bool add_escaped(struct bytes *out, const char *text)
{
    const size_t n = strlen(text);
    bool ok = true;
    for (size_t i = 0; i < n && ok;) {
        size_t len;
        if (utf8_next(text + i, n - i, &len) != UTF8_CHAR) {
            ok = text_add(out, "?", 1);
        } else if (text[i] == '\n') {
            ok = text_add(out, "\\n", 2);
        } else {
            ok = ((text[i] != '"' && text[i] != '\\') || text_add(out, "\\", 1)) &&
                 text_add(out, text + i, len);
        }
        i += len;
    }
    return ok;
}

static bool make_labels(struct bytes *labels, const char *model)
{
    static const char before[] = "model_name=\"", behind[] = "\",engine=\"0\"";
    return text_add(labels, before, strlen(before)) && add_escaped(labels, model) &&
           text_add(labels, behind, strlen(behind));
}

char *describe_metrics(struct core *core, const struct http_figures *http)
{
    struct metrics m = { .scope = core_scope(core), .ready = describe_scope(core) != NULL };
    core_figures(core, &m.figures);
    if (make_labels(&m.labels, describe_name(core))) {
        add_state(&m);
        add_requests(&m);
        add_work(&m);
        add_memory(&m);
        if (http != NULL) {
            add_http(&m, http);
        }
        add_vllm(&m);
        add_llamacpp(&m);
    } else {
        m.failed = true;
    }
    bytes_free(&m.labels);
    if (m.failed) {
        bytes_free(&m.out);
        return NULL;
    }
    return m.out.data;
}
