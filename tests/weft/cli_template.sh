#!/bin/sh
# Black-box tests of weft template, and of run --chat and chat with the options of templates: the prompt and nothing else, who
# wrote it, tools, prefill, what the template refuses, and that old thoughts leave the conversation. Usage:
# tests/weft/cli_template.sh [path of weft].

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
. "$(dirname "$0")/cli_lib.sh"

# template NAME EXPECTED OPTION...: what weft template prints, byte for byte
template() {
    name=$1
    printf "$2" >"$T/want"
    shift 2
    "$WEFT" template -m $QWEN "$@" >"$T/out" 2>"$T/err"
    code=$?
    if [ $code -eq 0 ] && cmp -s "$T/out" "$T/want" && [ ! -s "$T/err" ]; then
        ok "$name"
    else
        bad "$name" "code $code: $(head -c 300 "$T/out")"
    fi
}

echo '[{"role": "user", "content": "Hi <|im_end|>"}]' >"$T/hi"
echo '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, I"}]' >"$T/talk"
echo '[{"type": "function", "function": {"name": "f", "parameters": {}}}]' >"$T/tools"
printf '{{ tools | length }}{%% for m in messages %%}<{{ m.content }}>{%% endfor %%}\n' >"$T/source"

template 'a built-in template' '<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n' --messages "$T/hi" --chat-template chatml
template 'no opened turn' '<|im_start|>user\nHi <|im_end|><|im_end|>\n' --messages "$T/hi" --chat-template chatml --no-generation-prompt
template 'prefill' '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello, I' --messages "$T/talk" --chat-template chatml --prefill
template 'tools and a template from files' '1<Hi <|im_end|>>' --messages "$T/hi" --tools-file "$T/tools" --chat-template-file "$T/source"
template 'source on the command line' 'USER' --messages "$T/hi" --chat-template '{{ messages[0].role | upper }}'
template 'variables' 'False' --messages "$T/hi" --chat-template '{{ enable_thinking }}' --chat-template-kwargs '{"enable_thinking": false}'
template 'the date' '29 Feb 2000' --messages "$T/hi" --chat-template '{{ strftime_now("%d %b %Y") }}' --now 951782400
template 'runs' '{"from":"template","text":"<"}\n{"from":"caller","text":"Hi <|im_end|>"}\n{"from":"template","text":">"}\n' \
    --messages "$T/hi" --chat-template '<{{ messages[0].content }}>' --runs
"$WEFT" template -m $QWEN --messages - --chat-template chatml <"$T/hi" >"$T/a" && "$WEFT" template -m $QWEN --messages "$T/hi" --chat-template chatml >"$T/b"
same 'messages on standard input' "$T/a" "$T/b"
"$WEFT" template -m $QWEN --messages "$T/hi" --ids >"$T/a"
"$WEFT" run -m $QWEN --chat -p 'Hi <|im_end|>' -n 0 --display-prompt --special -q >"$T/b"
"$WEFT" detokenize -m $QWEN --special -f "$T/a" >"$T/c"
same 'the ids are those of run --chat' "$T/b" "$T/c"

refuse() { # NAME CODE WORDS OPTION...
    name=$1 code=$2 words=$3
    shift 3
    check "$name" "$code" "$words" template -m $QWEN "$@"
}
refuse 'no messages' 2 '--messages FILE'
refuse 'no such file' 1 'No such file' --messages "$T/none"
refuse 'what the template refuses' 1 'the chat template refuses the conversation: No way' --messages "$T/hi" --chat-template "{{ raise_exception('No way') }}"
refuse 'an undefined name' 1 "line 1, column 6: 'x' is undefined" --messages "$T/hi" --chat-template '{{ x.y.z }}'
refuse 'a syntax error' 2 'line 2, column' --messages "$T/hi" --chat-template '{% if x %}
{% else'
refuse 'an unknown name' 2 'is unknown; give Jinja source or one of chatml' --messages "$T/hi" --chat-template nonesuch
refuse 'no JSON' 1 'messages: line 1, column' --messages "$T/source"
echo '[{"role": "boss", "content": ""}]' >"$T/boss"
refuse 'a role that does not exist' 1 'message 0 has the role "boss"' --messages "$T/boss"
echo '[{"role": "user", "content": [{"type": "image_url"}]}]' >"$T/image"
refuse 'an image' 1 'part 0 of the content is of type "image_url"' --messages "$T/image"
refuse 'variables that are none' 2 '--chat-template-kwargs' --messages "$T/hi" --chat-template-kwargs 'x'
refuse 'two templates' 2 'contradict' --messages "$T/hi" --chat-template chatml --chat-template-file "$T/source"
refuse 'runs of ids' 2 'contradict' --messages "$T/hi" --runs --ids
check 'prefill without messages' 2 '--messages' run -m $QWEN --chat -p x --prefill
check 'messages and a prompt' 2 'contradict' run -m $QWEN --chat -p x --messages "$T/hi"
check 'messages without --chat' 2 'needs --chat' run -m $QWEN --messages "$T/hi"
check 'messages in run' 0 '' run -m $QWEN --chat --messages "$T/talk" --prefill -n 4 --temp 0 -q

# What an earlier answer thought leaves the conversation: the sequence then holds what the template makes of the messages.
cat >"$T/forgets" <<'END'
{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content if loop.last else m.content.split('a')[-1]) + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
END
printf 'What is a loom?\nAnd the weft?\n/save %s\n' "$T/state" >"$T/in"
"$WEFT" chat -m $QWEN --temp 0 -n 12 -q --no-history --commands --chat-template-file "$T/forgets" <"$T/in" >"$T/answers" 2>"$T/err"
python3 - "$T/answers" >"$T/again" <<'END'
import json, sys
a, b = open(sys.argv[1]).read().split("\n")[:2]
print(json.dumps([{"role": "user", "content": "What is a loom?"}, {"role": "assistant", "content": a},
                  {"role": "user", "content": "And the weft?"}]))
END
"$WEFT" run -m $QWEN --temp 0 -n 12 -q --chat --messages "$T/again" --chat-template-file "$T/forgets" >"$T/one" 2>"$T/err"
sed -n 2p "$T/answers" | tr -d '\n' >"$T/two"
same 'a conversation is what the template makes of it' "$T/one" "$T/two"

# What an answer thought is a member of its own in the next rendering.
cat >"$T/thinks" <<'END'
{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}
END
printf 'What is a loom?\nAnd the weft?\n/save %s\n' "$T/state" >"$T/in"
"$WEFT" chat -m $QWEN --temp 0 -n 8 -q --no-history --commands --chat-template-file "$T/thinks" <"$T/in" >"$T/answers" 2>"$T/err"
"$WEFT" run -m $QWEN --load-state "$T/state" --chat -p x -n 0 -q >"$T/out" 2>"$T/err"
python3 - "$T/answers" >"$T/again" <<'END'
import json, sys
a, b = open(sys.argv[1]).read().split("\n")[:2]
print(json.dumps([{"role": "user", "content": "What is a loom?"}, {"role": "assistant", "content": "", "reasoning_content": a.strip()},
                  {"role": "user", "content": "And the weft?"}]))
END
"$WEFT" run -m $QWEN --temp 0 -n 8 -q --chat --messages "$T/again" --chat-template-file "$T/thinks" >"$T/one" 2>"$T/err"
sed -n 2p "$T/answers" | tr -d '\n' >"$T/two"
same 'thoughts are kept apart' "$T/one" "$T/two"
printf '/think off\n/think maybe\nHi\n' >"$T/in"
"$WEFT" chat -m $QWEN --temp 0 -n 1 --no-history --commands --chat-template '{{ enable_thinking }}{{ messages[0].content }}' <"$T/in" >"$T/out" 2>"$T/err"
holds '/think takes on or off' '/think on or /think off' "$T/err"

finish
