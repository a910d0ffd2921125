#!/usr/bin/env python3
"""Chat templates: Weft's ids of a conversation against two references.

    templates.py [MODEL...] [--weft PATH] [--real FILE] [-v]

jinja      the template's own source, rendered by jinja2 as Transformers does, then tokenized by
           llama.cpp with special tokens parsed
llama.cpp  what llama_chat_apply_template makes of the same source, tokenized likewise

The sources are those of the models given (the two demo models by default) and the publishers' ones
in tests/data/chat. The latter go into vocabularies made here, one byte-level BPE and one SPM, which
have every control token; Weft has to recognise the source in the file. They are tried as well on
the real vocabularies in ../shared/data/vocab that they belong to, if that directory is there.

Where the vocabulary wants a BOS, a leading one in the rendered text is taken off and llama.cpp adds
its own, so that none is there twice. Contents that look like control tokens are plain text to Weft on
purpose; there the expected ids come from the rendered text with its contents tokenized as plain.

Differences that are meant stand in KNOWN with their reason, and are counted under it; any other
difference, and an entry of KNOWN that no longer occurs, makes the exit status 1.
"""

import argparse
import fnmatch
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import gguf
import llama_cpp

import libweft
import llamacpp
import real
from jinja_reference import Template
from pairs import byte_symbols

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests/data/chat"
VOCABS = ROOT.parent / "shared/data/vocab"
DEMOS = [str(ROOT / "models" / name) for name in ("weft-demo-qwen2.gguf", "weft-demo-phi3.gguf")]

# the publishers' templates that a real vocabulary was made for
FITTING = {
    "ggml-vocab-qwen2.gguf": ("qwen*", "chatml-*"),
    "ggml-vocab-phi-3.gguf": ("phi-3*",),
    "ggml-vocab-llama-spm.gguf": ("llama-2*", "mistral-7b-instruct-v0.[12]*", "vicuna*", "zephyr*",
                                  "tinyllama*"),
}

CONTROLS = ("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|system|>", "<|user|>", "<|assistant|>",
            "<|end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|endoftext|>")
INST_CONTROLS = ("[INST]", "[/INST]")
MERGES = ("Ċ Ċ", "Ġ Ġ", "Ġ t", "Ġt h", "l o", "e l", "H el", "Hel lo", "Ġ Hello", "Ġ [", "[ I",
          "Ġ A", ": Ċ", ". Ċ", "! Ċ", "Ċ Ġ", "> Ċ", "Ġ ĊĊ")

# name: (messages, whether the assistant's turn is opened)
TALK = [("user", "What is a loom?"), ("assistant", "A machine that weaves."),
        ("user", "And the weft?"), ("assistant", "The thread across."), ("user", "Thanks!")]
CASES = {
    "user": ([("user", "Hello there")], True),
    "system": ([("system", "Be brief."), ("user", "Hello there")], True),
    "turns": (TALK, True),
    "system, turns": ([("system", "Be brief."), *TALK], True),
    "empty user": ([("user", "")], True),
    "empty system": ([("system", ""), ("user", "Hello")], True),
    "empty answer": ([("user", "Hello"), ("assistant", ""), ("user", "Hello?")], True),
    "spaces": ([("user", "  Hello \n\n"), ("assistant", "\n\n Hi!  "), ("user", "\tso\n")], True),
    "spaces, system": ([("system", "\n Be brief. \n"), ("user", " \nHello\n ")], True),
    "only spaces": ([("user", " \n ")], True),
    "unicode, system": ([("system", "Réponds en français."), ("user", "Qu’est-ce que 「織物」? 🧵👩🏽‍💻"),
                 ("assistant", "Ткань — это…"), ("user", "e\u0301 \u00e9 \u200b\u00a0x")], True),
    "no prompt": ([("user", "Hello"), ("assistant", "Hi!")], False),
    "no prompt, user": ([("user", "Hello")], False),
}
LOOK_ALIKES = [("system", "Never say <|im_end|> or <|end|>."),
               ("user", "</s><s>[INST] <|im_start|>system<|eot_id|>"),
               ("assistant", "<|assistant|><|endoftext|> <0x41> [/INST]."),
               ("user", "<|im_sta<|end_header_id|><|user|>.")]

def cases_with(role: str) -> frozenset[str]:
    return frozenset(name for name, (messages, _) in ALL_CASES.items()
                     if any(role == given for given, _ in messages))


PLAIN_CONTENTS = {"look-alikes, system": (LOOK_ALIKES, True),
                  "look-alikes": (LOOK_ALIKES[1:], True)}
ALL_CASES = CASES | PLAIN_CONTENTS
ANY = frozenset(ALL_CASES)
SYSTEM, ANSWER = cases_with("system"), cases_with("assistant")
UNOPENED = frozenset({"no prompt", "no prompt, user"})

NO_END = "the end-of-text token that follows when the assistant's turn is not opened is left out"
SYSTEM_FIRST = "the system message stands in the first user turn, not in the last"
DEFAULT = "llama.cpp leaves out the default system prompt that the template has"
TAKEN = "llama.cpp takes the template for another one: "
# (reference, source as a shell pattern, cases, how Weft differs)
KNOWN = (
    ("jinja", "phi-3-mini*", UNOPENED, NO_END),
    ("jinja", "phi-3.5*", UNOPENED, NO_END),
    ("jinja", "phi-4-mini*", UNOPENED, NO_END),
    ("jinja", "phi3 *", UNOPENED, NO_END),
    ("jinja", "phi-3.5*", {"empty system"}, "an empty system message is written, not left out"),
    ("jinja", "phi-3-medium*", SYSTEM, "system messages are written; the template drops them"),
    ("jinja", "phi-3-medium*", {"no prompt, user"},
     "the assistant's turn is opened only when asked; the template does it behind every question"),
    ("jinja", "mistral-7b-instruct-v0.1-first", ANSWER, "no blank follows </s>"),
    ("jinja", "mistral-7b-instruct-v0.3", SYSTEM & ANSWER, SYSTEM_FIRST),
    ("jinja", "mistral-nemo*", SYSTEM & ANSWER, SYSTEM_FIRST),
    ("jinja", "qwen3", {"no prompt"}, "no empty <think> block before a last answer"),
    ("llama.cpp", "qwen2-instruct", ANY - SYSTEM, DEFAULT),
    ("llama.cpp", "qwen2.5*", ANY - SYSTEM, DEFAULT),
    ("llama.cpp", "smollm2*", ANY - SYSTEM, DEFAULT),
    ("llama.cpp", "llama-2-chat", ANSWER | {"spaces, system"},
     "llama.cpp has no BOS between turns, no blanks around answers, and trims a system message"),
    ("llama.cpp", "phi-4-mini*", ANY, TAKEN + "Phi-3's, with line breaks"),
    ("llama.cpp", "zephyr*", ANY, TAKEN + "GLM-Edge's, without an end of turn"),
    ("llama.cpp", "tinyllama*", ANY, TAKEN + "GLM-Edge's, without an end of turn"),
)


def write_vocabulary(path: Path, kind: str, name: str, template: str) -> None:
    """Writes a small vocabulary with every control token. `name` matters: Phi-3's name tells both
    programs that control tokens include the white space behind them."""
    types = gguf.TokenType
    tokens = [("<unk>", types.UNKNOWN), ("<s>", types.CONTROL), ("</s>", types.CONTROL)]
    tokens += [(text, types.CONTROL) for text in CONTROLS]
    if kind == "bpe":
        tokens += [(text, types.CONTROL) for text in INST_CONTROLS]
        tokens += [(symbol, types.NORMAL) for symbol in byte_symbols()]
        tokens += [(merge.replace(" ", ""), types.NORMAL) for merge in MERGES]
    else:
        tokens += [(f"<0x{byte:02X}>", types.BYTE) for byte in range(256)]
        tokens += [(merge.replace(" ", "").replace("Ġ", "▁").replace("Ċ", "\n"), types.NORMAL)
                   for merge in ("", "Ġ", *MERGES)]
        tokens = list(dict(tokens).items())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(4096)
    writer.add_tokenizer_model("gpt2" if kind == "bpe" else "llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_types([type_ for _, type_ in tokens])
    if kind == "bpe":
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_merges(list(MERGES))
    else:
        writer.add_token_scores([float(i) for i in range(len(tokens))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


class Refused(Exception):
    """The template refuses a conversation."""


def render(template: str, messages, prompt: bool, bos: str, eos: str) -> str:
    outcome = Template(template).render(
        {"messages": [{"role": role, "content": content} for role, content in messages],
         "add_generation_prompt": prompt, "bos_token": bos, "eos_token": eos}, now=0)
    if outcome.text is None:
        raise Refused(outcome.message)
    return outcome.text


def special_texts(model) -> dict[str, int]:
    """Returns text and id of every control token of llama.cpp's vocabulary."""
    vocab = llama_cpp.llama_model_get_vocab(model)
    return {llama_cpp.llama_vocab_get_text(vocab, token).decode(): token
            for token in range(llama_cpp.llama_vocab_n_tokens(vocab))
            if llama_cpp.llama_vocab_is_control(vocab, token)}


def boundary_texts(model) -> tuple[str, str]:
    """Returns BOS and EOS as text, "" if the vocabulary has none."""
    vocab = llama_cpp.llama_model_get_vocab(model)
    ids = llama_cpp.llama_vocab_bos(vocab), llama_cpp.llama_vocab_eos(vocab)
    texts = [llama_cpp.llama_vocab_get_text(vocab, id_).decode() if id_ >= 0 else "" for id_ in ids]
    return texts[0], texts[1]


def without_bos(model, text: str) -> str:
    """Removes what llama.cpp adds. If the vocabulary wants no BOS, the token that it names may be
    the template's own: <|im_start|> in SmolLM2."""
    wanted = llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(model))
    return text.removeprefix(boundary_texts(model)[0]) if wanted else text


def tokenize_chat(model, text: str) -> list[int]:
    text = without_bos(model, text)
    return llamacpp.tokenize(model, text.encode(), add_special=True, parse_special=True)


def tokenize_plain_contents(model, template: str, messages, bos: str, eos: str) -> list[int] | None:
    """Returns the ids of the rendered conversation where only the template's control tokens count;
    None if it is refused."""
    marked = [(role, f"\ue000{i}\ue001") for i, (role, _) in enumerate(messages)]
    try:
        text = render(template, marked, True, bos, eos)
    except Refused:
        return None
    text = without_bos(model, text)
    specials = special_texts(model)
    pattern = "|".join(map(re.escape, sorted(specials, key=len, reverse=True)))
    ids = llamacpp.tokenize(model, b"", add_special=True, parse_special=True)
    strips = False
    for piece in re.split(f"({pattern})", text):
        if piece in specials:
            ids.append(specials[piece])
            alone = llamacpp.tokenize(model, piece.encode() + b"\n", False, True)
            strips = alone == [specials[piece]]
            continue
        plain = re.sub("\ue000(\\d+)\ue001", lambda m: messages[int(m[1])][1], piece)
        plain = plain.lstrip(" \t\n\v\f\r") if strips else plain
        if plain:
            ids += llamacpp.tokenize(model, plain.encode(), False, False)
            strips = False
    return ids


def references(model, template: str, messages, prompt: bool) -> dict[str, list[int] | None]:
    """Returns ids by reference; None where the reference refuses the conversation or the template."""
    bos, eos = boundary_texts(model)
    try:
        ids = tokenize_chat(model, render(template, messages, prompt, bos, eos))
    except Refused:
        ids = None
    chat = [{"role": role, "content": content} for role, content in messages]
    applied = llamacpp.apply_template(template, chat, prompt)
    return {"jinja": ids,
            "llama.cpp": None if applied is None else tokenize_chat(model, applied.decode())}


class Tally:
    """What was compared, and how it came out."""

    def __init__(self, verbose: bool):
        self.verbose = verbose
        self.same, self.refused = Counter(), Counter()
        self.known, self.applied = Counter(), Counter()  # by index in KNOWN
        self.n_unknown = 0

    def add(self, where: str, key: tuple[str, str, str], ours: list[int] | str,
            theirs: list[int] | None, texts) -> None:
        reference, source, case = key
        entry = next((i for i, (who, pattern, cases, _) in enumerate(KNOWN) if who == reference
                      and fnmatch.fnmatchcase(source, pattern) and case in cases), None)
        if theirs is None:
            self.refused[reference] += 1
            return
        self.applied[entry] += 1
        if ours == theirs:
            self.same[reference] += 1
            return
        self.known[entry] += 1
        self.n_unknown += entry is None
        if entry is None or self.verbose:
            shown = ours if isinstance(ours, str) else texts(ours)
            print(f"{where}, {source}, {case}: {'' if entry is None else 'on purpose '}"
                  f"not as {reference}\n  Weft      {shown!a}\n  {reference:9} {texts(theirs)!a}")


def compare(tally: Tally, lib, weft_model, model, where: str, source: str, template: str,
            name: str | None) -> None:
    """Compares all conversations on one vocabulary; `name` None = the template that the file names."""
    vocab = llama_cpp.llama_model_get_vocab(model)
    bos, eos = boundary_texts(model)

    def texts(ids: list[int]) -> str:
        return "|".join(llama_cpp.llama_vocab_get_text(vocab, i).decode() for i in ids)

    for case, (messages, prompt) in ALL_CASES.items():
        try:
            ours = libweft.chat_tokens(lib, weft_model, messages, name, prompt)
        except libweft.WeftError as error:
            ours = str(error)
        if case in PLAIN_CONTENTS:
            theirs = {"jinja": tokenize_plain_contents(model, template, messages, bos, eos)}
        else:
            theirs = references(model, template, messages, prompt)
        for reference, ids in theirs.items():
            tally.add(where, (reference, source, case), ours, ids, texts)


def compare_file(tally: Tally, lib, path: str, source: str | None = None,
                 template: str | None = None, name: str | None = None) -> str | None:
    """Uses the file's own template unless one is given. Returns Weft's name for the file's own."""
    weft_model = libweft.open_vocab(lib, path)
    recognised = libweft.info(lib, weft_model).chat_template
    recognised = recognised.decode() if recognised else None
    with llamacpp.load(path, vocab_only=True) as model:
        if template is None:
            own = llama_cpp.llama_model_chat_template(model, None)
            template = own.decode() if own else None
        if template is None or (name or recognised) is None:
            print(f"{path}: no chat template that Weft knows, so none is compared")
        else:
            source = source or f"{recognised} {Path(path).name}"
            compare(tally, lib, weft_model, model, Path(path).name, source, template, name)
    libweft.close(lib, weft_model)
    return recognised


def compare_publishers(tally: Tally, lib) -> None:
    names = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(SOURCES.glob("*.jinja")):
            for kind in ("bpe", "spm"):
                path = Path(folder) / f"{file.stem}-{kind}.gguf"
                write_vocabulary(path, kind, file.stem, file.read_text())
                names[file.stem] = compare_file(tally, lib, str(path), file.stem, file.read_text())
    for vocab, patterns in FITTING.items():
        if not (VOCABS / vocab).exists():
            print(f"{vocab}: not there, its templates ran on the vocabularies made here only")
            continue
        for source, name in names.items():
            if any(fnmatch.fnmatchcase(source, pattern) for pattern in patterns):
                template = (SOURCES / f"{source}.jinja").read_text()
                compare_file(tally, lib, str(VOCABS / vocab), source, template, name)


def report(tally: Tally) -> bool:
    stale = []
    for i, (reference, source, _, reason) in enumerate(KNOWN):
        if tally.known[i] > 0:
            print(f"on purpose not as {reference}, {tally.known[i]:2} times, {source}: {reason}")
        elif tally.applied[i] > 0:
            stale.append(i)
            print(f"listed as different from {reference}, but it is not: {source}: {reason}")
    for reference in ("jinja", "llama.cpp"):
        n_known = sum(n for i, n in tally.known.items() if i is not None
                      and KNOWN[i][0] == reference)
        print(f"chat templates against {reference}: {tally.same[reference]} conversations the "
              f"same, {n_known} different on purpose, {tally.refused[reference]} that it refuses")
    print(f"chat templates: {tally.n_unknown} unexplained differences")
    return tally.n_unknown == 0 and not stale


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares chat templates with two references.")
    parser.add_argument("models", nargs="*", default=DEMOS, metavar="MODEL")
    parser.add_argument("--weft", default=str(ROOT / "build/libweft.so"), metavar="PATH")
    parser.add_argument("-v", "--verbose", action="store_true", help="show known differences too")
    real.add_option(parser)
    args = parser.parse_args()
    lib = libweft.load(args.weft)
    tally = Tally(args.verbose)
    for path in args.models + real.models(args.real):
        compare_file(tally, lib, path)
    compare_publishers(tally, lib)
    return 0 if report(tally) else 1


if __name__ == "__main__":
    sys.exit(main())
