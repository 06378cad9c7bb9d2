"""Python blocks of a Markdown page: found, run in one process, and what they print.

Blocks run in order, in a process of their own that starts in an empty folder, so that
an example cannot lean on the checkout; warnings are errors. A block is left out where
the line above it is ``<!-- not executed: reason -->``. Scripts that a page includes as
a whole are blocks, too. Figures that a block leaves open are saved.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?P<skip><!-- not executed: [^>]+ -->\n+)?"
    r"^```(?:python\n(?P<code>.*?)^|\{literalinclude\} (?P<file>\S+\.py)\n)```$",
    re.MULTILINE | re.DOTALL,
)
LIMIT_S = 900  # machines may be busy


@dataclass(frozen=True)
class Shown:
    """What one block printed, and the figures that it drew: file and title."""

    end: int
    text: str
    figures: tuple[tuple[str, str], ...] = ()


def code_of(page: Path, found: re.Match[str]) -> str:
    """The code of a block, from the page or from the script that it includes."""
    return found["code"] or (page.parent / found["file"]).read_text(encoding="utf-8")


def run_blocks(page: Path, figures: Path | None = None) -> list[Shown]:
    """Run the blocks of a page; raise RuntimeError with the traceback of a failure."""
    text = page.read_text(encoding="utf-8")
    blocks = [found for found in BLOCK.finditer(text) if not found["skip"]]
    if not blocks:
        return []
    task = {
        "codes": [code_of(page, found) for found in blocks],
        "figures": figures and str(figures.resolve()),
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "error", Path(__file__).resolve()],
            input=json.dumps(task),
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{page.name}: {done.stderr.strip()}")
    shown = zip(blocks, json.loads(done.stdout), strict=True)
    return [
        Shown(b.end(), s["text"], tuple(map(tuple, s["figures"]))) for b, s in shown
    ]


def execute(codes: Sequence[str], figures: str | None) -> list[dict[str, object]]:
    """Run blocks in one namespace, which is that of a script."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    shown = []
    for k, code in enumerate(codes):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"<block {k + 1}>", "exec"), vars(module))
        shown.append({"text": printed.getvalue(), "figures": saved(k, figures)})
    return shown


def saved(block: int, folder: str | None) -> list[tuple[str, str]]:
    """Save and close the open figures; return their files and titles."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or folder is None:
        return []
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        texts = [ax.get_title(loc) for ax in figure.axes for loc in ("center", "left")]
        title = next(filter(None, texts), "What the code above draws")
        name = f"{block + 1}-{number}.png"
        figure.savefig(Path(folder) / name, dpi=110)
        files.append((name, " ".join(title.split())))
    pyplot.close("all")
    return files


if __name__ == "__main__":
    print(json.dumps(execute(**json.load(sys.stdin))))
