#!/usr/bin/env python3
"""Tokenization: thousands of seeded random strings through llama.cpp and Weft; every id must agree.

    tokens.py [MODEL...] [--weft PATH] [--n 10000] [--per-pattern 1000] [--seed 1] [--llama-model FILE]
              [--vocabulary FILE] [--real FILE]

Each string goes through both with and without parsing of special tokens, with and without BOS. The
shortest strings that differ are printed escaped, with both lists of ids; then the exit status is 1.
PATH is build/weft or build/libweft.so. Without MODEL: the demo models, the real vocabularies in
../shared/data/vocab if that directory is there, and every pre-tokenizer that Weft knows, with fewer
strings: those that differ from all others in a vocabulary made here (pairs.py), which shows each
border, and in a real one, where only the pre-tokenizer's name is changed; the other names of each with
a tenth. --llama-model lets llama.cpp read another file than Weft, to see a wrong vocabulary being
caught.

Where llama.cpp approximates the published pattern (APPROXIMATED), Weft's ids in the vocabularies made
here must be those of the published one, as published.py computes them; those of llama.cpp must be the
same but for strings where the approximation may matter, and are counted there.

Bytes that are no UTF-8 are a different matter: llama.cpp has no rule for them (byte-level BPE
replaces them by U+FFFD, SPM takes as many bytes for a character as the first one announces), so
other ids are only counted there, and bytes that spell a code point beyond U+10FFFF are kept from
it, because they end the process. What is demanded of Weft is that the ids give the same bytes back,
but for those that no token of the vocabulary stands for, which both leave out of any text.

Left out are the code points of NEW_IN_UNICODE; made_control() finds the tokens that only llama.cpp
takes for special ones.
"""

import argparse
import ctypes
import random
import re
import struct
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import llama_cpp

import libweft
import llamacpp
import pairs
import real
from pretokenizers import APPROXIMATED, CHARACTERS, FIRST, NAMES

ROOT = Path(__file__).resolve().parents[2]
VOCABS = ROOT.parent / "shared/data/vocab"
MOST_SHOWN = 10

# What Unicode 15, 15.1 and 16 added, by blocks. llama.cpp's tables have 15.1; Weft's are those of
# PCRE2, which has Unicode 14 in version 10.42. All other code points have the same properties in
# both.
NEW_IN_UNICODE = (
    (0x0897, 0x0897), (0x0CF3, 0x0CF3), (0x0ECE, 0x0ECE), (0x1B4E, 0x1B4F), (0x1B7F, 0x1B7F),
    (0x1C89, 0x1C8A), (0x2427, 0x2429), (0x2FFC, 0x2FFF), (0x31E4, 0x31E5), (0x31EF, 0x31EF),
    (0xA7CB, 0xA7CD), (0xA7DA, 0xA7DC), (0x105C0, 0x105FF), (0x10D40, 0x10D8F), (0x10EC2, 0x10EC4),
    (0x10EFC, 0x10EFF), (0x1123F, 0x11241), (0x11380, 0x113FF), (0x116D0, 0x116FF),
    (0x11B00, 0x11B09), (0x11BC0, 0x11BFF), (0x11F00, 0x11F5A), (0x1342F, 0x1342F),
    (0x13439, 0x143FF), (0x16100, 0x1613F), (0x16D40, 0x16D7F), (0x18CFF, 0x18CFF),
    (0x1B132, 0x1B132), (0x1B155, 0x1B155), (0x1CC00, 0x1CEBF), (0x1D2C0, 0x1D2D3),
    (0x1DF25, 0x1DF2A), (0x1E030, 0x1E08F), (0x1E4D0, 0x1E4FF), (0x1E5D0, 0x1E5FF),
    (0x1F6DC, 0x1F6DC), (0x1F774, 0x1F77F), (0x1F7D9, 0x1F7D9), (0x1FA75, 0x1FAF8),
    (0x2B739, 0x2B739), (0x2EBF0, 0x2EE5D), (0x31350, 0x323AF),
)
_NEW = frozenset(point for first, last in NEW_IN_UNICODE for point in range(first, last + 1))

# First and last code point of a Unicode block, or of several that follow one another.
BLOCKS = (
    (0x0020, 0x007E), (0x00A0, 0x00FF), (0x0100, 0x024F), (0x0250, 0x02FF), (0x0370, 0x03FF),
    (0x0400, 0x052F), (0x0530, 0x058F), (0x0590, 0x05FF), (0x0600, 0x06FF), (0x0700, 0x074F),
    (0x0780, 0x07BF), (0x07C0, 0x07FF), (0x0900, 0x097F), (0x0980, 0x09FF), (0x0A00, 0x0A7F),
    (0x0A80, 0x0AFF), (0x0B00, 0x0B7F), (0x0B80, 0x0BFF), (0x0C00, 0x0C7F), (0x0C80, 0x0CFF),
    (0x0D00, 0x0D7F), (0x0D80, 0x0DFF), (0x0E00, 0x0E7F), (0x0E80, 0x0EFF), (0x0F00, 0x0FFF),
    (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FF),
    (0x1400, 0x167F), (0x1680, 0x16FF), (0x1700, 0x177F), (0x1780, 0x17FF), (0x1800, 0x18AF),
    (0x1900, 0x19FF), (0x1A00, 0x1AAF), (0x1B00, 0x1BFF), (0x1C00, 0x1C7F), (0x1D00, 0x1DBF),
    (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20CF),
    (0x2100, 0x218F), (0x2190, 0x23FF), (0x2400, 0x245F), (0x2460, 0x24FF), (0x2500, 0x27BF),
    (0x2800, 0x28FF), (0x2900, 0x2BFF), (0x2C00, 0x2C5F), (0x2C80, 0x2CFF), (0x2D00, 0x2D7F),
    (0x2E00, 0x2E7F), (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF), (0x3100, 0x31BF),
    (0x3200, 0x33FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA4D0, 0xA69F),
    (0xA700, 0xA7FF), (0xA800, 0xA8FF), (0xA900, 0xAADF), (0xAB00, 0xABFF), (0xAC00, 0xD7AF),
    (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE4F), (0xFE50, 0xFEFF),
    (0xFF00, 0xFFEF), (0x10000, 0x100FF), (0x10280, 0x103DF), (0x10400, 0x104FF),
    (0x10800, 0x10FFF), (0x11000, 0x116FF), (0x12000, 0x1254F), (0x13000, 0x1342F),
    (0x16800, 0x16FFF), (0x17000, 0x18AFF), (0x1B000, 0x1B16F), (0x1D000, 0x1D1FF),
    (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1EE00, 0x1EEFF), (0x1F000, 0x1F2FF),
    (0x1F300, 0x1F64F), (0x1F680, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF),
)
MARKS = ((0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05BD), (0x064B, 0x065F), (0x093A, 0x094F),
         (0x0E31, 0x0E4E), (0x1AB0, 0x1ABE), (0x20D0, 0x20F0), (0x3099, 0x309A), (0xFE20, 0xFE2F))
SPACES = (" ", " ", " ", "\n", "\n", "\t", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\xa0",
          "\u1680", "\u2000", "\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f",
          "\u3000", "\u2581")
CONTROLS = tuple(map(chr, (*range(1, 32), *range(127, 160), 0xAD, *range(0x200B, 0x2010),
                           *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xFFF9, 0xFFFC,
                           0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE, 0xE0001, 0xF0000, 0x10FFFD, 0x10FFFF)))
EMOJI = ("😀", "🤦", "👩", "👨", "👧", "👍", "✋", "❤", "☎", "🏴", "🏳", "🐈", "💻", "🚀", "⚕", "♂", "♀")
SKIN = ("🏻", "🏼", "🏽", "🏾", "🏿")
SIMPLE_SPECIALS = (
    "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|end_of_text|>", "<s>", "</s>",
    "<unk>", "<pad>", "[PAD]", "<mask>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>",
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]",
    "[/INST]", "<<SYS>>", "<|fim_prefix|>", "<|fim_middle|>", "<|placeholder1|>", "<tool_call>",
    "</think>", "<0x41>", "<0x0A>", "<0xFF>", "<0x00>", "<0xZZ>", "▁", "▁the", "Ġ", "Ġthe", "Ċ",
    "<mask>", "<sentinel:17>", "IMGIMGABZ",
)
# U+017F and U+212A fold to s and k if case does not count
CONTRACTIONS = ("'s", "'S", "'t", "'RE", "'ve", "'m", "'LL", "'d", "’s", "’LL", "'ſ", "'\u212a",
                "'x", "''s", "' s", "'sl", "'tis")
DIGITS = ("0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９", "²³¹⁴₅", "½¾Ⅳⅷ①㊿", "一二三十百")
CODE = ("if (x != NULL) {\n", "    return a[i++] << 2;\n", "}\n\n", "#include <stdio.h>\r\n",
        "def f(self, *args, **kw):\n\t", "for(;;)", "a->b.c::d", "\\n\\t\\x00", "//", "/* x */",
        "\"str\\\"ing\"", "$HOME/.cache", "<div class='a'>&nbsp;</div>", "{\"k\": [1, 2.5e-3]}",
        "λx.x+1", "0xDEADBEEF", "SELECT * FROM t;", "--flag=1", "!=", "...", "####", "```c\n")
BEYOND_UNICODE = re.compile(rb"\xf4[\x90-\xbf]|[\xf5-\xf7]")


def any_char(rng: random.Random, ranges: tuple[tuple[int, int], ...]) -> str:
    point = rng.randint(*rng.choice(ranges))
    return "" if point in _NEW else chr(point)


def script(rng: random.Random) -> str:
    block = (rng.choice(BLOCKS),)
    words = ("".join(any_char(rng, block) for _ in range(rng.randint(1, 12)))
             for _ in range(rng.randint(1, 4)))
    return rng.choice(("", " ", " ", "\n")).join(words)


def latin(rng: random.Random) -> str:
    word = "".join(rng.choice("etaoinshrdlucmfwypvbgkqjxz") for _ in range(rng.randint(1, 14)))
    word = rng.choice((word, word, word.capitalize(), word.upper(), word.swapcase()))
    return unicodedata.normalize(rng.choice(("NFC", "NFD")), word.replace("a", "ä"))


def emoji(rng: random.Random) -> str:
    out = ""
    for _ in range(rng.randint(1, 6)):
        out += rng.choice(EMOJI)
        out += rng.choice(("", "", "\ufe0f", "\ufe0e", rng.choice(SKIN), "\u20e3"))
        out += rng.choice(("", "", "\u200d", "\u200d"))
    flag = chr(rng.randint(0x1F1E6, 0x1F1FF)) + chr(rng.randint(0x1F1E6, 0x1F1FF))
    return out + rng.choice(("", flag, "7\ufe0f\u20e3", "🏴\U000e0067\U000e0062\U000e007f"))


def combining(rng: random.Random) -> str:
    return "".join(any_char(rng, BLOCKS[:20]) + "".join(any_char(rng, MARKS)
                                                        for _ in range(rng.randint(0, 5)))
                   for _ in range(rng.randint(1, 6)))


def controls(rng: random.Random) -> str:
    return "".join(rng.choice(CONTROLS) for _ in range(rng.randint(1, 8)))


def spaces(rng: random.Random) -> str:
    n = rng.randint(1, 8)
    return "".join(rng.choice(SPACES) * rng.choice((1, 1, 1, 2, 5)) for _ in range(n))


def long_run(rng: random.Random) -> str:
    chars = (rng.choice(" \n\t.-=_#*0aA'/\\"), any_char(rng, BLOCKS), rng.choice(EMOJI))
    return rng.choice(chars) * rng.choice((3, 17, 64, 150, 400, 700))


def digits(rng: random.Random) -> str:
    kind = rng.choice(DIGITS + DIGITS[:1] * 4)
    groups = ("".join(rng.choice(kind) for _ in range(rng.choice((1, 2, 3, 4, 7, 20))))
              for _ in range(rng.randint(1, 4)))
    return rng.choice(("", ".", ",", " ", "-", ":", "e")).join(groups)


def contraction(rng: random.Random) -> str:
    return rng.choice(("I", "WE", "don", "x1", "é", "", " ", "的")) + rng.choice(CONTRACTIONS)


def code(rng: random.Random) -> str:
    return "".join(rng.choice(CODE) for _ in range(rng.randint(1, 5)))


def special(rng: random.Random) -> str:
    """Returns a special token, whole, cut, or spelt a little differently."""
    text = rng.choice(SIMPLE_SPECIALS)
    cut = rng.randint(0, len(text))
    return rng.choice((text, text, text, text + text, text[:cut], text[cut:], text.upper(),
                       text[:cut] + " " + text[cut:], " " + text + " \n", text[:-1] + text))


def wild(rng: random.Random) -> str:
    planes = ((0x1, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
    return "".join(any_char(rng, planes) for _ in range(rng.randint(1, 10)))


KINDS: tuple[Callable[[random.Random], str], ...] = (
    script, script, script, latin, latin, latin, emoji, combining, controls, spaces, spaces,
    long_run, digits, contraction, code, special, special, wild)


def strings(n: int, seed: int, pieces: list[str]) -> Iterator[str]:
    """Yields n strings without NUL; the same seed and the same pieces of a vocabulary give the same
    strings."""
    rng = random.Random(seed)
    for _ in range(n):
        parts = []
        for _ in range(rng.choice((1, 1, 2, 3, 5, 8, 20))):
            if pieces and rng.random() < 0.15:
                parts.append("".join(rng.choices(pieces, k=rng.randint(1, 6))))
            else:
                parts.append(rng.choice(KINDS)(rng))
            parts.append(rng.choice(("", "", " ", " ", "\n")))
        yield "".join(parts[:-1]).replace("\0", "")


def broken(n: int, seed: int) -> Iterator[bytes]:
    """Yields n byte strings that are not UTF-8, without NUL."""
    rng = random.Random(seed)
    faults = (b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1", b"\xe0\x80\xaf", b"\xed\xa0\xbd\xed\xb8\x80",
              b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff", b"\xfe", b"\xc3", b"\xe2\x82",
              b"\xf0\x9f\x98")
    for text in strings(n, seed, []):
        # U+2581 is how SPM writes a space, and comes back as one
        data = text[:100].replace("\u2581", "").encode()
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(data))
            data = data[:at] + rng.choice(faults) + data[at + rng.randint(0, 1):]
        yield data + b"\xff"


def vocabulary_pieces(lib, model) -> list[str]:
    """Returns the texts of the vocabulary's tokens that are whole characters."""
    out = []
    for token in range(libweft.info(lib, model).n_vocab):
        try:
            out.append(libweft.detokenize(lib, model, [token], libweft.DETOKENIZE_SPECIAL).decode())
        except UnicodeDecodeError:
            continue
    return [text for text in out if text and "\0" not in text]


# (parse special tokens, add BOS)
SETTINGS = ((False, False), (False, True), (True, False), (True, True))


def weft_ids(lib, model, text: bytes, parse_special: bool, bos: bool) -> list[int]:
    flags = libweft.TOKENIZE_SPECIAL * parse_special | libweft.TOKENIZE_BOS * bos
    return libweft.tokenize(lib, model, text, flags)


def show(text: bytes, parse_special: bool, bos: bool, llama: list[int], weft: list[int]) -> None:
    escaped = ascii(text.decode(errors="surrogateescape"))
    print(f"  {escaped}\n    special tokens {'parsed' if parse_special else 'not parsed'}, "
          f"{'with' if bos else 'without'} BOS\n    llama.cpp {llama}\n    Weft      {weft}")


def check_valid(lib, model, llama_model, texts: list[str], not_special: list[str]
                ) -> tuple[int, int]:
    """Returns (strings with different ids, ids in all) and prints the shortest of the former.
    Strings with one of not_special, which only llama.cpp takes for special tokens, are compared
    without these."""
    differ, n_ids = {}, 0
    for text in texts:
        data = text.encode()
        for parse_special, bos in SETTINGS:
            if parse_special and any(other in text for other in not_special):
                continue
            theirs = llamacpp.tokenize(llama_model, data, bos, parse_special)
            ours = weft_ids(lib, model, data, parse_special, bos)
            n_ids += len(ours)
            if ours != theirs:
                differ.setdefault(data, (parse_special, bos, theirs, ours))
    for data in sorted(differ, key=len)[:MOST_SHOWN]:
        show(data, *differ[data])
    return len(differ), n_ids


def made_control(llama_model, path: str) -> list[str]:
    """Returns the texts whose type is NORMAL in the file but which llama.cpp makes control tokens,
    because other vocabularies have a control token of that text. Weft keeps the file's type if
    merges make the token: `</s>` is markup to Qwen2."""
    fields = gguf.GGUFReader(path).fields
    types = fields["tokenizer.ggml.token_type"].contents()
    texts = fields["tokenizer.ggml.tokens"]
    vocab = llama_cpp.llama_model_get_vocab(llama_model)
    return [texts.contents(token) for token, kind in enumerate(types)
            if kind == gguf.TokenType.NORMAL
            and llama_cpp.llama_vocab_get_attr(vocab, token) & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL]


def pretokenizer(llama_model) -> str:
    value = ctypes.create_string_buffer(64)
    n = llama_cpp.llama_model_meta_val_str(llama_model, b"tokenizer.ggml.pre", value, len(value))
    return value.value.decode() if n >= 0 else ""


def count_other(lib, model, llama_model, texts: list[str]) -> int:
    """Counts the strings whose ids differ from llama.cpp's, with special tokens not parsed and no
    BOS."""
    return sum(weft_ids(lib, model, text.encode(), False, False)
               != llamacpp.tokenize(llama_model, text.encode(), False, False) for text in texts)


def bytes_without_token(path: str) -> bytes:
    """Returns the bytes without a token; SmolLM2's vocabulary has none for 21 of them."""
    fields = gguf.GGUFReader(path).fields
    if fields["tokenizer.ggml.model"].contents() != "gpt2":
        return b""
    pre = fields.get("tokenizer.ggml.pre")
    if pre is not None and pre.contents() in CHARACTERS:
        return b""
    texts = set(fields["tokenizer.ggml.tokens"].contents())
    return bytes(byte for byte, symbol in enumerate(pairs.byte_symbols()) if symbol not in texts)


def check_broken(lib, model, llama_model, texts: list[bytes], left_out: bytes) -> tuple[int, int]:
    """Returns (strings that Weft does not give back, strings whose ids differ from llama.cpp's)."""
    lost, n_other = [], 0
    for data in texts:
        ours = weft_ids(lib, model, data, False, False)
        if BEYOND_UNICODE.search(data) is None:
            n_other += ours != llamacpp.tokenize(llama_model, data, False, False)
        given_back = libweft.detokenize(lib, model, ours, libweft.DETOKENIZE_SPECIAL)
        if given_back != data.translate(None, left_out):
            lost.append(data)
    for data in sorted(lost, key=len)[:MOST_SHOWN]:
        print(f"  not given back: {data!r}, Weft {weft_ids(lib, model, data, False, False)}")
    return len(lost), n_other


def check_published(lib, model, ids: pairs.Ids, texts: list[str]) -> int:
    """Counts the strings whose ids differ from the published pattern's; prints the shortest."""
    differ = []
    for text in texts:
        data = text.encode()
        ours = weft_ids(lib, model, data, False, False)
        if ours != ids.of_text(text):
            differ.append((data, ours, ids.of_text(text)))
    for data, ours, theirs in sorted(differ, key=lambda case: len(case[0]))[:MOST_SHOWN]:
        print(f"  {ascii(data.decode())}\n    published {theirs}\n    Weft      {ours}")
    return len(differ)


class Known:
    """The facts that all copies of a vocabulary share, whatever their pre-tokenizer."""

    def __init__(self, lib, path: str):
        model = libweft.open_vocab(lib, path)
        self.pieces = vocabulary_pieces(lib, model)
        libweft.close(lib, model)
        with llamacpp.load(path, vocab_only=True) as llama_model:
            self.not_special = made_control(llama_model, path)
        self.left_out = bytes_without_token(path)


def check_model(lib, path: str, llama_path: str, n: int, seed: int, known: Known | None = None,
                ids: pairs.Ids | None = None) -> bool:
    """Compares one vocabulary. ids: what the published pattern gives in it, if it is one of
    pairs.py."""
    is_copy = known is not None
    known = known or Known(lib, llama_path)
    model = libweft.open_vocab(lib, path)
    label = Path(path).name
    with llamacpp.load(llama_path, vocab_only=True) as llama_model:
        texts = list(strings(n, seed, known.pieces))
        wrong = list(broken(n // 10, seed))
        n_other_published = check_published(lib, model, ids, texts) if ids is not None else 0
        why, may_differ = APPROXIMATED.get(FIRST.get(pretokenizer(llama_model), ""),
                                           ("", lambda text: False))
        excused = [text for text in texts if may_differ(text)]
        texts = [text for text in texts if not may_differ(text)]
        n_differ, n_ids = check_valid(lib, model, llama_model, texts, known.not_special)
        n_excused = count_other(lib, model, llama_model, excused)
        n_lost, n_other = check_broken(lib, model, llama_model, wrong, known.left_out)
    libweft.close(lib, model)
    if known.left_out and not is_copy:
        print(f"{label}: no token stands for {len(known.left_out)} of the 256 bytes; both leave them out")
    for other in known.not_special if not is_copy else ():
        n_with = sum(other in text for text in texts)
        print(f"{label}: {n_with} strings have {other}, an ordinary token of the file that llama.cpp "
              f"makes special; compared without special tokens only")
    if ids is not None:
        print(f"{label}: {len(texts) + len(excused)} strings, {n_other_published} differ from the "
              f"published pattern")
    if excused:
        print(f"{label}: llama.cpp approximates the pattern; of {len(excused)} strings with {why} "
              f"{n_excused} differ, on purpose")
    print(f"{label}: {len(texts)} strings, {n_ids} ids, {n_differ} strings differ; "
          f"not UTF-8: {len(wrong)} strings, {n_lost} not given back, "
          f"{n_other} with other ids than llama.cpp's", flush=True)
    return n_differ == 0 and n_lost == 0 and n_other_published == 0


def rename_pretokenizer(path: Path, pre: str, out: Path) -> None:
    """Copies a file without tensors, with another tokenizer.ggml.pre."""
    data = path.read_bytes()
    n_tensors = struct.unpack_from("<Q", data, 8)[0]
    key = b"tokenizer.ggml.pre" + struct.pack("<I", gguf.GGUFValueType.STRING)
    if n_tensors != 0 or data.count(key) != 1:
        raise ValueError(f"{path}: expected no tensors and one tokenizer.ggml.pre")
    at = data.index(key) + len(key)
    length = struct.unpack_from("<Q", data, at)[0]
    out.write_bytes(data[:at] + struct.pack("<Q", len(pre)) + pre.encode() + data[at + 8 + length:])


def check_pretokenizers(lib, n: int, seed: int, real: Path | None) -> bool:
    """real: a byte-level vocabulary, without tensors."""
    with tempfile.TemporaryDirectory() as folder:
        known, good = {}, True

        def check(source: Path, pre: str, n: int, ids: pairs.Ids | None = None) -> bool:
            if source not in known:
                known[source] = Known(lib, str(source))
            copy = Path(folder) / f"{source.stem}-{pre}.gguf"
            rename_pretokenizer(source, pre, copy)
            same = check_model(lib, str(copy), str(copy), n, seed, known[source], ids)
            copy.unlink()
            return same

        made = {kind: Path(folder) / f"{kind}.gguf" for kind in ("pairs", "pairs-of-characters")}
        pairs.write(made["pairs"], "gpt-2", seed)
        pairs.write(made["pairs-of-characters"], CHARACTERS[0], seed)
        for first, *others in NAMES:
            source = made["pairs-of-characters" if first in CHARACTERS else "pairs"]
            ids = pairs.Ids(first, seed) if first in APPROXIMATED else None
            good = check(source, first, n, ids) and good
            for pre in others:
                good = check(source, pre, n // 10) and good
            if real is not None and first not in CHARACTERS:
                good = check(real, first, n) and good
    return good


def default_models() -> list[str]:
    return [str(path) for path in (*sorted(ROOT.glob("models/weft-demo-*.gguf")),
                                   *sorted(VOCABS.glob("*.gguf")))]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares the tokenizers of llama.cpp and Weft.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--weft", default=str(ROOT / "build/libweft.so"), metavar="PATH")
    parser.add_argument("--n", type=int, default=10000, help="strings (default 10000)")
    parser.add_argument("--per-pattern", type=int, default=1000, metavar="N",
                        help="strings for each pre-tokenizer (default 1000)")
    parser.add_argument("--vocabulary", type=Path, default=VOCABS / "ggml-vocab-qwen2.gguf", metavar="FILE",
                        help="the vocabulary that gets each pre-tokenizer's name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--llama-model", metavar="FILE", help="what llama.cpp reads instead")
    real.add_option(parser)
    args = parser.parse_args()
    lib = libweft.load(args.weft)
    good = [check_model(lib, path, args.llama_model or path, args.n, args.seed)
            for path in (args.models or default_models()) + real.models(args.real)]
    if not args.models:
        good.append(check_pretokenizers(lib, args.per_pattern, args.seed,
                                        args.vocabulary if args.vocabulary.exists() else None))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
