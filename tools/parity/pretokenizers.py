"""The names of pre-tokenizers, which share a pattern, and where llama.cpp's pattern is not the published one."""

import re
from collections.abc import Callable

from published import HAN, WHITE_SPACE, WORD_SYMBOLS, category

# Names of src/text/pretokenizers.c that are the same in all respects; the first one stands for all.
NAMES: tuple[tuple[str, ...], ...] = (
    ("default",),
    ("gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "mellum", "a.x-4.0", "exaone4", "trillion",
     "granite-docling", "modern-bert", "roberta-bpe", "jina-v1-en", "jina-es", "jina-de"),
    ("jina-v2-es", "jina-v2-de", "jina-v2-code"),
    ("starcoder", "refact", "smollm", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
    ("falcon",),
    ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
     "jina-v5-nano"),
    ("glm4", "glm5"),
    ("dbrx", "smaug-bpe", "chatglm-bpe"),
    ("jais-2",),
    ("minicpm5",),
    ("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "kormo", "f2llmv2", "solar-open",
     "grok-2", "bailingmoe", "bailingmoe2", "llada-moe"),
    ("qwen35",),
    ("laguna",),
    ("ufakzeka",),
    ("seed-coder",),
    ("exaone-moe",),
    ("gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"),
    ("granite-embed-multi-97m",),
    ("tekken",),
    ("youtu",),
    ("tiny_aya", "cohere2moe"),
    ("kimi-k2",),
    ("superbpe",),
    ("deepseek-llm",),
    ("deepseek-coder",),
    ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"),
    ("spark2_5",),
    ("afmoe",),
    ("bloom", "poro-chat", "gpt3-finnish"),
    ("viking",),
    ("chameleon",),
    ("gemma4", "granite-embed-multi-311m"),
    ("sarvam-moe",),
)
FIRST = {name: names[0] for names in NAMES for name in names}

# the tokens of these are characters, with U+2581 for a space
CHARACTERS = ("gemma4", "granite-embed-multi-311m", "sarvam-moe")
# with these, a word that is a token becomes that token
WHOLE_WORDS = ("llama-bpe", "glm4", "minicpm5", "tekken", "youtu", "granite-embed-multi-97m")

# the code points that unicode_cpt_is_han() of llama.cpp takes for Han
HAN_BLOCKS = (r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ebef"
              r"\U0002f800-\U0002fa1f")


def has(members: str) -> Callable[[str], bool]:
    """Returns a test of whether a text matches."""
    pattern = re.compile(members)
    return lambda text: pattern.search(text) is not None


def either(*rules: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: any(rule(text) for rule in rules)


_capital = category("Lu") + category("Lt")
_letter = category("L")
_mark = category("M")
_not_capital = category("Ll") + category("Lm") + category("Lo") + _mark
_marks = has(f"[{_mark}]")
_case_beyond_ascii = has(f"(?=[^\0-\x7f])[{_capital}{category('Ll')}]")
_capital_in_word = has(f"[{_not_capital}][{_capital}]")
_space_beyond_latin = has("[\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")

# llama.cpp approximates the published patterns of these names; src/text/pretokenizers.c says how.
# Weft runs the published ones, which published.py checks. Strings where the two may differ are
# counted, but they need not be the same.
APPROXIMATED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "gpt-4o": ("marks, or case beyond ASCII", either(_marks, _case_beyond_ascii)),
    "tekken": ("marks, or case beyond ASCII", either(_marks, _case_beyond_ascii)),
    "granite-embed-multi-97m": ("case beyond ASCII", _case_beyond_ascii),
    "youtu": ("a capital inside of a word", _capital_in_word),
    "tiny_aya": ("a capital inside of a word, digits before a letter or behind two spaces, or numbers "
                 "that are no digits",
                 either(_capital_in_word, has(f"[{category('Nl')}{category('No')}]"),
                        has(f"[{WHITE_SPACE}]{{2}}[{category('Nd')}]"),
                        has(f"[{category('Nd')}][{_letter}{_mark}{category('Pc')}{WORD_SYMBOLS}]"))),
    "kimi-k2": ("marks, a capital inside of a word, or Han outside of the blocks of that name",
                either(_marks, _capital_in_word, has(f"(?![{HAN_BLOCKS}])[{HAN}]"),
                       has(f"(?![{HAN}])[{HAN_BLOCKS}]"))),
    "superbpe": ("digits beyond ASCII", has(f"(?=[^\0-\x7f])[{category('Nd')}]")),
    "deepseek-llm": ("white space beyond U+1000", _space_beyond_latin),
    "deepseek-coder": ("white space beyond U+1000", _space_beyond_latin),
}
