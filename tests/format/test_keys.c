/* The table of metadata keys: it holds every key that is known in the field, each once; where Weft
 * does not obey a key that changes the computation, it refuses values that would change something
 * and accepts the others; a key outside the table stops no file, and is named in the log and by the
 * file's API. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/keys.h"
#include "support/edit.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

/* The keys of a qwen2 model in gguf-py/gguf/constants.py, 0.19.0, and further keys, from
 * llama.cpp's src/llama-arch.cpp and from other programs that write GGUF. */
static const char *const field[] = {
    "adapter.alora.invocation_tokens",
    "adapter.lora.alpha",
    "adapter.lora.prompt_prefix",
    "adapter.lora.task_name",
    "adapter.type",
    "clip.audio.attention.head_count",
    "clip.audio.attention.layer_norm_epsilon",
    "clip.audio.block_count",
    "clip.audio.chunk_size",
    "clip.audio.conv_kernel_size",
    "clip.audio.embedding_length",
    "clip.audio.feed_forward_length",
    "clip.audio.max_pos_emb",
    "clip.audio.num_mel_bins",
    "clip.audio.projection_dim",
    "clip.audio.projector.downsample_rate",
    "clip.audio.projector.head_count",
    "clip.audio.projector.stack_factor",
    "clip.audio.projector.window_size",
    "clip.audio.projector_type",
    "clip.has_audio_encoder",
    "clip.has_llava_projector",
    "clip.has_vision_encoder",
    "clip.projector_type",
    "clip.use_gelu",
    "clip.use_silu",
    "clip.vision.attention.head_count",
    "clip.vision.attention.layer_norm_epsilon",
    "clip.vision.block_count",
    "clip.vision.embedding_length",
    "clip.vision.feed_forward_length",
    "clip.vision.image_max_pixels",
    "clip.vision.image_mean",
    "clip.vision.image_min_pixels",
    "clip.vision.image_size",
    "clip.vision.image_std",
    "clip.vision.is_deepstack_layers",
    "clip.vision.n_wa_pattern",
    "clip.vision.patch_size",
    "clip.vision.preproc_image_size",
    "clip.vision.preproc_max_tiles",
    "clip.vision.preproc_min_tiles",
    "clip.vision.projection_dim",
    "clip.vision.projector.scale_factor",
    "clip.vision.projector_type",
    "clip.vision.sam.block_count",
    "clip.vision.sam.embedding_length",
    "clip.vision.sam.head_count",
    "clip.vision.spatial_merge_size",
    "clip.vision.wa_layer_indexes",
    "clip.vision.window_size",
    "diffusion.shift_logits",
    "general.alignment",
    "general.architecture",
    "general.author",
    "general.base_model.count",
    "general.base_model.0.author",
    "general.base_model.0.description",
    "general.base_model.0.doi",
    "general.base_model.0.name",
    "general.base_model.0.organization",
    "general.base_model.0.repo_url",
    "general.base_model.0.url",
    "general.base_model.0.uuid",
    "general.base_model.0.version",
    "general.basename",
    "general.dataset.count",
    "general.dataset.0.author",
    "general.dataset.0.description",
    "general.dataset.0.doi",
    "general.dataset.0.name",
    "general.dataset.0.organization",
    "general.dataset.0.repo_url",
    "general.dataset.0.url",
    "general.dataset.0.uuid",
    "general.dataset.0.version",
    "general.description",
    "general.doi",
    "general.file_type",
    "general.finetune",
    "general.languages",
    "general.license",
    "general.license.link",
    "general.license.name",
    "general.name",
    "general.organization",
    "general.quantization_version",
    "general.quantized_by",
    "general.repo_url",
    "general.sampling.min_p",
    "general.sampling.mirostat",
    "general.sampling.mirostat_eta",
    "general.sampling.mirostat_tau",
    "general.sampling.penalty_last_n",
    "general.sampling.penalty_repeat",
    "general.sampling.sequence",
    "general.sampling.temp",
    "general.sampling.top_k",
    "general.sampling.top_p",
    "general.sampling.xtc_probability",
    "general.sampling.xtc_threshold",
    "general.size_label",
    "general.source.doi",
    "general.source.repo_url",
    "general.source.url",
    "general.source.uuid",
    "general.tags",
    "general.type",
    "general.url",
    "general.uuid",
    "general.version",
    "imatrix.chunk_count",
    "imatrix.chunk_size",
    "imatrix.datasets",
    "split.count",
    "split.no",
    "split.tensors.count",
    "tokenizer.chat_template",
    "tokenizer.chat_template.rag",
    "tokenizer.chat_templates",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.fim_mid_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_pre_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
    "tokenizer.ggml.fim_suf_token_id",
    "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.middle_token_id",
    "tokenizer.ggml.model",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.precompiled_charsmap",
    "tokenizer.ggml.prefix_token_id",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.token_type_count",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.huggingface.json",
    "tokenizer.rwkv.world",
    "xielu.alpha_n",
    "xielu.alpha_p",
    "xielu.beta",
    "xielu.eps",
    "qwen2.activation_sparsity_scale",
    "qwen2.altup.active_idx",
    "qwen2.altup.num_inputs",
    "qwen2.attention.causal",
    "qwen2.attention.clamp_kqv",
    "qwen2.attention.decay_lora_rank",
    "qwen2.attention.gate_lora_rank",
    "qwen2.attention.group_norm_epsilon",
    "qwen2.attention.group_norm_groups",
    "qwen2.attention.head_count",
    "qwen2.attention.head_count_kv",
    "qwen2.attention.iclr_lora_rank",
    "qwen2.attention.indexer.head_count",
    "qwen2.attention.indexer.key_length",
    "qwen2.attention.indexer.top_k",
    "qwen2.attention.key_length",
    "qwen2.attention.key_length_mla",
    "qwen2.attention.key_length_swa",
    "qwen2.attention.kv_lora_rank",
    "qwen2.attention.layer_norm_epsilon",
    "qwen2.attention.layer_norm_rms_epsilon",
    "qwen2.attention.max_alibi_bias",
    "qwen2.attention.output_scale",
    "qwen2.attention.q_lora_rank",
    "qwen2.attention.relative_buckets_count",
    "qwen2.attention.scale",
    "qwen2.attention.shared_kv_layers",
    "qwen2.attention.sliding_window",
    "qwen2.attention.sliding_window_pattern",
    "qwen2.attention.temperature_length",
    "qwen2.attention.temperature_scale",
    "qwen2.attention.value_length",
    "qwen2.attention.value_length_mla",
    "qwen2.attention.value_length_swa",
    "qwen2.attention.value_residual_mix_lora_rank",
    "qwen2.attn_logit_softcapping",
    "qwen2.block_count",
    "qwen2.classifier.output_labels",
    "qwen2.context_length",
    "qwen2.convnext.block_count",
    "qwen2.convnext.embedding_length",
    "qwen2.decoder_block_count",
    "qwen2.decoder_start_token_id",
    "qwen2.embedding_length",
    "qwen2.embedding_length_out",
    "qwen2.embedding_length_per_layer_input",
    "qwen2.embedding_scale",
    "qwen2.expert_chunk_feed_forward_length",
    "qwen2.expert_count",
    "qwen2.expert_feed_forward_length",
    "qwen2.expert_gating_func",
    "qwen2.expert_group_count",
    "qwen2.expert_group_scale",
    "qwen2.expert_group_used_count",
    "qwen2.expert_shared_count",
    "qwen2.expert_shared_feed_forward_length",
    "qwen2.expert_used_count",
    "qwen2.expert_weights_norm",
    "qwen2.expert_weights_scale",
    "qwen2.experts_per_group",
    "qwen2.features_length",
    "qwen2.feed_forward_length",
    "qwen2.final_logit_softcapping",
    "qwen2.full_attention_interval",
    "qwen2.interleave_moe_layer_step",
    "qwen2.kda.head_dim",
    "qwen2.leading_dense_block_count",
    "qwen2.logit_scale",
    "qwen2.moe_every_n_layers",
    "qwen2.moe_latent_size",
    "qwen2.n_deepstack_layers",
    "qwen2.nextn_predict_layers",
    "qwen2.pooling_type",
    "qwen2.posnet.block_count",
    "qwen2.posnet.embedding_length",
    "qwen2.rescale_every_n_layers",
    "qwen2.residual_scale",
    "qwen2.rope.dimension_count",
    "qwen2.rope.dimension_count_swa",
    "qwen2.rope.dimension_sections",
    "qwen2.rope.freq_base",
    "qwen2.rope.freq_base_swa",
    "qwen2.rope.scaling.alpha",
    "qwen2.rope.scaling.attn_factor",
    "qwen2.rope.scaling.factor",
    "qwen2.rope.scaling.finetuned",
    "qwen2.rope.scaling.original_context_length",
    "qwen2.rope.scaling.type",
    "qwen2.rope.scaling.yarn_attn_factor",
    "qwen2.rope.scaling.yarn_beta_fast",
    "qwen2.rope.scaling.yarn_beta_slow",
    "qwen2.rope.scaling.yarn_ext_factor",
    "qwen2.rope.scaling.yarn_log_multiplier",
    "qwen2.router_logit_softcapping",
    "qwen2.shortconv.l_cache",
    "qwen2.ssm.conv_kernel",
    "qwen2.ssm.dt_b_c_rms",
    "qwen2.ssm.group_count",
    "qwen2.ssm.inner_size",
    "qwen2.ssm.state_size",
    "qwen2.ssm.time_step_rank",
    "qwen2.swiglu_clamp_exp",
    "qwen2.swiglu_clamp_shexp",
    "qwen2.swin_norm",
    "qwen2.tensor_data_layout",
    "qwen2.time_decay_extra_dim",
    "qwen2.time_mix_extra_dim",
    "qwen2.token_shift_count",
    "qwen2.use_parallel_residual",
    "qwen2.vocab_size",
    "qwen2.wkv.head_size",
    "qwen2.dense_2_feat_in",
    "qwen2.dense_2_feat_out",
    "qwen2.dense_3_feat_in",
    "qwen2.rope.scale_linear",
    "tokenizer.ggml.eos_token_ids",
    "qwen2.attention.compress_ratios",
    "qwen2.attention.compress_rope_freq_base",
    "qwen2.attention.output_group_count",
    "qwen2.attention.output_lora_rank",
    "qwen2.attention.recurrent_layers",
    "qwen2.attention.value_scale",
    "qwen2.deepstack_mapping",
    "qwen2.hash_layer_count",
    "qwen2.hidden_activation",
    "qwen2.hyper_connection.count",
    "qwen2.hyper_connection.epsilon",
    "qwen2.norm_before_residual",
    "qwen2.target_hidden_size",
    "qwen2.target_layers",
    "general.source.huggingface.repository",
    "tokenizer.ggml.normalizer.lowercase",
    "tokenizer.ggml.normalizer.strip_accents",
    "tokenizer.ggml.suppress_tokens",
};
enum { N_FIELD = sizeof field / sizeof field[0] };

/* Models: dim 64, heads of 16, RoPE's base 10^6; YaRN by 4. */
static const char *plain, *windowed, *stretched;
static const char *edited;

static int setup(void **state)
{
    (void)state;
    struct synth_spec s;
    assert_true(synth_preset("tiny-qwen2", &s));
    plain = model_file_of(&s);
    s.sliding_window = 8;
    windowed = model_file_of(&s);
    s.sliding_window = 0;
    s.rope_scaling_type = "yarn";
    s.rope_scaling_factor = 4;
    stretched = model_file_of(&s);
    edited = model_path("edited.gguf");
    return 0;
}

/* ---------------------------------------------------------------- the table */

static void test_known(void **state)
{
    (void)state;
    struct gguf *g;
    OK(gguf_open(plain, true, &g, E));
    for (size_t i = 0; i < N_FIELD; i++) {
        if (keys_find(g, field[i]) == NULL) {
            fail_msg("%s has no row", field[i]);
        }
    }
    gguf_close(g);
}

/* Writes a name that the row stands for. */
static void name_of(const struct key_rule *rule, char *dst, size_t cap)
{
    const char *star = strchr(rule->name, '*');
    int before = star != NULL ? (int)(star - rule->name) : (int)strlen(rule->name);
    snprintf(dst, cap, "%s%.*s%s%s", rule->name[0] == '.' ? "qwen2" : "", before, rule->name,
             star != NULL ? "x" : "", star != NULL ? star + 1 : "");
}

/* Every row of the table is found by a name that it stands for: no row before it matches the name.
 */
static void test_once(void **state)
{
    (void)state;
    struct gguf *g;
    char name[96];
    OK(gguf_open(plain, true, &g, E));
    for (size_t i = 0; keys_at(i) != NULL; i++) {
        const struct key_rule *rule = keys_at(i);
        name_of(rule, name, sizeof name);
        if (keys_find(g, name) != rule) {
            fail_msg("%s is also what %s stands for", rule->name, keys_find(g, name)->name);
        }
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(keys_at(j)->name, rule->name);
        }
        assert_int_not_equal(rule->use, WEFT_KEY_UNKNOWN);
        assert_int_equal(rule->use == WEFT_KEY_REFUSED, rule->what != NULL);
    }
    gguf_close(g);
}

static void test_names(void **state)
{
    (void)state;
    struct gguf *g;
    OK(gguf_open(plain, true, &g, E));
    assert_int_equal(keys_use(g, "qwen2.context_length"), WEFT_KEY_OBEYED);
    assert_int_equal(keys_use(g, "qwen2.logit_scale"), WEFT_KEY_REFUSED);
    assert_int_equal(keys_use(g, "qwen2.vocab_size"), WEFT_KEY_HARMLESS);
    /* Keys of another architecture or of none, and keys that are a letter or a word longer or
     * shorter than a known key. */
    assert_int_equal(keys_use(g, "llama.context_length"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, ".context_length"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "context_length"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "qwen2context_length"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "qwen2.context_lengths"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "qwen2.context"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "qwen2"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "q"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "qwen2.general.name"), WEFT_KEY_UNKNOWN);
    assert_int_equal(keys_use(g, "qwen2.attention.q_lora_rank"), WEFT_KEY_HARMLESS);
    assert_int_equal(keys_use(g, "qwen2.attention.q_lora_ranks"), WEFT_KEY_UNKNOWN);
    gguf_close(g);
}

/* ---------------------------------------------------------------- refusing */

static weft_status open_with(const char *path, const struct edit *e, bool vocab_only)
{
    weft_model *model = NULL;
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    p.vocab_only = vocab_only;
    edit_model(path, edited, e, 1);
    rig_err = (weft_error){ 0 };
    weft_status status = weft_model_open(edited, &p, &model, E);
    weft_model_release(&model);
    return status;
}

static void takes(const char *path, struct edit e)
{
    if (open_with(path, &e, false) != WEFT_OK) {
        fail_msg("%s: %s", e.name, rig_err.message);
    }
}

static void refuses(const char *path, struct edit e, weft_status want)
{
    if (open_with(path, &e, false) != want) {
        fail_msg("%s: %s, expected %s", e.name, weft_status_name(rig_err.code),
                 weft_status_name(want));
    }
    WORDS(edited, e.name);
}

/* Values of a key that are accepted, and values that are refused; EDIT_KEY_DROP fills the places
 * that are not used. */
struct values {
    struct edit good[3], bad[3];
};

static struct values values_of(const struct key_rule *rule, const char *key)
{
    static const int32_t text[4] = { 3, 3, 2, 0 }, none[4], image[4] = { 2, 2, 2, 2 };
#define NUMBER(v)                                                                                  \
    {                                                                                              \
        .what = EDIT_KEY_F32, .name = key, .f = (float)(v)                                         \
    }
#define WHOLE(v)                                                                                   \
    {                                                                                              \
        .what = EDIT_KEY_U32, .name = key, .u = v                                                  \
    }
#define ARRAY(v)                                                                                   \
    {                                                                                              \
        .what = EDIT_KEY_ARRAY, .name = key, .u = GGUF_I32, .values = v, .ne = { 4 }               \
    }
#define TEXT(v)                                                                                    \
    {                                                                                              \
        .what = EDIT_KEY_STR, .name = key, .s = v                                                  \
    }
    switch (rule->test) {
    case KEY_NUMBER:
        return (struct values){
            { NUMBER(rule->low), NUMBER(rule->high), WHOLE((uint32_t)rule->low) },
            { NUMBER(rule->high + 0.5), WHOLE((uint32_t)rule->high + 1), NUMBER(NAN) }
        };
    case KEY_EMPTY:
        return (struct values){ { TEXT(""), { .what = EDIT_KEY_TYPE, .name = key, .u = GGUF_ARR } },
                                { TEXT("a"), TEXT("abc") } };
    case KEY_SILU:
        return (struct values){ { TEXT("silu"), TEXT("swish") }, { TEXT("gelu"), TEXT("") } };
    case KEY_DIM: return (struct values){ { WHOLE(64), WHOLE(0) }, { WHOLE(65), WHOLE(1) } };
    case KEY_HEAD_DIM:
    case KEY_N_ROT: return (struct values){ { WHOLE(16), WHOLE(0) }, { WHOLE(8), WHOLE(1) } };
    case KEY_ROPE_BASE: return (struct values){ { NUMBER(1e6), NUMBER(0) }, { NUMBER(1e4) } };
    case KEY_SCALE:
        return (struct values){ { NUMBER(0.25), NUMBER(0), NUMBER(0.25 + 0x1p-25) },
                                { NUMBER(0.125), NUMBER(1), NUMBER(0.25 + 0x1p-20) } };
    case KEY_PATTERN: return (struct values){ { WHOLE(0) }, { WHOLE(1), WHOLE(2) } };
    case KEY_SECTIONS:
        return (struct values){ { ARRAY(text), ARRAY(none), WHOLE(0) },
                                { ARRAY(image), WHOLE(8), NUMBER(NAN) } };
    case KEY_YARN_FACTOR:
        return (struct values){ { NUMBER(1), NUMBER(1.1386294f), NUMBER(1.1386f) },
                                { NUMBER(0), NUMBER(1.138), NUMBER(NAN) } };
    }
    return (struct values){ { { 0 } }, { { 0 } } };
}

static void test_refused(void **state)
{
    (void)state;
    char name[96];
    size_t n = 0;
    for (size_t i = 0; keys_at(i) != NULL; i++) {
        const struct key_rule *rule = keys_at(i);
        if (rule->use != WEFT_KEY_REFUSED) {
            continue;
        }
        name_of(rule, name, sizeof name);
        const struct values v = values_of(rule, name);
        const char *path = rule->windowed ? windowed : rule->of_yarn ? stretched : plain;
        assert_true(v.good[0].name != NULL && v.bad[0].name != NULL);
        for (size_t j = 0; j < 3; j++) {
            if (v.good[j].name != NULL) {
                takes(path, v.good[j]);
            }
            if (v.bad[j].name != NULL) {
                refuses(path, v.bad[j], WEFT_E_UNSUPPORTED);
                WORDS(rule->what);
            }
        }
        if (rule->windowed || rule->of_yarn) {
            takes(plain, v.bad[0]);
        }
        n++;
    }
    assert_true(n > 30);
}

/* Checks the words of the messages. */
static void test_messages(void **state)
{
    (void)state;
#define TRUE_OF(key) { .what = EDIT_KEY_TYPE, .name = key, .u = GGUF_BOOL }
    takes(plain, (struct edit)TRUE_OF("qwen2.attention.causal"));
    refuses(plain, (struct edit)TRUE_OF("qwen2.swin_norm"), WEFT_E_UNSUPPORTED);
    WORDS("swin_norm is true", "runs models where this is false");
    refuses(plain, (struct edit){ .what = EDIT_KEY_F32, .name = "qwen2.logit_scale", .f = 0.0625f },
            WEFT_E_UNSUPPORTED);
    WORDS("logit_scale is 0.0625", "a scale of the logits", "0 or 1");
    refuses(plain, (struct edit){ .what = EDIT_KEY_STR, .name = "qwen2.logit_scale", .s = "1" },
            WEFT_E_FORMAT);
    WORDS("is str", "a number is expected");
    refuses(plain,
            (struct edit){ .what = EDIT_KEY_U32, .name = "tokenizer.ggml.suppress_tokens", .u = 1 },
            WEFT_E_FORMAT);
    WORDS("is u32", "an array is expected");
    refuses(plain, (struct edit){ .what = EDIT_KEY_U32, .name = "qwen2.hidden_activation", .u = 1 },
            WEFT_E_FORMAT);
}

/* A model that is opened for its vocabulary needs only the keys of its tokenizer. */
static void test_vocab_only(void **state)
{
    (void)state;
    const struct edit scale = { .what = EDIT_KEY_F32, .name = "qwen2.logit_scale", .f = 2 };
    const struct edit spaces = { .what = EDIT_KEY_U32,
                                 .name = "tokenizer.ggml.remove_extra_whitespaces",
                                 .u = 1 };
    const struct edit banned = { .what = EDIT_KEY_STR,
                                 .name = "tokenizer.ggml.suppress_tokens",
                                 .s = "a" };
    assert_int_equal(open_with(plain, &scale, true), WEFT_OK);
    assert_int_equal(open_with(plain, &banned, true), WEFT_OK);
    assert_int_equal(open_with(plain, &spaces, true), WEFT_E_UNSUPPORTED);
    WORDS("remove_extra_whitespaces is 1");
}

/* Each layer may have a value of its own, in an array. */
static void test_arrays(void **state)
{
    (void)state;
    static const uint32_t zeros[2], mixed[2] = { 0, 3 };
    static const uint8_t all[2] = { 1, 1 }, some[2] = { 1, 0 };
    static const struct {
        const char *key;
        enum gguf_type element;
        const void *values;
        const char *word; /* NULL = the values are accepted */
    } cases[] = {
        { "qwen2.swiglu_clamp_exp", GGUF_U32, zeros, NULL },
        { "qwen2.swiglu_clamp_exp", GGUF_U32, mixed, "is 3 at 1" },
        { "qwen2.attention.sliding_window_pattern", GGUF_BOOL, all, NULL },
        { "qwen2.attention.sliding_window_pattern", GGUF_BOOL, some, "is false at 1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct edit e = { .what = EDIT_KEY_ARRAY,
                                .name = cases[i].key,
                                .u = cases[i].element,
                                .values = cases[i].values,
                                .ne = { 2 } };
        if (cases[i].word == NULL) {
            takes(windowed, e);
        } else {
            refuses(windowed, e, WEFT_E_UNSUPPORTED);
            WORDS(cases[i].word);
        }
    }
}

/* Converters write these values into real files of the architectures that Weft runs. All are
 * accepted. */
static void test_real_values(void **state)
{
    (void)state;
    static const struct edit real[] = {
        { .what = EDIT_KEY_U32, .name = "qwen2.vocab_size", .u = 640 },
        { .what = EDIT_KEY_U32, .name = "qwen2.rope.dimension_count", .u = 16 },
        { .what = EDIT_KEY_U32, .name = "qwen2.attention.key_length", .u = 16 },
        { .what = EDIT_KEY_U32, .name = "qwen2.pooling_type", .u = 3 },
        { .what = EDIT_KEY_U32, .name = "qwen2.expert_count", .u = 0 },
        { .what = EDIT_KEY_U32, .name = "qwen2.expert_used_count", .u = 2 },
        { .what = EDIT_KEY_U32, .name = "qwen2.expert_gating_func", .u = 2 },
        { .what = EDIT_KEY_U32, .name = "qwen2.leading_dense_block_count", .u = 1 },
        { .what = EDIT_KEY_STR, .name = "qwen2.rope.scaling.type", .s = "none" },
        { .what = EDIT_KEY_STR, .name = "qwen2.rope.scaling.type", .s = "linear" },
        { .what = EDIT_KEY_F32, .name = "qwen2.rope.scaling.attn_factor", .f = 1 },
        { .what = EDIT_KEY_F32, .name = "qwen2.attention.layer_norm_epsilon", .f = 1e-5f },
        { .what = EDIT_KEY_STR, .name = "qwen2.tensor_data_layout", .s = "Meta AI original pth" },
        { .what = EDIT_KEY_STR, .name = "tokenizer.ggml.precompiled_charsmap", .s = "" },
        { .what = EDIT_KEY_STR, .name = "tokenizer.huggingface.json", .s = "{}" },
        { .what = EDIT_KEY_STR, .name = "general.type", .s = "model" },
    };
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        takes(plain, real[i]);
    }
}

/* ---------------------------------------------------------------- outside the table */

struct lines {
    size_t n_warnings;
    char text[1024]; /* of the last warning */
};

static void on_log(void *user, weft_log_level level, const char *text)
{
    struct lines *l = user;
    if (level == WEFT_LOG_WARN) {
        l->n_warnings++;
        snprintf(l->text, sizeof l->text, "%s", text);
    }
}

static struct lines log_of(const struct edit *edits, size_t n)
{
    struct lines l = { 0 };
    weft_model *model = NULL;
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    p.log = on_log;
    p.log_user = &l;
    edit_model(plain, edited, edits, n);
    OK(weft_model_open(edited, &p, &model, E));
    weft_model_release(&model);
    return l;
}

static void test_unknown(void **state)
{
    (void)state;
    const struct edit edits[] = {
        { .what = EDIT_KEY_U32, .name = "qwen2.new_number", .u = 7 },
        { .what = EDIT_KEY_STR, .name = "qwen2.attention.new_kind", .s = "odd" },
        { .what = EDIT_KEY_STR, .name = "somebody.note", .s = "hello" },
    };
    struct lines l = log_of(edits, 3);
    assert_int_equal(l.n_warnings, 1);
    assert_non_null(strstr(l.text, "qwen2.new_number, qwen2.attention.new_kind"));
    assert_null(strstr(l.text, "somebody"));
    /* A key that does not begin with the architecture's name (somebody.note) causes no warning. */
    assert_int_equal(log_of(&edits[2], 1).n_warnings, 0);
    assert_int_equal(log_of(NULL, 0).n_warnings, 0);
}

static void test_many_unknown(void **state)
{
    (void)state;
    struct edit edits[50];
    char names[50][32];
    for (size_t i = 0; i < 50; i++) {
        snprintf(names[i], sizeof names[i], "qwen2.new_number_%02zu", i);
        edits[i] = (struct edit){ .what = EDIT_KEY_U32, .name = names[i], .u = 7 };
    }
    struct lines l = log_of(edits, 50);
    size_t named = 0;
    for (const char *c = l.text; (c = strstr(c, "new_number_")) != NULL; c++) {
        named++;
    }
    char more[32];
    snprintf(more, sizeof more, " and %zu more", 50 - named);
    assert_int_equal(l.n_warnings, 1);
    assert_in_range(named, 10, 49);
    assert_non_null(strstr(l.text, more));
}

/* weft_file_key_use() agrees with the log about every key. */
static void test_file(void **state)
{
    (void)state;
    const struct edit edits[] = { { .what = EDIT_KEY_U32, .name = "qwen2.new_number", .u = 7 },
                                  { .what = EDIT_KEY_U32, .name = "qwen2.expert_count", .u = 0 },
                                  { .what = EDIT_KEY_STR, .name = "somebody.note", .s = "hello" } };
    weft_file *file = NULL;
    weft_key_use use;
    size_t n_unknown = 0;
    edit_model(plain, edited, edits, 3);
    OK(weft_file_open(edited, &file, E));
    for (size_t i = 0; i < weft_file_n_keys(file); i++) {
        weft_key_info key;
        OK(weft_file_key(file, i, &key, E));
        OK(weft_file_key_use(file, i, &use, E));
        n_unknown += use == WEFT_KEY_UNKNOWN;
        if (strcmp(key.name, "qwen2.expert_count") == 0) {
            assert_int_equal(use, WEFT_KEY_REFUSED);
        } else if (strcmp(key.name, "general.architecture") == 0) {
            assert_int_equal(use, WEFT_KEY_OBEYED);
        }
    }
    assert_int_equal(n_unknown, 2);
    FAILS(WEFT_E_ARG, weft_file_key_use(file, weft_file_n_keys(file), &use, E));
    weft_file_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),    cmocka_unit_test(test_once),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_messages), cmocka_unit_test(test_vocab_only),
        cmocka_unit_test(test_arrays),   cmocka_unit_test(test_real_values),
        cmocka_unit_test(test_unknown),  cmocka_unit_test(test_many_unknown),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
