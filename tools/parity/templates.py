#!/usr/bin/env python3
"""Chat templates: Weft's ids of a conversation against llama.cpp's of the text that jinja2 renders.

    templates.py [MODEL...] [--weft PATH] [--templates FOLDER] [--real FILE] [--conversations N]
                 [--only PATTERN]

The templates are those of llama.cpp's collection in FOLDER, the publishers' ones in tests/data/chat, the
built-in ones, and those of the models given (the demo models by default, and FILE). Each gets two
vocabularies made here (chat_vocabularies.py), byte-level BPE and SPM, which have every control token that
it writes, and every fifth conversation goes through the vocabularies of the models and the real ones in
../shared/data/vocab, if that directory is there. With MODEL, only its own template is compared.

- N seeded conversations (shaped.py) without anything like a control token: the ids must be those of the
  text, tokenized by llama.cpp with special tokens parsed, and with one BOS where the vocabulary wants it;
  and a conversation that one refuses must be refused by the other.
- N with look-alikes in all texts: the control tokens in Weft's ids, and the user-defined ones whose text
  the template contains, must be those that the template wrote. These are found in a text of jinja2 with
  all characters of callers moved to a private plane, and where this changes the text otherwise, in the
  runs that Weft calls the template's, of which no character of a caller may be one.
- weft_chat_tokens() must give the ids of weft_prompt_open().

Any difference makes the exit status 1.
"""

import argparse
import fnmatch
import functools
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp

import chat_texts
import chat_vocabularies
import jinja_sources
import libweft
import llamacpp
import provenance
import real
import shaped
from conversations import Conversation
from jinja import reads_of
from jinja_reference import Template

ROOT = Path(__file__).resolve().parents[2]
VOCABS = ROOT.parent / "shared/data/vocab"
DEMOS = [str(ROOT / "models" / name) for name in ("weft-demo-qwen2.gguf", "weft-demo-phi3.gguf")]
REAL_SHARE = 5  # one conversation in so many goes through the real vocabularies
MOST_SHOWN = 3  # for each template
LEAST_RENDERED = 0.8
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Source:
    """A template; `built_in` = Weft is given its name, and not the text."""

    name: str
    text: str
    built_in: str | None = None


class Vocabulary:
    """One file in both engines."""

    def __init__(self, lib, path: str, stack: ExitStack, own: bool):
        self.lib, self.own = lib, own  # own: the file has the template at hand
        self.label = Path(path).stem
        self.weft = libweft.open_vocab(lib, path)
        stack.callback(libweft.close, lib, self.weft)
        self.llama = stack.enter_context(llamacpp.load(path, vocab_only=True))
        vocab = llama_cpp.llama_model_get_vocab(self.llama)
        self.texts = [llama_cpp.llama_vocab_get_text(vocab, i).decode()
                      for i in range(llama_cpp.llama_vocab_n_tokens(vocab))]
        attributes = [llama_cpp.llama_vocab_get_attr(vocab, i) for i in range(len(self.texts))]
        control = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        eos = llama_cpp.llama_vocab_eos(vocab)
        # HTML in Qwen's vocabulary, which only llama.cpp takes for a control token
        html = llama_cpp.llama_vocab_type(vocab) == llama_cpp.LLAMA_VOCAB_TYPE_BPE and not own
        self.ordinary = {"</s>"} if html and self.texts[eos] != "</s>" else set()
        self.control = {i for i, attribute in enumerate(attributes)
                        if attribute & control and self.texts[i] not in self.ordinary}
        self.user_defined = {i for i, attribute in enumerate(attributes)
                             if attribute & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
                             and not self.texts[i].isspace()}
        self.bos_id = llama_cpp.llama_vocab_bos(vocab)
        self.adds_bos = llama_cpp.llama_vocab_get_add_bos(vocab)
        self.bos, self.eos = (self.texts[i] if i >= 0 else "" for i in (self.bos_id, eos))

    def encode(self, text: str) -> list[int]:
        return self.with_bos(llamacpp.tokenize(self.llama, text.encode(), False, True))

    def with_bos(self, ids: list[int]) -> list[int]:
        """Puts BOS in front, where the vocabulary wants it, unless the template has written it."""
        return [self.bos_id, *ids] if self.adds_bos and ids[:1] != [self.bos_id] else ids

    def shown(self, ids: list[int]) -> str:
        return ascii("|".join(self.texts[i] for i in ids))

    def parting(self, ours: list[int], theirs: list[int]) -> str:
        place = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
                     min(len(ours), len(theirs)))
        first = max(0, place - 6)
        return (f"  Weft     ...{self.shown(ours[first:place + 12])}...\n"
                f"  expected ...{self.shown(theirs[first:place + 12])}...")


@dataclass
class Tally:
    """What was compared for one template, or for all."""

    n: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, what: str, problem: str | None) -> None:
        self.n[what] += 1
        if problem:
            self.n["different"] += 1
            self.problems.append(problem)


class Case:
    """A template with a vocabulary."""

    def __init__(self, source: Source, template: Template, forms: shaped.Forms, vocabulary: Vocabulary):
        self.source, self.template, self.forms, self.v = source, template, forms, vocabulary
        bos = "" if source.built_in and not vocabulary.adds_bos else vocabulary.bos
        self.boundaries = bos, vocabulary.eos

    def variables(self, c: Conversation) -> dict[str, Any]:
        return shaped.rendered_with(c, self.forms, *self.boundaries)

    def expected_text(self, c: Conversation) -> str | None:
        if c.marked is not None:
            return self.template.render_to_continue(self.variables(c), c.now)
        return self.template.render(self.variables(c), c.now).text

    def ask(self, c: Conversation) -> libweft.Prompt | str:
        """Returns Weft's prompt, or its message."""
        more = {name: value for name, value in c.variables.items()
                if name not in ("messages", "tools", "add_generation_prompt")}
        return self.prompt(c.variables["messages"], tools=c.variables["tools"], variables=more,
                           no_prompt=not c.variables["add_generation_prompt"],
                           prefill=c.marked is not None, now=c.now)

    def prompt(self, messages: list[dict[str, Any]], **how) -> libweft.Prompt | str:
        source = None if self.v.own or self.source.built_in else self.source.text
        try:
            return libweft.prompt(self.v.lib, self.v.weft, messages, name=self.source.built_in, source=source,
                                  **how)
        except libweft.WeftError as error:
            return str(error)

    def fits(self) -> bool:
        """Returns False if Weft says that the vocabulary lacks a token of a built-in template."""
        answer = self.prompt([{"role": "user", "content": "x"}]) if self.source.built_in else ""
        return not (isinstance(answer, str) and "which the model's vocabulary lacks" in answer)

    # --- what is compared

    def plain(self, tally: Tally, c: Conversation) -> None:
        ours, text = self.ask(c), self.expected_text(c)
        if text is None and (isinstance(ours, str) or c.marked is not None):
            tally.n["refused"] += 1
            return
        if text is not None and any(other in text for other in self.v.ordinary):
            tally.n["ordinary"] += 1
            return
        problem = None
        if text is None or isinstance(ours, str):
            problem = f"  Weft     {ours if isinstance(ours, str) else ours.text!a}\n  expected {text!a}"
        elif ours.ids != (theirs := self.v.encode(text)):
            problem = self.v.parting(ours.ids, theirs)
        tally.add("plain", problem and f"other ids than llama.cpp's of jinja2's text\n{problem}")

    def look_alikes(self, tally: Tally, c: Conversation) -> None:
        ours = self.ask(c)
        if isinstance(ours, str):
            text = self.expected_text(c)
            tally.n["refused"] += 1
            if text is not None:
                tally.add("look-alikes", f"Weft refuses what jinja2 renders: {ours}")
            return
        who = provenance.authors([[n, int(caller)] for n, caller in ours.runs], ours.text)
        problem = (who if isinstance(who, str) else
                   provenance.check_rare(ours.text, who, c.variables, self.source.text))
        written = [] if problem else pieces(ours)
        moved = self.moved_text(c, ours.text)
        theirs = self.v.with_bos(self.specials_of([moved] if moved is not None else written))
        found = self.own_specials(ours.ids, written)
        if not problem and found != theirs:
            problem = f"control tokens\n{self.v.parting(found, theirs)}\n  of {ours.text!a}"
        tally.n["moved"] += moved is not None
        tally.n["controls"] += len(found)
        tally.add("look-alikes", problem)

    def moved_text(self, c: Conversation, text: str) -> str | None:
        """Returns the text with the characters of callers in a private plane, if it is else the same."""
        if c.marked is not None:
            return None
        second = self.template.render(provenance.replaced(self.variables(c)) | dict(
            zip(("bos_token", "eos_token"), self.boundaries)), c.now).text
        return second if second is not None and provenance.put_back(second) == text else None

    def specials_of(self, texts: list[str]) -> list[int]:
        special = self.v.control | self.v.user_defined
        return [i for text in texts for i in llamacpp.tokenize(self.v.llama, text.encode(), False, True)
                if i in special]

    def own_specials(self, ids: list[int], written: list[str]) -> list[int]:
        """Returns the control tokens, and the user-defined ones that the template contains."""
        texts = [self.source.text, *written]
        return [i for i in ids if i in self.v.control or
                (i in self.v.user_defined and any(self.v.texts[i] in text for text in texts))]

    def struct_form(self, tally: Tally, c: Conversation) -> None:
        messages = [(m["role"], m["content"]) for m in c.variables["messages"]
                    if m["role"] in ROLES and isinstance(m.get("content"), str) and "\0" not in m["content"]]
        opened = c.variables["add_generation_prompt"]
        if not messages:
            return
        theirs = self.prompt([{"role": role, "content": content} for role, content in messages],
                             no_prompt=not opened)
        try:
            ours = libweft.chat_tokens(self.v.lib, self.v.weft, messages, self.source.built_in, opened)
        except libweft.WeftError as error:
            ours = str(error)
        theirs = theirs if isinstance(theirs, str) else theirs.ids
        problem = None
        if ours != theirs:
            both = isinstance(ours, list) and isinstance(theirs, list)
            problem = self.v.parting(ours, theirs) if both else f"  {ours}\n  {theirs}"
        tally.add("struct", problem and f"weft_chat_tokens() gives others than weft_prompt_open()\n{problem}")


def pieces(prompt: libweft.Prompt) -> list[str]:
    """Returns what the template wrote, run by run."""
    data, at, made = prompt.text.encode(), 0, []
    for n, caller in prompt.runs:
        if not caller:
            made.append(data[at:at + n].decode())
        at += n
    return made


# ---


@dataclass(frozen=True)
class Job:
    source: Source
    weft: str
    n: int
    vocabularies: tuple[str, ...]


@functools.cache
def opened(weft: str, paths: tuple[str, ...]) -> tuple[list[Vocabulary], ExitStack]:
    """Opens the vocabularies of models once in each process, which ends with them open."""
    lib, stack = libweft.load(weft), ExitStack()
    return [Vocabulary(lib, path, stack, own=False) for path in paths], stack


def drawn(job: Job) -> tuple[Template, shaped.Forms, list[str], list[list[Conversation]]]:
    """Returns the template, the tokens that it writes, and plain conversations and those with look-alikes."""
    source, template, reads = job.source, Template(job.source.text), reads_of(job.source.text)
    forms = shaped.forms_of(source.text, template, reads)

    def draw(texts: type, tokens: list[str]) -> list[Conversation]:
        return [shaped.draw(f"{source.name}/{texts.__name__}/{i}", template, reads, forms, texts, tokens)
                for i in range(job.n)]

    tokens = chat_texts.tokens_of(source.text)
    plain = draw(shaped.PlainTexts, tokens)
    texts = (template.render(shaped.rendered_with(c, forms, "<s>", "</s>"), c.now).text or "" for c in plain)
    tokens = sorted({*tokens, *(token for text in texts for token in chat_vocabularies.OF_ROLES.findall(text))})
    others = draw(shaped.LookAlikes, [*tokens, chat_vocabularies.FREE])
    return template, forms, tokens, [plain, others]


def compare(job: Job) -> Tally:
    warnings.simplefilter("ignore", SyntaxWarning)  # Python's, about the code that jinja2 makes
    tally, source = Tally(), job.source
    template, forms, tokens, (plain, others) = drawn(job)
    lib = libweft.load(job.weft)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        made = []
        for kind in chat_vocabularies.KINDS:
            path = Path(folder) / f"{kind}.gguf"
            chat_vocabularies.write(path, kind, source.name, source.text, tokens,
                                    random.Random(f"{source.name}/{kind}"))
            made.append(Vocabulary(lib, str(path), stack, own=True))
        for v in (*made, *opened(job.weft, job.vocabularies)[0]):
            case, share = Case(source, template, forms, v), 1 if v in made else REAL_SHARE
            if not case.fits():
                tally.n["unfit"] += 1
                continue
            before = len(tally.problems)
            for c, other in zip(plain[::share], others[::share]):
                case.plain(tally, c)
                case.look_alikes(tally, other)
                if v in made:
                    case.struct_form(tally, c)
                    case.struct_form(tally, other)
            for i in range(before, len(tally.problems)):
                tally.problems[i] = f"{source.name}, {v.label}: {tally.problems[i]}"
    return tally


def own_template(path: str) -> str | None:
    with llamacpp.load(path, vocab_only=True) as model:
        found = llama_cpp.llama_model_chat_template(model, None)
        return found and found.decode()


def sources(models: list[str], all_of_them: bool, folder: Path | None) -> list[Source]:
    made = [Source(Path(path).stem, text) for path in models if (text := own_template(path))]
    if all_of_them:
        texts = jinja_sources.publishers() | jinja_sources.collection(folder)
        made += [Source(name, text) for name, text in texts.items()]
        made += [Source(f"built-in {name}", text, name) for name, text in jinja_sources.built_in().items()]
    return made


def report(tallies: list[Tally]) -> bool:
    n = sum((tally.n for tally in tallies), Counter())
    for tally in tallies:
        for problem in tally.problems[:MOST_SHOWN]:
            print(problem)
    compared = n["plain"] + n["look-alikes"]
    enough = compared >= LEAST_RENDERED * (compared + n["refused"])
    print(f"ids of conversations: {len(tallies)} templates; {n['plain']} conversations against jinja2 and "
          f"llama.cpp, {n['refused']} more that both refuse, {n['ordinary']} left out for a token that only "
          f"llama.cpp makes special; {n['struct']} with weft_chat_tokens()")
    print(f"look-alikes: {n['look-alikes']} conversations, {n['controls']} control tokens, all the template's but "
          f"for the differences; in {n['moved']} every author was known without Weft's runs")
    print(f"ids of conversations: {n['different']} differences"
          f"{'' if enough else '; too many conversations are refused, which proves little'}", flush=True)
    return n["different"] == 0 and enough


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares ids of conversations with llama.cpp's of jinja2's text.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--weft", default=str(ROOT / "build/libweft.so"), metavar="PATH")
    parser.add_argument("--templates", type=Path, metavar="FOLDER", help="llama.cpp's collection")
    parser.add_argument("--conversations", type=int, default=20, metavar="N",
                        help="of each kind, for each template")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="templates of these names")
    real.add_option(parser)
    args = parser.parse_args()
    models = (args.models or DEMOS) + real.models(args.real)
    vocabularies = tuple(models if args.models else (*models, *map(str, sorted(VOCABS.glob("*.gguf")))))
    jobs = [Job(source, args.weft, args.conversations, vocabularies)
            for source in sources(models, not args.models, args.templates)
            if fnmatch.fnmatchcase(source.name, args.only)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return 0 if report(list(pool.map(compare, jobs))) else 1


if __name__ == "__main__":
    sys.exit(main())
