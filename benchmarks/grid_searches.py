"""Test scores and times of ten programs with a grid search and without one.

Runs the pairs of ``examples/grid_searches.py`` on several random splits, both programs
of a pair one after the other, and prints medians::

    python benchmarks/grid_searches.py --seeds 10 --json out.json
    python benchmarks/keep.py out.json grid_searches "COMMAND"
    python benchmarks/grid_searches.py --write   # the table of doc/grid_searches.md

The target: faster than the grid search in each, at a test score that is equal or better
on average. Grid and search choose by different things (the score of the estimator or
``scoring``, and the loss), so that they may differ in both directions.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skbilevel.exceptions import BoundaryWarning

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results" / "grid_searches.json"
TABLE = ROOT / "doc" / "_grid_searches_table.md"
sys.path.insert(0, str(ROOT / "examples"))


def measure(n_seeds: int) -> list[dict[str, Any]]:
    """One row for each program and seed."""
    from grid_searches import PROGRAMS, compare

    rows = []
    for name in PROGRAMS:
        for seed in range(n_seeds):
            (old, slow), (new, fast) = compare(name, seed)
            row = {"program": name, "seed": seed, "score_before": old}
            row |= {"score_after": new, "s_before": slow, "s_after": fast}
            rows.append(
                {k: v if isinstance(v, str) else float(v) for k, v in row.items()}
            )
        print(line(name, summary(rows, name)), flush=True)
    return rows


def summary(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Means of scores, their difference with its standard error, medians of times."""
    own = [row for row in rows if row["program"] == name]
    old, new, slow, fast = (
        np.array([row[key] for row in own])
        for key in ("score_before", "score_after", "s_before", "s_after")
    )
    gain = new - old
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
    return {
        "before": float(old.mean()),
        "after": float(new.mean()),
        "gain": float(gain.mean()),
        "error": float(error),
        "s_before": float(np.median(slow)),
        "s_after": float(np.median(fast)),
        "ratio": float(np.median(fast / slow)),
    }


def line(name: str, s: dict[str, float]) -> str:
    """A row of the table."""
    return (
        f"| {name} | {s['before']:.4f} | {s['after']:.4f} | "
        f"{s['gain']:+.4f} ± {s['error']:.4f} | {s['s_before']:.2f} | "
        f"{s['s_after']:.2f} | {s['ratio']:.2f} |"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """The table of the page, in Markdown."""
    names = list(dict.fromkeys(row["program"] for row in rows))
    found = {name: summary(rows, name) for name in names}
    n = len(rows) // len(names)
    gain = np.mean([each["gain"] for each in found.values()])
    faster = sum(each["ratio"] < 1 for each in found.values())
    head = (
        "| program | score before | after | gain ± s.e. | s before | after | ratio |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    body = "\n".join(line(name, each) for name, each in found.items())
    return (
        f"{head}{body}\n\n"
        f"Test scores are means over {n} splits (R2, accuracy, area under the curve, "
        "D2), times medians, ratios medians of the ratios in the same run, one BLAS "
        f"thread. Faster in {faster} of {len(names)} programs; the mean gain is "
        f"{gain:+.4f}. Printed by `benchmarks/grid_searches.py`.\n"
    )


def main() -> None:
    """Measure, or write the page's table from what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="write the page's table")
    args = parser.parse_args()
    if args.write:
        TABLE.write_text(table(json.loads(RESULTS.read_text())["rows"]))
        return
    # Both kinds of search meet ends of ranges and slow solvers on such data.
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", BoundaryWarning)
    rows = measure(args.seeds)
    print(table(rows))
    if args.json is not None:
        args.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
