#include "chat/builtin.h"

#include <string.h>

#define FOR_EACH "{%- for m in messages %}"
#define END_FOR "{%- endfor %}"
#define PROMPT(text) "{%- if add_generation_prompt %}{{ '" text "' }}{%- endif %}"

#define CHATML                                                                                     \
    FOR_EACH "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}" END_FOR PROMPT( \
        "<|im_start|>assistant\\n")
#define DEFAULT_SYSTEM(text)                                                                       \
    "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\n" text "<|im_end|>\\n' }}"     \
    "{%- endif %}"
#define CHATML_CONTROLS                                                                            \
    {                                                                                              \
        "<|im_start|>", "<|im_end|>"                                                               \
    }

/* Each role is written <|role|>. */
#define TAGS(before, after)                                                                        \
    FOR_EACH "{{ '<|' + m.role + '|>" before "' + m.content + " after                              \
             " }}" END_FOR PROMPT("<|assistant|>" before)

/* Templates whose system message stands in the first user turn. */
#define IN_TURNS                                                                                   \
    "{%- set first = 1 if messages[0].role == 'system' else 0 %}"                                  \
    "{%- set ns = namespace(n=first) %}"                                                           \
    "{%- for m in messages[first:] %}"                                                             \
    "{%- set want = 'user' if loop.index0 % 2 == 0 else 'assistant' %}"                            \
    "{%- if m.role != want %}"                                                                     \
    "{{ raise_exception('message ' ~ ns.n ~ ' is ' ~ m.role ~ ', expected ' ~ want ~ "             \
    "': this template takes user and assistant in turn, after at most one system message') }}"     \
    "{%- endif %}{%- set ns.n = ns.n + 1 %}" END_FOR "{%- if messages|length == first %}"          \
    "{{ raise_exception('message 1 is missing, expected user') }}{%- endif %}"
#define SYSTEM(before, after)                                                                      \
    "{%- set ns.system = '" before "' + messages[0].content + '" after "' if first else '' %}"
/* `user` and `assistant` are expressions; `system` is what stands in front of this message. */
#define INST(system, user, assistant)                                                              \
    IN_TURNS system "{%- for m in messages[first:] %}"                                             \
                    "{%- set system = ns.system if loop.first else '' %}"                          \
                    "{%- if m.role == 'user' %}{{ " user " }}{%- else %}{{ " assistant             \
                    " }}{%- endif %}" END_FOR

static const struct builtin builtins[] = {
    { "chatml", CHATML, CHATML_CONTROLS },
    { "qwen2", DEFAULT_SYSTEM("You are a helpful assistant.") CHATML, CHATML_CONTROLS },
    { "qwen2.5",
      DEFAULT_SYSTEM("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.") CHATML,
      CHATML_CONTROLS },
    { "smollm2",
      DEFAULT_SYSTEM("You are a helpful AI assistant named SmolLM, trained by Hugging Face") CHATML,
      CHATML_CONTROLS },
    { "phi3", TAGS("\\n", "'<|end|>\\n'"), { "<|user|>", "<|assistant|>", "<|end|>" } },
    { "phi4-mini", TAGS("", "'<|end|>'"), { "<|user|>", "<|assistant|>", "<|end|>" } },
    { "phi4",
      FOR_EACH
      "{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}" END_FOR PROMPT(
          "<|im_start|>assistant<|im_sep|>"),
      { "<|im_start|>", "<|im_sep|>", "<|im_end|>" } },
    { "llama2",
      INST(SYSTEM("<<SYS>>\\n", "\\n<</SYS>>\\n\\n"),
           "('' if loop.first else bos_token) + '[INST] ' + (system + m.content)|trim + ' [/INST]'",
           "' ' + m.content|trim + ' ' + eos_token"),
      { NULL } },
    { "llama3",
      FOR_EACH
      "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content|trim + "
      "'<|eot_id|>' }}" END_FOR PROMPT("<|start_header_id|>assistant<|end_header_id|>\\n\\n"),
      { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" } },
    /* the first Mistral 7B Instruct templates, without spaces between the turns */
    { "mistral-v0",
      INST(SYSTEM("", "\\n"), "'[INST] ' + system + m.content + ' [/INST]'",
           "m.content + eos_token"),
      { NULL } },
    { "mistral-v1",
      INST(SYSTEM("", "\\n\\n"), "' [INST] ' + system + m.content + ' [/INST]'",
           "' ' + m.content + eos_token"),
      { NULL } },
    { "mistral-v3",
      INST(SYSTEM("", "\\n\\n"), "'[INST] ' + system + m.content + '[/INST]'",
           "' ' + m.content|trim + eos_token"),
      { NULL } },
    { "mistral-v3-tekken",
      INST(SYSTEM("", "\\n\\n"), "'[INST]' + system + m.content + '[/INST]'",
           "m.content + eos_token"),
      { NULL } },
    { "vicuna",
      FOR_EACH
      "{%- if m.role == 'system' %}{{ m.content + '\\n\\n' }}"
      "{%- elif m.role == 'user' %}{{ 'USER: ' + m.content + '\\n' }}"
      "{%- else %}{{ 'ASSISTANT: ' + m.content + eos_token + '\\n' }}{%- endif %}" END_FOR PROMPT(
          "ASSISTANT:"),
      { NULL } },
    { "zephyr", TAGS("\\n", "eos_token + '\\n'"), { NULL } },
};

enum { N_BUILTINS = sizeof builtins / sizeof builtins[0] };

const struct builtin *builtin_at(size_t i) { return i < N_BUILTINS ? &builtins[i] : NULL; }

const struct builtin *builtin_find(const char *name)
{
    for (size_t i = 0; i < N_BUILTINS; i++) {
        if (strcmp(name, builtins[i].name) == 0) {
            return &builtins[i];
        }
    }
    return NULL;
}
