"""What the scripts of the papers share: options, medians, pages and pictures."""

import argparse
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _report import cell, new_figure
from PIL import Image

DOC = Path(__file__).parents[2] / "doc"


def options(doc: str | None) -> argparse.Namespace:
    """Return the options that every script has."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, no files")
    parser.add_argument("--out", type=Path, default=DOC, help="folder of the pages")
    return parser.parse_args()


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table of a page."""
    lines = [list(header), ["---"] + ["---:"] * (len(header) - 1)]
    lines += [[cell(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_page(folder: Path, name: str, text: str) -> None:
    """Write ``papers/<name>.md``."""
    path = folder / "papers" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.strip() + "\n")


def write_figure(folder: Path, name: str, figure: Any) -> None:
    """Write ``_static/papers/<name>.png`` in 64 colours: small for a repository."""
    path = folder / "_static" / "papers" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, dpi=90)
        Image.open(buffer).convert("RGB").quantize(64).save(path, optimize=True)


def median(runs: Sequence[Any]) -> Any:
    """Return medians over runs, as a number or an array."""
    middle = np.median(np.asarray(runs, dtype=float), axis=0)
    return float(middle) if middle.ndim == 0 else middle


class Clock:
    """Seconds since the start, without those spent on looking."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def __call__(self) -> float:
        """Return the seconds."""
        return time.perf_counter() - self.start


__all__ = [
    "Clock",
    "markdown",
    "median",
    "new_figure",
    "options",
    "write_figure",
    "write_page",
]
