#!/usr/bin/env python3
"""The parity table of the README, from what matrix.py has measured.

    table.py RESULT.json [--update-readme README.md]
"""

import argparse
import json
import math
import statistics
import subprocess
from pathlib import Path

import readme

ROOT = Path(__file__).resolve().parents[2]
HEAD = ("| model | mean KL of Weft | of llama.cpp | ratio | worst ratio | same top token, Weft | llama.cpp |\n"
        "|---|---:|---:|---:|---:|---:|---:|\n")
SYNTHETIC = ("small-", "tiny-")


def geometric(values: list[float]) -> float:
    return math.exp(statistics.fmean(math.log(max(v, 1e-300)) for v in values))


def groups(results: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """Groups the results: each trained model, and each tensor type over all architectures."""
    out: dict[tuple[str, str], list[dict]] = {}
    for r in results:
        name = r["model"].removesuffix(".gguf")
        kind = name.rsplit("-", 1)[1] if name.startswith(SYNTHETIC) else name
        if r["kv"] != ["f16", "f16"]:
            kind += f", K/V {'/'.join(r['kv'])}"
        for label in (label for label in r["rows"] if label != "llama.cpp"):
            out.setdefault((label, kind), []).append(r | {"row": r["rows"][label], "llama": r["rows"]["llama.cpp"]})
    return out


def line(label: str, kind: str, rows: list[dict]) -> str:
    ours, theirs = ([r[who]["kl_mean"] for r in rows] for who in ("row", "llama"))
    ratios = [a / b for a, b in zip(ours, theirs)]
    tops = (statistics.fmean(r[who]["same_top"] for r in rows) for who in ("row", "llama"))
    cells = (f"{kind}, {label.removeprefix('weft ')}", f"{geometric(ours):.1e}", f"{geometric(theirs):.1e}",
             f"{geometric(ratios):.2f}", f"{max(ratios):.2f}", *(f"{t:.1%}" for t in tops))
    return "| " + " | ".join(cells) + " |"


def table(results: list[dict]) -> str:
    rows = "\n".join(line(*key, group) for key, group in groups(results).items())
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    n = sum(len(group) for group in groups(results).values())
    failed = [r["model"] for r in results if not r["passed"]]
    return (f"{HEAD}{rows}\n\nMean KL divergence from the float32 reference, in nats; geometric means over the models of a line. "
            f"Trained models read a text, the demo models in Q8_0. All others: qwen2, qwen3, phi3 and llama, these with YaRN, and the text parts of qwen2vl and qwen3vl, with random weights, "
            f"random tokens, 100 and 640 of them. `sim`: the CUDA backend on the simulator. {n} comparisons at commit {commit}, "
            f"{'all within their gates' if not failed else 'failed: ' + ', '.join(failed)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--update-readme", type=Path)
    args = parser.parse_args()
    text = table(json.loads(args.result.read_text()))
    print(text)
    if args.update_readme:
        readme.update(args.update_readme, "parity", text)


if __name__ == "__main__":
    main()
