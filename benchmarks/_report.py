"""Tables, JSON files and pictures for the benchmark scripts."""

import argparse
import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add --json and --plot, which every script has."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture")


def cell(value: Any) -> str:
    """Return a number in four significant places, anything else as it is."""
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        size = abs(value)
        return f"{value:.3f}" if 1e-3 <= size < 1e3 or size == 0 else f"{value:.3g}"
    return str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an aligned table: first column left, the others right."""
    cells = [[str(name) for name in header]]
    cells += [[cell(value) for value in row] for row in rows]
    widths = [max(len(row[j]) for row in cells) for j in range(len(header))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [
            text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join([first, *rest]))
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "processor": platform.machine(),
    }


def plain(value: Any) -> Any:
    """Return numpy numbers and arrays as JSON knows them; NaN becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write the figures and the versions behind them, if a path was given."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain({"versions": versions(), **content}), indent=1))


def new_figure(columns: int = 1, height: float = 4.5) -> tuple[Any, Any]:
    """Return a figure and its axes; matplotlib is imported only here."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(
        1, columns, figsize=(5.5 * columns, height), layout="constrained"
    )


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
