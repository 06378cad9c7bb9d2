"""The table of all sizes at which the code takes another way, read from the code.

A threshold is a constant of a module whose name ends in one of `ENDINGS`; the comment
above it says why. A page gets the table in place of `MARKER`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = ("UP_TO", "FROM", "BELOW", "BYTES", "ENTRIES")
MARKER = "<!-- table of thresholds -->"
PACKAGE = Path(__file__).resolve().parents[2] / "skbilevel"
_NAME = re.compile(rf"\w_(?:{'|'.join(ENDINGS)})$")


@dataclass(frozen=True)
class Threshold:
    """One statement: its names, values and reason, and the module that holds it."""

    names: tuple[str, ...]
    values: str
    reason: str
    module: str


def thresholds(package: Path = PACKAGE) -> Iterator[Threshold]:
    """Yield all thresholds, in the order of their modules."""
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        module = path.relative_to(package).with_suffix("").as_posix()
        for node in ast.parse(text).body:
            if not isinstance(node, ast.Assign):
                continue
            names = tuple(
                each.id
                for target in node.targets
                for each in ast.walk(target)
                if isinstance(each, ast.Name)
            )
            if any(_NAME.search(name) for name in names):
                values = str(ast.get_source_segment(text, node.value))
                reason = comment_above(text.splitlines(), node.lineno - 1)
                yield Threshold(names, values, reason, module)


def comment_above(lines: list[str], index: int) -> str:
    """Return the text of the comment that ends in the line before ``index``."""
    start = index
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return " ".join(line.lstrip("# ") for line in lines[start:index])


def table() -> str:
    """Return the table as Markdown."""
    rows = ["| module | name | value | reason |", "|---|---|---|---|"]
    for each in thresholds():
        names = ", ".join(f"`{name.lstrip('_')}`" for name in each.names)
        reason = each.reason.replace("|", "\\|")
        rows.append(f"| `{each.module}` | {names} | {each.values} | {reason} |")
    return "\n".join(rows)


def insert(app: object, docname: str, source: list[str]) -> None:
    """Put the table in place of the marker."""
    if MARKER in source[0]:
        source[0] = source[0].replace(MARKER, table())


def setup(app: object) -> dict[str, bool]:
    """Connect."""
    app.connect("source-read", insert)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
