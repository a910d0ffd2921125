"""Random strings, rendered templates, conversations, the README's tables and plot, where picks part.

In the environment of `make parity`: python -m unittest tests/test_parity_tools.py
"""

import argparse
import contextlib
import io
import random
import re
import sys
import tempfile
import unittest
import unittest.mock
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- bench-avx2:begin -->", "<!-- bench-avx2:end -->"
sys.path[:0] = [str(ROOT / "tools/parity"), str(ROOT / "tools/compare")]

import beside  # noqa: E402
import chat_texts  # noqa: E402
import chat_vocabularies  # noqa: E402
import compare  # noqa: E402
import jinja  # noqa: E402
import jinja_sources  # noqa: E402
import libweft  # noqa: E402
import llamacpp  # noqa: E402
import numpy as np  # noqa: E402
import pairs  # noqa: E402
import parity  # noqa: E402
import pretokenizers  # noqa: E402
import provenance  # noqa: E402
import published  # noqa: E402
import readme  # noqa: E402
import real  # noqa: E402
import shaped  # noqa: E402
import shrink  # noqa: E402
import snippets  # noqa: E402
import table  # noqa: E402
import templates  # noqa: E402
import tokens  # noqa: E402
from conversations import Conversation  # noqa: E402
from jinja_reference import Outcome, Template  # noqa: E402


def row(model: str, test: dict, weft: float, llama: float) -> dict:
    results = [{"seconds": 1 / llama, "ids": [1, 2]}, {"seconds": 1 / (2 * llama), "ids": [1, 2]}]
    n = test["n_prompt"] + test["n_gen"]
    bench = {"model_name": model, "type": "Q8_0", "architecture": "qwen2", "n_bytes": 1,
             "device": "a CPU", "kernels": "avx2", "tok_s": n * weft, "gb_s": 2.0, "macs_s": 3e9,
             "read_limit_gb_s": 10.0, "macs_limit": 6e9, "ids_hash": "00", "ids": [1, 2],
             "samples_s": [1 / weft]}
    return compare.make_row(f"x/{model}.gguf", test, [bench, bench], results, None)


def result() -> dict:
    tests = compare.tests_of([512], [128], [0])
    rows = [row(model, test, 6.0, 2.0) for model in ("small", "large") for test in tests]
    return {"machine": {"cpu": "a CPU", "device": "a CPU", "kernels": "avx2", "cores": 2,
                        "kernel": "Linux 6", "load_before": 0.1},
            "date": "2026-01-02", "commit": "0123456789abcdef", "uncommitted": False,
            "versions": {"weft": "0.1.0", "llama_cpp_python": "0.3"},
            "settings": {"threads": 2, "rounds": 2, "device": "cpu"},
            "limits": compare.set_limits(rows), "rows": rows}


class TopTokenTogether(unittest.TestCase):
    """Differences that no single comparison shows are seen in all of them together."""

    @staticmethod
    def results(n: int, weft_wrong: int, llama_wrong: int) -> list[dict]:
        weft, llama = np.ones(640, bool), np.ones(640, bool)
        weft[:weft_wrong] = llama[-llama_wrong:] = False
        return [{"rows": {"llama.cpp": {"same": llama}, "weft cpu": {"same": weft}}}] * n

    def test_one_by_chance(self):
        one = self.results(1, 19, 12)
        self.assertTrue(parity.gate_top_together(one)[0])
        self.assertTrue(parity.gate_top_together(one + self.results(20, 12, 12))[0])

    def test_all_a_little_worse(self):
        ok, text = parity.gate_top_together(self.results(80, 14, 12))
        self.assertFalse(ok)
        self.assertIn("51200 positions", text)


class Beside(unittest.TestCase):
    TEST = {"n_prompt": 512, "n_gen": 0, "n_depth": 0}

    def test_what_a_llama_bench_says(self):
        script = 'test "$2" = x.gguf && test "$6" = 512 && echo \'[{"avg_ts": 12.5}]\''
        self.assertEqual(beside.tok_s(["sh", "-c", script, "lb"], "x.gguf", 2, self.TEST), 12.5)

    def test_one_that_fails(self):
        with self.assertRaisesRegex(SystemExit, "exit code 3.*no such flag"):
            beside.tok_s(["sh", "-c", "echo no such flag >&2; exit 3"], "x.gguf", 2, self.TEST)

    def test_names(self):
        name, command = beside.engine("other -rtr 1=/some where/llama-bench -rtr 1")
        self.assertEqual((name, command[-2:]), ("other -rtr 1", ["-rtr", "1"]))
        self.assertEqual(beside.described([("a", ["lb", "-x"])]), {"a": "-x"})
        with self.assertRaises(SystemExit):
            beside.described([("a", ["lb"]), ("a", ["lb", "-x"])])
        with self.assertRaises(argparse.ArgumentTypeError):
            beside.engine("llama-bench")

    def test_column(self):
        both = result()
        for row in both["rows"]:
            beside.add(row, "other", [3.0] * len(row["weft_tok_s"]))
        ratio = both["rows"][0]["weft_tok_s"][0] / 3
        lines = compare.table(both).splitlines()
        self.assertIn("| other, tok/s (ratio) |", lines[0])
        self.assertIn(f"| 3.00 ({ratio:.2f}) |", lines[2])
        self.assertEqual({line.count("|") for line in lines}, {lines[0].count("|")})


class RealModel(unittest.TestCase):
    def test_one_that_is_not_there_is_skipped_visibly(self):
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder) / "real.gguf", io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(real.models(str(path)), [])
                said = out.getvalue()
                path.touch()
                self.assertEqual(real.models(str(path)), [str(path)])
                self.assertEqual(real.models(None), [])
            self.assertIn("skipped real.gguf", said)
            self.assertEqual(out.getvalue(), said)

    def test_no_decided_position_may_flip(self):
        same, margin = np.ones(600, bool), np.full(600, 7.0)
        same[0] = False
        row = {"same": same, "margin": margin, "same_top": same.mean()}
        llama = {"rms": 1.0, "same": np.ones(600, bool)}
        self.assertTrue(parity.gate_top(row, llama)[0])
        self.assertFalse(parity.gate_top(row, llama, 1.0)[0])
        margin[0] = 5.0
        self.assertTrue(parity.gate_top(row, llama, 1.0)[0])

    def test_it_has_its_own_line_in_the_table(self):
        row = {"kl_mean": 1e-3, "same_top": 0.9}
        results = [{"model": name, "kv": ["f16", "f16"], "passed": True,
                    "rows": {"llama.cpp": row, "weft cpu": row}}
                   for name in ("SmolLM2-135M-Instruct.Q4_1.gguf", "weft-demo-phi3.gguf",
                                "small-llama-Q4_1.gguf", "small-qwen2-Q4_1.gguf")]
        kinds = [kind for _, kind in table.groups(results)]
        self.assertEqual(kinds, ["SmolLM2-135M-Instruct.Q4_1", "weft-demo-phi3", "Q4_1"])


class BytesWithoutToken(unittest.TestCase):
    def test_those_that_a_vocabulary_lacks(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vocabulary.gguf"
            pairs.write(path, "smollm", 1)
            self.assertEqual(tokens.bytes_without_token(path), b"")
            symbols = pairs.byte_symbols()
            few = [symbol for symbol in symbols if symbol not in (symbols[4], symbols[255])]
            with unittest.mock.patch.object(pairs, "byte_symbols", lambda: few):
                pairs.write(path, "smollm", 1)
            self.assertEqual(tokens.bytes_without_token(path), b"\x04\xff")


class RandomStrings(unittest.TestCase):
    def test_same_seed_same_strings(self):
        one = list(tokens.strings(300, 7, ["piece", " of"]))
        self.assertEqual(one, list(tokens.strings(300, 7, ["piece", " of"])))
        self.assertNotEqual(one, list(tokens.strings(300, 8, ["piece", " of"])))
        self.assertEqual(list(tokens.broken(50, 7)), list(tokens.broken(50, 7)))

    def test_they_hold_what_they_should(self):
        texts = list(tokens.strings(2000, 1, ["piece"]))
        everything = "".join(texts)
        for wanted in ("<|im_start|>", "</s>", "<0x41>", "\u200d", "🏽", "\r\n", "\t", "\u3000", "🚀",
                       "'LL", "#include", "piece", "-" * 64):
            self.assertTrue(wanted in everything, wanted)
        used = set(map(ord, everything))
        for first, last in (*tokens.BLOCKS, *tokens.MARKS):
            self.assertTrue(used & set(range(first, last + 1)), f"U+{first:04X}")
        for first, last in ((0, 0), *tokens.NEW_IN_UNICODE):
            self.assertFalse(used & set(range(first, last + 1)), f"U+{first:04X}")
        for data in tokens.broken(200, 1):
            with self.assertRaises(UnicodeDecodeError):
                data.decode()


class Pretokenizers(unittest.TestCase):
    def test_published_words(self):
        text = "camelCase cafe\u0301 中文ab 1234x 12345 \u0663\u0663\u0663\u0663"
        for pre, wanted in {
            "gpt-4o": "camel|Case| cafe\u0301| 中文ab| |123|4|x| |123|45| |\u0663\u0663\u0663|\u0663",
            "kimi-k2": "camel|Case| cafe\u0301| |中文|ab| |123|4|x| |123|45| |\u0663\u0663\u0663|\u0663",
            "tiny_aya": "camel|Case| cafe\u0301| 中文ab| |123|4|x| |12|345| |\u0663|\u0663\u0663\u0663",
            "superbpe": "camelCase cafe\u0301 中文ab |1|234|x |12|345| |\u0663|\u0663\u0663\u0663",
        }.items():
            self.assertEqual("|".join(published.words(pre, text)), wanted)

    def test_ids_of_pairs(self):
        ids = pairs.Ids("tekken", 1)
        a, b = (2 + byte for byte in b"ab")
        pair = ids.of_word(b"ab")
        self.assertEqual((len(pair), ids.of_word(b"a"), ids.of_word(b"b")), (1, [a], [b]))
        self.assertEqual(ids.of_word(b"123"), [2 + 256 + 65536 + 123])
        better = ids.rank[ord("a") << 8 | ord("b")] < ids.rank[ord("b") << 8 | ord("a")]
        self.assertEqual(ids.of_word(b"aba"), [*pair, a] if better else [a, *ids.of_word(b"ba")])
        self.assertEqual(ids.of_text("abA"), [*pair, 2 + ord("A")])

    def test_every_name_has_one_place(self):
        names = [name for group in pretokenizers.NAMES for name in group]
        source = (ROOT / "src/text/pretokenizers.c").read_text()
        rows = re.findall(r'\{ "([^"]+)", (\w+),', source)
        self.assertEqual(sorted(names), sorted(name for name, patterns in rows if patterns != "NULL"))
        self.assertEqual(set(pretokenizers.APPROXIMATED), set(published.PATTERNS))
        self.assertLessEqual(set(pretokenizers.APPROXIMATED), {group[0] for group in pretokenizers.NAMES})


class IdsOfConversations(unittest.TestCase):
    """Planted defects are noticed."""

    SOURCE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<think><|im_end|>{% endfor %}"
              "{% if messages[0].content == 'no' %}{{ raise_exception('no') }}{% endif %}")
    TOKENS = ["<|im_start|>", "<|im_end|>", "<think>"]

    def setUp(self):
        self.template, self.reads = Template(self.SOURCE), jinja.reads_of(self.SOURCE)
        self.forms = shaped.forms_of(self.SOURCE, self.template, self.reads)

    def case(self, stack: contextlib.ExitStack, kind: str) -> templates.Case:
        """A vocabulary that wants a BOS, with <think> as a user-defined token."""
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "x.gguf"
        chat_vocabularies.write(path, kind, "x", self.SOURCE, self.TOKENS, AlwaysHalf())
        stack.enter_context(unittest.mock.patch.multiple(templates.libweft, open_vocab=unittest.mock.DEFAULT,
                                                         close=unittest.mock.DEFAULT))
        v = templates.Vocabulary(None, str(path), stack, own=True)
        self.assertTrue(v.adds_bos)
        return templates.Case(templates.Source("x", self.SOURCE), self.template, self.forms, v)

    def different(self, what: str, case: templates.Case, content: str, answer) -> int:
        """Compares one conversation; `answer` makes Weft's ids, text and runs of the right ones."""
        c = Conversation({"messages": [{"role": "user", "content": content}], "tools": None,
                          "documents": None, "add_generation_prompt": False}, {}, 1)
        text, tally = case.expected_text(c) or "", templates.Tally()
        parts = re.split(f"({re.escape(content)})", text)
        pieces = [piece for k, part in enumerate(parts) for piece in (part if k == 1 else [part])]
        ids = [i for piece in pieces for i in llamacpp.tokenize(case.v.llama, piece.encode(), False, True)]
        runs = [(len(part.encode()), k == 1) for k, part in enumerate(parts) if part]
        right = libweft.Prompt(case.v.with_bos(ids), text, runs)
        with unittest.mock.patch.object(libweft, "prompt", side_effect=lambda *_, **__: answer(right, case)):
            getattr(case, what)(tally, c)
        return tally.n["different"]

    def test_plain_conversations(self):
        def refuses(right, case):
            raise libweft.WeftError("no")

        for kind in chat_vocabularies.KINDS:
            with contextlib.ExitStack() as stack:
                case = self.case(stack, kind)
                for n, answer in (
                    (0, lambda right, case: replace(right, ids=case.v.encode(right.text))),
                    (1, lambda right, case: replace(right, ids=[1, *case.v.encode(right.text)])),
                    (1, lambda right, case: replace(right, ids=case.v.encode(right.text)[1:])),
                    (1, lambda right, case: replace(right, ids=case.v.encode(right.text + "x"))),
                    (1, refuses),
                ):
                    self.assertEqual(self.different("plain", case, " hi\n\nthere", answer), n)
                self.assertEqual(self.different("plain", case, "no", refuses), 0)
                self.assertEqual(self.different("plain", case, "no", lambda right, case: right), 1)

    def test_look_alikes(self):
        for content in ("\ua000<|im_end|>\ua001", "\ua000<think>\ua001"):
            token = content[1:-1]
            for kind in chat_vocabularies.KINDS:
                with contextlib.ExitStack() as stack:
                    case = self.case(stack, kind)
                    id_ = case.v.texts.index(token)
                    for n, answer in (
                        (0, lambda right, case: right),
                        (1, lambda right, case: replace(right, ids=case.v.encode(right.text))),
                        (1, lambda right, case: replace(right, ids=[i for i in right.ids if i != id_])),
                        (1, lambda right, case: replace(right, ids=[1, *right.ids])),
                        (1, lambda right, case: replace(right, runs=[(len(right.text.encode()), False)])),
                    ):
                        self.assertEqual(self.different("look_alikes", case, content, answer), n, content)

    def test_struct_form(self):
        with contextlib.ExitStack() as stack:
            case = self.case(stack, "bpe")
            for n, ids in ((0, [1, 2]), (1, [1])):
                with unittest.mock.patch.object(libweft, "chat_tokens", return_value=ids):
                    self.assertEqual(self.different("struct_form", case, "hi", lambda right, case: replace(
                        right, ids=[1, 2])), n)

    def test_forms_of_messages(self):
        call = {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]}
        parts = dict.fromkeys(("system", "developer", "user", "assistant", "tool"), False)
        self.assertEqual(self.forms, shaped.Forms(strings=True, parts=parts, objects=False, texts=False, nulls=False,
                                                  empties=False, developer=False, tools=False))
        self.assertEqual(self.forms.message({"role": "developer", "content": [{"type": "text", "text": "a"},
                                                                              {"type": "text", "text": "b"}]}),
                         {"role": "system", "content": "a\nb"})
        self.assertEqual(self.forms.message(call)["content"], "")
        source = (ROOT / "tests/data/chat/qwen3.jinja").read_text()
        forms = shaped.forms_of(source, Template(source), jinja.reads_of(source))
        self.assertTrue(forms.tools and forms.objects and not forms.without_tools)
        self.assertEqual(forms.message(call)["tool_calls"][0]["function"]["arguments"], {"a": 1})
        self.assertEqual(call["tool_calls"][0]["function"]["arguments"], '{"a": 1}')

    def test_conversations(self):
        source = (ROOT / "tests/data/chat/qwen3.jinja").read_text()
        template, reads = Template(source), jinja.reads_of(source)
        forms = shaped.forms_of(source, template, reads)
        tokens = ["<|im_start|>", "<|im_end|>", "<think>"]

        def drawn(texts: type) -> list[Conversation]:
            return [shaped.draw(f"x/{i}", template, reads, forms, texts, tokens) for i in range(60)]

        plain, others = drawn(shaped.PlainTexts), drawn(shaped.LookAlikes)
        self.assertEqual(plain, drawn(shaped.PlainTexts))
        self.assertFalse(any(token in str(c.variables) for c in plain for token in tokens))
        for token in tokens:
            self.assertGreater(sum(token in str(c.variables) for c in others), 30)
        for wanted in ("tool_calls", "reasoning_content", "{'type': 'text', 'text':", "'content': None"):
            self.assertTrue(wanted in str(plain), wanted)
        self.assertTrue(any(c.marked for c in plain))

    def test_built_in_sources(self):
        self.assertIn("<|im_start|>", jinja_sources.built_in()["chatml"])


class AlwaysHalf(random.Random):
    def random(self) -> float:
        return 0.5


class JinjaReference(unittest.TestCase):
    """jinja2 as Transformers calls it."""

    def outcome(self, source: str, **variables) -> Outcome:
        return Template(source).render(variables, 0)

    def test_kinds_of_faults(self):
        for source, fault in {
            "{{ raise_exception('a\\nb') }}": "raised", "{{ x.y }}": "undefined", "{{ 1 + 'a' }}": "runtime",
            "{{ 1 / 0 }}": "runtime", "{% if %}": "syntax", "{{ [].insert(0, 1) }}": "runtime",
            "{{ namespace(_a=1) }}": "runtime", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}": "runtime",
        }.items():
            self.assertEqual(self.outcome(source).fault, fault, source)
        self.assertEqual(self.outcome("{{ raise_exception('a\\nb') }}").message, "a\nb")

    def test_what_transformers_adds(self):
        self.assertEqual(self.outcome("{{ x | tojson }}", x={"é": "<'>"}).text, '{"é": "<\'>"}')
        self.assertEqual(self.outcome("a{% generation %}b{% endgeneration %}c").text, "abc")
        self.assertEqual(Template("{{ strftime_now('%Y-%m-%d') }}").render({}, 86400 * 366).text, "1971-01-02")

    def test_the_text_to_continue(self):
        source = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}<end>\n{% endfor %}"
        for content, wanted in (("a b", "a b"), (" a b ", "a b")):
            messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": content}]
            self.assertEqual(Template(source).render_to_continue({"messages": messages}, 0),
                             f"[user]x<end>\n[assistant]{wanted}")
        self.assertIsNone(Template("none").render_to_continue({"messages": messages}, 0))


class JinjaComparison(unittest.TestCase):
    """Planted defects are noticed."""

    SOURCE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
              "{% if messages[0].role == 'tool' %}{{ raise_exception('No tool.') }}{% endif %}")
    HI = "\ua000<|im_end|>\ua001 hi"

    def count(self, role: str, answer: dict) -> int:
        tally = jinja.Tally(False, False)
        c = Conversation({"messages": [{"role": role, "content": self.HI}]}, {}, 0)
        with contextlib.redirect_stdout(io.StringIO()):
            jinja.compare_one(tally, None, "x", self.SOURCE, Template(self.SOURCE), c, answer)
        return tally.n_unknown

    def answer(self, *parts: tuple[str, int]) -> dict:
        return {"text": "".join(text for text, _ in parts),
                "runs": [[len(text.encode()), who] for text, who in parts]}

    def test_texts(self):
        begin, end = ("<|im_start|>", 0), ("<|im_end|>\n", 0)
        right = self.answer(begin, ("user\n", 1), (self.HI, 1), end)
        right["runs"] = [[12, 0], [4, 1], [1, 0], [len(self.HI.encode()), 1], [11, 0]]
        self.assertEqual(self.count("user", right), 0)
        for answer in (
            right | {"text": right["text"][:-1] + "x"}, right | {"runs": [[right["runs"][0][0], 0]]},
            right | {"runs": [[12, 0], [4, 1], [1, 0], [3 + 10, 1], [6 + 11, 0]]},  # a caller's text
            right | {"runs": [[2, 0], [10 + 4, 1], [1, 0], [len(self.HI.encode()), 1], [11, 0]]},
            right | {"runs": [[12, 0], [4, 1], [1, 0], [3, 1], [10, 0], [6, 1], [11, 0]]},
            right | {"runs": [[12, 0], [4, 1], [1, 0], [2, 1], [1, 0], [16, 1], [11, 0]]},
            {"fault": "runtime", "message": ""}, {"fault": "died", "message": "exit status -11"},
        ):
            self.assertEqual(self.count("user", answer), 1, answer)

    def test_faults(self):
        for message, n in (("No tool.", 0), ("No tool", 1), ("line 1: No tool.", 1)):
            self.assertEqual(self.count("tool", {"fault": "raised", "message": message}), n)
        self.assertEqual(self.count("tool", {"fault": "undefined", "message": "No tool."}), 1)
        self.assertEqual(self.count("tool", self.answer(("x", 0))), 1)

    def test_messages_that_are_too_long(self):
        words = "ab" * 400
        self.assertTrue(jinja.same_words(words, words[:100] + " ... " + words[-200:]))
        self.assertFalse(jinja.same_words(words, words[:100] + " ... c"))
        self.assertTrue(jinja.same_words("a\nb", "a?b"))

    def test_who_wrote_it(self):
        self.assertEqual(provenance.put_back(provenance.replace("a é🧵\n中<|x|>")), "a é🧵\n中<|x|>")
        self.assertEqual(provenance.authors([[1, 0], [2, 1]], "aé"), [0, 1])
        for runs in ([[2, 0], [1, 1]], [[1, 0]], [[1, 1], [2, 1]], [[1, 0], [0, 1], [2, 0]]):
            self.assertIsInstance(provenance.authors(runs, "aé"), str)
        escape = '"\\ua000"'
        self.assertIsNone(provenance.check_rare(escape, [0, 1, 1, 1, 1, 1, 1, 0], {}, ""))
        self.assertIsNotNone(provenance.check_rare(escape, [0, 1, 1, 1, 1, 1, 0, 0], {}, ""))

    def test_conversations(self):
        source = (ROOT / "tests/data/chat/qwen3.jinja").read_text()
        template, reads = Template(source), jinja.reads_of(source)
        made = [jinja.draw(f"x/{i}", template, reads, ["<|eot_id|>"]) for i in range(150)]
        again = [jinja.draw(f"x/{i}", template, reads, ["<|eot_id|>"]) for i in range(150)]
        self.assertEqual(made, again)
        everything = str([c.all_variables for c in made])
        for wanted in ("<|im_end|>", "<|eot_id|>", "<think>", "tool_calls", "reasoning_content", "anyOf",
                       "enable_thinking", "\\u2028", "'content': None",
                       "{'type': 'text', 'text':", "'content': ''", "developer", "'name'", "🧵", "\\x00"):
            self.assertTrue(wanted in everything, wanted)
        self.assertTrue(any(c.marked for c in made))
        rendered = [template.render(c.all_variables, c.now).fault for c in made]
        self.assertGreater(rendered.count(None), 120)

    def test_tokens_of_a_template(self):
        self.assertEqual(chat_texts.tokens_of("a<|im_end|>[/INST]</think><｜User｜> a < b [1]"),
                         ["</think>", "<|im_end|>", "<｜User｜>", "[/INST]"])

    def test_the_smallest_conversation(self):
        messages = [{"role": "user", "content": f"word {i} needle"} for i in range(5)]
        c = Conversation({"messages": messages, "tools": [1, 2]}, {}, 0)
        found = shrink.shrink(c, lambda other: "needle" in str(other.variables))
        self.assertEqual(found.variables, {"messages": [{"content": "needle"}]})

    def test_llama_cpp_s_templates_are_skipped_visibly(self):
        out = io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out), \
                unittest.mock.patch.object(jinja_sources, "fetch", side_effect=OSError("no network")):
            self.assertEqual(jinja_sources.collection(Path(folder) / "templates"), {})
        self.assertIn("skipped llama.cpp's templates", out.getvalue())

    def test_snippets(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.txt"
            path.write_text('# x\n\n== a\n|{{ x }}\n|b\nvars {"x": 1}\ntext "old"\n\n== b\njson "{{ y.z }}"\n'
                            "fault runtime\nweft syntax: why\n")
            head, found = snippets.read(path)
            self.assertEqual(found[0].source, "{{ x }}\nb")
            self.assertEqual(len(snippets.problems(path, found)), 2)
            for snippet in found:
                snippet.recorded = snippets.result_line(snippet.outcome())
            snippets.write(path, head, found)
            self.assertIn('\ntext "1\\nb"\n', path.read_text())
            self.assertIn("\nfault undefined\nweft syntax: why\n", path.read_text())
            self.assertEqual(snippets.problems(path, snippets.read(path)[1]), [])


class Comparison(unittest.TestCase):
    def test_parting(self):
        self.assertIsNone(compare.parting([1, 2, 3], [1, 2, 3]))
        self.assertEqual(compare.parting([1, 2, 3], [1, 4, 3]), 1)
        self.assertEqual(compare.parting([5], [6]), 0)
        self.assertIsNone(compare.parting([], []))

    def test_rates_ratios_and_limits(self):
        made = result()
        pp, tg = made["rows"][:2]
        self.assertEqual((pp["test"], tg["test"]), ("pp512", "tg128"))
        self.assertEqual(tg["weft_tok_s"], [6 * 128, 6 * 128])
        self.assertEqual(tg["llama_cpp_tok_s"], [2 * 128, 4 * 128])
        self.assertEqual((tg["ratio_min"], tg["ratio"], tg["ratio_max"]), (1.5, 2.25, 3.0))
        # 2 GB/s at 768 tok/s, and 10 GB/s at best; 3 of 6 G multiply-adds/s
        self.assertAlmostEqual(tg["limit"], 5 * 768)
        self.assertAlmostEqual(pp["limit"], 2 * 6 * 512)

    def test_readme_keeps_what_is_outside_the_markers(self):
        before = f"# Title\n\ntext {BEGIN}\nold\n{END} more\n| a | b |\n"
        after = readme.replace(before, "bench-avx2", "\nnew\n")
        self.assertEqual(after, before.replace("old", "new"))
        self.assertEqual(readme.replace(after, "bench-avx2", "new"), after)
        backwards = END + BEGIN
        for broken in ("no markers", BEGIN, backwards, before + before):
            with self.assertRaises(SystemExit):
                readme.replace(broken, "bench-avx2", "new")

    def test_plot_table_and_readme_are_written(self):
        with tempfile.TemporaryDirectory() as folder:
            png, svg = compare.plot(result(), Path(folder) / "sub.name")
            self.assertEqual((png.name, svg.name), ("sub.name.png", "sub.name.svg"))
            self.assertEqual(png.read_bytes()[:4], b"\x89PNG")
            self.assertIn("<svg", svg.read_text())
            page = Path(folder) / "README.md"
            page.write_text(f"above\n{BEGIN}\n{END}\nbelow\n")
            compare.update_readme(page, result(), svg)
            text = page.read_text()
        self.assertTrue(text.startswith("above\n") and text.endswith("\nbelow\n"))
        for wanted in ("| small | tg128 | 384.0 | 768.0 | **2.25** (1.50 to 3.00) | 3,840 |",
                       "(sub.name.svg)", "0123456789", "2026-01-02"):
            self.assertIn(wanted, text)


if __name__ == "__main__":
    unittest.main()
