#!/usr/bin/env python3
"""The manifest of a redesign: what the tree must give as its parent gave it, bit for bit.

    manifest.py check COMMIT     compare the working tree with COMMIT, which is recorded first if needed
    manifest.py record COMMIT    only record
    manifest.py states COMMIT    check that states which COMMIT saved go on here as they do there

    --no-sim        leave the simulator out, even if nvcc is there
    --only TEXT     only the models whose names contain TEXT
    --plant WHAT    spoil the hash of WHAT ("logits", "all") in the working tree

How a redesign uses it: `make manifest PARENT=COMMIT`, with the commit that it began from, after
every step that must not move a bit. A line that differs names the set of kernels, the model, the
setup (types of K and V, n_ctx, tokens of the longest prompt + tokens generated), the case and the
value. If a step is meant to change something (the cost of a stage, a format), compare later steps
with the commit of that step, and let its message say which lines changed and why.

COMMIT is unpacked into build/manifest/, and built there by its own Makefile. manifest.c of the
working tree, which knows nothing but weft.h, is then linked with both libraries (manifest.mk says
what it asks a Makefile for). Models are those of models/, the real one of `make real` if it is
there, and one of each architecture and type by the weft-synth of COMMIT; the working tree's must
write the same files, and `weft inspect` must print the same about them. Each model runs with AVX2, AVX-512 if
this processor has it, and in fewer cases with the scalar kernels and with AVX-512 as SIMDe emulates
it. All give the same bits, so one hash is recorded for each case. Tiny models run on the CUDA
simulator, too. A record is valid only on the machine that made it, because it
depends on libm and the compiler, so it stays in build/. Before the comparison all hashes of one
model are spoilt, and the check must notice each of them. Exit status: 0 all are equal, 1 something
differs, 2 the comparison was not possible."""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = Path(
    subprocess.check_output(["git", "-C", HERE, "rev-parse", "--show-toplevel"], text=True).strip()
)
WORK = ROOT / "build" / "manifest"
REAL = Path(
    os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"),
    "weft",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
)

ARCHITECTURES = ("qwen2", "qwen3", "phi3", "llama")
TYPES = (
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K"),
    *("Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "Q4_K_M", "Q4_K+F16+Q8_0"),
)
SIM_TYPES = ("F32", "F16", "Q8_0", "Q4_K_M")
BIASES, FUSED = ("--biases",), ("--fused-qkv",)
Q8_0 = ("--kv", "q8_0/q8_0")
# The length at which the factors of small-phi3 change is 512. Version 0.1.0 took the long factors for
# every text in a longer context, so here its context ends there.
SHORT, LONG = ("--ctx", "512"), ("--ctx", "1024")
LIMIT_S = 900  # for a program; each takes less than a tenth of it, so a slower one must be stuck
DEFAULT = ("--prompt", "66", "--new", "2")  # more than one page of 64
# The keys that a file may have besides its shape: (architecture, name, keys).
KEYS = (
    ("phi3", "window", ("phi3.attention.sliding_window=u32:33",)),
    ("phi3", "long", ("phi3.rope.scaling.original_context_length=u32:0",)),
    ("llama", "linear", ("llama.rope.scaling.type=str:linear", "llama.rope.scaling.factor=f32:4")),
    ("qwen2", "linear", ("qwen2.rope.scaling.type=str:linear", "qwen2.rope.scaling.factor=f32:2")),
)


class Job(NamedTuple):
    """One model in one setup. `recipe` is the arguments of weft-synth; None means that the file
    exists."""

    model: str
    recipe: tuple | None
    options: tuple
    fast: bool = True  # all cases, with kernels that are fast
    slow: bool = True  # few cases, with kernels that are slow


class Kernels(NamedTuple):
    """A program of a tree, and the settings that it runs with."""

    name: str
    program: str
    options: tuple
    slow: bool


class Tree(NamedTuple):
    path: Path
    build: str  # path below the tree
    label: str

    def program(self, name: str) -> Path:
        return self.path / self.build / name


class Failed(Exception):
    pass


# ---------------------------------------------------------------- what is run


def synthetic(
    size: str, arch: str, kind: str, options: tuple, *extra: str, name: str = "", **more
) -> Job:
    name = f"{size}-{arch}{name or ''.join(extra)}-{kind}"
    return Job(
        f"{name}.gguf", ("--like", f"{size}-{arch}", "--type", kind, *extra), options, **more
    )


def cpu_jobs():
    for arch in ("qwen2", "phi3"):
        for kv in ("f16/f16", "q8_0/q8_0", "f16/q8_0", "q8_0/f16"):
            slow = kv in ("f16/f16", "q8_0/q8_0")
            yield Job(f"weft-demo-{arch}.gguf", None, (*DEFAULT, "--kv", kv), slow=slow)
    if REAL.exists():
        yield Job(REAL.name, None, DEFAULT, slow=False)
        yield Job(REAL.name, None, ("--prompt", "6", "--new", "2"))
    for arch in ARCHITECTURES:
        ctx = SHORT if arch == "phi3" else LONG
        for kind in TYPES:
            yield synthetic("small", arch, kind, (*DEFAULT, *ctx))
        if ctx != SHORT:
            yield synthetic("small", arch, "Q8_0", (*DEFAULT, *SHORT), slow=False)
        yield synthetic("small", arch, "Q8_0", (*DEFAULT, *ctx, *Q8_0))
        yield synthetic("small", arch, "F16", (*DEFAULT, *ctx, "--kv", "q8_0/f16"), slow=False)
        for extra in (BIASES, FUSED, BIASES + FUSED):
            slow = extra not in (BIASES, FUSED)
            yield synthetic("small", arch, "Q8_0", (*DEFAULT, *ctx), *extra, slow=slow)
        yield synthetic("small", arch, "Q4_K_M", (*DEFAULT, *ctx), *BIASES, *FUSED, slow=False)
        yield synthetic("tiny", arch, "F32", DEFAULT)
    for arch, name, keys in KEYS:
        extra = [word for key in keys for word in ("--key", key)]
        ctx = SHORT if name == "window" else LONG
        yield synthetic("small", arch, "Q8_0", (*DEFAULT, *ctx), *extra, name=f"-{name}")


def sim_jobs():
    for arch in ARCHITECTURES:
        for kind in SIM_TYPES:
            yield synthetic("tiny", arch, kind, DEFAULT)
        yield synthetic("tiny", arch, "Q8_0", DEFAULT, *BIASES, *FUSED)
        yield synthetic("tiny", arch, "Q8_0", (*DEFAULT, "--deterministic"))
    yield synthetic("tiny", "qwen3", "Q8_0", (*DEFAULT, *Q8_0))
    yield synthetic("tiny", "phi3", "Q8_0", DEFAULT, "--key", KEYS[0][2][0], name="-window")


def kernels_here() -> list[Kernels]:
    """Returns all sets of kernels that this processor runs; the first is the one that records."""
    flags = set(
        Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split()
    )
    found = []
    if {"avx2", "fma", "f16c"} <= flags:
        found.append(Kernels("avx2", "manifest", ("--isa", "avx2"), False))
        found.append(Kernels("avx512-by-simde", "manifest-emulated", ("--isa", "avx512"), True))
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= flags:
        found.append(Kernels("avx512", "manifest", ("--isa", "avx512"), False))
    found.append(Kernels("scalar", "manifest", ("--isa", "scalar"), len(found) > 0))
    return found


SIMULATOR = Kernels("simulator", "manifest-sim", ("--device", "cuda:0"), False)


# ---------------------------------------------------------------- trees


def run(command: list, what: str, **more) -> str:
    more |= {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, timeout=LIMIT_S, **more)
    except subprocess.TimeoutExpired:
        raise Failed(f"{what}: not done after {LIMIT_S} s") from None
    if done.returncode != 0:
        raise Failed(
            f"{what}: exit status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done.stdout


def make(tree: Tree, *words: str, linked: bool = True) -> None:
    """Builds with the tree's own Makefile; variables that an outer make hands down are removed."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    }
    command = ["make", f"-j{os.cpu_count()}", "--no-print-directory", f"BUILD={tree.build}"]
    if linked:
        command += ["-f", "Makefile", "-f", str(HERE / "manifest.mk")]
    run([*command, *words], f"make in {tree.label}", cwd=tree.path, env=kept)


def build(tree: Tree, with_sim: bool) -> None:
    start = time.monotonic()
    programs = {"weft", "weft-synth"} | {kernels.program for kernels in kernels_here()}
    make(tree, "NVCC=", *(f"{tree.build}/{program}" for program in programs))
    if with_sim:
        make(tree, f"{tree.build}/manifest-sim")
    print(f"built {tree.label}: {time.monotonic() - start:.0f} s", flush=True)


def commit_of(name: str) -> str:
    return run(
        ["git", "-C", ROOT, "rev-parse", "--verify", f"{name}^{{commit}}"], f"commit {name}"
    ).strip()


def unpack(commit: str) -> Tree:
    path = WORK / commit[:12] / "tree"
    if not path.exists():
        packed = subprocess.check_output(["git", "-C", ROOT, "archive", commit])
        part = path.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-x", "-C", part], input=packed, check=True)
        part.rename(path)
    return Tree(path, "build", commit[:12])


def working_tree() -> Tree:
    return Tree(ROOT, "build/manifest/here", "the working tree")


def has_nvcc() -> bool:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("nvcc") is not None or Path(home, "bin", "nvcc").exists()


# ---------------------------------------------------------------- running


def model_path(parent: Tree, job: Job) -> Path:
    if job.recipe is not None:
        return parent.path.parent / "models" / job.model
    return REAL if job.model == REAL.name else parent.path / "models" / job.model


def synthesize(tree: Tree, jobs: list[Job], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in {job.model: job.recipe for job in jobs if job.recipe is not None}.items():
        run(
            [tree.program("weft-synth"), *recipe, "-o", folder / name],
            f"weft-synth of {tree.label}",
        )


def parse(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines())


def run_job(parent: Tree, tree: Tree, job: Job, kernels: Kernels, plant: tuple) -> dict[str, str]:
    """Returns the hashes of one model, by case."""
    few = ("--few",) if kernels.slow else ()
    command = [
        tree.program(kernels.program),
        *kernels.options,
        *job.options,
        *few,
        *plant,
        model_path(parent, job),
    ]
    return parse(run(command, f"{job.model} with {kernels.name}", cwd=tree.path))


def inspected(tree: Tree, path: Path) -> dict[str, str]:
    text = run([tree.program("weft"), "inspect", "-m", path], f"inspect {path.name}", cwd=tree.path)
    return {f"{path.name} weft inspect text": hashlib.sha256(text.encode()).hexdigest()[:16]}


def written(path: Path) -> dict[str, str]:
    return {
        f"{path.name} weft-synth file bytes": hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    }


# ---------------------------------------------------------------- record and compare


class Part(NamedTuple):
    """The part of a record that has a file of its own: the CPU's, or the simulator's."""

    name: str
    jobs: list
    kernels: list

    def record(self, commit: str) -> Path:
        return ROOT / "build" / f"manifest-{commit[:12]}{self.name}.txt"

    def header(self, commit: str) -> str:
        """A record with another header has other cases, or comes from another machine."""
        said = hashlib.sha256(repr((self.jobs, os.uname(), self.kernels)).encode())
        for path in sorted(HERE.glob("manifest*.*")):
            said.update(path.read_bytes())
        return f"# {commit} {said.hexdigest()[:16]}"

    def recorded(self, commit: str) -> dict[str, str] | None:
        path = self.record(commit)
        if not path.exists():
            return None
        header, _, lines = path.read_text().partition("\n")
        return parse(lines) if header == self.header(commit) else None


def parts(with_sim: bool) -> list[Part]:
    if not REAL.exists():
        print(f"skip {REAL.name}: it is not there; `make real` gets it")
    # the longest job first, so that no core waits for it at the end
    found = [Part("", sorted(cpu_jobs(), key=lambda job: job.model != REAL.name), kernels_here())]
    return found + [Part("-sim", list(sim_jobs()), [SIMULATOR])] if with_sim else found


def in_parallel(work: list) -> list:
    """Returns the results of functions without arguments, in order; for a failed one, its
    exception."""

    def one(function):
        try:
            return function()
        except Failed as failed:
            return failed

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, work))


def files_of(parent: Tree, tree: Tree, part: Part, folder: Path) -> list:
    """Collects what the programs print and write, as functions."""
    synthesize(tree, part.jobs, folder)
    work = [
        lambda p=p: inspected(tree, p) for p in sorted({model_path(parent, j) for j in part.jobs})
    ]
    return work + [
        lambda p=p: written(p) for p in sorted({folder / j.model for j in part.jobs if j.recipe})
    ]


def record(parent: Tree, part: Part, commit: str) -> dict[str, str]:
    start = time.monotonic()
    work = files_of(parent, parent, part, parent.path.parent / "models")
    kernels = part.kernels[0]._replace(slow=False)
    work += [lambda j=j: run_job(parent, parent, j, kernels, ()) for j in part.jobs]
    lines = {}
    for result in in_parallel(work):
        if isinstance(result, Failed):
            raise result
        lines.update(result)
    text = "".join(f"{key} {value}\n" for key, value in lines.items())
    part.record(commit).write_text(f"{part.header(commit)}\n{text}")
    where, seconds = part.record(commit).relative_to(ROOT), time.monotonic() - start
    print(f"recorded {len(lines)} cases of {parent.label} in {where}: {seconds:.0f} s", flush=True)
    return lines


def differences(name: str, result, expected: dict[str, str]) -> list[str]:
    if isinstance(result, Failed):
        return [f"FAILED  {name}: {result}"]
    return [
        f"DIFFERS {name}: {key} is {value}, was {expected[key]}"
        for key, value in result.items()
        if expected.get(key, value) != value
    ]


def can_fail(parent: Tree, tree: Tree, part: Part, expected: dict[str, str]) -> None:
    """Spoils all hashes of one job, and checks that each is noticed."""
    job = next(j for j in part.jobs if j.model != REAL.name)
    spoilt = run_job(parent, tree, job, part.kernels[0], ("--plant", "all"))
    n = len(differences("", spoilt, expected))
    known = len(spoilt.keys() & expected.keys())
    if n == 0 or n != known:
        raise Failed(f"{known} hashes of {job.model} were spoilt, and {n} differences seen")


def check(
    parent: Tree, tree: Tree, part: Part, expected: dict[str, str], args
) -> tuple[list[str], int]:
    """Returns the differences, and how many hashes were compared."""
    start = time.monotonic()
    plant = ("--plant", args.plant) if args.plant else ()
    can_fail(parent, tree, part, expected)
    jobs = [job for job in part.jobs if args.only in job.model]
    part = part._replace(jobs=jobs)
    work = [("file", f) for f in files_of(parent, tree, part, WORK / "here" / "models")]
    for job in jobs:
        for kernels in part.kernels:
            if job.slow if kernels.slow else job.fast:
                work.append(
                    (kernels.name, lambda j=job, k=kernels: run_job(parent, tree, j, k, plant))
                )
    results = in_parallel([function for _, function in work])
    found, counts, seen = [], {}, set()
    for (name, _), result in zip(work, results):
        found += differences(name, result, expected)
        if not isinstance(result, Failed):
            counts[name] = counts.get(name, 0) + len(result)
            seen |= result.keys()
    if args.only == "":
        found += [f"MISSING {key}" for key in expected.keys() - seen]
    new = seen - expected.keys()
    if new:
        of = " ".join(sorted({key.split()[-1] for key in new}))
        print(f"{len(new)} cases are new, which the parent does not have: {of}")
    counted = ", ".join(f"{name} {n}" for name, n in counts.items())
    print(f"compared {counted}: {time.monotonic() - start:.0f} s", flush=True)
    return found, sum(counts.values())


# ---------------------------------------------------------------- saved states

BEGINNING = "The capital of France is Paris. The weft is the thread that"
HOW = ("-q", "--device", "cpu", "--temp", "0")


def states(old: Tree, tree: Tree) -> tuple[list[str], int]:
    """Checks that states which the old program saved go on in this tree as they do there."""
    found, n = [], 0
    for job in [j for j in cpu_jobs() if j.recipe is None and j.model != REAL.name]:
        kv_k, kv_v = job.options[job.options.index("--kv") + 1].split("/")
        name = f"{job.model} with K in {kv_k}, V in {kv_v}"
        model = ("-m", old.path / "models" / job.model, *HOW, "-ctk", kv_k, "-ctv", kv_v)
        state = old.path.parent / "saved.state"
        state.unlink(missing_ok=True)
        run(
            [old.program("weft"), "run", *model, "-p", BEGINNING, "-n", "8", "--save-state", state],
            name,
        )
        texts = [
            run(
                [t.program("weft"), "run", *model, "--load-state", state, "-n", "24"],
                f"{name}: {t.label}",
            )
            for t in (old, tree)
        ]
        n += 1
        if texts[0].strip() == "" or texts[0] != texts[1]:
            found.append(f"DIFFERS {name}: goes on as {texts[1]!r}, was {texts[0]!r}")
    return found, n


# ---------------------------------------------------------------- the program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("check", "record", "states"))
    parser.add_argument("commit")
    parser.add_argument("--no-sim", action="store_true", help="leave the simulator out")
    parser.add_argument("--only", default="", help="only models in whose name this stands")
    parser.add_argument("--plant", help="spoil this hash in the working tree")
    args = parser.parse_args()
    commit = commit_of(args.commit)
    parent, tree = unpack(commit), working_tree()
    if args.what == "states":
        make(parent, "NVCC=", f"{parent.build}/weft", linked=False)
        make(tree, "NVCC=", f"{tree.build}/weft", linked=False)
        found, n = states(parent, tree)
    else:
        with_sim = not args.no_sim and has_nvcc()
        if not with_sim:
            print("skip the simulator: " + ("--no-sim" if args.no_sim else "nvcc not found"))
        found, n = [], 0
        todo = parts(with_sim)
        if args.what == "record" or any(part.recorded(commit) is None for part in todo):
            build(parent, with_sim)
        if args.what == "check":
            build(tree, with_sim)
        for part in todo:
            expected = None if args.what == "record" else part.recorded(commit)
            expected = expected or record(parent, part, commit)
            if args.what == "check":
                differing, compared = check(parent, tree, part, expected, args)
                found, n = found + differing, n + compared
    if args.what != "record" and not found and n == 0:
        raise Failed("nothing was compared")
    print("\n".join(found), end="\n" if found else "")
    if args.what != "record":
        print(f"manifest: {len(found)} of {n} differ" if found else f"manifest: {n} cases equal")
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        print(f"manifest: {failed}", file=sys.stderr)
        sys.exit(2)
