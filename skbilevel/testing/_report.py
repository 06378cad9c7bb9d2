"""What checks found, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Check:
    """One property that was found to hold.

    Parameters
    ----------
    oracle : str
        What was looked at.
    holds : str
        The property.
    slope : float
        Of Taylor's remainder; infinite where the formula is exact, nan where the
        property is none of derivatives.
    error : float
        Relative error.
    """

    oracle: str
    holds: str
    slope: float = np.nan
    error: float = 0.0


def check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise where an oracle gave another shape."""
    if np.shape(value) != shape:
        raise AssertionError(
            f"{name} has shape {np.shape(value)} where {shape} was expected."
        )


@dataclass(frozen=True)
class ProblemReport:
    """All checks of a problem; printing it gives a table."""

    checks: tuple[Check, ...]

    def __str__(self) -> str:
        rows = [("oracle", "holds", "slope", "error")]
        for each in self.checks:
            slope = "exact" if np.isinf(each.slope) else f"{each.slope:.2f}"
            shown = "" if np.isnan(each.slope) else slope
            rows.append((each.oracle, each.holds, shown, f"{each.error:.0e}"))
        return table(rows)


@dataclass(frozen=True)
class SolverRun:
    """How a solver did on one problem.

    Parameters
    ----------
    problem : str
        Its name.
    left_out : str
        Why it was not run; empty if it was.
    suboptimality : float
        ``F(found) - F(best)`` relative to ``F(start) - F(best)``.
    n_iter : int
        Outer iterations.
    passes : float
        Readings of all rows.
    """

    problem: str
    left_out: str = ""
    suboptimality: float = np.nan
    n_iter: int = 0
    passes: float = 0.0


@dataclass(frozen=True)
class SolverReport:
    """Runs on all problems; printing it gives a table."""

    runs: tuple[SolverRun, ...]

    def __str__(self) -> str:
        rows = [("problem", "suboptimality", "iterations", "passes")]
        for run in self.runs:
            if run.left_out:
                rows.append((run.problem, run.left_out, "", ""))
                continue
            error = f"{max(run.suboptimality, 0.0):.0e}"
            rows.append((run.problem, error, str(run.n_iter), f"{run.passes:.0f}"))
        return table(rows)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns side by side, each as wide as it has to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
