"""Generated parts of the README: the text between <!-- NAME:begin --> and <!-- NAME:end -->."""

from pathlib import Path


def replace(text: str, name: str, new: str) -> str:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SystemExit(f"README: expected one {begin} and one {end} behind it")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{new.strip()}\n{end}{rest.split(end)[1]}"


def update(path: Path, name: str, new: str) -> None:
    path.write_text(replace(path.read_text(), name, new))
