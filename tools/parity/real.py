"""The model of `make real`, which is compared if it is there."""

from pathlib import Path


def add_option(parser) -> None:
    parser.add_argument(
        "--real", metavar="FILE", help="also this model; if it is not there, that is said"
    )


def models(path: str | None) -> list[str]:
    """Returns the file that --real names, if it is there."""
    if path is None or Path(path).exists():
        return [path] if path else []
    print(f"skipped {Path(path).name}: it is not in {Path(path).parent}; make real gets it")
    return []
