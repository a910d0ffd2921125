"""Tests of the gates (tools/gpu-model/plans.py): each planted change of a recording or of the table has
to be noticed, and writing the table keeps what a person wrote. Reads what weft-launches recorded:

    python3 tests/cuda/test_plans.py RECORDING
"""
import copy
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools/gpu-model"))
import plans  # noqa: E402

MODEL = "qwen2.5-7b"
TABLE = os.path.join(ROOT, "tools/gpu-model/plans.toml")


def first(lines, **fields):
    return next(x for x in lines if all(x.get(k) == v for k, v in fields.items()))


def thinned(lines):
    """Keeps what the gates look at, and of many similar products of a prompt only one."""
    gemms = {}
    kept = []
    for x in lines:
        if x["case"] == "prefill" and x["kind"] == "gemm":
            gemms.setdefault((x["m"], x["n"], x["k"]), x)
        elif x["kind"] == "kernel" and (x["case"] == "ahead" or x["case"] == "decode" and x["rows"] <= 2):
            kept.append(x)
    return kept + list(gemms.values())


class Gates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lines = plans.read_lines(RECORDING)
        cls.recorded = thinned(x for x in lines if x["model"] == MODEL)
        cls.head, table = plans.read_table(TABLE)
        cls.kept = table
        cls.table = table | {s: [r for r in table[s] if r["model"] == MODEL] for s in plans.KEYS}

    def setUp(self):
        self.lines = copy.deepcopy(self.recorded)
        self.rows = copy.deepcopy(self.table)

    def wrong(self):
        return list(plans.gate(plans.measure(self.lines), self.rows))

    def assert_only(self, text):
        wrong = self.wrong()
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn(text, wrong[0])

    def test_as_it_is(self):
        self.assertEqual(self.wrong(), [])

    def test_one_kernel_more(self):
        x = first(self.lines, case="ahead", kind="kernel", graph=True)
        self.lines.append(copy.deepcopy(x))
        self.assert_only("phases is 1")

    def test_one_kernel_less(self):
        x = first(self.lines, case="ahead", kind="kernel", graph=True, name="k_heads")
        self.lines.remove(x)
        self.assertEqual(self.wrong(), [])

    def test_fewer_warps(self):
        self.change_plans("down", lambda x: x["grid"].__setitem__(0, x["grid"][0] // 2))
        wrong = self.wrong()
        self.assertTrue(any("warps is" in w for w in wrong), wrong)
        self.assertTrue(any("bytes is" in w for w in wrong), wrong)

    def test_fewer_bytes(self):
        def smaller(x):
            for w in x["matvec"]["w"]:
                w["bytes"] = w["bytes"] * 9 // 10

        self.change_plans("head", smaller)
        wrong = self.wrong()
        self.assertTrue(any("bytes is" in w for w in wrong), wrong)
        self.assertTrue(all("bytes is" in w or "ahead is" in w for w in wrong), wrong)

    def test_less_ahead(self):
        self.change_plans("head", lambda x: x["matvec"].__setitem__("prefetch", x["matvec"]["prefetch"] // 2))
        self.assert_only("ahead is")

    def test_several_rows_apart(self):
        """If a plan is worse only for products with two rows, the table must have an entry for two rows."""
        for p, x in plans.products(self.lines):
            if p == "down" and x["matvec"]["n"] == 2:
                x["grid"][0] //= 2
        self.assertTrue(all("no row" in w and " 2:" in w for w in self.wrong()), self.wrong())
        self.assertTrue(self.wrong())

    def test_smaller_product(self):
        first(self.lines, case="prefill", kind="gemm")["n"] //= 2
        wrong = self.wrong()
        self.assertTrue(any("no row" in w for w in wrong), wrong)
        self.assertTrue(any("no longer launched" in w for w in wrong), wrong)

    def test_worse_than_the_row(self):
        self.rows["waves"][0]["share"] += 0.01
        self.assert_only("share is")

    def test_a_row_without_a_reason(self):
        short = next(r for r in self.rows["waves"] if r["share"] < plans.WANT_WAVES)
        short["reason"] = ""
        self.assert_only("give the row a reason")

    def test_a_reason_that_is_not_there(self):
        short = next(r for r in self.rows["waves"] if r["share"] < plans.WANT_WAVES)
        short["reason"] = "because"
        self.assert_only("give the row a reason")

    def test_nothing_recorded(self):
        self.lines = [x for x in self.lines if x["kind"] != "gemm"]
        self.assertTrue(any("nothing of the kind" in w for w in self.wrong()))

    def test_a_new_kernel(self):
        names, files = ["k_heads", "k_new"], ["kernels/heads.cu"]
        rows = {"kernels": {"k_heads": {"file": "kernels/heads.cu", "held_by": "phases"}}}
        wrong = list(plans.gate_kernels(names, files, rows))
        self.assertEqual(len(wrong), 1)
        self.assertIn("k_new", wrong[0])
        wrong = list(plans.gate_kernels(names[:1], files + ["kernels/new.cu"], rows))
        self.assertEqual(len(wrong), 1)
        self.assertIn("kernels/new.cu", wrong[0])
        self.assertEqual(len(list(plans.gate_kernels([], [], rows))), 1)

    def test_writing(self):
        """Writing stores today's values. A reason stays while something falls short, and goes when
        nothing does."""
        short = next(r for r in self.rows["plans"] if r["warps"] < plans.WANT_WARPS)
        fine = next(r for r in self.rows["plans"] if "reason" not in r)
        short["warps"], fine["reason"] = 0.123, "few_rows"
        self.rows["waves"].append({"model": MODEL, "m": 1, "n": 1, "k": 1, "share": 1.0})
        text = plans.render(self.head, plans.updated(plans.measure(self.lines), self.rows))
        self.assertTrue(text.startswith(self.head))
        self.assertEqual(plans.tomllib.loads(text), self.table)

    def change_plans(self, name, change):
        for p, x in plans.products(self.lines):
            if p == name:
                change(x)


if __name__ == "__main__":
    RECORDING = sys.argv.pop(1)
    unittest.main()
