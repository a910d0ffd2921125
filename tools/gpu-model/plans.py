#!/usr/bin/env python3
"""Gates on how the work of a GPU is cut up, from what weft-launches records (README.md).

    make build/sim/launches.jsonl && tools/gpu-model/plans.py [--write]

Compares phases of a token, plans of matrix-vector launches and waves of cuBLAS with the rows of
plans.toml. Fails if a value is worse than its row, if it is below what is wanted and the row gives no
reason, and if something is launched that has no row or a row stands for nothing. --write puts today's
values into the table and keeps the reasons.
"""
import argparse
import collections
import json
import os
import re
import sys
import tomllib

SMS = 132
WARPS = 16  # the warps of an SM that are worth having: two blocks of eight, with 128 registers per thread
ROWS_OF_WARP, LANES = 4, 32  # a warp reads four rows of weights, and a lane 32 weights of each
FLOATS = ("F32", "F16", "BF16")  # types of which a lane reads 8 weights
STEPS_IN_FLIGHT = 1  # a warp asks for the next step's weights only when it has finished its current ones
TILES = ((128, 256), (128, 128))  # tiles of cuBLAS on sm_90: rows of weights, rows of activations
WANT_WARPS, WANT_BYTES, WANT_WAVES = 0.90, 40_000, 0.85
LOSS = 0.002  # rounding can make a value worse by so much
KEYS = {"phases": ("model",), "plans": ("model", "product", "types", "rows"), "waves": ("model", "m", "n", "k")}


def up(a, b):
    return -(-a // b)


def base_name(kernel):
    return kernel.split("<")[0]


# --- what was recorded -------------------------------------------------------------------------------


def phases(lines):
    """Counts the kernels that a token of steps ahead waits for: they are all on one stream."""
    names = collections.defaultdict(list)
    for x in lines:
        if x["case"] == "ahead" and x["kind"] == "kernel" and x["graph"]:
            names[x["model"]].append(base_name(x["name"]))
    return [{"model": m, "phases": len(n), "layers": n.count("k_attend")} for m, n in names.items()]


def products(lines):
    """Returns the matrix-vector launches of decode steps, with the name of the product."""
    before = None
    for x in lines:
        if x["kind"] != "kernel":
            continue
        name = base_name(x["name"])
        if "matvec" in x and x["case"] == "decode":
            job = x["matvec"]
            if job["mode"] == "swiglu":
                product = "gate_up"
            elif job["mode"] == "add":
                product = "attn_output" if before == "k_attend" else "down"
            else:
                product = "qkv" if len(job["w"]) > 1 else "head"
            yield product, x
        if name != "matvec_rows" or x["matvec"]["mode"] != "add":
            before = name


def plan(x):
    """Returns the share of an H200's warps that have work, and the bytes that they ask for at a
    time on an SM."""
    job, warps = x["matvec"], x["block"][0] // LANES
    blocks = x["grid"][0]
    rounds = up(job["tiles"], blocks)
    used = job["tiles"] * warps / (rounds * SMS * WARPS)
    weights = sum(w["rows"] * w["cols"] for w in job["w"])
    lane = 8 if job["w"][0]["type"] in FLOATS else 32
    step = ROWS_OF_WARP * LANES * lane * sum(w["bytes"] for w in job["w"]) / weights
    per_sm = min(WARPS, blocks * warps / SMS)
    return {"warps": round(min(1.0, used), 3), "bytes": round(per_sm * step * STEPS_IN_FLIGHT),
            "ahead": round(ahead(job) * blocks / SMS if rounds > 1 else 0)}


def ahead(job):
    """Returns the bytes of its next tile that a block asks for while it computes one; the kernel
    counts planes."""
    together = job["w"] if job["mode"] == "swiglu" else job["w"][:1]
    return sum(min(job["prefetch"], job["units"] * w["bytes"] / w["rows"]) for w in together)


def plans(lines):
    """Returns a row of the table for each product and mix of types. Launches with several rows of
    activations get rows of their own only if their figures differ."""
    rows = {}
    for product, x in products(lines):
        types = "+".join(w["type"] for w in x["matvec"]["w"])
        n = x["matvec"]["n"]
        key = (x["model"], product, types)
        row = {"model": x["model"], "product": product, "types": types, "rows": n} | plan(x)
        one = rows.get(key + (1,), {})
        if (row["warps"], row["bytes"]) != (one.get("warps"), one.get("bytes")):
            rows.setdefault(key + (n,), row)
    return list(rows.values())


def wave(m, n):
    """Returns the tile that fills the last wave best."""
    best = None
    for rows, cols in TILES:
        tiles = up(m, rows) * up(n, cols)
        waves = up(tiles, SMS)
        share = tiles / (waves * SMS)
        if best is None or share > best[0]:
            best = share, f"{rows}x{cols}", tiles, waves
    return dict(zip(("share", "tile", "tiles", "waves"), (round(best[0], 3),) + best[1:]))


def waves(lines):
    rows = {}
    for x in lines:
        if x["case"] == "prefill" and x["kind"] == "gemm":
            key = (x["model"], x["m"], x["n"], x["k"])
            rows.setdefault(key, dict(zip(("model", "m", "n", "k"), key)) | wave(x["m"], x["n"]))
    return list(rows.values())


def measure(lines):
    names = sorted({base_name(x["name"]) for x in lines if x["kind"] == "kernel"})
    return {"phases": phases(lines), "plans": plans(lines), "waves": waves(lines), "names": names}


# --- the gates ---------------------------------------------------------------------------------------


def key_of(section, row):
    return tuple(row.get(k) for k in KEYS[section])


def title(section, row):
    return f"{section}: " + " ".join(str(x) for x in key_of(section, row))


# The compared fields: name, the least that is wanted (None: nothing), and whether less is better.
COMPARED = {
    "phases": (("phases", None, True),),
    "plans": (("warps", WANT_WARPS, False), ("bytes", WANT_BYTES, False), ("ahead", None, False)),
    "waves": (("share", WANT_WAVES, False),),
}


def compare(section, now, row, reasons):
    for field, want, less in COMPARED[section]:
        value, old = now[field], row.get(field)
        if not isinstance(old, (int, float)):
            yield f"{title(section, now)}: the row has no {field}; run with --write"
            continue
        if (value > old) if less else (value < old * (1 - LOSS)):
            yield f"{title(section, now)}: {field} is {value}, the table has {old}"
        if want is not None and value < want and not reasons.get(row.get("reason", "")):
            yield (f"{title(section, now)}: {field} is {value}, wanted are {want}; give the row a "
                   f"reason that stands under [reasons]")


def gate(now, table):
    """Returns sentences about what is wrong."""
    reasons = table.get("reasons", {})
    for section in KEYS:
        rows = {key_of(section, r): r for r in table.get(section, [])}
        for x in now[section]:
            row = rows.pop(key_of(section, x), None)
            if row is None:
                yield f"{title(section, x)}: no row; run with --write and give a reason where one is needed"
            else:
                yield from compare(section, x, row, reasons)
        for row in rows.values():
            yield f"{title(section, row)}: a row for what is no longer launched; run with --write"
        if not now[section]:
            yield f"{section}: nothing of the kind was recorded"


def gate_kernels(names, files, table):
    """Checks that every kernel that was launched and every file of kernels has a row."""
    rows = table.get("kernels", {})
    for name in names:
        if name not in rows:
            yield f"kernel {name}: no row under [kernels]; say there what holds it to its speed"
    known = {r.get("file") for r in rows.values()}
    for f in files:
        if f not in known:
            yield f"{f}: no kernel of this file has a row under [kernels]"
    for name, r in rows.items():
        if r.get("file") not in files:
            yield f"kernel {name}: {r.get('file')} does not exist"
        if not r.get("held_by"):
            yield f"kernel {name}: held_by is empty; say what holds it to its speed"


# --- the table ---------------------------------------------------------------------------------------


def toml(value):
    return json.dumps(value, ensure_ascii=False)


def inline(row):
    return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in row.items()) + " }"


def render(head, table):
    out = [head.rstrip("\n"), ""]
    for section in KEYS:
        out += [f"{section} = ["] + [f"  {inline(r)}," for r in table[section]] + ["]", ""]
    out += ["[reasons]"] + [f"{k} = {toml(v)}" for k, v in table.get("reasons", {}).items()]
    out += ["", "[kernels]"] + [f"{k} = {inline(v)}" for k, v in table.get("kernels", {}).items()]
    return "\n".join(out) + "\n"


def updated(now, table):
    """Returns the table with today's values; a reason stays as long as something falls short."""
    new = {"reasons": table.get("reasons", {}), "kernels": table.get("kernels", {})}
    for section in KEYS:
        old = {key_of(section, r): r for r in table.get(section, [])}
        new[section] = []
        for x in now[section]:
            short = any(w is not None and x[f] < w for f, w, _ in COMPARED[section])
            reason = old.get(key_of(section, x), {}).get("reason", "")
            new[section].append(x | ({"reason": reason} if short else {}))
    return new


def read_table(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    head = re.match(r"(#[^\n]*\n)*", text).group(0)
    return head, tomllib.loads(text)


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--read", metavar="FILE", default=os.path.join(root, "build/sim/launches.jsonl"))
    p.add_argument("--table", default=os.path.join(here, "plans.toml"))
    p.add_argument("--write", action="store_true")
    args = p.parse_args()
    now = measure(read_lines(args.read))
    head, table = read_table(args.table)
    if args.write:
        table = updated(now, table)
        with open(args.table, "w", encoding="utf-8") as f:
            f.write(render(head, table))
    files = sorted("kernels/" + f for f in os.listdir(os.path.join(root, "kernels")) if f.endswith(".cu"))
    wrong = list(gate(now, table)) + list(gate_kernels(now["names"], files, table))
    for line in wrong:
        print("plans:", line)
    rows = ", ".join(f"{len(now[s])} {s}" for s in KEYS)
    print(f"plans: {rows}, {len(now['names'])} kernels, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
