"""Vocabularies that show every border between words, and which ids they give.

Any two bytes merge, or any two of some characters, in a random order of priority, so that a border
that is elsewhere changes the ids. Numbers of three digits are tokens without merges: only where words
are looked up whole they are used.
"""

import random
from pathlib import Path

import gguf

import published
from pretokenizers import CHARACTERS, FIRST, WHOLE_WORDS

KINDS = gguf.TokenType
NUMBERS = [f"{number:03}" for number in range(1000)]
SPECIAL = ["<s>", "</s>"]
# not all the characters of texts: the others are spelt by bytes
CHARS = [*map(chr, range(0x21, 0x7F)), "▁", "\n", "\t", "\r", "é", "ß", "Ж", "ж", "中", "文", "가", "ก", "़",
         "\u0301", "٣", "²", "。", "—", "😀"]


def byte_symbols() -> list[str]:
    """Returns the character that stands for each byte in a byte-level BPE vocabulary."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def shuffled_pairs(symbols: list, seed: int) -> list[tuple]:
    pairs = [(a, b) for a in symbols for b in symbols]
    random.Random(seed).shuffle(pairs)
    return pairs


def write(path: Path, pre: str, seed: int) -> None:
    """Writes the vocabulary for this pre-tokenizer."""
    symbols = CHARS if pre in CHARACTERS else byte_symbols()
    pairs = shuffled_pairs(symbols, seed)
    texts = [*SPECIAL, *symbols, *map("".join, pairs), *NUMBERS]
    kinds = [KINDS.CONTROL] * 2 + [KINDS.NORMAL] * (len(texts) - 2)
    if pre in CHARACTERS:
        texts += [f"<0x{byte:02X}>" for byte in range(256)] + ["\n" * 3, "\n" * 4]
        kinds += [KINDS.BYTE] * 256 + [KINDS.NORMAL] * 2
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in pairs])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


class Ids:
    """The ids of texts in such a vocabulary of bytes, by the published pattern."""

    def __init__(self, pre: str, seed: int):
        self.pattern = FIRST[pre]
        self.rank = {a << 8 | b: rank for rank, (a, b) in
                     enumerate(shuffled_pairs(list(range(256)), seed))}
        self.whole = ({text.encode(): len(SPECIAL) + 256 + 65536 + i for i, text in enumerate(NUMBERS)}
                      if FIRST[pre] in WHOLE_WORDS else {})

    def of_word(self, word: bytes) -> list[int]:
        if word in self.whole:
            return [self.whole[word]]
        # a merged pair never merges again: the best pair is taken first, then the best of the rest
        ranks = [self.rank[a << 8 | b] for a, b in zip(word, word[1:])]
        ids = [len(SPECIAL) + byte for byte in word]
        free = bytearray(b"\1" * len(word))
        for i in sorted(range(len(ranks)), key=ranks.__getitem__):
            if free[i] and free[i + 1]:
                free[i] = free[i + 1] = 0
                ids[i], ids[i + 1] = len(SPECIAL) + 256 + ranks[i], -1
        return [token for token in ids if token >= 0]

    def of_text(self, text: str) -> list[int]:
        return [token for word in published.words(self.pattern, text)
                for token in self.of_word(word.encode())]
