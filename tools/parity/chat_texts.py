"""Random texts of callers: white space at borders, characters of many kinds, control tokens."""

import random
import re

# Characters that only callers write: Yi, which has no upper and lower case. A text that looks like a
# control token stands between two of them, so that it can be found again.
RARE = [chr(c) for c in range(0xA000, 0xA400)]
WORDS = ("loom weft warp thread the a of in shuttle Paris is not 42 3.14 yes No what how why weather "
         "city celsius function call content role user true null None").split()
SPACES = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f",
          "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"]
# code points that differ in case, in width, in how they are escaped, or that some take for spaces
ODD = ["\u200b", "\ufeff", "\u200d", "\u00ad", "e\u0301", "é", "ß", "İ", "ı", "ŉ", "ǰ", "Σας ΟΔΟΣ",
       "ǆ", "ǅ", "ﬁ", "Å", "🧵", "👩🏽‍💻", "🇫🇷", "中文字", "日本語。", "한국어", "שלום", "مرحبا",
       "\u202eabc\u202c", "\U0001d4d0", "\U0010fffd", "\ue000", "\ufffd", "\ufdd0", "\u0600", "x\u20e3"]
CONTROL = [chr(c) for c in (*range(1, 9), 0x0E, 0x1B, 0x7F, 0x80, 0x9F)] + ["\0"] * 4
SYNTAX = ["{{ 7 * 7 }}", "{% if x %}", "{# no #}", "%}", "}}", "\\n", "\\", "\"", "'", "\"\"\"", "&amp;",
          "<b>bold</b>", "&", "<", ">", "`code`", "```json\n{}\n```", "%s", "{0}", "$x", "/think",
          "/no_think", "[]", "{}", "null", "0", "-1"]
JSON = ['{"a": 1, "b": [true, null, 1.5]}', '[1, 2, {"x": "y\\n"}]', '"text"', '{"temperature": 22.5}']
# control tokens that no source of templates may have, and pieces of such
TOKENS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "[INST]", "[/INST]", "<think>",
          "</think>", "<tool_call>", "</tool_call>", "<|im_", "start|>", "<|", "|>", "<think", "think>"]
TOKEN = re.compile(r"<[|｜][^<>|｜\s{}']{1,40}[|｜]>|</?[A-Za-z_:|]{1,30}>|\[/?[A-Z_]{2,30}\]|<\w{1,20}:\w+>")


def tokens_of(source: str) -> list[str]:
    """Returns what looks like a control token in a template."""
    return sorted(set(TOKEN.findall(source)))


class Texts:
    """Draws texts; `own` are the tokens of the template at hand, `all_tokens` those of all."""

    def __init__(self, rng: random.Random, own: list[str], all_tokens: list[str]):
        self.rng = rng
        self.own, self.all_tokens = own or TOKENS, all_tokens or TOKENS

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def words(self, most: int = 8) -> str:
        return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, most)))

    def rare(self) -> str:
        return self.rng.choice(RARE)

    def token(self) -> str:
        token = self.rng.choice(self.own if self.chance(0.6) else self.all_tokens)
        return self.rare() + token + self.rare() if self.chance(0.6) else token

    def piece(self) -> str:
        kind = self.rng.choices(("words", "space", "odd", "control", "syntax", "json", "token", "rare"),
                                (34, 10, 12, 4, 12, 4, 16, 8))[0]
        return {"words": self.words, "token": self.token, "rare": self.rare,
                "space": lambda: self.rng.choice(SPACES), "odd": lambda: self.rng.choice(ODD),
                "control": lambda: self.rng.choice(CONTROL), "json": lambda: self.rng.choice(JSON),
                "syntax": lambda: self.rng.choice(SYNTAX)}[kind]()

    def mixed(self) -> str:
        glue = self.rng.choice(("", " ", "\n"))
        text = glue.join(self.piece() for _ in range(self.rng.randint(1, 6)))
        if self.chance(0.3):
            text = self.rng.choice(SPACES) + text
        if self.chance(0.3):
            text += self.rng.choice(SPACES)
        return text

    def thought(self) -> str:
        """An answer with its reasoning in it, as models write it."""
        begin, end = self.rng.choice((("<think>", "</think>"), ("<think>\n", "\n</think>\n\n"),
                                      ("", "</think>"), ("<think>", ""), ("[THINK]", "[/THINK]")))
        return begin + self.text() + end + self.text()

    def text(self) -> str:
        """What a person writes most of the time, and everything else."""
        kind = self.rng.choices(("words", "mixed", "lines", "empty", "space"), (40, 45, 8, 4, 3))[0]
        return {"words": self.words, "mixed": self.mixed, "empty": lambda: "",
                "lines": lambda: "\n".join(self.words() for _ in range(self.rng.randint(2, 5))),
                "space": lambda: self.rng.choice(SPACES)}[kind]()

    def name(self) -> str:
        """A name of a function, a property or a person: mostly an identifier."""
        if self.chance(0.8):
            return "_".join(self.rng.choice(WORDS[:6]) for _ in range(self.rng.randint(1, 3)))
        name = self.rng.choice((self.token, self.rare, self.words, self.mixed))()
        return name.replace("\0", "") or "x"
