/* The table of keys, and finding a key in it. The names are those of gguf-py/gguf/constants.py and
 * src/llama-arch.cpp of llama.cpp. */
#include "format/keys.h"

#include <stdio.h>
#include <string.h>

#define OBEYED(key)                                                                                \
    {                                                                                              \
        .name = key, .use = WEFT_KEY_OBEYED                                                        \
    }
#define HARMLESS(key)                                                                              \
    {                                                                                              \
        .name = key, .use = WEFT_KEY_HARMLESS                                                      \
    }
#define REFUSED(key, kind, a, b, text)                                                             \
    {                                                                                              \
        .name = key, .use = WEFT_KEY_REFUSED, .test = kind, .low = a, .high = b, .what = text      \
    }
#define NUMBER(key, a, b, text) REFUSED(key, KEY_NUMBER, a, b, text)
#define BOOL(key, a, text) NUMBER(key, a, a, text)
#define LIKE(key, kind, text) REFUSED(key, kind, 0, 0, text)
#define WINDOWED(key, kind, text)                                                                  \
    {                                                                                              \
        .name = key, .use = WEFT_KEY_REFUSED, .test = kind, .windowed = true, .what = text         \
    }

#define OF_YARN(key, kind, a, text)                                                                \
    {                                                                                              \
        .name = key, .use = WEFT_KEY_REFUSED, .test = kind, .low = a, .high = a, .of_yarn = true,  \
        .what = text                                                                               \
    }

// clang-format off
static const struct key_rule table[] = {
    /* the file */
    OBEYED("general.architecture"),
    OBEYED("general.alignment"),
    OBEYED("general.name"), /* Phi-3's special tokens are recognised by it */
    HARMLESS("general.type"),
    HARMLESS("general.quantization_version"),
    HARMLESS("general.file_type"),
    HARMLESS("general.author"),
    HARMLESS("general.version"),
    HARMLESS("general.organization"),
    HARMLESS("general.finetune"),
    HARMLESS("general.basename"),
    HARMLESS("general.description"),
    HARMLESS("general.quantized_by"),
    HARMLESS("general.size_label"),
    HARMLESS("general.parameter_count"),
    HARMLESS("general.parameter_class_attribute"),
    HARMLESS("general.parameter_weight_class"),
    HARMLESS("general.license"),
    HARMLESS("general.license.*"),
    HARMLESS("general.url"),
    HARMLESS("general.doi"),
    HARMLESS("general.uuid"),
    HARMLESS("general.repo_url"),
    HARMLESS("general.source.*"),
    HARMLESS("general.base_model.*"),
    HARMLESS("general.dataset.*"),
    HARMLESS("general.tags"),
    HARMLESS("general.languages"),
    HARMLESS("general.datasets"),
    HARMLESS("general.base_models"),
    HARMLESS("general.tensor_extra.*"), /* how exactly another engine may compute */
    OBEYED("general.sampling.temp"),
    OBEYED("general.sampling.top_k"),
    OBEYED("general.sampling.top_p"),
    OBEYED("general.sampling.min_p"),
    OBEYED("general.sampling.penalty_repeat"),
    OBEYED("general.sampling.penalty_last_n"),
    /* settings of samplers that Weft lacks: advice on drawing, which changes nothing that the model
       computes; recommended.c remarks on them */
    HARMLESS("general.sampling.sequence"),
    HARMLESS("general.sampling.xtc_probability"),
    HARMLESS("general.sampling.xtc_threshold"),
    HARMLESS("general.sampling.mirostat"),
    HARMLESS("general.sampling.mirostat_tau"),
    HARMLESS("general.sampling.mirostat_eta"),
    OBEYED("split.no"),
    OBEYED("split.count"),
    HARMLESS("split.tensors.count"),
    HARMLESS("quantize.*"),
    HARMLESS("imatrix.*"),
    HARMLESS("adapter.*"),
    HARMLESS("clip.*"),
    HARMLESS("mradermacher.*"), /* notes of the makers of the file */
    HARMLESS("unsloth.*"),

    /* the shape of the model */
    OBEYED(".context_length"),
    OBEYED(".embedding_length"),
    OBEYED(".block_count"),
    OBEYED(".feed_forward_length"),
    OBEYED(".pooling_type"),
    OBEYED(".classifier.output_labels"),
    HARMLESS(".vocab_size"), /* the list of tokens says it */
    HARMLESS(".features_length"),
    HARMLESS(".tensor_data_layout"),
    LIKE(".embedding_length_out", KEY_DIM, "embeddings of another width"),
    NUMBER(".nextn_predict_layers", 0, 0, "layers that predict further tokens"),
    BOOL(".use_parallel_residual", 0, "attention and feed-forward side by side"),
    BOOL(".swin_norm", 0, "norms in other places"),
    NUMBER(".num_loops", 0, 1, "layers that are run several times"),
    HARMLESS(".skip_loop_final_norm"),
    NUMBER(".full_attention_interval", 0, 1, "layers with another kind of attention"),
    NUMBER(".rescale_every_n_layers", 0, 0, "states that are halved between layers"),

    /* numbers that scale or limit */
    NUMBER(".logit_scale", 0, 1, "a scale of the logits"),
    NUMBER(".embedding_scale", 0, 1, "a scale of the embeddings"),
    NUMBER(".residual_scale", 0, 1, "a scale of what a layer adds"),
    NUMBER(".attn_logit_softcapping", 0, 0, "a soft limit on the scores of attention"),
    NUMBER(".final_logit_softcapping", 0, 0, "a soft limit on the logits"),
    NUMBER(".router_logit_softcapping", 0, 0, "a soft limit on the scores of experts"),
    LIKE(".hidden_activation", KEY_SILU, "another activation function"),
    NUMBER(".swiglu_clamp_exp", 0, 0, "a limit on activations"),
    NUMBER(".swiglu_clamp_shexp", 0, 0, "a limit on activations"),
    NUMBER(".activation_sparsity_scale", 0, 0, "activations of which only the largest count"),

    /* attention */
    OBEYED(".attention.head_count"),
    OBEYED(".attention.head_count_kv"),
    OBEYED(".attention.key_length"),
    OBEYED(".attention.value_length"),
    OBEYED(".attention.layer_norm_rms_epsilon"),
    OBEYED(".attention.sliding_window"),
    HARMLESS(".attention.layer_norm_epsilon"), /* for a norm that these models do not have */
    HARMLESS(".attention.group_norm_epsilon"),
    HARMLESS(".attention.group_norm_groups"),
    BOOL(".attention.causal", 1, "attention in both directions"),
    LIKE(".attention.scale", KEY_SCALE, "another scale of the scores of attention"),
    NUMBER(".attention.output_scale", 0, 1, "a scale of the scores of attention"),
    NUMBER(".attention.value_scale", 0, 1, "a scale of the values of attention"),
    NUMBER(".attention.clamp_kqv", 0, 0, "a limit on q, k and v"),
    NUMBER(".attention.max_alibi_bias", 0, 0, "ALiBi in place of RoPE"),
    NUMBER(".attention.temperature_scale", 0, 0, "attention that sharpens with the position"),
    NUMBER(".attention.temperature_length", 0, 0, "attention that sharpens with the position"),
    NUMBER(".attention.shared_kv_layers", 0, 0, "layers that share K and V"),
    NUMBER(".attention.recurrent_layers", 0, 0, "layers without attention"),
    NUMBER(".attention.rope_pattern", 1, 1, "layers without RoPE"),
    WINDOWED(".attention.sliding_window_pattern", KEY_PATTERN, "a window that some layers do not have"),
    WINDOWED(".attention.key_length_swa", KEY_HEAD_DIM, "heads of another size where there is a window"),
    WINDOWED(".attention.value_length_swa", KEY_HEAD_DIM, "heads of another size where there is a window"),

    /* RoPE */
    OBEYED(".rope.dimension_count"),
    OBEYED(".rope.freq_base"),
    OBEYED(".rope.scale_linear"),
    OBEYED(".rope.scaling.type"),
    OBEYED(".rope.scaling.factor"),
    OBEYED(".rope.scaling.attn_factor"),
    OBEYED(".rope.scaling.original_context_length"),
    HARMLESS(".rope.scaling.finetuned"),
    /* The next three keys matter only with the type yarn. llama.cpp obeys them in files of some
       architectures and ignores them in others; their meaning is the same in all files. */
    OBEYED(".rope.scaling.yarn_beta_fast"),
    OBEYED(".rope.scaling.yarn_beta_slow"),
    OBEYED(".rope.scaling.yarn_ext_factor"),
    /* llama.cpp ignores this key and writes 1. Its converter copies a factor of the model's config
       to it: attention_factor, which replaces YaRN's own, or attn_factor, which comes on top. */
    OF_YARN(".rope.scaling.yarn_attn_factor", KEY_YARN_FACTOR, 1, "a factor of sine and cosine besides YaRN's own, or instead of it"),
    /* another factor of sine and cosine, which llama.cpp reads in two ways */
    OF_YARN(".rope.scaling.yarn_log_multiplier", KEY_NUMBER, 0, "a factor of sine and cosine that differs from YaRN's own"),
    NUMBER(".rope.scaling.alpha", 0, 1, "a scale of the base of RoPE"),
    /* The first three numbers are for positions in time, height and width, which are equal in a
       text. Positions of the fourth are 0 in a text, so that its pairs would not turn. */
    LIKE(".rope.dimension_sections", KEY_SECTIONS, "pairs that do not turn with the position"),
    WINDOWED(".rope.dimension_count_swa", KEY_N_ROT, "another RoPE where there is a window"),
    WINDOWED(".rope.freq_base_swa", KEY_ROPE_BASE, "another RoPE where there is a window"),

    /* the experts of a mixture: without experts the other keys mean nothing */
    NUMBER(".expert_count", 0, 0, "a mixture of experts"),
    HARMLESS(".expert_used_count"),
    HARMLESS(".expert_shared_count"),
    HARMLESS(".expert_group_count"),
    HARMLESS(".expert_group_used_count"),
    HARMLESS(".expert_feed_forward_length"),
    HARMLESS(".expert_shared_feed_forward_length"),
    HARMLESS(".expert_chunk_feed_forward_length"),
    HARMLESS(".expert_latent_length"),
    HARMLESS(".expert_gating_func"),
    HARMLESS(".expert_weights_scale"),
    HARMLESS(".expert_weights_norm"),
    HARMLESS(".expert_group_scale"),
    HARMLESS(".experts_per_group"),
    HARMLESS(".leading_dense_block_count"),
    HARMLESS(".moe_every_n_layers"),
    HARMLESS(".interleave_moe_layer_step"),
    HARMLESS(".moe_latent_size"),

    /* parts of other architectures: a model with such a key also has tensors, which are refused */
    HARMLESS(".attention.*_lora_rank"),
    HARMLESS(".attention.*_mla"),
    HARMLESS(".attention.*_mla_swa"),
    HARMLESS(".attention.kv_lora_rank_swa"),
    HARMLESS(".attention.relative_buckets_count"),
    HARMLESS(".attention.indexer.*"),
    HARMLESS(".attention.output_group_count"),
    HARMLESS(".attention.compress_*"),
    HARMLESS(".activation.*"),
    HARMLESS(".adapters.*"),
    HARMLESS(".altup.*"),
    HARMLESS(".attn_res.*"),
    HARMLESS(".classifier.*"),
    HARMLESS(".convnext.*"),
    HARMLESS(".hrm.*"),
    HARMLESS(".hyper_connection.*"),
    HARMLESS(".kda.*"),
    HARMLESS(".ple.*"),
    HARMLESS(".posnet.*"),
    HARMLESS(".shortconv.*"),
    HARMLESS(".ssm.*"),
    HARMLESS(".wkv.*"),
    HARMLESS(".vision.*"),
    HARMLESS(".audio.*"),
    HARMLESS(".decoder_start_token_id"),
    HARMLESS(".decoder_block_count"),
    HARMLESS(".embedding_length_per_layer_input"),
    HARMLESS(".dense_2_feat_in"),
    HARMLESS(".dense_2_feat_out"),
    HARMLESS(".dense_3_feat_in"),
    HARMLESS(".dense_3_feat_out"),
    HARMLESS(".n_deepstack_layers"), /* of images */
    HARMLESS(".deepstack_mapping"),
    HARMLESS(".hash_layer_count"),
    HARMLESS(".time_mix_extra_dim"),
    HARMLESS(".time_decay_extra_dim"),
    HARMLESS(".token_shift_count"),
    HARMLESS(".target_layers"),
    HARMLESS(".target_hidden_size"),
    HARMLESS(".norm_before_residual"),
    HARMLESS(".norm_before_fc"),
    HARMLESS(".block_size"),
    HARMLESS(".conv_kernel_size"),
    HARMLESS(".conv_group_size"),
    HARMLESS(".selector_rank"),
    HARMLESS(".selector_top_k"),
    HARMLESS("xielu.*"),
    HARMLESS("diffusion.shift_logits"),

    /* the tokenizer */
    OBEYED("tokenizer.ggml.model"),
    OBEYED("tokenizer.ggml.pre"),
    OBEYED("tokenizer.ggml.tokens"),
    OBEYED("tokenizer.ggml.token_type"),
    OBEYED("tokenizer.ggml.scores"),
    OBEYED("tokenizer.ggml.merges"),
    OBEYED("tokenizer.ggml.bos_token_id"),
    OBEYED("tokenizer.ggml.eos_token_id"),
    OBEYED("tokenizer.ggml.eos_token_ids"),
    OBEYED("tokenizer.ggml.eot_token_id"),
    OBEYED("tokenizer.ggml.eom_token_id"),
    OBEYED("tokenizer.ggml.unknown_token_id"),
    OBEYED("tokenizer.ggml.add_bos_token"),
    OBEYED("tokenizer.ggml.add_eos_token"),
    OBEYED("tokenizer.ggml.add_space_prefix"),
    /* tokens with a role are not ordinary text */
    OBEYED("tokenizer.ggml.seperator_token_id"),
    OBEYED("tokenizer.ggml.separator_token_id"),
    OBEYED("tokenizer.ggml.padding_token_id"),
    OBEYED("tokenizer.ggml.mask_token_id"),
    OBEYED("tokenizer.ggml.cls_token_id"),
    OBEYED("tokenizer.ggml.fim_pre_token_id"),
    OBEYED("tokenizer.ggml.fim_suf_token_id"),
    OBEYED("tokenizer.ggml.fim_mid_token_id"),
    OBEYED("tokenizer.ggml.fim_pad_token_id"),
    OBEYED("tokenizer.ggml.fim_rep_token_id"),
    OBEYED("tokenizer.ggml.fim_sep_token_id"),
    OBEYED("tokenizer.ggml.prefix_token_id"), /* the earlier names of the FIM keys */
    OBEYED("tokenizer.ggml.suffix_token_id"),
    OBEYED("tokenizer.ggml.middle_token_id"),
    HARMLESS("tokenizer.ggml.add_sep_token"), /* between the two texts of a pair */
    HARMLESS("tokenizer.ggml.token_type_count"),
    HARMLESS("tokenizer.ggml.added_tokens"), /* the list of tokens has them */
    BOOL("tokenizer.ggml.normalizer.*", 0, "a text that is normalised"),
    BOOL("tokenizer.ggml.remove_extra_whitespaces", 0, "spaces that are merged"),
    BOOL("tokenizer.ggml.escape_whitespaces", 1, "spaces that stay spaces"),
    LIKE("tokenizer.ggml.precompiled_charsmap", KEY_EMPTY, "a text that is normalised"),
    { .name = "tokenizer.ggml.suppress_tokens", .use = WEFT_KEY_REFUSED, .test = KEY_EMPTY,
      .drawn = true, .what = "tokens that are never drawn" },
    HARMLESS("tokenizer.huggingface.json"),
    HARMLESS("tokenizer.rwkv.world"),
    OBEYED("tokenizer.chat_template"),
    OBEYED("tokenizer.chat_template.rerank"),
    OBEYED("tokenizer.chat_template.tool_use"),
    HARMLESS("tokenizer.chat_template.*"),
    HARMLESS("tokenizer.chat_templates"),
};
// clang-format on
enum { N_RULES = sizeof table / sizeof table[0] };

const struct key_rule *keys_at(size_t i) { return i < N_RULES ? &table[i] : NULL; }

/* Returns true if the name, in which one * stands for any text, matches key[n]. */
static bool matches(const char *name, const char *key, size_t n)
{
    size_t before = strcspn(name, "*"), all = strlen(name);
    if (before == all) {
        return n == all && memcmp(key, name, n) == 0;
    }
    size_t behind = all - before - 1;
    return n >= before + behind && memcmp(key, name, before) == 0 &&
           memcmp(key + n - behind, name + before + 1, behind) == 0;
}

/* Returns the part of a key behind the architecture's name, with its dot; NULL if the key does not
 * begin with that name. */
static const char *suffix_of(const struct gguf *g, const char *key)
{
    struct gguf_str arch = { "", 0 };
    bool begins = gguf_opt_str(g, "general.architecture", &arch, NULL) == WEFT_OK && arch.n > 0 &&
                  strlen(key) > arch.n && memcmp(key, arch.s, arch.n) == 0 && key[arch.n] == '.';
    return begins ? key + arch.n : NULL;
}

const struct key_rule *keys_find(const struct gguf *g, const char *key)
{
    const char *suffix = suffix_of(g, key);
    const char *name = suffix != NULL ? suffix : key;
    size_t n = strlen(name);
    for (size_t i = 0; i < N_RULES; i++) {
        /* A suffix is compared with suffixes, a whole key with whole keys. */
        if ((table[i].name[0] == '.') == (suffix != NULL) && matches(table[i].name, name, n)) {
            return &table[i];
        }
    }
    return NULL;
}

weft_key_use keys_use(const struct gguf *g, const char *key)
{
    const struct key_rule *rule = keys_find(g, key);
    return rule != NULL ? rule->use : WEFT_KEY_UNKNOWN;
}

void keys_log(const struct gguf *g, const struct log *log)
{
    char names[400] = "";
    size_t n = 0, n_unknown = 0, n_named = 0;
    for (size_t i = 0; i < g->n_kv; i++) {
        const char *key = g->kv[i].key;
        if (suffix_of(g, key) == NULL || keys_find(g, key) != NULL) {
            continue;
        }
        n_unknown++;
        if (n + strlen(key) + 2 < sizeof names && n_named + 1 == n_unknown) {
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n > 0 ? ", " : "", key);
            n_named++;
        }
    }
    if (n_unknown > n_named) {
        log_line(log, WEFT_LOG_WARN,
                 "the file has keys that Weft does not know and does not obey: %s%s%zu more", names,
                 n_named > 0 ? " and " : "", n_unknown - n_named);
    } else if (n_unknown > 0) {
        log_line(log, WEFT_LOG_WARN,
                 "the file has keys that Weft does not know and does not obey: %s", names);
    }
}
