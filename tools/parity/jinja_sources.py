"""The sources of the templates that are compared: llama.cpp's collection, the publishers' ones in
tests/data/chat, and those that are built in. usage: jinja_sources.py FOLDER gets the collection, and says
where it is."""

import ctypes
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "tools/parity/requirements.txt"
INSIDE = re.compile(r"[^/]+/vendor/llama\.cpp/models/templates/([^/]+\.jinja)")


def package() -> str:
    return next(line for line in REQUIREMENTS.read_text().split() if line.startswith("llama-cpp-python"))


def fetch(folder: Path) -> None:
    """Stores the collection in the folder, which appears only when it is whole: pip gets the source of
    the package that make parity installs anyway."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check",
                        "--no-input", "--no-deps", "--no-binary", ":all:", "-d", temporary, package()],
                       check=True)
        whole = Path(temporary) / "templates"
        whole.mkdir()
        archive = next(Path(temporary).glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            for member in tar:
                if found := INSIDE.fullmatch(member.name):
                    (whole / found[1]).write_bytes(tar.extractfile(member).read())
        whole.rename(folder)


def collection(folder: Path | None) -> dict[str, str]:
    """Returns llama.cpp's templates by name; none, with a message, if they cannot be had."""
    if folder is None:
        return {}
    if not folder.is_dir():
        try:
            fetch(folder)
        except (subprocess.CalledProcessError, OSError, StopIteration) as error:
            print(f"skipped llama.cpp's templates: {folder} is not there, and pip cannot get it: {error}")
            return {}
    return {path.stem: path.read_bytes().decode() for path in sorted(folder.glob("*.jinja"))}


def publishers() -> dict[str, str]:
    return {path.stem: path.read_bytes().decode()
            for path in sorted((ROOT / "tests/data/chat").glob("*.jinja"))}


def built_in() -> dict[str, str]:
    """Returns the built-in templates by name, out of the one file that has them, compiled alone."""
    class Builtin(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("source", ctypes.c_char_p)]

    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "builtin.so"
        subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-I", ROOT / "src", "-o", library,
                        ROOT / "src/chat/builtin.c"], check=True)
        builtin_at = ctypes.CDLL(str(library)).builtin_at
        builtin_at.restype, builtin_at.argtypes = ctypes.POINTER(Builtin), [ctypes.c_size_t]
        made, i = {}, 0
        while found := builtin_at(i):
            made[found[0].name.decode()] = found[0].source.decode()
            i += 1
    return made


def without_collection() -> dict[str, str]:
    return publishers() | {f"built-in {name}": text for name, text in built_in().items()}


if __name__ == "__main__":
    if not Path(sys.argv[1]).is_dir():
        fetch(Path(sys.argv[1]))
    print(sys.argv[1])
