#!/usr/bin/env python3
"""Does Weft compute what a model says, as well as llama.cpp does? One table, and gates.

    parity.py MODEL [--text FILE] [--weft PATH] [--devices cpu,cuda,sim] [--sim PATH] [--json FILE]
              [-ctk TYPE] [-ctv TYPE]

An f32 reference (reference.py), llama.cpp and Weft read the same token ids. The gates of a Weft
device:

kl      mean KL(ref || weft) <= 1.05 x mean KL(ref || llama.cpp) + 2 standard errors. The error is
        that of the mean over positions of KL(ref || weft) - 1.05 KL(ref || llama.cpp): both engines
        are wrong at the same hard positions, so the difference of pairs is known better than either
        mean, and it holds the noise of Weft too. Below the floor nothing is measured: two
        computations in f32, with sums in other orders and RoPE angles rounded, differ by an NMSE of
        1e-9 at most (5e-12 to 1.1e-10 between the reference and llama.cpp with K and V in f32), and
        a difference d of logits costs about d^2 / 2.
nmse    of files whose matrices are all F32: 1e-6; F32, F16 and BF16: 1e-4. What is left is K and V
        in f16; with other types of them there is no such gate.
top     The same best token as the reference at 98 % of the positions that are decided: where the
        reference's margin is over 6 x the RMS error of llama.cpp's logits. In a model of random
        weights half of all margins are below that, and which token wins is noise there; llama.cpp's
        error is the measure, because a wrong engine must not excuse itself by its own. Of a real
        model, at all of them (matrix.py). Over all positions: 98 %, or not significantly (3.5 standard errors, by pairs) less often than
        llama.cpp: of some hundred comparisons of equally good engines 2 would fail at 2 standard
        errors, one in fifty runs has one that fails at 3.5. All comparisons of matrix.py together
        are held to 2 of theirs, a ninth of those of a single one.
stages  No stage of any layer, recomputed from Weft's own inputs, errs by more than rounding
        (stages.py). KL cannot see a factor of 1.01 on one head of a quantised model, this can. When
        a gate fails, the first such stage and layer is named.

The reference is proved in the same run: on a file of F32 matrices, and with K and V in f32,
llama.cpp differs from it by an NMSE of 1e-9 at most.

Exit status: 0 all gates passed, 1 one failed, 2 nothing could be compared.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import llamacpp
import metrics
import reference
import stages
import weft

F16 = ("f16", "f16")
ROOT = Path(__file__).resolve().parents[2]
KL_FACTOR = 1.05
F32_NMSE = 1e-9
MAX_NMSE = ({"F32"}, 1e-6), ({"F32", "F16", "BF16"}, 1e-4)
TOP_ERRORS = 3.5  # see above
MIN_SAME_TOP = 0.98
DECIDED = 6.0  # times the RMS error of llama.cpp
TRACE_BYTES = 512 << 20


def round_ctx(n: int) -> int:
    """Rounds up as llama.cpp rounds contexts."""
    return -(-n // 256) * 256


def llama_context(m: reference.Model, n_tokens: int, n_ctx: int) -> int:
    """Returns the n_ctx for which llama.cpp takes the RoPE factors that the text's length asks for."""
    return min(n_ctx, m.n_ctx_orig) if n_tokens <= m.n_ctx_orig else n_ctx


def nmse_limit(types: set[str]) -> float | None:
    return next((limit for allowed, limit in MAX_NMSE if types <= allowed), None)


def gate_kl(ref: np.ndarray, row: dict, llama: dict) -> tuple[bool, str]:
    excess, se = metrics.mean_se(row["kl"] - KL_FACTOR * llama["kl"])
    floor = F32_NMSE * float(np.vdot(ref, ref)) / ref.size / 2
    text = (
        f"mean KL {row['kl_mean']:.3e}, llama.cpp {llama['kl_mean']:.3e}; "
        f"excess over {KL_FACTOR} x {excess:+.1e}, "
        f"2 se {2 * se:.1e}"
    )
    return bool(excess <= 2 * se + floor), text


def gate_top(
    row: dict, llama: dict, min_decided: float = MIN_SAME_TOP
) -> tuple[bool, str]:
    decided = row["margin"] > DECIDED * llama["rms"]
    share = float(row["same"][decided].mean()) if decided.any() else 1.0
    difference, se = metrics.mean_se(row["same"].astype(np.float64) - llama["same"])
    flips = ~row["same"]
    text = (
        f"same top token at {share:.2%} of {decided.sum()} decided positions, "
        f"{row['same_top']:.2%} of all; "
        f"{flips.sum()} flips, {(flips & decided).sum()} of them decided"
    )
    return (
        share >= min_decided
        and (row["same_top"] >= MIN_SAME_TOP or difference >= -TOP_ERRORS * se),
        text,
    )


def gate_top_together(results: list[dict]) -> tuple[bool, str]:
    """Checks the same top token over all positions of all comparisons, beside llama.cpp's."""
    pairs = [
        (row["same"], result["rows"]["llama.cpp"]["same"])
        for result in results
        for label, row in result["rows"].items()
        if label != "llama.cpp"
    ]
    weft_same, llama_same = (np.concatenate(same).astype(np.float64) for same in zip(*pairs))
    difference, se = metrics.mean_se(weft_same - llama_same)
    text = (
        f"same top token at {weft_same.mean():.2%} of all {len(weft_same)} positions, llama.cpp "
        f"{llama_same.mean():.2%}; difference {difference:+.2%}, 2 se {2 * se:.2%}"
    )
    return bool(difference >= -2 * se), text


def traced_tokens(m: reference.Model, n: int) -> int:
    """Returns how many positions a trace of at most TRACE_BYTES holds."""
    n_ff = reference.gate_up_weights(m, 0)[0].shape[0]
    heads = (2 * m.n_heads + 2 * m.n_kv_heads) * m.head_dim
    return max(
        1,
        min(n, TRACE_BYTES // (4 * (m.n_layers * (heads + 2 * m.dim + n_ff) + m.dim + m.n_vocab))),
    )


def check_weft(
    m: reference.Model,
    ref: np.ndarray,
    llama: dict,
    tokens: np.ndarray,
    n_ctx: int,
    program: str,
    device: str,
    path: str,
    kv: tuple[str, str],
    min_decided: float,
) -> dict:
    """Returns the row of one Weft device, with gates {name: (passed, text)} and the findings of the
    stages."""
    logits, header = weft.logits(program, path, tokens, n_ctx, device, kv=kv)
    row = metrics.compare(ref, logits) | {
        "logits": logits,
        "backend": f"{header['backend']} {header['kernels']}",
    }
    gates = {"kl": gate_kl(ref, row, llama)}
    limit = nmse_limit(m.matrix_types())
    if limit and kv == F16:
        gates["nmse"] = row["nmse"] <= limit, f"NMSE {row['nmse']:.2e}, at most {limit:g}"
    gates["top"] = gate_top(row, llama, min_decided)
    some = tokens[: traced_tokens(m, len(tokens))]
    traced = weft.trace(program, path, some, n_ctx, device, kv=kv)
    findings, ratio = stages.check(m, some, traced, kv)
    gates["stages"] = (
        not findings,
        f"{len(findings)} stages off; largest error {ratio:.3g} x the allowed rounding",
    )
    return row | {"gates": gates, "findings": findings, "stage_ratio": ratio}


def compare(
    path: str,
    tokens,
    n_ctx: int,
    engines: list[tuple[str, str, str]],
    weft_path: str | None = None,
    kv: tuple[str, str] = F16,
    min_decided: float = MIN_SAME_TOP,
) -> dict:
    """engines: (label, program, device) of Weft. One row for llama.cpp and for each of them.

    weft_path: another file for Weft to read, with a defect that has to be found. kv: the types of K
    and V in both engines. min_decided: at which share of the decided positions the top token must
    be the reference's.
    """
    m = reference.open_model(path)
    n_ctx = min(n_ctx, m.n_ctx_train)
    tokens = tokens[:n_ctx]
    with llamacpp.load(path) as model:
        if m.arch == "phi3" and m.window:
            tokens = tokens[: m.window]  # llama.cpp has no window there
        tokens = np.asarray(tokens)
        llama_ctx = llama_context(m, len(tokens), n_ctx)
        llama_logits = llamacpp.logits(model, tokens, llama_ctx, kv=kv, yarn=m.yarn)
        proof = (
            llamacpp.logits(model, tokens, llama_ctx, f32=True, yarn=m.yarn)
            if m.matrix_types() == {"F32"}
            else None
        )
    ref = reference.forward(m, tokens)
    rows = {"llama.cpp": metrics.compare(ref, llama_logits) | {"gates": {}}}
    if proof is not None:
        error = metrics.nmse(ref, proof)
        rows["llama.cpp"]["gates"]["reference"] = (
            error <= F32_NMSE,
            f"NMSE with K and V in f32 {error:.1e}, at most {F32_NMSE:g}",
        )
    for label, program, device in engines:
        file = weft_path or path
        row = check_weft(
            m, ref, rows["llama.cpp"], tokens, n_ctx, program, device, file, kv, min_decided
        )
        rows[label] = row | {"direct": metrics.compare(llama_logits, row.pop("logits"))}
    passed = all(ok for row in rows.values() for ok, _ in row["gates"].values())
    return {
        "model": Path(path).name,
        "architecture": m.arch,
        "types": sorted(m.matrix_types()),
        "n_tokens": len(tokens),
        "n_ctx": n_ctx,
        "kv": kv,
        "rows": rows,
        "passed": passed,
    }


def plain(result):
    """Returns the result without arrays, for JSON."""
    if isinstance(result, dict):
        return {k: plain(v) for k, v in result.items() if not isinstance(v, np.ndarray)}
    if isinstance(result, (list, tuple)):
        return [plain(v) for v in result]
    return str(result) if isinstance(result, stages.Finding) else result


# ---------------------------------------------------------------- output


def table(result: dict) -> list[str]:
    line = "{:<28} {:>9} {:>20} {:>9} {:>12} {:>9}  {}".format
    out = [
        line(
            "",
            "NMSE",
            "mean KL(ref||x)",
            "99.9 % KL",
            "KL(x||ref)",
            "same top",
            "first other token (margin)",
        )
    ]

    def add(name, row):
        d = row["divergence"]
        out.append(
            line(
                name,
                f"{row['nmse']:.2e}",
                f"{row['kl_mean']:.3e} ± {row['kl_se']:.0e}",
                f"{row['kl_999']:.2e}",
                f"{row['kl_back_mean']:.3e}",
                f"{row['same_top']:.2%}",
                "none" if d is None else f"{d['pos']} ({d['margin']:.3g})",
            )
        )

    for label, row in result["rows"].items():
        add(label, row)
    for label, row in result["rows"].items():
        if "direct" in row:
            add(f"{label} vs llama.cpp", row["direct"])
    return out


def verdicts(result: dict) -> list[str]:
    out = []
    for label, row in result["rows"].items():
        out += [
            f"{'pass' if ok else 'FAIL'}  {label}, {name}: {text}"
            for name, (ok, text) in row["gates"].items()
        ]
        if "findings" in row and not all(ok for ok, _ in row["gates"].values()):
            out += [f"      {label} {text}" for text in where_it_parts(row["findings"])]
    return out


def where_it_parts(findings: list[stages.Finding]) -> list[str]:
    if not findings:
        return ["has no wrong stage in its trace: the fault is in what runs without one"]
    return [f"parts from the reference first in {findings[0]}"] + [
        f"also in {f}" for f in findings[1:6]
    ]


def default_engines(
    program: str, devices: list[str], sims: list[str]
) -> list[tuple[str, str, str]]:
    """Returns the engines that can run; prints the others on stderr."""
    engines = []
    usable = weft.devices(program)
    for device in devices:
        if device == "sim":
            engines += [("weft sim", sim, "cuda") for sim in sims]
        elif any(name.split(":")[0] == device.split(":")[0] for name in usable):
            engines.append((f"weft {device}", program, device))
        else:
            print(
                f"skip weft {device}: {program} doctor lists no such device that can be used",
                file=sys.stderr,
            )
    return engines


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument(
        "--text", default=str(ROOT / "README.md"), help="file to read (default: README.md)"
    )
    parser.add_argument("--weft", default=str(ROOT / "build" / "weft"))
    parser.add_argument("--devices", default="cpu,cuda,sim")
    parser.add_argument(
        "--sim",
        action="append",
        default=[],
        help="a weft linked with the CUDA simulator; tiny models only",
    )
    parser.add_argument("--n-tokens", type=int, default=512)
    parser.add_argument("--n-ctx", type=int, default=0, help="default: as many as tokens")
    for option, long in (("-ctk", "--cache-type-k"), ("-ctv", "--cache-type-v")):
        parser.add_argument(option, long, default="f16", choices=("f16", "q8_0"))
    parser.add_argument("--json", help="write the result there")
    return parser.parse_args()


def run(args) -> int:
    with llamacpp.load(args.model, vocab_only=True) as model:
        tokens = llamacpp.tokenize(model, Path(args.text).read_bytes(), True, False)[
            : args.n_tokens
        ]
    engines = default_engines(args.weft, args.devices.split(","), args.sim)
    if not engines:
        raise ValueError("no device of Weft to compare")
    kv = args.cache_type_k, args.cache_type_v
    result = compare(args.model, tokens, round_ctx(args.n_ctx or len(tokens)), engines, kv=kv)
    print(
        f"{result['model']}: {result['architecture']}, {' '.join(result['types'])}; "
        f"{result['n_tokens']} tokens, "
        f"n_ctx {result['n_ctx']}"
    )
    print("\n".join(table(result) + verdicts(result)))
    if args.json:
        Path(args.json).write_text(json.dumps(plain(result), indent=1) + "\n")
    return 0 if result["passed"] else 1


def build_arguments(description: str) -> argparse.Namespace:
    """Parses the command line of a check that needs only what the build made."""
    build = ROOT / "build"
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--weft", default=str(build / "weft"))
    parser.add_argument("--lib", default=str(build / "libweft.so"))
    parser.add_argument("--synth", default=str(build / "weft-synth"))
    return parser.parse_args()


def main() -> int:
    try:
        return run(parse_arguments())
    except (OSError, RuntimeError, ValueError) as error:
        print(f"parity.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
