"""What the scripts of this folder share: data, places, tables, lines."""

import importlib.util
from pathlib import Path
from types import ModuleType

import matplotlib as mpl

mpl.use("Agg")

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "doc" / "_static" / "papers"
PAGES = ROOT / "doc" / "papers"


def loader() -> ModuleType:
    """Return the loader of the folder that SKBILEVEL_DATA names."""
    path = ROOT / "benchmarks" / "_data.py"
    spec = importlib.util.spec_from_file_location("skbilevel_benchmark_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.loader()


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def save(name: str, figure, page: str) -> None:
    """Write the figure and the page."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    PAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=90)
    (PAGES / f"{name}.md").write_text(page, encoding="utf-8")
