"""The programs that load servers: what they read, count and print, and the faults that they find.

    python3 -m unittest tests/test_serve_tools.py
"""

import contextlib
import io
import json
import math
import re
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/compare"))

import processes  # noqa: E402
import serve  # noqa: E402
import streams  # noqa: E402

FAKE = f"{sys.executable} {ROOT}/tests/serve/fake_server.py --port {{port}}"
STRESS = [sys.executable, str(ROOT / "tests/serve/stress.py"), "--streams", "16", "--disconnects",
          "60", "--idle", "10", "--variants", "6", "--tokens", "16", "--drain", "2", "--growth",
          "1000", "--sigterm", "8"]


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (*pieces, b""))


def event(data) -> bytes:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def delta(**fields) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields}]})


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2,
                                        "prompt_tokens_details": {"cached_tokens": 4}}})
DONE = event("[DONE]")
ANSWER = HEAD + chunked(delta(role="assistant", content=None), delta(reasoning_content="a b"),
                        b": \n\n", delta(content=" c\n"), USAGE, DONE)


class Reading(unittest.TestCase):
    def test_cut_anywhere(self):
        for size in (1, 2, 3, 7, 50, len(ANSWER)):
            pieces = [ANSWER[i:i + size] for i in range(0, len(ANSWER), size)]
            stream = streams.stream_of(streams.read([(float(i), p) for i, p in enumerate(pieces)]))
            self.assertEqual((stream.text, stream.error), ("a b c\n", ""))
            self.assertEqual((stream.n_prompt, stream.n_cached, stream.n_generated), (9, 4, 2))

    def test_times(self):
        """An event has come when the chunk with its end has."""
        at = ANSWER.index(b"a b")
        end = ANSWER.index(b"\n\n\r\n", at) + 4
        chunks = [(1.0, ANSWER[:at]), (2.0, ANSWER[at:end - 1]), (3.0, ANSWER[end - 1:end]),
                  (4.0, ANSWER[end:])]
        stream = streams.stream_of(streams.read(chunks))
        self.assertEqual((stream.times, stream.end), ([3.0, 4.0], 4.0))

    def test_faults(self):
        for said, answer in (
                ("no answer", b""),
                ("no answer", b"HTTP/1.1 200"),
                ("broke off", ANSWER[:-30]),
                ("error event: no", HEAD + chunked(event({"error": {"message": "no"}}))),
                ("status 503: busy", b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy")):
            stream = streams.stream_of(streams.read([(0.0, answer)] if answer else []))
            self.assertIn(said, stream.error)

    def test_broken_text_is_kept(self):
        broken = ANSWER[:ANSWER.index(b" c\\n")]
        self.assertEqual(streams.stream_of(streams.read([(0.0, broken)])).text, "a b")

    def test_not_chunked(self):
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + delta(content="x") + DONE
        self.assertEqual(streams.stream_of(streams.read([(0.0, answer)])).error, "")


def request(first=1.0, between=(0.5, 0.5), began=0.0, error="", n=3) -> dict:
    return {"error": error, "n_prompt": 100, "n_cached": 25, "n_generated": n, "first": first,
            "between": list(between), "began": began, "end": began + (first or 0) + sum(between)}


def turn(*requests: dict, cpu=2.0, threads=None) -> dict:
    return {"requests": list(requests), "cpu": cpu, "threads": threads or {}}


class Statistics(unittest.TestCase):
    def test_percentile(self):
        self.assertEqual(serve.percentile([3.0], 99), 3.0)
        self.assertEqual(serve.percentile([3.0, 1.0, 2.0], 50), 2.0)
        self.assertAlmostEqual(serve.percentile([0.0, 10.0], 99), 9.9)
        self.assertAlmostEqual(serve.percentile(list(map(float, range(101))), 99), 99.0)
        self.assertTrue(math.isnan(serve.percentile([], 50)))

    def test_rate_is_of_the_whole_turn(self):
        """The second request begins late: 6 tokens from 0 to 4 s."""
        s = serve.summary([turn(request(), request(began=2.0))])
        self.assertEqual((s["tok_s"], s["errors"], s["requests"]), (1.5, 0, 2))
        self.assertEqual((s["n_prompt"], s["cached"], s["tokens_per_text"]), (100, 0.25, 1))

    def test_times_of_all_rounds(self):
        s = serve.summary([turn(request(1.0)), turn(request(2.0)), turn(request(9.0, (3.0, 0.5)))])
        self.assertEqual((s["first_p50"], s["between_p50"]), (2.0, 0.5))
        self.assertGreater(s["between_p99"], 2.8)

    def test_errors_count_nowhere_else(self):
        s = serve.summary([turn(request(), request(first=None, between=(), error="no answer"))])
        self.assertEqual((s["errors"], s["first_p99"], s["tok_s"]), (1, 1.0, 1.5))
        none = serve.summary([turn(request(error="no answer"))])
        self.assertTrue(math.isnan(none["tok_s"]) and math.isnan(none["cached"]))

    def test_ratio_of_rounds(self):
        ours = [turn(request(x)) for x in (1.0, 2.0, 3.0)]
        theirs = [turn(request(x)) for x in (2.0, 2.0, 1.0)]
        self.assertEqual(serve.ratio(ours, theirs, "first_p50"),
                         {"median": 1.0, "min": 0.5, "max": 3.0})
        broken = [turn(request(error="x"))] + ours[1:]
        self.assertEqual(serve.ratio(broken, theirs, "first_p50")["min"], 1.0)

    def test_shares(self):
        threads = {"weft": {"threads": 1, "seconds": 0.5}, "weft-step": {"threads": 2,
                                                                        "seconds": 1.0}}
        shares = serve.shares([turn(cpu=2.0, threads=threads)] * 2)
        self.assertEqual(shares["weft"], {"threads": 1, "seconds": 1.0, "share": 0.25})
        self.assertEqual(shares["ended"]["share"], 0.25)

    def test_threads_that_have_begun_since(self):
        before, after = {"1": ("a", 1.0)}, {"1": ("a", 1.5), "2": ("b", 0.25), "3": ("b", 0.25)}
        self.assertEqual(processes.by_name(before, after)["b"], {"threads": 2, "seconds": 0.5})
        self.assertEqual(processes.by_name(before, after)["a"]["seconds"], 0.5)

    def test_names_of_threads(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("7 (a) b (c) S " + " ".join(map(str, range(1, 40))))
            file.flush()
            name, seconds = processes.read_stat(Path(file.name))
        self.assertEqual((name, seconds), ("a) b (c", (11 + 12) / processes.TICKS))


class Prompts(unittest.TestCase):
    ARGS = serve.make_parser().parse_args(["m.gguf", "--clients", "2", "--requests", "3"])

    def systems(self, kind, round_=0):
        return [m[0]["content"] for m in serve.prompts(self.ARGS, kind, 2, round_)]

    def test_kinds(self):
        self.assertEqual(len(self.systems("shared")), 7)
        self.assertEqual(len(set(self.systems("shared"))), 1)
        starts = {text[:20] for text in self.systems("separate")}
        self.assertEqual(len(starts), 7)

    def test_nothing_comes_up_again(self):
        self.assertEqual(self.systems("shared"), self.systems("shared"))
        self.assertNotEqual(self.systems("shared", 1), self.systems("shared", 2))
        questions = [m[1]["content"] for m in serve.prompts(self.ARGS, "shared", 2, 0)]
        self.assertEqual(len(set(questions)), 7)

    def test_commands(self):
        self.assertEqual(serve.command_of("weft", "x --port {port}"), "x --port {port}")
        self.assertIn("serve -m {model}", serve.command_of("weft", "a b/weft"))
        self.assertEqual(processes.filled('{port}{"a": 1}', port=7), '7{"a": 1}')


class Together(unittest.TestCase):
    """serve.py on two fake servers, of which one takes twice as long for a token."""

    def compare(self, weft: str, *options: str) -> tuple[int, dict, str]:
        out, err = io.StringIO(), io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "r.json"
            argv = ["serve.py", "m.gguf", "--weft", f"{FAKE} {weft}", "--llama",
                    f"{FAKE} --delay 0.04", "--clients", "1,4", "-r", "2", "-n", "8", "--requests",
                    "1", "--cpu-share", "--json", str(file), *options]
            with unittest.mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), \
                    contextlib.redirect_stderr(err):
                code = serve.main()
            return code, json.loads(file.read_text()), out.getvalue() + err.getvalue()

    def test_figures(self):
        code, result, said = self.compare("--delay 0.02")
        self.assertEqual(code, 0, said)
        self.assertEqual([(r["kind"], r["clients"]) for r in result["rows"]],
                         [("shared", 1), ("shared", 4), ("separate", 1), ("separate", 4)])
        for row in result["rows"]:  # wide: other programs use the processors too
            self.assertLess(row["ratio"]["between_p50"]["median"], 0.8)
            self.assertGreater(row["ratio"]["tok_s"]["median"], 1.2)
        self.assertLess(result["load_share"], 0.2)
        self.assertEqual(len(result["threads"]["weft"]), 2)  # Python's only thread, and "ended"
        lines = said[said.index("| system"):].split("\n\n")[0].splitlines()
        self.assertEqual({line.count("|") for line in lines}, {lines[0].count("|")})
        self.assertRegex(said, r"Of the processors the clients used \d")

    def test_wrong_answers(self):
        code, result, said = self.compare("--fault short", "--kinds", "separate")
        self.assertEqual(code, 1)
        self.assertEqual([row["weft"]["errors"] for row in result["rows"]], [2, 8])
        self.assertIn("7 tokens instead of 8", said)

    def test_a_server_that_does_not_start(self):
        with self.assertRaisesRegex(SystemExit, "llama-server: exit code 3.*\n.*gone"):
            self.compare("", "--llama", "sh -c 'echo gone {port}; exit 3'")


class Stress(unittest.TestCase):
    def run_on(self, *fault: str) -> tuple[int, str]:
        settle = "0.1" if fault else "10"
        command = [*STRESS, "--settle", settle, "--", *FAKE.split(), "--delay", "0.005", *fault]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def test_no_fault(self):
        code, said = self.run_on()
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"sigterm +8 streams: .*; exit code 0 ")

    def test_planted(self):
        for fault, says in (("mix", "streams: variant .*another text than alone.*other"),
                            ("short", "alone: variant .* tokens, expected"),
                            ("cut", "another text than alone"),
                            ("error", "streams: variant .*: error event: planted"),
                            ("leak", r"descriptors \d+ instead of"),
                            ("running", r"weft_requests_running [1-9].*weft_kv_pages_used [1-9]"),
                            ("stuck", "still there 2 s after SIGTERM"),
                            ("code", "sigterm: exit code 3")):
            with self.subTest(fault):
                code, said = self.run_on("--fault", fault)
                self.assertEqual(code, 1, said)
                self.assertTrue(re.search(says, said), said)

    def test_metrics_that_are_missing(self):
        done = subprocess.run([*STRESS[:2], "--streams", "0", "--disconnects", "0", "--idle", "0",
                               "--settle", "0", "--zero", "other", "--", *FAKE.split()],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("other missing", done.stdout)

    def test_wrong_usage(self):
        done = subprocess.run(STRESS + ["--port", "1"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--sigterm needs the command", done.stderr)


if __name__ == "__main__":
    unittest.main()
