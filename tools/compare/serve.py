#!/usr/bin/env python3
"""weft serve against llama-server on the same file, in turns.

    serve.py MODEL [--clients 1,8,32] [-r 5] [--json FILE] [--cpu-share]
    serve.py --from FILE [--update-readme README.md]

Both servers stand on ports of this machine, with the same threads, places for sequences and
context; tools/llama-cpp.sh llama-server builds the other one. They take turns, whose order is
turned in every round; the one whose turn it is not computes nothing, which is measured. In a turn
C clients ask for streaming chat completions, each --requests times, without a pause. Every prompt
is a long system message and a short question, of random words. There are two kinds:

    shared     all clients of a turn have the same system message
    separate   every request has its own, so that no request can use what another has computed

A turn begins with one lone request that does not count, so the system message of a shared turn has
been seen before. No text comes up in another turn, and both servers get the same texts. Answers
have --tokens tokens, greedy, end tokens ignored; a shorter answer is an error. Measured are

    tok/s        tokens of all answers by the time from the first request to the last answer
    first        from the request (connecting included) to the first text
    between      from text to text of one answer

Of times, the table has the median and the 99th percentile over the requests of all rounds. Ratios
are Weft's figure by the other one's in the same round; the table has their median, lowest and
highest. So for tok/s more is better, and for times less.

--cpu-share also says which threads of Weft used the processor in the turns with the most clients.
A server may be any command that speaks OpenAI's API: --weft and --llama take a program, which gets
its usual options, or a whole command with {port} in it, and {model}, {threads}, {ctx}, {slots} and
{pool} (ctx x slots) where it wants them.
"""

import argparse
import asyncio
import datetime
import gc
import json
import math
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools/parity"), str(ROOT / "tools/compare")]
import compare  # noqa: E402
import processes  # noqa: E402
import readme  # noqa: E402
import streams  # noqa: E402

KINDS = ("shared", "separate")
NAMES = {"weft": "Weft", "llama": "llama-server"}
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weft/llama-server"
# of both; llama-server has continuous batching and its cache of prompts on by default
OPTIONS = "-m {model} --host 127.0.0.1 --port {port} -t {threads} -c {pool} -np {slots}"
START = {"weft": f"serve {OPTIONS}", "llama": f"{OPTIONS} --no-webui"}
MOST_SECONDS = 1800  # for one answer

# ---------------------------------------------------------------- prompts

WORDS = """about after animal answer autumn basket because before better between bridge brother
butter camera candle carbon castle centre change circle cloud coffee colour corner cotton country
damage dinner doctor dragon early engine evening family farmer father finger flower forest friend
garden glass ground hammer harbour history honey hotel island jacket journey kitchen ladder language
letter
library little machine market meadow minute mirror moment morning mother mountain music nature
number office orange paper pencil people picture pocket pretty prince quiet rabbit record river
school season second shadow silver simple sister spring station stone street summer sunday table
teacher thunder ticket timber tomato travel valley village violin water weather window winter
wonder yellow""".split()


def some_text(rng: random.Random, n: int) -> str:
    words = [rng.choice(WORDS) for _ in range(n)]
    return " ".join(word + ("." if i % 11 == 10 else "") for i, word in enumerate(words))


def prompts(args, kind: str, clients: int, round_: int) -> list[list[dict]]:
    """Returns the messages of all requests of a turn, the first of which does not count."""
    rng = random.Random(f"{args.seed} {kind} {clients} {round_}")
    shared = some_text(rng, args.system_words)
    return [[{"role": "system",
              "content": shared if kind == "shared" else some_text(rng, args.system_words)},
             {"role": "user", "content": some_text(rng, args.question_words) + "?"}]
            for _ in range(1 + clients * args.requests)]


# ---------------------------------------------------------------- a turn


async def client(port: int, requests: list[bytes]) -> list[streams.Exchange]:
    return [await streams.ask(port, request, MOST_SECONDS) for request in requests]


async def all_clients(port: int, requests: list[list[bytes]]) -> list[streams.Exchange]:
    done = await asyncio.gather(*(client(port, mine) for mine in requests))
    return [exchange for exchanges in done for exchange in exchanges]


def one_request(exchange: streams.Exchange, n_tokens: int) -> dict:
    stream = streams.stream_of(streams.read(exchange.chunks))
    if not stream.error and stream.n_generated != n_tokens:
        stream.error = f"{stream.n_generated} tokens instead of {n_tokens}"
    if not stream.error and not stream.times:
        stream.error = "an answer without text"
    times = stream.times
    return {"error": stream.error, "n_prompt": stream.n_prompt, "n_cached": stream.n_cached,
            "n_generated": stream.n_generated,
            "first": times[0] - exchange.began if times else None,
            "between": [b - a for a, b in zip(times, times[1:])],
            "began": exchange.began, "end": stream.end}


def take_turn(server: processes.Server, idle: list[processes.Server], messages: list[list[dict]],
              clients: int, args) -> dict:
    fields = {"max_tokens": args.tokens, "temperature": 0, "ignore_eos": True}
    posts = [streams.post("/v1/chat/completions", streams.chat(m, **fields)) for m in messages]
    asyncio.run(all_clients(server.port, [posts[:1]]))
    threads = processes.thread_seconds(server.pid)
    before = [processes.cpu_seconds(s.pid) for s in (server, *idle)]
    gc.collect()
    gc.disable()
    began, own = time.perf_counter(), time.process_time()
    exchanges = asyncio.run(all_clients(server.port, [posts[1 + i::clients]
                                                      for i in range(clients)]))
    wall, own = time.perf_counter() - began, time.process_time() - own
    gc.enable()
    after = [processes.cpu_seconds(s.pid) for s in (server, *idle)]
    used = [b - a for a, b in zip(before, after)]
    return {"wall": wall, "requests": [one_request(x, args.tokens) for x in exchanges],
            "cpu": used[0], "cpu_idle": sum(used[1:]), "cpu_load": own,
            "resident_mib": processes.resident_mib(server.pid),
            "threads": processes.by_name(threads, processes.thread_seconds(server.pid))}


# ---------------------------------------------------------------- statistics


def percentile(values: list[float], p: float) -> float:
    """Returns the value below which p % of the values lie, between two of them in proportion."""
    if not values:
        return math.nan
    ordered = sorted(values)
    at = (len(ordered) - 1) * p / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def summary(turns: list[dict]) -> dict:
    """Returns the figures of one server over some turns."""
    good = [r for t in turns for r in t["requests"] if not r["error"]]
    rates = []
    for turn in turns:
        done = [r for r in turn["requests"] if not r["error"]]
        if done:
            seconds = max(r["end"] for r in done) - min(r["began"] for r in done)
            rates.append(sum(r["n_generated"] for r in done) / seconds)
    first = [r["first"] for r in good]
    between = [x for r in good for x in r["between"]]
    n_prompt = sum(r["n_prompt"] for r in good)
    n_texts = sum(1 + len(r["between"]) for r in good)
    return {"tok_s": statistics.median(rates) if rates else math.nan,
            "first_p50": percentile(first, 50), "first_p99": percentile(first, 99),
            "between_p50": percentile(between, 50), "between_p99": percentile(between, 99),
            "requests": sum(len(t["requests"]) for t in turns),
            "errors": sum(len(t["requests"]) for t in turns) - len(good),
            "n_prompt": n_prompt / len(good) if good else math.nan,
            "cached": sum(r["n_cached"] for r in good) / n_prompt if n_prompt else math.nan,
            "tokens_per_text": sum(r["n_generated"] for r in good) / n_texts if good else math.nan}


FIGURES = ("tok_s", "first_p50", "first_p99", "between_p50", "between_p99")


def ratio(weft: list[dict], llama: list[dict], figure: str) -> dict:
    """Returns Weft's figure by the other's, round by round: median, lowest, highest. Rounds in
    which either has none do not count."""
    all_ = []
    for ours, theirs in zip(weft, llama, strict=True):
        a, b = summary([ours])[figure], summary([theirs])[figure]
        if a > 0 and b > 0:
            all_.append(a / b)
    if not all_:
        return {"median": math.nan, "min": math.nan, "max": math.nan}
    return {"median": statistics.median(all_), "min": min(all_), "max": max(all_)}


def make_row(kind: str, clients: int, turns: dict[str, list[dict]]) -> dict:
    return {"kind": kind, "clients": clients,
            **{who: summary(mine) for who, mine in turns.items()},
            "ratio": {f: ratio(turns["weft"], turns["llama"], f) for f in FIGURES}}


def shares(turns: list[dict]) -> dict:
    """Returns what the threads of a server used, by name; "ended" are those that have gone."""
    total, out = sum(t["cpu"] for t in turns), {}
    for turn in turns:
        for name, used in turn["threads"].items():
            mine = out.setdefault(name, {"threads": 0, "seconds": 0.0})
            mine["threads"] = max(mine["threads"], used["threads"])
            mine["seconds"] += used["seconds"]
    rest = total - sum(x["seconds"] for x in out.values())
    out["ended"] = {"threads": 0, "seconds": max(rest, 0.0)}
    for used in out.values():
        used["share"] = used["seconds"] / total if total > 0 else math.nan
    return out


# ---------------------------------------------------------------- rounds


def command_of(who: str, text: str) -> str:
    return text if "{port}" in text else f"{shlex.quote(text)} {START[who]}"


def open_servers(args) -> dict[str, processes.Server]:
    slots = max(args.clients)
    values = {"model": args.model, "threads": args.threads, "ctx": args.ctx, "slots": slots,
              "pool": args.ctx * slots}
    servers = {}
    try:
        for who in NAMES:
            servers[who] = processes.Server(NAMES[who], command_of(who, getattr(args, who)),
                                            **values)
        for server in servers.values():
            server.wait_ready()
    except BaseException:
        close_servers(servers)
        raise
    return servers


def close_servers(servers: dict[str, processes.Server]) -> None:
    for server in servers.values():
        server.close()


def one_round(args, servers: dict, round_: int, kinds, clients_list) -> dict:
    """Returns {(kind, clients): {server: turn}}."""
    out = {}
    order = list(servers) if round_ % 2 == 0 else list(servers)[::-1]
    for kind in kinds:
        for clients in clients_list:
            messages = prompts(args, kind, clients, round_)
            turns = {}
            for who in order:
                idle = [s for other, s in servers.items() if other != who]
                turns[who] = take_turn(servers[who], idle, messages, clients, args)
                complain(f"{who}, {kind}, {clients} clients", turns[who])
            out[kind, clients] = turns
    return out


def complain(where: str, turn: dict) -> None:
    errors = [r["error"] for r in turn["requests"] if r["error"]]
    if errors:
        print(f"serve.py: {where}: {len(errors)} errors, such as: {errors[0]}", file=sys.stderr)


def run_rounds(args, servers: dict) -> dict:
    """Returns {(kind, clients): {server: [turn of each round]}}."""
    one_round(args, servers, -1, args.kinds[:1], [min(max(args.clients), 8)])  # warms up
    all_ = {}
    for i in range(args.rounds):
        print(f"round {i + 1} of {args.rounds}", file=sys.stderr, flush=True)
        for key, turns in one_round(args, servers, i, args.kinds, args.clients).items():
            mine = all_.setdefault(key, {who: [] for who in NAMES})
            for who, turn in turns.items():
                mine[who].append(turn)
    return all_


def version_of(args) -> dict:
    words = shlex.split(args.weft)
    done = subprocess.run([words[0], "--version"], capture_output=True, text=True)
    built = Path(shlex.split(args.llama)[0]).parent / "VERSION"
    return {"weft": done.stdout.split()[-1] if done.returncode == 0 and done.stdout else "",
            "llama": built.read_text().strip() if built.exists() else ""}


def settings_of(args) -> dict:
    names = ("threads", "ctx", "clients", "kinds", "requests", "rounds", "tokens", "system_words",
             "question_words", "seed")
    return {name: getattr(args, name) for name in names}


def run(args) -> dict:
    load = os.getloadavg()[0]
    if load > compare.BUSY:
        print(f"serve.py: the load average is {load:.1f}; other programs slow both down, and not "
              "alike", file=sys.stderr)
    servers = open_servers(args)
    try:
        turns = run_rounds(args, servers)
    finally:
        close_servers(servers)
    every = [t for cell in turns.values() for mine in cell.values() for t in mine]
    most = turns[args.kinds[-1], max(args.clients)]
    wall, cores = sum(t["wall"] for t in every), len(os.sched_getaffinity(0))
    return {
        "schema": "weft-serve-1",
        "machine": {"cpu": compare.cpu_name(), "cores": cores, "load_before": load,
                    "kernel": f"{platform.system()} {platform.release()}"},
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": compare.git("rev-parse", "HEAD"),
        "uncommitted": compare.git("status", "--porcelain", "--", "Makefile", "include", "src",
                                   "kernels", "tools/weft", "tools/serve") != "",
        "versions": version_of(args), "model": Path(args.model).stem, "settings": settings_of(args),
        # parts of all processors during the turns
        "load_share": sum(t["cpu_load"] for t in every) / wall / cores,
        "idle_share": sum(t["cpu_idle"] for t in every) / wall / cores,
        "resident_mib": {who: max(t["resident_mib"] for c in turns.values() for t in c[who])
                         for who in NAMES},
        "threads": {who: shares(most[who]) for who in NAMES},
        "rows": [make_row(kind, clients, cell) for (kind, clients), cell in turns.items()],
    }


# ---------------------------------------------------------------- table


def ms(x: float) -> str:
    return "-" if math.isnan(x) else compare.number(1000 * x)


def ratio_text(r: dict) -> str:
    return ("-" if math.isnan(r["median"]) else
            f"**{r['median']:.2f}** ({r['min']:.2f} to {r['max']:.2f})")


def server_line(row: dict, who: str, first: bool) -> str:
    s = row[who]
    head = f"| {row['kind']} | {row['clients']} " if first else "| | "
    rate = "-" if math.isnan(s["tok_s"]) else compare.number(s["tok_s"])
    return (f"{head}| {NAMES[who]} | {rate} | {ms(s['first_p50'])} | {ms(s['first_p99'])} | "
            f"{ms(s['between_p50'])} | {ms(s['between_p99'])} | "
            f"{'-' if math.isnan(s['cached']) else format(100 * s['cached'], '.0f')} | "
            f"{s['errors']} of {s['requests']} |")


def table(result: dict) -> str:
    lines = ["| system message | clients | | tok/s | first text, ms: median | p99 "
             "| between texts, ms: median | p99 | cached, % | errors |",
             "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"]
    for row in result["rows"]:
        lines += [server_line(row, "llama", True), server_line(row, "weft", False)]
        cells = " | ".join(ratio_text(row["ratio"][f]) for f in FIGURES)
        lines.append(f"| | | ratio | {cells} | | |")
    return "\n".join(lines)


def share_table(threads: dict) -> str:
    lines = ["| threads of Weft | how many | CPU s | of the process, % |", "|---|--:|--:|--:|"]
    for name, x in sorted(threads.items(), key=lambda item: -item[1]["seconds"]):
        lines.append(f"| {name} | {x['threads']} | {x['seconds']:.2f} | {100 * x['share']:.1f} |")
    return "\n".join(lines)


def caption(result: dict) -> str:
    machine, s = result["machine"], result["settings"]
    changes = " with uncommitted changes" if result["uncommitted"] else ""
    load = machine["load_before"]
    busy = f" (not idle: load average {load:.1f})" if load > compare.BUSY else ""
    n_prompt = statistics.mean(r[who]["n_prompt"] for r in result["rows"] for who in NAMES)
    memory = result["resident_mib"]
    used = (f"the clients used {100 * result['load_share']:.1f} %, the server whose turn it was "
            f"not {100 * result['idle_share']:.1f} %")
    return (f"{result['model']}, prompts of {n_prompt:.0f} tokens, answers of {s['tokens']}; "
            f"{machine['cpu']} ({machine['cores']} cores), {machine['kernel']}{busy}; "
            f"{result['date']}, commit {result['commit'][:10]}{changes}; "
            f"Weft {result['versions']['weft']}, llama-server of {result['versions']['llama']}; "
            f"{s['threads']} threads, {max(s['clients'])} places of {s['ctx']} tokens each; "
            f"{s['rounds']} rounds in turns, {s['requests']} requests of a client in each; "
            f"resident memory Weft {memory['weft']:,.0f} MiB, llama-server {memory['llama']:,.0f} "
            f"MiB. Of the processors {used}.")


def warnings(result: dict) -> list[str]:
    """Returns what makes the figures less than a comparison."""
    out = []
    for row in result["rows"]:
        ours, theirs = (row[who]["n_prompt"] for who in NAMES)
        where = f"{row['kind']}, {row['clients']} clients"
        if abs(ours - theirs) > 0.5:
            out.append(f"{where}: prompts of {ours:.1f} tokens here, {theirs:.1f} there")
        for who, name in NAMES.items():
            if row[who]["tokens_per_text"] > 1.1:
                out.append(f"{where}: {name} sends {row[who]['tokens_per_text']:.2f} tokens at a "
                           "time, so times between texts are not those between tokens")
    if result["idle_share"] > 0.01:
        out.append("the server whose turn it was not was not idle")
    return out


# ---------------------------------------------------------------- command line


def numbers(text: str) -> list[int]:
    values = [int(x) for x in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError("expected numbers from 1 up, with commas between them")
    return values


def kinds(text: str) -> list[str]:
    values = text.split(",")
    if not set(values) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"expected {' or '.join(KINDS)}")
    return values


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="weft serve against llama-server, in turns.")
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL")
    add("--weft", default=str(ROOT / "build/weft"), metavar="COMMAND")
    add("--llama", default=str(CACHE / "llama-server"), metavar="COMMAND")
    add("--clients", type=numbers, default=[1, 8, 32], metavar="LIST",
        help="at the same time (default 1,8,32)")
    add("--kinds", type=kinds, default=list(KINDS), metavar="LIST", help="default shared,separate")
    add("--requests", type=int, default=2, help="of a client in a turn (default 2)")
    add("-r", dest="rounds", type=int, default=5)
    add("-t", dest="threads", type=int, default=len(os.sched_getaffinity(0)))
    add("-c", dest="ctx", type=int, default=1024, help="tokens of a sequence (default 1024)")
    add("-n", "--tokens", type=int, default=64, help="of an answer (default 64)")
    add("--system-words", type=int, default=200, help="of a system message (default 200)")
    add("--question-words", type=int, default=12, help="of a question (default 12)")
    add("--seed", type=int, default=1, help="of the texts")
    add("--cpu-share", action="store_true", help="also the threads of Weft by name")
    add("--json", type=Path, metavar="FILE", help="all figures")
    add("--from", dest="source", type=Path, metavar="FILE", help="measure nothing: tables of FILE")
    add("--update-readme", type=Path, metavar="FILE",
        help="put the table between <!-- serve:begin --> and <!-- serve:end -->")
    return parser


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    if (args.source is None) == (args.model is None):
        parser.error("name a model, or an earlier result with --from")
    result = json.loads(args.source.read_text()) if args.source else run(args)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.update_readme:
        readme.update(args.update_readme, "serve", f"{table(result)}\n\n{caption(result)}")
    print(f"{table(result)}\n\n{caption(result)}")
    if args.cpu_share:
        print(f"\n{share_table(result['threads']['weft'])}")
    for line in warnings(result):
        print(f"serve.py: {line}", file=sys.stderr)
    return 1 if any(row[who]["errors"] for row in result["rows"] for who in NAMES) else 0


if __name__ == "__main__":
    sys.exit(main())
