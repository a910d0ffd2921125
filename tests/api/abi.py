"""Lists what programs that are linked with libweft rely on: exported names, layouts of structs, values of enums.
tests/api/abi.txt is the recorded list. `check` compares it with the list of today, and prints every line that differs and what
follows from that. The rule is in CONTRIBUTING.md, "Versions".

usage: abi.py check LIBWEFT.SO     abi.py record LIBWEFT.SO

The list describes weft.h in C, on a 64-bit machine. CC is the compiler.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include/weft.h"
LIST = Path(__file__).with_name("abi.txt")


def declarations():
    """Returns weft.h without comments, directives and the parts that only C++ sees."""
    text = re.sub(r"/\*.*?\*/", " ", HEADER.read_text(), flags=re.S).replace("\\\n", " ")
    kept, cxx = [], []
    for line in text.split("\n"):
        word = re.match(r"\s*#\s*(\w+)", line)
        if word is None:
            if not any(cxx):
                kept.append(line)
        elif word[1] in ("if", "ifdef", "ifndef"):
            cxx.append("__cplusplus" in line)
        elif word[1] == "else":
            cxx[-1] = False
        elif word[1] == "endif":
            cxx.pop()
    return " ".join(" ".join(kept).split())


def nameless(parameters):
    """Returns the types of parameters such as "const char *text, size_t n"."""
    types = [re.sub(r"\b\w+$", "", p.strip()).strip() if p.strip() != "void" else "void" for p in parameters.split(",")]
    return ", ".join(types)


def fields_of(body):
    """Yields (name, type) of each field; "size_t a, b[4];" declares two."""
    for declaration in filter(None, (d.strip() for d in body.split(";"))):
        kind, declarators = re.match(r"((?:const |unsigned )*\w+(?= |\*)\s*)(.*)", declaration).groups()
        for d in declarators.split(","):
            stars, name, array = re.match(r"\s*((?:\*|const )*)(\w+)(\[\w+\])?$", d.strip()).groups()
            yield name, f"{kind.strip()} {stars}".strip() + (array or "")


FUNCTION = r"WEFT_API ([\w ]+?[ *]+)(\w+)\((.*?)\);"
CALLBACK = r"typedef ([\w ]+?\*?) ?\(\*(\w+)\)\((.*?)\);"
STRUCT = r"typedef struct (\w+) \{(.*?)\} \1;"
ENUM = r"enum ?(\w*) \{(.*?)\}"


def forget_nothing(text):
    """Ends the program unless these patterns match all of weft.h, so that no declaration is forgotten."""
    for pattern in (FUNCTION, CALLBACK, STRUCT, rf"(?:typedef )?{ENUM}[ \w]*;", r"typedef struct (\w+) \1;"):
        text = re.sub(pattern, "", text)
    if text.strip():
        sys.exit(f"abi.py does not understand this part of weft.h: {text.strip()}")


def parts(text):
    """Returns the lines that follow from the text alone, and the arguments of the printf() calls that print the others."""
    lines, prints = [], []
    for result, name, parameters in re.findall(FUNCTION, text):
        lines.append(f"function {name}({nameless(parameters)}) -> {result.strip()}")
    for result, name, parameters in re.findall(CALLBACK, text):
        lines.append(f"callback {name}({nameless(parameters)}) -> {result}")
    for name, body in re.findall(STRUCT, text):
        prints.append(f'"struct {name}: %zu bytes\\n", sizeof({name})')
        for field, kind in fields_of(body):
            at = f"offsetof({name}, {field}), sizeof((({name} *)0)->{field})"
            prints.append(f'"struct {name}.{field}: {kind}, at %zu, %zu bytes\\n", {at}')
    for name, body in re.findall(ENUM, text):
        if name:
            prints.append(f'"enum {name}: %zu bytes\\n", sizeof({name})')
        for value in re.findall(r"(\w+)(?: = [^,]+)?(?:,|$)", body.strip()):
            prints.append(f'"value {value} = %lld\\n", (long long){value}')
    forget_nothing(text)
    for name in re.findall(r"^#define (WEFT_\w+) (?:SIZE_MAX|\d+)(?!\w)", HEADER.read_text(), re.M):
        prints.append(f'"constant {name} = %zu\\n", (size_t){name}')
    prints.append('"abi %u, in libweft.so.%u\\n", WEFT_ABI_VERSION, WEFT_ABI_VERSION')
    return lines, prints


def header_list():
    lines, prints = parts(declarations())
    with tempfile.TemporaryDirectory() as folder:
        source, program = f"{folder}/a.c", f"{folder}/a"
        calls = "\n".join(f"    printf({p});" for p in prints)
        Path(source).write_text(f'#include <stdio.h>\n#include "weft.h"\nint main(void)\n{{\n{calls}\n}}\n')
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", f"-I{HEADER.parent}", "-o", program, source], check=True)
        printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(lines + printed)


def problems_of_library(library, lines):
    """The library must export the functions of weft.h and nothing else, under the soname of its ABI. Yields what is wrong."""
    declared = {re.match(r"function (\w+)", line)[1] for line in lines if line.startswith("function ")}
    names = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in names.splitlines()}
    dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    soname = re.search(r"SONAME.*\[(.*)\]", dynamic)
    number = next(line for line in lines if line.startswith("abi ")).split()[-1]
    for name in sorted(exported - declared):
        yield f"{library} exports {name}, which weft.h does not declare; make it static, or hide it"
    for name in sorted(declared - exported):
        yield f"weft.h declares {name}, and {library} does not export it; it needs WEFT_API and a body"
    if soname is None or soname[1] != number:
        yield f"{library} has the soname {soname and soname[1]}, expected {number} (WEFT_ABI_VERSION)"


def key(line):
    return re.match(r"(abi|\w+ [\w.]+)", line)[1]


def differences(old, new):
    """For each line that differs, yields (whether programs that were linked before break, what differs)."""
    before, now = {key(x): x for x in old}, {key(x): x for x in new}
    size = {k: int(re.search(r"(\d+) bytes", x)[1]) for k, x in [*before.items()] if re.match(r"struct \w+$", k)}
    for k in sorted(before.keys() | now.keys()):
        old_line, new_line = before.get(k), now.get(k)
        if old_line == new_line or k == "abi":
            continue
        struct = re.match(r"struct \w+", k)
        sized = struct and f"{struct[0]}.size" in before
        if new_line is None:
            yield True, f"gone: {old_line}"
        elif old_line is not None:
            grown = sized and k in size and int(re.search(r"(\d+) bytes", new_line)[1]) > size[k]
            yield not grown, f"{'grown' if grown else 'changed'}: {old_line} -> {new_line.split(': ', 1)[-1]}"
        elif struct and struct[0] in before and not sized:
            yield True, f"new in a struct that does not begin with its size: {new_line}"
        elif struct and struct[0] in before and (
            before[struct[0]] == now[struct[0]] or int(re.search(r"at (\d+)", new_line)[1]) < size[struct[0]]
        ):
            yield True, f"new within the old size, which so does not tell old callers from new ones: {new_line}"
        else:
            yield False, f"new: {new_line}"


def report(old, new):
    """Prints what differs. Returns true if something does."""
    found = list(differences(old, new))
    abi = [next((x for x in lines if x.startswith("abi ")), "no abi") for lines in (old, new)]
    for breaks, text in found:
        print(f"FAIL abi: {text}" if breaks else f"abi: {text}")
    if abi[0] != abi[1]:
        print(f"abi: {abi[0]} -> {abi[1]}")
    if any(breaks for breaks, _ in found) and abi[0] == abi[1]:
        print("A line marked FAIL breaks programs that were linked before. If a release has it as recorded, raise WEFT_ABI_VERSION,\n"
              "once until the next release; if none has, leave it. Then `make abi-record`, and a line in CHANGELOG.md.")
    elif found or abi[0] != abi[1]:
        print("`make abi-record` writes these lines into tests/api/abi.txt; CHANGELOG.md gets a line for users.")
    return bool(found) or abi[0] != abi[1]


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("check", "record"):
        sys.exit(__doc__)
    if sys.maxsize < 2**32:
        print("skip abi: the list is of 64-bit machines")
        return
    new = header_list()
    old = LIST.read_text().splitlines() if LIST.exists() else []
    problems = list(problems_of_library(sys.argv[2], new))
    for problem in problems:
        print(f"FAIL abi: {problem}")
    differs = report(old, new)
    if sys.argv[1] == "record":
        LIST.write_text("".join(f"{line}\n" for line in new))
        print(f"{len(new)} lines in {LIST.relative_to(ROOT)}")
    elif not differs and not problems:
        print(f"ok abi: {len(new)} lines as recorded")
    sys.exit(1 if problems or (differs and sys.argv[1] == "check") else 0)


if __name__ == "__main__":
    main()
