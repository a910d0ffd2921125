#!/usr/bin/env python3
"""Weft against llama.cpp on the same files, in one call and in turns.

    compare.py MODEL... [--weft build/weft] [-p 512] [-n 128] [-d 0] [-t N] [-r 5] [-o FILE.json]
    compare.py --from FILE.json [--update-readme README.md]

A round is `weft bench -r 1` on a model, then the same tests in llama.cpp, which runs in this
process through the C API that llama-cpp-python binds; rounds of all models follow one another as
A B A B. Both compute the same ids: seeded random ones, no control tokens. The tests are those of
llama-bench and `weft bench`:

    ppP@dD   P tokens behind D others, logits of the last one only; P / time
    tgN@dD   N steps of one token behind D others, each with its greedy pick; N / time

Filling the cache to depth D, loading and a first round for warming up do not count. llama.cpp picks
with its own greedy sampler; neither engine ever picks an end token. The picked ids are compared.
Where they first differ, the table shows two differences of llama.cpp's logits: its best minus that
of Weft's pick, and, as margin, its best minus its second best. The margin is 0 where a synthetic
model has the same row twice.

With --beside NAME=COMMAND the llama-bench of another engine takes a turn too, for instance
--beside "ik_llama.cpp=llama-bench -rtr 1"; its ids are its own.

FILE.json is written with plots beside it, FILE.png and FILE.svg; by default it is
tools/compare/compare-KERNELS.json, since what holds on one kind of machine need not on another.
--update-readme puts the table between <!-- bench-KERNELS:begin --> and <!-- bench-KERNELS:end -->.
"""

import argparse
import ctypes
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tools/parity"))
import beside  # noqa: E402
import readme  # noqa: E402

N_BATCH = 512  # the default of both engines
BUSY = 0.5  # the load average above which a machine is not idle
# everything that the speed depends on
ENGINE = ("Makefile", "include", "src", "cuda", "kernels", "tools/weft")

# ---------------------------------------------------------------- llama.cpp


def llama_open(path: str, device: str):
    import llama_cpp as L  # here, so that tables and plots need no llama.cpp

    on_gpu = device != "cpu"
    if on_gpu and not L.llama_supports_gpu_offload():
        raise SystemExit("compare.py: this llama-cpp-python is built without CUDA; install it with "
                         "CMAKE_ARGS=-DGGML_CUDA=on, or compare with --device cpu")
    params = L.llama_model_default_params()
    params.n_gpu_layers = 9999 if on_gpu else 0
    if ":" in device:
        params.split_mode, params.main_gpu = L.LLAMA_SPLIT_MODE_NONE, int(device.split(":")[1])
    model = L.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise SystemExit(f"compare.py: llama.cpp cannot load {path}")
    return model


def llama_context(model, n_ctx: int, n_threads: int, on_gpu: bool):
    import llama_cpp as L

    params = L.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, N_BATCH, N_BATCH
    params.n_threads = params.n_threads_batch = n_threads
    params.offload_kqv = params.op_offload = on_gpu
    params.no_perf = True
    context = L.llama_init_from_model(model, params)
    if not context:
        raise SystemExit(f"compare.py: llama.cpp makes no context of {n_ctx} tokens")
    return context


def end_tokens(model) -> list[int]:
    import llama_cpp as L

    vocab = L.llama_model_get_vocab(model)
    return [i for i in range(L.llama_vocab_n_tokens(vocab)) if L.llama_vocab_is_eog(vocab, i)]


def greedy_sampler(model):
    """Returns a sampler that picks the largest logit, but never an end token."""
    import llama_cpp as L

    n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    ends = end_tokens(model)
    bias = (L.llama_logit_bias * len(ends))(*(L.llama_logit_bias(i, float("-inf")) for i in ends))
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    L.llama_sampler_chain_add(chain, L.llama_sampler_init_logit_bias(n_vocab, len(ends), bias))
    L.llama_sampler_chain_add(chain, L.llama_sampler_init_greedy())
    return chain


def llama_feed(context, ids: list[int]) -> None:
    """Computes ids behind the ones in the cache. Without an array of flags, llama.cpp gives logits
    only for the last token of a batch."""
    import llama_cpp as L

    for start in range(0, len(ids), N_BATCH):
        chunk = ids[start:start + N_BATCH]
        tokens = (L.llama_token * len(chunk))(*chunk)  # the batch only points at it
        status = L.llama_decode(context, L.llama_batch_get_one(tokens, len(chunk)))
        if status != 0:
            raise SystemExit(f"compare.py: llama_decode returns {status}")
    L.llama_synchronize(context)


def llama_test(context, sampler, ids: list[int], test: dict) -> dict:
    """Returns the seconds of one test, and the ids that were picked."""
    import llama_cpp as L

    depth = test["n_depth"]
    L.llama_memory_clear(L.llama_get_memory(context), False)
    llama_feed(context, ids[:depth])
    picked, token = [], ids[depth]
    begin = time.perf_counter()
    if test["n_prompt"] > 0:
        llama_feed(context, ids[depth:depth + test["n_prompt"]])
    for _ in range(test["n_gen"]):
        llama_feed(context, [token])
        token = L.llama_sampler_sample(sampler, context, -1)
        picked.append(token)
    seconds = time.perf_counter() - begin
    if test["n_prompt"] > 0:
        picked.append(L.llama_sampler_sample(sampler, context, -1))
    return {"seconds": seconds, "ids": picked}


def logits_after(context, model, ids: list[int]):
    import llama_cpp as L
    import numpy as np

    L.llama_memory_clear(L.llama_get_memory(context), False)
    llama_feed(context, ids)
    n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    logits = np.ctypeslib.as_array(L.llama_get_logits_ith(context, -1), shape=(n_vocab,)).copy()
    logits[end_tokens(model)] = -np.inf
    return logits


# ---------------------------------------------------------------- what the two picked


def parting(ours: list[int], theirs: list[int]) -> int | None:
    """Returns the index of the first id that differs, None if all are equal."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), None)


def explain_parting(context, model, ids: list[int], test: dict, ours: list[int],
                    theirs: list[int]) -> dict | None:
    """Returns where the picks differ, and llama.cpp's own logits there: its best minus its second
    best, and its best minus Weft's pick."""
    at = parting(ours, theirs) if ours else None  # Weft picks none at the end of its context
    if at is None:
        return None
    before = ids[:test["n_depth"] + max(test["n_prompt"], 1)] + theirs[:at]
    logits = logits_after(context, model, before)
    best, second = sorted(logits, reverse=True)[:2]
    return {"at": at, "weft": ours[at], "llama_cpp": theirs[at], "margin": float(best - second),
            "gap": float(best - logits[ours[at]])}


# ---------------------------------------------------------------- rounds


def tests_of(prompts: list[int], gens: list[int], depths: list[int]) -> list[dict]:
    out = []
    for depth in depths:
        out += [{"n_prompt": p, "n_gen": 0, "n_depth": depth} for p in prompts if p > 0]
        out += [{"n_prompt": 0, "n_gen": n, "n_depth": depth} for n in gens if n > 0]
    return out


def test_name(test: dict) -> str:
    name = f"pp{test['n_prompt']}" if test["n_prompt"] > 0 else f"tg{test['n_gen']}"
    return name + (f"@d{test['n_depth']}" if test["n_depth"] > 0 else "")


def weft_round(args, model: str, ids_file: str) -> list[dict]:
    command = [args.weft, "bench", "-q", "-m", model, "-t", str(args.threads), "-r", "1",
               "-p", ",".join(map(str, args.prompt)), "-n", ",".join(map(str, args.gen)),
               "-d", ",".join(map(str, args.depth)), "--prompt-ids", ids_file,
               "--device", args.device, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"compare.py: {' '.join(command)}: exit code {done.returncode}: "
                         f"{done.stderr.strip()}")
    return json.loads(done.stdout)


def random_ids(model, n: int, seed: int) -> list[int]:
    """Returns n ordinary tokens of the vocabulary."""
    import llama_cpp as L
    import numpy as np

    vocab = L.llama_model_get_vocab(model)
    ordinary = [i for i in range(L.llama_vocab_n_tokens(vocab))
                if L.llama_vocab_get_attr(vocab, i) == L.LLAMA_TOKEN_ATTR_NORMAL
                and not L.llama_vocab_is_eog(vocab, i)]
    return np.random.default_rng(seed).choice(ordinary, n).tolist()


def run_rounds(args, path: str, context, sampler, ids: list[int], tests: list[dict]):
    """Returns weft[round][test], llama[round][test], others[round][test][name]."""
    weft, llama, others = [], [], []
    with tempfile.NamedTemporaryFile("w", suffix=".ids") as file:
        file.write(" ".join(map(str, ids)))
        file.flush()
        for test in tests:
            llama_test(context, sampler, ids, test)
        for i in range(args.rounds):
            print(f"{Path(path).name}: round {i + 1} of {args.rounds}", file=sys.stderr, flush=True)
            by_name = {row["test"]: row for row in weft_round(args, path, file.name)}
            weft.append([by_name[test_name(test)] for test in tests])
            llama.append([llama_test(context, sampler, ids, test) for test in tests])
            others.append([{name: beside.tok_s(command, path, args.threads, test)
                            for name, command in args.beside} for test in tests])
    return weft, llama, others


def make_row(path: str, test: dict, weft: list[dict], llama: list[dict], parted) -> dict:
    n_tokens = test["n_prompt"] + test["n_gen"]
    ours = [n_tokens / row["samples_s"][0] for row in weft]
    theirs = [n_tokens / result["seconds"] for result in llama]
    ratios = [a / b for a, b in zip(ours, theirs)]
    first = weft[0]
    if test["n_prompt"] > 0:
        per_token, limit = first["macs_s"] / first["tok_s"], "macs_limit"
    else:
        per_token, limit = first["gb_s"] * 1e9 / first["tok_s"], "read_limit_gb_s"
    return {
        "model": Path(path).stem, "name": first["model_name"], "type": first["type"],
        "architecture": first["architecture"], "n_bytes": first["n_bytes"],
        "device": first["device"], "kernels": first["kernels"], "test": test_name(test), **test,
        "weft_tok_s": ours, "llama_cpp_tok_s": theirs,
        "weft": statistics.median(ours), "llama_cpp": statistics.median(theirs),
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        "per_token": per_token, "per_token_unit": "macs" if test["n_prompt"] > 0 else "bytes",
        "measured_limits": [row[limit] for row in weft],
        "ids_hash": first["ids_hash"], "n_ids": len(first["ids"]), "parted": parted,
        "same_ids_every_round": all(row["ids"] == first["ids"] for row in weft)
        and all(result["ids"] == llama[0]["ids"] for result in llama),
    }


def compare_model(args, path: str) -> list[dict]:
    import llama_cpp as L

    on_gpu = args.device != "cpu"
    tests = tests_of(args.prompt, args.gen, args.depth)
    model = llama_open(path, args.device)
    n_ids = max(args.depth) + max(*args.prompt, 1)
    context = llama_context(model, n_ids + max(*args.gen, 1) + 1, args.threads, on_gpu)
    sampler = greedy_sampler(model)
    ids = random_ids(model, n_ids, args.seed)
    weft, llama, others = run_rounds(args, path, context, sampler, ids, tests)
    rows = []
    for i, test in enumerate(tests):
        ours, theirs = [r[i] for r in weft], [r[i] for r in llama]
        parted = explain_parting(context, model, ids, test, ours[0]["ids"], theirs[0]["ids"])
        rows.append(make_row(path, test, ours, theirs, parted))
        for name, _ in args.beside:
            beside.add(rows[-1], name, [r[i][name] for r in others])
    L.llama_sampler_free(sampler)
    L.llama_free(context)
    L.llama_model_free(model)
    return rows


def set_limits(rows: list[dict]) -> dict:
    """Gives every row its physical limit: the best speed of the device that this run has measured,
    divided by the least that a token costs."""
    limits = {}
    for unit, factor, key in (("bytes", 1e9, "read_bytes_per_s"), ("macs", 1, "macs_per_s")):
        seen = [x * factor for row in rows if row["per_token_unit"] == unit
                for x in row.pop("measured_limits")]
        if seen:
            limits[key] = max(seen)
        for row in rows:
            if row["per_token_unit"] == unit:
                row["limit"] = limits[key] / row["per_token"]
    return limits


def git(*command: str) -> str:
    done = subprocess.run(["git", "--no-optional-locks", "-C", str(ROOT), *command],
                          capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def run(args) -> dict:
    import llama_cpp as L

    silent = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(silent, ctypes.c_void_p(0))
    L.llama_backend_init()
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"compare.py: the load average is {load:.1f}; other programs slow both down, and not "
              "alike", file=sys.stderr)
    others = beside.described(args.beside)
    rows = [row for path in args.models for row in compare_model(args, path)]
    version = subprocess.run([args.weft, "--version"], capture_output=True, text=True).stdout
    return {
        "schema": "weft-compare-1",
        "machine": {"cpu": cpu_name(), "device": rows[0]["device"], "kernels": rows[0]["kernels"],
                    "cores": len(os.sched_getaffinity(0)),
                    "kernel": f"{platform.system()} {platform.release()}", "load_before": load},
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": git("rev-parse", "HEAD"),
        "uncommitted": git("status", "--porcelain", "--", *ENGINE) != "",
        "versions": {"weft": version.split()[-1] if version else "",
                     "llama_cpp_python": L.__version__,
                     "llama_cpp_system": L.llama_print_system_info().decode().strip(" |")},
        "settings": {"threads": args.threads, "rounds": args.rounds, "n_batch": N_BATCH,
                     "seed": args.seed, "device": args.device, "beside": others},
        "limits": set_limits(rows), "rows": rows,
    }


# ---------------------------------------------------------------- table


def ids_text(row: dict) -> str:
    parted = row["parted"]
    if parted is None:
        return f"the same {row['n_ids']}"
    return f"part at {parted['at']}, by {parted['gap']:.2g} (margin {parted['margin']:.2g})"


def number(x: float) -> str:
    return f"{x:,.0f}" if x >= 1000 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def table(result: dict) -> str:
    names = list(result["rows"][0].get("beside", {}))
    lines = ["| file | test | llama.cpp, tok/s | Weft, tok/s | ratio (lowest to highest) "
             + "".join(f"| {name}, tok/s (ratio) " for name in names)
             + "| limit, tok/s | llama.cpp, Weft: % of limit | greedy ids |",
             "|---|---|--:|--:|--:|" + "--:|" * len(names) + "--:|--:|---|"]
    for row in result["rows"]:
        others = [row["beside"][name] for name in names]
        shares = (100 * row[who] / row["limit"] for who in ("llama_cpp", "weft"))
        lines.append(
            f"| {row['model']} | {row['test']} | {number(row['llama_cpp'])} | "
            f"{number(row['weft'])} | **{row['ratio']:.2f}** "
            f"({row['ratio_min']:.2f} to {row['ratio_max']:.2f}) | "
            + "".join(f"{number(x['median'])} ({x['ratio']:.2f}) | " for x in others) +
            f"{number(row['limit'])} | {', '.join(f'{s:.0f}' for s in shares)} | {ids_text(row)} |")
    return "\n".join(lines)


def caption(result: dict) -> str:
    machine, versions, settings = result["machine"], result["versions"], result["settings"]
    changes = " with uncommitted changes" if result["uncommitted"] else ""
    gpu = "" if settings["device"] == "cpu" else f"{machine['device']}, "
    names = {"read_bytes_per_s": "GB/s read", "macs_per_s": "G multiply-adds/s"}
    load = machine["load_before"]
    busy = f" (not idle: load average {load:.1f})" if load > BUSY else ""
    limits = ", ".join(f"{x / 1e9:,.0f} {names[key]}" for key, x in result["limits"].items())
    return (f"{gpu}{machine['cpu']} ({machine['cores']} cores), {machine['kernel']}{busy}; "
            f"{result['date']}, commit {result['commit'][:10]}{changes}; "
            f"Weft {versions['weft']} ({machine['kernels']}), "
            f"llama-cpp-python {versions['llama_cpp_python']}; {settings['threads']} threads, "
            f"{settings['rounds']} rounds in turns, medians; measured limits: {limits}.")


def update_readme(path: Path, result: dict, svg: Path) -> None:
    link = os.path.relpath(svg, path.resolve().parent)
    new = (f"{table(result)}\n\n{caption(result)}\n\n"
           f"![Tokens per second of Weft and llama.cpp, with the physical limits]({link})")
    readme.update(path, f"bench-{result['machine']['kernels']}", new)


# ---------------------------------------------------------------- plot

WEFT, LLAMA, INK, FAINT = "#0072b2", "#e69f00", "#222222", "#8a8a8a"  # Okabe and Ito's blue, orange


def plot_panel(axes, rows: list[dict], title: str, limit: str) -> None:
    labels = [row["model"] + (f"\n{row['test']}" if len({r['test'] for r in rows}) > 1 else "")
              for row in rows]
    for i, row in enumerate(rows):
        for who, colour, at in (("weft", WEFT, i - 0.2), ("llama_cpp", LLAMA, i + 0.2)):
            samples = row[f"{who}_tok_s"]
            axes.barh(at, row[who], height=0.38, color=colour)
            if len(samples) > 1:
                axes.plot([min(samples), max(samples)], [at, at], color=INK, linewidth=1)
            axes.annotate(number(row[who]), (max(samples), at), xytext=(4, 0), va="center",
                          textcoords="offset points", fontsize=8.5, color=INK,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
        axes.plot([row["limit"]] * 2, [i - 0.44, i + 0.44], color=INK, linewidth=2)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(0, 1.12 * max(max(row["limit"], *row["weft_tok_s"], *row["llama_cpp_tok_s"])
                                for row in rows))
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    axes.set_xlabel(f"tokens per second (limit: {limit})", fontsize=8.5, color=INK)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)


def panel_title(what: str, rows: list[dict]) -> str:
    names = {row["test"] for row in rows}
    return f"{what} ({names.pop()})" if len(names) == 1 else what


def plot(result: dict, stem: Path) -> list[Path]:
    """Writes STEM.png and STEM.svg."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "svg.hashsalt": "weft",
                                "svg.fonttype": "path"})
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = result["rows"]
    decode = [row for row in rows if row["n_prompt"] == 0]
    prefill = [row for row in rows if row["n_prompt"] > 0]
    panels = [(panel_title(what, part), part, limit) for what, part, limit in (
        ("Decode", decode, "read speed / bytes of a token"),
        ("Prefill", prefill, "multiply-adds / those of a token")) if part]
    height = 1.55 + 0.62 * max(len(part) for _, part, _ in panels)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.8 * len(panels), height),
                                   squeeze=False, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    for ax, (title, part, limit) in zip(axes[0], panels):
        plot_panel(ax, part, title, limit)
    if len(panels) == 2 and [r["model"] for r in decode] == [r["model"] for r in prefill]:
        axes[0][1].set_yticklabels([])
    device = result["machine"]["device"]
    figure.legend(handles=[Patch(color=WEFT, label="Weft"), Patch(color=LLAMA, label="llama.cpp"),
                           Line2D([], [], color=INK, linewidth=1, label="lowest to highest"),
                           Line2D([], [], color=INK, linewidth=0, marker="|", markersize=12,
                                  markeredgewidth=2, label="physical limit")],
                  loc="outside upper left", ncols=4, frameon=False, fontsize=9, labelcolor=INK,
                  handlelength=1.4)
    figure.supxlabel(f"{device}, {result['settings']['threads']} threads, {result['date']}, commit "
                     f"{result['commit'][:10]}", fontsize=8, color=FAINT, x=0.99, ha="right")
    written = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    figure.savefig(written[0], dpi=160)
    figure.savefig(written[1], metadata={"Date": None})
    pyplot.close(figure)
    return written


# ---------------------------------------------------------------- command line


def numbers(text: str) -> list[int]:
    values = [int(x) for x in text.split(",")]
    if min(values) < 0:
        raise argparse.ArgumentTypeError("expected numbers from 0 up, with commas between them")
    return values


def main() -> int:
    parser = argparse.ArgumentParser(description="Weft against llama.cpp, in turns.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--weft", default=str(ROOT / "build/weft"), metavar="PATH")
    parser.add_argument("-p", dest="prompt", type=numbers, default=[512], metavar="LIST",
                        help="prompt tokens (default 512)")
    parser.add_argument("-n", dest="gen", type=numbers, default=[128], metavar="LIST",
                        help="generated tokens (default 128)")
    parser.add_argument("-d", dest="depth", type=numbers, default=[0], metavar="LIST",
                        help="tokens already in the cache (default 0)")
    parser.add_argument("-t", dest="threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-r", dest="rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="of both: cpu (default), cuda, cuda:1")
    parser.add_argument("--beside", type=beside.engine, action="append", default=[],
                        metavar="NAME=COMMAND", help="a llama-bench that takes a turn too")
    parser.add_argument("--seed", type=int, default=1, help="of the prompt's ids")
    parser.add_argument("-o", dest="out", type=Path, metavar="FILE",
                        help="default: tools/compare/compare-KERNELS.json")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="measure nothing: tables and plots of an earlier run")
    parser.add_argument("--update-readme", type=Path, metavar="FILE")
    args = parser.parse_args()
    if (args.source is None) == (not args.models):
        parser.error("name models to compare on, or an earlier result with --from")
    result = json.loads(args.source.read_text()) if args.source else run(args)
    out = (args.source or args.out
           or ROOT / f"tools/compare/compare-{result['machine']['kernels']}.json")
    if not args.source:
        out.write_text(json.dumps(result, indent=1) + "\n")
    _, svg = plot(result, out.with_suffix(""))
    if args.update_readme:
        update_readme(args.update_readme, result, svg)
    print(f"{table(result)}\n\n{caption(result)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
