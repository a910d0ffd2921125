"""The two vocabularies: byte-level BPE as in Qwen2, SPM with byte fallback as in Phi-3.

Both are trained from `corpus.vocabulary_text()` and encode exactly as llama.cpp does, so the ids
the models are trained on are the ids an engine will feed them (`evaluate.py` checks it).
"""

import functools
import io
import itertools
import string
import tempfile

import sentencepiece
from gguf import TokenType
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus

N_VOCAB = 1024

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PHI3_SPECIALS = [
    "<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>",
    "<|placeholder4|>", "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>",
]


class Qwen2Vocab:
    """Byte-level BPE: 256 byte symbols, merges, then the three ChatML tokens."""

    def __init__(self):
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=N_VOCAB - len(QWEN2_SPECIALS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        bpe.train_from_iterator(corpus.vocabulary_text(), trainer)
        n_normal = bpe.get_vocab_size()
        bpe.add_special_tokens(QWEN2_SPECIALS)
        self._bpe = bpe
        self.tokens = [bpe.id_to_token(i) for i in range(bpe.get_vocab_size())]
        self.types = ([TokenType.NORMAL] * n_normal
                      + [TokenType.CONTROL] * len(QWEN2_SPECIALS))
        self.merges = _merges(bpe)
        self.endoftext = bpe.token_to_id("<|endoftext|>")
        self.im_end = bpe.token_to_id("<|im_end|>")

    def encode(self, text):
        """The ids of `text`; special tokens are recognised by their spelling."""
        return self._bpe.encode(text).ids

    def document(self, doc, rng):
        """(ids, weights) of one training document; the prompt part of a chat weighs little."""
        if doc.text:
            ids = self.encode(doc.text) + [self.endoftext]
            return ids, [1.0] * len(ids)
        messages = doc.messages
        if messages[0][0] != "system":
            messages = [("system", corpus.DEFAULT_SYSTEM)] + messages
        spans = []
        for role, content in messages:
            head, body, tail = f"<|im_start|>{role}\n", f"{content}<|im_end|>", "\n"
            spans += [(head, 0.0), (body, 1.0 if role == "assistant" else PROMPT_WEIGHT),
                      (tail, PROMPT_WEIGHT)]
        return _join([(self.encode(text), weight) for text, weight in spans]
                     + [([self.endoftext], PROMPT_WEIGHT)])


class Phi3Vocab:
    """SPM: <unk> <s> </s>, 256 bytes, pieces with scores, then the tokens Phi-3 added."""

    def __init__(self):
        pieces = _sentencepiece_pieces(N_VOCAB - len(PHI3_SPECIALS))
        n_pieces = len(pieces) - 3 - 256
        self.tokens = [piece for piece, _ in pieces] + PHI3_SPECIALS
        self.scores = ([-1000.0] * 3 + [0.0] * 256 + [score for _, score in pieces[259:]]
                       + [-1000.0] * len(PHI3_SPECIALS))
        self.types = ([TokenType.CONTROL, TokenType.CONTROL, TokenType.USER_DEFINED]
                      + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * n_pieces
                      + [TokenType.CONTROL] * len(PHI3_SPECIALS))
        self._id = {token: i for i, token in enumerate(self.tokens)}
        self.unk, self.bos, self.eos = 0, 1, 2
        self.endoftext = self._id["<|endoftext|>"]

    def encode(self, text):
        """The ids of plain `text` at the start or after a special token: a space goes in front."""
        words = (" " + text).replace(" ", "▁").replace("▁", "\0▁").split("\0")
        return list(itertools.chain.from_iterable(self._encode_word(word) for word in words))

    @functools.lru_cache(maxsize=None)
    def _encode_word(self, word):
        """Merges the neighbours with the best score until none is left; bytes for the unknown.

        A piece holds a space only at its front, so a word is merged without its neighbours.
        """
        symbols = list(word)
        while True:
            candidates = [(self.scores[self._id[a + b]], -i)
                          for i, (a, b) in enumerate(itertools.pairwise(symbols))
                          if a + b in self._id]
            if not candidates:
                break
            i = -max(candidates)[1]
            symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]
        ids = []
        for symbol in symbols:
            known = symbol in self._id
            ids += [self._id[symbol]] if known else [3 + byte for byte in symbol.encode()]
        return tuple(ids)

    def document(self, doc, rng):
        """(ids, weights) of one training document; every second chat begins without <s>.

        The template writes no <s> and the file asks for one, so engines differ in that.
        """
        if doc.text:
            ids = [self.bos] + self.encode(doc.text) + [self.endoftext]
            return ids, [1.0] * len(ids)
        spans = [([self.bos], 0.0)] if rng.random() < 0.5 else []
        for role, content in doc.messages:
            weight = 1.0 if role == "assistant" else PROMPT_WEIGHT
            spans += [([self._id[f"<|{role}|>"]], PROMPT_WEIGHT), (self.encode(content), weight),
                      ([self._id["<|end|>"]], weight)]
        return _join(spans + [([self.endoftext], PROMPT_WEIGHT)])


# What predicting a token of a question weighs against predicting one of an answer.
PROMPT_WEIGHT = 0.1

VOCABS = {"qwen2": Qwen2Vocab, "phi3": Phi3Vocab}


def _join(spans):
    """Concatenates [(ids, weight)] to (ids, one weight per id)."""
    ids = list(itertools.chain.from_iterable(part for part, _ in spans))
    weights = [weight for part, weight in spans for _ in part]
    return ids, weights


def _merges(bpe):
    """The merge list of a trained tokenizer, as GGUF writes it: "left right", best first."""
    with tempfile.TemporaryDirectory() as folder:
        _, path = bpe.model.save(folder)
        with open(path, encoding="utf-8") as file:
            return [line.rstrip("\n") for line in file if not line.startswith("#version")]


def _sentencepiece_pieces(n_pieces):
    """[(piece, score)] of a BPE sentencepiece model: <unk> <s> </s>, bytes, pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter("\n".join(corpus.vocabulary_text()).splitlines()),
        model_writer=model,
        model_type="bpe",
        vocab_size=n_pieces,
        byte_fallback=True,
        split_digits=True,
        character_coverage=1.0,
        required_chars=string.ascii_letters + string.digits + string.punctuation,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [(trained.id_to_piece(i), trained.get_score(i)) for i in range(trained.vocab_size())]
