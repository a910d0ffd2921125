/* The built-in chat templates, and how the Jinja source in a model's file is recognised as one of
 * them. The source is not run. It is searched for marks, as llama.cpp does, but more strictly where
 * a look-alike would be rendered wrong. The models' own templates do more than the built-in ones:
 *   The date header of Llama 3.1 and later is not added (llama.cpp does not add it either).
 *   A system message of Mistral v3 stands in the first user turn instead of the last.
 *   Tools are left out, and so is the empty <think> block of a last answer (Qwen3).
 *   The only default system prompts are those of Qwen and SmolLM2.
 *   No end-of-text token follows if the assistant's turn is not opened. */
#include "text/chat_templates.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define CHATML                                                                                     \
    .system = { "<|im_start|>system\n", "<|im_end|>\n" },                                          \
    .user = { "<|im_start|>user\n", "<|im_end|>\n" },                                              \
    .assistant = { "<|im_start|>assistant\n", "<|im_end|>\n" },                                    \
    .prompt = "<|im_start|>assistant\n", .controls = { "<|im_start|>", "<|im_end|>" }

#define MISTRAL .prompt = "", .optional = { "[INST]", "[/INST]" }, .merges_system = true

static const struct chat_template templates[] = {
    { .name = "chatml", CHATML },
    { .name = "qwen2", CHATML, .default_system = "You are a helpful assistant." },
    { .name = "qwen2.5",
      CHATML,
      .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant." },
    { .name = "smollm2",
      CHATML,
      .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face" },
    { .name = "phi3",
      .system = { "<|system|>\n", "<|end|>\n" },
      .user = { "<|user|>\n", "<|end|>\n" },
      .assistant = { "<|assistant|>\n", "<|end|>\n" },
      .prompt = "<|assistant|>\n",
      /* Phi-3 medium and small also have a <|system|> token, but only that role needs it. */
      .controls = { "<|user|>", "<|assistant|>", "<|end|>" },
      .optional = { "<|system|>" } },
    { .name = "phi4-mini",
      .system = { "<|system|>", "<|end|>" },
      .user = { "<|user|>", "<|end|>" },
      .assistant = { "<|assistant|>", "<|end|>" },
      .prompt = "<|assistant|>",
      .controls = { "<|user|>", "<|assistant|>", "<|end|>" },
      .optional = { "<|system|>" } },
    { .name = "phi4",
      .system = { "<|im_start|>system<|im_sep|>", "<|im_end|>" },
      .user = { "<|im_start|>user<|im_sep|>", "<|im_end|>" },
      .assistant = { "<|im_start|>assistant<|im_sep|>", "<|im_end|>" },
      .prompt = "<|im_start|>assistant<|im_sep|>",
      .controls = { "<|im_start|>", "<|im_sep|>", "<|im_end|>" } },
    { .name = "llama2",
      .system = { "<<SYS>>\n", "\n<</SYS>>\n\n" },
      .user = { "[INST] ", " [/INST]" },
      .assistant = { " ", " " EOS },
      .prompt = "",
      .optional = { "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>" },
      .merges_system = true,
      .next_bos = true,
      .trim_user = true,
      .trim_assistant = true },
    { .name = "llama3",
      .system = { "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>" },
      .user = { "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>" },
      .assistant = { "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>" },
      .prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
      .controls = { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" },
      .trim_user = true,
      .trim_assistant = true,
      .trim_system = true },
    /* the first Mistral 7B Instruct templates, without spaces between the turns */
    { .name = "mistral-v0",
      MISTRAL,
      .system = { "", "\n" },
      .user = { "[INST] ", " [/INST]" },
      .assistant = { "", EOS } },
    { .name = "mistral-v1",
      MISTRAL,
      .system = { "", "\n\n" },
      .user = { " [INST] ", " [/INST]" },
      .assistant = { " ", EOS } },
    { .name = "mistral-v3",
      MISTRAL,
      .system = { "", "\n\n" },
      .user = { "[INST] ", "[/INST]" },
      .assistant = { " ", EOS },
      .trim_assistant = true },
    { .name = "mistral-v3-tekken",
      MISTRAL,
      .system = { "", "\n\n" },
      .user = { "[INST]", "[/INST]" },
      .assistant = { "", EOS } },
    { .name = "vicuna",
      .system = { "", "\n\n" },
      .user = { "USER: ", "\n" },
      .assistant = { "ASSISTANT: ", EOS "\n" },
      .prompt = "ASSISTANT:" },
    { .name = "zephyr",
      .system = { "<|system|>\n", EOS "\n" },
      .user = { "<|user|>\n", EOS "\n" },
      .assistant = { "<|assistant|>\n", EOS "\n" },
      .prompt = "<|assistant|>\n",
      .optional = { "<|system|>", "<|user|>", "<|assistant|>" } },
};

enum { N_TEMPLATES = sizeof templates / sizeof templates[0] };

const struct chat_template *chat_at(size_t i) { return i < N_TEMPLATES ? &templates[i] : NULL; }

const char *chat_name(const struct chat_template *c) { return c->name; }

const char *weft_chat_template_name(size_t i) { return i < N_TEMPLATES ? templates[i].name : NULL; }

const struct chat_template *chat_find(const char *name)
{
    for (size_t i = 0; i < N_TEMPLATES; i++) {
        if (strcmp(name, templates[i].name) == 0) {
            return &templates[i];
        }
    }
    return NULL;
}

/* The source of a template, of which at most MAX_SOURCE bytes are read: real ones have up to 20
 * KB. */
struct source {
    const char *text;
    size_t n;
};

enum { MAX_SOURCE = 1 << 17 };

/* Returns true if the source contains these bytes. */
static bool has(struct source s, const char *bytes)
{
    return memmem(s.text, s.n, bytes, strlen(bytes)) != NULL;
}

static bool code_at(struct source s, size_t at, const char *code)
{
    while (*code != '\0') {
        while (at < s.n && (s.text[at] == ' ' || s.text[at] == '\t')) {
            at++;
        }
        if (at == s.n) {
            return false;
        }
        char c = s.text[at++];
        if (c == '\n') {
            if (code[0] != '\\' || code[1] != 'n') {
                return false;
            }
            code += 2;
        } else if ((c == '"' ? '\'' : c) == *code) {
            code++;
        } else {
            return false;
        }
    }
    return true;
}

/* Returns true if the source contains this code, however it is spaced and quoted. Blanks do not
 * count, both kinds of quotes are equal, and \n may be a line break. `code` is written without
 * blanks, with ' for quotes and \n for line breaks. */
static bool has_code(struct source s, const char *code)
{
    for (size_t at = 0; at < s.n; at++) {
        if (s.text[at] != ' ' && s.text[at] != '\t' && code_at(s, at, code)) {
            return true;
        }
    }
    return false;
}

static const char *recognise_chatml(struct source s)
{
    if (has(s, "<|im_sep|>")) {
        /* Phi-4-reasoning puts a long text of its own in front. */
        return has(s, "You are Phi") ? NULL : "phi4";
    }
    if (!has(s, "<|im_end|>") || has(s, "<end_of_utterance>")) {
        return NULL;
    }
    if (has(s, "<|im_start|>system") &&
        has(s, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")) {
        return "qwen2.5";
    }
    if (has_code(s, "<|im_start|>system\\nYouareahelpfulAIassistantnamedSmolLM,"
                    "trainedbyHuggingFace<|im_end|>")) {
        return "smollm2";
    }
    bool plain = has_code(s, "<|im_start|>system\\nYouareahelpfulassistant.<|im_end|>");
    return plain ? "qwen2" : "chatml";
}

static const char *recognise_inst(struct source s)
{
    if (has(s, "[SYSTEM_PROMPT]")) {
        return NULL;
    }
    if (has(s, "[AVAILABLE_TOOLS]")) {
        return has(s, " [INST]")   ? "mistral-v1"
               : has(s, "[INST] ") ? "mistral-v3"
                                   : "mistral-v3-tekken";
    }
    if (has(s, "' [INST] ' + system_message")) {
        return "mistral-v1";
    }
    if (has(s, "<<SYS>>")) {
        bool strips = has_code(s, "bos_token+'[INST]'+content.strip()+'[/INST]'");
        return strips && has_code(s, "content.strip()+''+eos_token") ? "llama2" : NULL;
    }
    bool first = has_code(s, "{{'[INST]'+message['content']+'[/INST]'}}");
    return first && has_code(s, "{{message['content']+eos_token") ? "mistral-v0" : NULL;
}

static const char *recognise_llama3(struct source s)
{
    bool lines = has_code(s, "<|end_header_id|>\\n\\n");
    return lines && has(s, "<|eot_id|>") && !has(s, "GPT4 Correct") ? "llama3" : NULL;
}

static const char *recognise_tags(struct source s)
{
    if (has(s, "<|end|>")) {
        bool lines = has_code(s, "<|user|>\\n") || has_code(s, "|>'+'\\n'");
        bool plain = has_code(s, "+'|>'+message['content']+'<|end|>'") ||
                     has_code(s, "'<|'+message['role']+'|>'-}}");
        return lines ? "phi3" : plain ? "phi4-mini" : NULL;
    }
    bool user = has_code(s, "<|user|>\\n'+message['content']+eos_token");
    bool line = has_code(s, "+eos_token}}\\n") || has_code(s, "+eos_token+'\\n'");
    return user && line && has(s, "<|assistant|>") ? "zephyr" : NULL;
}

/* The prompt as the authors of Qwen3-Reranker document it, with their instruction for web search.
 */
const struct chat_template chat_rank_template = {
    .name = "qwen3-reranker",
    .user = { "<|im_start|>system\nJudge whether the Document meets the requirements based on the "
              "Query and the Instruct provided. Note that the answer can only be \"yes\" or "
              "\"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a web search query, "
              "retrieve relevant passages that answer the query\n<Query>: ",
              "\n<Document>: " },
    .assistant = { "", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" },
    .controls = { "<|im_start|>", "<|im_end|>" },
    .optional = { "<think>", "</think>" },
};

bool chat_rank_known(const char *text, size_t n)
{
    const struct chat_template *c = &chat_rank_template;
    const char *const parts[] = { c->user.before, "{query}", c->user.after, "{document}",
                                  c->assistant.after };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t length = strlen(parts[i]);
        if (n < length || memcmp(text, parts[i], length) != 0) {
            return false;
        }
        text += length;
        n -= length;
    }
    return n == 0;
}

/* Hashes of the sources without their white space. tests/data/chat and tools/train/templates hold
 * the sources; `make parity` compares what jinja2 makes of them. */
static const uint64_t exact_sources[] = {
    UINT64_C(0x9ec1e4c7e7fe8cf5), /* chatml-openhermes */
    UINT64_C(0x9e0c90061a30245a), /* qwen2-instruct */
    UINT64_C(0x57c827cb4838ffe6), /* qwen2.5-instruct */
    UINT64_C(0x3c26f4eb441afb97), /* smollm2-instruct */
    UINT64_C(0x441eb33a14dd4998), /* phi-3-mini-4k-instruct */
    UINT64_C(0x64fd0ca8ba5298ca), /* phi-3.5-mini-instruct, except for an empty system message */
    UINT64_C(0xb005509dece7df46), /* phi-4-mini-instruct */
    UINT64_C(0x9a11de0a9f9d7c44), /* phi-4 */
    UINT64_C(0xe0c462863dd915dd), /* llama-2-chat */
    UINT64_C(0xbcba6d78f937bf8d), /* llama-3-instruct */
    UINT64_C(0xc2f23bdf14bc7116), /* mistral-7b-instruct-v0.1 */
    UINT64_C(0x8d98235194ce884e), /* mistral-7b-instruct-v0.2-first */
    UINT64_C(0x6f1c8e50b7e2a3a6), /* tinyllama-1.1b-chat-v1.0, zephyr-7b-beta */
    UINT64_C(0x9478c540a020ce3d), /* vicuna-13b-1.1 */
    UINT64_C(0xd6ba586b7d8bb7ed), /* weft-demo-phi3 */
    UINT64_C(0x72317703ea7f9fdc), /* weft-demo-qwen2 */
};

bool chat_exact(const char *text, size_t n)
{
    char *dense = malloc(n + 1);
    size_t m = 0;
    bool found = false;
    for (size_t i = 0; i < n && dense != NULL; i++) {
        if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0') {
            dense[m++] = text[i];
        }
    }
    uint64_t h = dense != NULL ? hash64(HASH64_START, dense, m) : 0;
    free(dense);
    for (size_t i = 0; i < sizeof exact_sources / sizeof exact_sources[0]; i++) {
        found = found || exact_sources[i] == h;
    }
    return found;
}

const struct chat_template *chat_recognise(const char *text, size_t n)
{
    struct source s = { text, n < MAX_SOURCE ? n : MAX_SOURCE };
    const char *name = NULL;
    if (has(s, "<|im_start|>")) {
        name = recognise_chatml(s);
    } else if (has(s, "[INST]")) {
        name = recognise_inst(s);
    } else if (has(s, "<|start_header_id|>")) {
        name = recognise_llama3(s);
    } else if (has(s, "<|user|>") || has_code(s, "'<|'+message['role']+'|>'")) {
        name = recognise_tags(s);
    } else if (has_code(s, "'USER:'+message['content']+'\\n'") && !has(s, "SYSTEM: ")) {
        name = has_code(s, "'ASSISTANT:'") ? "vicuna" : NULL;
    }
    return name != NULL ? chat_find(name) : NULL;
}
