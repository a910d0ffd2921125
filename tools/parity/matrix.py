#!/usr/bin/env python3
"""Parity of Weft with llama.cpp: demo models, synthetic ones of every architecture and type.

    matrix.py [--weft PATH] [--synth PATH] [--sim PATH] [--devices LIST] [--quick] [--quantised-kv]
              [--real FILE] [--json FILE]

The demo models and the real one read a text. Synthetic models have random weights and seeded random tokens, so margins are small and every
rounding shows. All are run past 512 tokens, so past ten pages of the KV cache, and past the
original context of the phi3 ones, which then take their long factors; one of each architecture is
run with a short text, too, and some with K and V in q8_0, in both engines. Each architecture is
also run with YaRN, within the original context and beyond it, and the text parts of vision models
are. One line for each model and device; what failed is explained below it.
The gates stand in parity.py. Exit status: 0 all passed, 1 one failed, 2 wrong usage.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import llamacpp
import parity
import real
import reference

sys.path.append(str(parity.ROOT / "tools" / "train"))
import corpus  # noqa: E402

ARCHITECTURES = ("qwen2", "qwen3", "phi3", "llama")
TYPES = (
    "F32",
    "F16",
    "BF16",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "IQ4_NL",
    "IQ4_XS",
    "Q4_K_M",
)
QUICK_TYPES = ("F32", "F16", "Q8_0", "Q4_K_M")
LONG, SHORT = (640, 1024), (
    100,
    512,
)  # tokens, n_ctx; 512 is the original context of the phi3 models
Q8_0 = ("q8_0", "q8_0")
OPTIONAL = ("--biases", "--fused-qkv")  # tensors that a file may have or not
REAL = (512, 512)  # the reference takes half a minute on the real model
YARN = {
    "context_length": "u32:256",
    "rope.scaling.type": "str:yarn",
    "rope.scaling.factor": "f32:4",
    "rope.scaling.original_context_length": "u32:256",
    "rope.scaling.attn_factor": "f32:1.05",
}
OTHER_YARN = {
    "rope.scaling.yarn_beta_fast": "f32:20",
    "rope.scaling.yarn_beta_slow": "f32:0.5",
    "rope.scaling.yarn_ext_factor": "f32:0.75",
}
# llama.cpp 0.3.36 does not read the epsilon of qwen2vl files, and takes 0
VISION = {"qwen2vl": {"attention.layer_norm_rms_epsilon": "f32:1e-15"}, "qwen3vl": {}}
SIM_TOKENS = 80  # past one page of 64; the simulator takes seconds for it
SPECIAL = 300  # ids below are control tokens and single bytes in some vocabularies


def synthesize(
    program: str, preset: str, type_name: str, folder: str, *options: str, label: str = ""
) -> str:
    path = str(Path(folder, f"{preset}{label or ''.join(options)}-{type_name}.gguf"))
    subprocess.run(
        [program, "--like", preset, "--type", type_name, "-o", path, *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def keys_of(arch: str, keys: dict[str, str]) -> list[str]:
    return [part for name, value in keys.items() for part in ("--key", f"{arch}.{name}={value}")]


def random_tokens(path: str, n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(SPECIAL, reference.open_model(path).n_vocab, n)


def readme_text() -> str:
    return Path(parity.ROOT, "README.md").read_text()


def demo_text() -> str:
    """Returns text of the kind that the demo models were trained on, then text that is new to them."""
    rng = random.Random(2024)
    documents = [
        document.text for document in (corpus.document(rng) for _ in range(60)) if document.text
    ]
    return "\n".join(documents[:20]) + "\n" + readme_text()


def text_tokens(path: str, text: str, n: int) -> list[int]:
    with llamacpp.load(path, vocab_only=True) as model:
        return llamacpp.tokenize(model, text.encode(), True, False)[:n]


def line(name: str, n_tokens: int, label: str, row: dict, llama: dict) -> str:
    ratio = row["kl_mean"] / llama["kl_mean"]
    failed = [gate for gate, (ok, _) in row["gates"].items() if not ok]
    return (
        f"{'FAIL' if failed else 'ok':<4} {name:<32} {n_tokens:>4}  {label:<9} "
        f"NMSE {row['nmse']:.1e} ({llama['nmse']:.1e})  "
        f"KL {row['kl_mean']:.2e} ({llama['kl_mean']:.2e}, x{ratio:.2f})  "
        f"99.9 % {row['kl_999']:.1e}  "
        f"top {row['same_top']:.1%} ({llama['same_top']:.1%})  stage {row['stage_ratio']:.2f}"
        + (f"  {', '.join(failed)}" if failed else "")
    )


def name_of(result: dict) -> str:
    name = result["model"].removesuffix(".gguf")
    return name if result["kv"] == parity.F16 else f"{name} {'/'.join(result['kv'])}"


def report(result: dict) -> None:
    for label, row in result["rows"].items():
        if label != "llama.cpp":
            print(
                line(
                    name_of(result),
                    result["n_tokens"],
                    label,
                    row,
                    result["rows"]["llama.cpp"],
                )
            )
    if not result["passed"]:
        print(
            "\n".join(
                "       " + text for text in parity.verdicts(result) if not text.startswith("pass")
            )
        )
    sys.stdout.flush()


def jobs(args, real_models: list[str], folder: str):
    """Returns (path, tokens, n_ctx, types of K and V, on the simulator) of every comparison."""
    for arch in ("qwen2", "phi3"):
        path = str(parity.ROOT / "models" / f"weft-demo-{arch}.gguf")
        tokens = text_tokens(path, demo_text(), 1000)
        yield path, tokens, 1024, parity.F16, False
        yield path, tokens, 1024, Q8_0, False
    for path in real_models:
        yield path, text_tokens(path, readme_text(), REAL[0]), REAL[1], parity.F16, False
    for arch in ARCHITECTURES:
        for type_name in QUICK_TYPES if args.quick else TYPES:
            path = synthesize(args.synth, f"small-{arch}", type_name, folder)
            yield path, random_tokens(path, LONG[0]), LONG[1], parity.F16, False
            if type_name == "Q8_0":
                yield path, random_tokens(path, SHORT[0]), SHORT[1], parity.F16, False
                yield path, random_tokens(path, LONG[0]), LONG[1], Q8_0, False
            if type_name == "F32" and arch == "phi3":  # short factors in a long context
                yield path, random_tokens(path, SHORT[0]), LONG[1], parity.F16, False
            if type_name == "F16":
                kinds = ("q8_0", "f16") if arch in ("qwen2", "phi3") else ("f16", "q8_0")
                yield path, random_tokens(path, LONG[0]), LONG[1], kinds, False
            Path(path).unlink()
        path = synthesize(args.synth, f"small-{arch}", "Q8_0", folder, *OPTIONAL)
        yield path, random_tokens(path, LONG[0]), LONG[1], parity.F16, False
    for arch in (*ARCHITECTURES, *VISION):
        keys = YARN | VISION.get(arch, {}) | (OTHER_YARN if arch in ("qwen3", "qwen2vl") else {})
        for type_name, (n_tokens, n_ctx) in ("F32", LONG), ("Q8_0", (100, 256)):
            path = synthesize(
                args.synth, f"small-{arch}", type_name, folder, *keys_of(arch, keys), label="+yarn"
            )
            yield path, random_tokens(path, n_tokens), n_ctx, parity.F16, False
    for arch, keys in VISION.items():
        for type_name in ("F32", "Q4_K_M"):
            path = synthesize(
                args.synth, f"small-{arch}", type_name, folder, *keys_of(arch, keys), label="+text"
            )
            yield path, random_tokens(path, LONG[0]), LONG[1], parity.F16, False
    if args.sim:
        keys = keys_of("qwen3", YARN | OTHER_YARN)
        path = synthesize(args.synth, "tiny-qwen3", "F32", folder, *keys, label="+yarn")
        yield path, random_tokens(path, SIM_TOKENS), 256, parity.F16, True
    for arch in ARCHITECTURES if args.sim else ():
        path = synthesize(args.synth, f"tiny-{arch}", "Q8_0", folder, *OPTIONAL)
        yield path, random_tokens(path, SIM_TOKENS), 256, parity.F16, True
        for type_name in QUICK_TYPES:
            path = synthesize(args.synth, f"tiny-{arch}", type_name, folder)
            yield path, random_tokens(path, SIM_TOKENS), 256, parity.F16, True


def main() -> int:
    build = parity.ROOT / "build"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weft", default=str(build / "weft"))
    parser.add_argument("--synth", default=str(build / "weft-synth"))
    parser.add_argument(
        "--sim", help="a weft linked with the CUDA simulator: runs tiny models on it"
    )
    parser.add_argument("--devices", default="cpu,cuda")
    parser.add_argument(
        "--quick", action="store_true", help=f"of the synthetic models only {' '.join(QUICK_TYPES)}"
    )
    parser.add_argument(
        "--quantised-kv",
        dest="only_quantised_kv",
        action="store_true",
        help="only the comparisons with K or V in q8_0",
    )
    real.add_option(parser)
    parser.add_argument("--json", help="write all results there")
    args = parser.parse_args()
    engines = parity.default_engines(args.weft, args.devices.split(","), [])
    sim = [("weft sim", args.sim, "cuda")]
    real_models = real.models(args.real)
    n_skipped = 1 if args.real and not real_models else 0
    print("Weft (in brackets: llama.cpp), against the f32 reference")
    start, results = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for path, tokens, n_ctx, kv, on_sim in jobs(args, real_models, folder):
            if args.only_quantised_kv and kv == parity.F16:
                continue
            where = sim if on_sim else engines
            decided = 1.0 if path in real_models else parity.MIN_SAME_TOP
            results.append(
                parity.compare(path, tokens, n_ctx, where, kv=kv, min_decided=decided)
            )
            report(results[-1])
    failed = [name_of(r) for r in results if not r["passed"]]
    ratios = [
        row["kl_mean"] / r["rows"]["llama.cpp"]["kl_mean"]
        for r in results
        for label, row in r["rows"].items()
        if label != "llama.cpp"
    ]
    print(
        f"{len(ratios)} comparisons, {len(failed)} failed, {n_skipped} skipped; "
        f"{time.monotonic() - start:.0f} s"
    )
    if ratios:
        mean = np.exp(np.mean(np.log(ratios)))
        print(f"mean KL by that of llama.cpp: geometric mean {mean:.3f}, worst {max(ratios):.3f}")
        ok, text = parity.gate_top_together(results)
        print(text)
        failed += [] if ok else ["top token of all comparisons together"]
    if failed:
        print(f"failed: {', '.join(failed)}")
    if args.json:
        Path(args.json).write_text(json.dumps(parity.plain(results), indent=1) + "\n")
    return 1 if failed or not ratios else 0


if __name__ == "__main__":
    sys.exit(main())
