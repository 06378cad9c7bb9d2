"""Tables of measured figures, made from the JSON files in benchmarks/results.

``benchmark_page.py`` puts them into pages; ``benchmarks/keep.py`` makes the files.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
OURS = "this estimator"
MEGA = 2**20
# Targets that were set before the measurement.
REGRESSION_ASKED = (
    ("clipped mean against RidgeCV", "clipped mean", "<=", -0.012),
    ("worst set", "worst", "<=", 0.10),
    ("sets more than 2 % worse", "> +2 %", "<=", 2),
    ("mean against the best peer, hindsight", "to best peer", "<=", 0.01),
    ("share of sets within 2 % of it", "within 2 % of best", ">=", 0.80),
    ("median time / ElasticNetCV", "median x slowest", "<=", 0.5),
)
CLASSES_ASKED = (
    ("clipped mean against l2", "clipped mean", "<=", -0.04),
    ("worst set", "worst set", "<=", 0.15),
    ("clipped mean against the better peer", "to best, clipped mean", "<=", 0.0),
    ("accuracy, points", "accuracy, points", ">=", 0.2),
    ("time in all / both peers", "time / all peers", "<=", 1.0),
)
COUNTS_ASKED = (
    ("mean against the grid search", "clipped mean", "<=", 0.0),
    ("worst set", "worst set", "<=", 0.01),
    ("worst against the best grid point", "worst to best", "<=", 0.01),
)


@cache
def results(name: str) -> dict[str, Any]:
    """One file of figures."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def cell(value: Any, signed: bool = False) -> str:
    """A number with as many digits as it deserves, anything else as it is."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) >= 100):
        return f"{value:+,.0f}" if signed else f"{value:,.0f}"
    size = abs(value)
    if size < 0.0005:
        return "0"
    digits = 3 if size < 1 else max(0, 2 - int(math.log10(size)))
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(header), *([cell(c) for c in r] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def source(name: str) -> str:
    """Where figures are from."""
    found = results(name)
    versions = found["versions"]
    known = f"scikit-learn {versions['scikit-learn']}, numpy {versions['numpy']}"
    line = f"`{found['command']}`, commit {found['code']}, {known}."
    return f"{line} {found['note']}" if "note" in found else line


def asked(summary: Mapping[str, float], wanted: Sequence[tuple]) -> str:
    """Targets beside what was measured."""
    rows = []
    for label, key, sign, bound in wanted:
        value = summary[key]
        met = value <= bound if sign == "<=" else value >= bound
        limit = f"{'at most' if sign == '<=' else 'at least'} {cell(bound)}"
        rows.append([label, limit, cell(value), "" if met else "**missed**"])
    return table(("figure", "asked", "measured", ""), rows)


def regression() -> str:
    """All methods over the regression sets."""
    keys = ("sets", "clipped mean", "worst", "> +2 %", "< -2 %", "to best peer")
    keys += ("within 2 % of best", "cpu s")
    signed = ("clipped mean", "worst", "to best peer")
    rows = [
        ["BilevelRidgeCV()" if name == OURS else name]
        + [cell(row[key], key in signed) for key in keys]
        for name, row in results("regression")["summary"].items()
    ]
    header = ("method", "sets", "clipped mean", "worst set", "2 % worse", "2 % better")
    header += ("to best peer", "within 2 % of it", "CPU s")
    targets = asked(results("regression")["summary"][OURS], REGRESSION_ASKED)
    return f"{source('regression')}\n\n{table(header, rows)}\n\n{targets}"


def regression_sets() -> str:
    """Every regression set, the worst first."""
    rows = sorted(results("regression")["per_set"], key=lambda row: -row["log/RidgeCV"])
    keys = ("set", "n x p", "splits", "log/RidgeCV", "se", "log/best", "which is best")
    keys += ("cpu s", "x ElasticNetCV")
    signed = ("log/RidgeCV", "log/best")
    header = ("set", "rows x columns", "splits", "log(MSE / RidgeCV)", "se")
    header += ("log(MSE / best peer)", "best peer", "CPU s", "x ElasticNetCV")
    return table(
        header, [[cell(row[key], key in signed) for key in keys] for row in rows]
    )


def noise() -> str:
    """Targets without signal."""
    mean = results("regression")["noise"]["mean"]
    ours, ridge = (cell(value, True) for value in mean)
    return (
        "Where targets are permuted, and nothing can be learnt, the mean of log(MSE "
        f"/ MSE of the mean) over {len(results('regression')['noise']) - 1} sets is "
        f"{ours} for the default and {ridge} for RidgeCV."
    )


def family(name: str, ours: str, wanted: Sequence[tuple]) -> str:
    """All methods of a battery of another loss."""
    keys = ("sets", "clipped mean", "its se over sets", "worst set", "which")
    keys += ("sets > +2 %", "sets < -2 %", "to best, clipped mean", "cpu s")
    keys += ("accuracy, points",) if name == "classification" else ()
    signed = ("clipped mean", "worst set", "to best, clipped mean", "accuracy, points")
    rows = [
        [label.replace(OURS, ours), *(cell(row.get(k), k in signed) for k in keys)]
        for label, row in results(name)["summary"].items()
    ]
    header = ["method", "sets", "clipped mean", "se", "worst set", "which", "2 % worse"]
    header += ["2 % better", "to best peer", "CPU s", "accuracy"][: len(keys) - 6]
    targets = asked(results(name)["summary"][OURS], wanted)
    return f"{source(name)}\n\n{table(header, rows)}\n\n{targets}"


def family_sets(name: str) -> str:
    """Every set of such a battery, the worst first."""
    rows = sorted(results(name)["per_set"], key=lambda row: -row["log ratio"])
    columns = {
        "set": "set",
        "n x p": "rows x columns",
        "classes": "classes",
        "splits": "splits",
        "reference": "loss of reference",
        "loss": "loss",
        "log ratio": "log ratio",
        "se": "se",
        "to best": "log ratio to best peer",
        "accuracy": "accuracy",
        "cpu s": "CPU s",
        "/ reference": "time / reference",
    }
    if name != "classification":
        del columns["classes"], columns["accuracy"]
    signed = ("log ratio", "to best", "accuracy")
    body = [[cell(row[key], key in signed) for key in columns] for row in rows]
    return table(list(columns.values()), body)


def text() -> str:
    """20 Newsgroups by date."""
    found = results("text")["news20"]
    keys = ("method", "log loss", "accuracy", "cpu s", "in units", "peak MB")
    header = (
        "method",
        "log loss",
        "accuracy",
        "CPU s",
        "x LogisticRegression",
        "peak MB",
    )
    return f"{source('text')}\n\n{table(header, [[r[k] for k in keys] for r in found])}"


def speed() -> str:
    """Times of whole fits, one table per shape."""
    titles = {
        "groups-large": "5,000 x 500, 50 groups of features",
        "groups-small": "300 x 60, 6 groups",
        "default": "5,000 x 50",
        "tall": "100,000 x 200",
        "wide": "riboflavin, 71 x 4,088",
    }
    parts = [source("speed")]
    for name, title in titles.items():
        rows = results("speed")[name]
        unit = next(key for key in rows[0] if key.startswith("/ "))
        body = table(
            ("method", "CPU s", unit),
            [[r["method"], r["cpu s"], r[unit]] for r in rows],
        )
        parts += [f"**{title}**", body]
    return "\n\n".join(parts)


def groups() -> str:
    """Six known groups of features."""
    rows = results("groups")["excess"]
    keys = ("method", "seeds", "excess error", "se", "vs RidgeCV", "cpu s")
    header = (
        "method",
        "seeds",
        "error beyond the noise",
        "se",
        "against RidgeCV",
        "CPU s",
    )
    body = [[cell(r[k], k == "vs RidgeCV") for k in keys] for r in rows]
    return f"{source('groups')}\n\n{table(header, body)}"


def scaling() -> str:
    """Time and memory against size, and the sparse text."""
    parts = [source("scaling")]
    for name in ("rows", "columns", "groups", "density"):
        rows = [
            [r["point"], r["method"], r["n"], r["p"], r["cpu"], r["peak"] / MEGA]
            for r in results("scaling")[name]
        ]
        header = (name, "method", "n", "p", "CPU s", "MiB beyond X")
        parts.append(table(header, rows))
    rows = [
        [r["method"], r["cpu"], r["peak"] / MEGA, r["bytes_of_X"] / MEGA]
        for r in results("scaling-text")["text"]
    ]
    header = ("20 Newsgroups, 18,846 x 130,107", "CPU s", "MiB beyond X", "MiB of X")
    return "\n\n".join([*parts, source("scaling-text"), table(header, rows)])


def pick(rows: Sequence[Mapping[str, Any]], method: str) -> Mapping[str, Any]:
    """The line of one method."""
    return next(row for row in rows if row["method"] == method)
