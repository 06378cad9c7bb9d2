"""Measured figures in pages: doc/benchmarks.md, and the table of the README.

``python .ci/benchmark_page.py --write`` renews what stands between the markers, from
the JSON files in benchmarks/results; without it the script says what is stale, and a
test does so, too.
"""

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmark_tables import (
    CLASSES_ASKED,
    COUNTS_ASKED,
    OURS,
    ROOT,
    cell,
    family,
    family_sets,
    groups,
    noise,
    pick,
    regression,
    regression_sets,
    results,
    scaling,
    speed,
    table,
    text,
)

PAGES = (ROOT / "doc" / "benchmarks.md", ROOT / "README.md")
MARKED = re.compile(
    r"(?P<head><!-- begin (?P<name>[\w-]+), made by \.ci/benchmark_page\.py -->)\n"
    r".*?(?P<tail><!-- end (?P=name) -->)",
    re.DOTALL,
)
L2, L1 = "LogisticRegressionCV l2", "LogisticRegressionCV l1"


def versus(name: str, row: dict, worst: str) -> str:
    """A method, its mean and its worst set."""
    return f"{name} {cell(row['clipped mean'], True)}, worst {cell(row[worst], True)}"


def battery_regression() -> list[list[str]]:
    """Rows about the regression sets."""
    by = results("regression")["summary"]
    ours, script = by[OURS], "`benchmarks/quality.py`"
    peers = "; ".join(versus(k, by[k], "worst") for k in ("LassoCV", "ElasticNetCV"))
    net, ridge = by["ElasticNetCV"], by["RidgeCV"]
    rows = [
        [
            f"test error on {ours['sets']} real regression sets, mean of log(MSE / MSE "
            "of RidgeCV), sets clipped to ±0.3",
            versus("", ours, "worst").strip().replace("worst", "worst set"),
            peers,
        ],
        [
            "sets more than 2 % better / worse than RidgeCV",
            f"{ours['< -2 %']} / {ours['> +2 %']} ({ours['> +2 %, 2 se']} of the worse "
            "ones beyond two standard errors)",
            f"ElasticNetCV {net['< -2 %']} / {net['> +2 %']}",
        ],
        [
            "within 2 % of the best of four peers, chosen with hindsight",
            f"{100 * ours['within 2 % of best']:.0f} % of the sets",
            f"RidgeCV {100 * ridge['within 2 % of best']:.0f} %",
        ],
        [
            "time of the default over these sets",
            f"{cell(ours['cpu s'])} s",
            f"ElasticNetCV, four ratios: {cell(net['cpu s'])} s; "
            f"RidgeCV: {cell(ridge['cpu s'])} s",
        ],
    ]
    return [[*row, script] for row in rows]


def battery_speed() -> list[list[str]]:
    """Rows about groups of features, rows and sparse data."""
    excess, tall = results("groups")["excess"], results("speed")["tall"]
    ours = pick(excess, "groups, guarded")["vs RidgeCV"]
    ard = pick(excess, "ARDRegression")["vs RidgeCV"]
    seconds = {row["method"]: cell(row["cpu s"]) for row in tall}
    sparse = {
        row["method"]: cell(row["cpu"]) for row in results("scaling-text")["text"]
    }
    return [
        [
            "six known groups of features, error beyond the noise",
            f"{100 * ours:+.0f} %",
            f"RidgeCV 0; ARDRegression {100 * ard:+.0f} %",
            "`benchmarks/speed.py --cases excess`",
        ],
        [
            "100,000 x 200, whole default fit",
            f"{seconds['default']} s",
            f"one `X.T @ X`: {seconds['X.T @ X']} s; RidgeCV: {seconds['RidgeCV']} s",
            "`benchmarks/speed.py --cases tall`",
        ],
        [
            "18,846 x 130,107 sparse, whole default fit",
            f"{sparse['default']} s",
            f"grid search over 10 strengths: {sparse['GridSearchCV, 10 strengths']} s",
            "`benchmarks/scaling.py --sweeps text`",
        ],
    ]


def battery_classes() -> list[list[str]]:
    """Rows about classification and text."""
    by = results("classification")["summary"]
    ours, l1 = by[OURS], by[L1]
    command = results("classification")["command"].replace("python ", "")
    news = results("text")["news20"]
    mine, best = (
        pick(news, "BilevelLogisticCV()"),
        min(
            (row for row in news if row["method"].startswith("one strength")),
            key=lambda row: row["log loss"],
        ),
    )
    once = pick(news, "LogisticRegression(C=100)")
    return [
        [
            f"log loss on {ours['sets']} real classification sets, mean of log(loss / "
            "loss of LogisticRegressionCV l2), clipped to ±0.3",
            versus("", ours, "worst set").strip().replace("worst", "worst set"),
            versus("l1:", l1, "worst set"),
            f"`{command}`",
        ],
        [
            "accuracy there, and time",
            f"{ours['accuracy, points']:+.1f} points; median fit "
            f"{cell(ours['median fit / all peers'])} of l2 and l1 together, in sum "
            f"{cell(ours['time / all peers'])}",
            f"l1: {l1['accuracy, points']:+.1f} points",
            "the same",
        ],
        [
            "20 Newsgroups by date, 20 classes, default fit",
            f"log loss {cell(mine['log loss'])}, accuracy {cell(mine['accuracy'])}, "
            f"{cell(mine['cpu s'])} s",
            f"best single strength, converged: {cell(best['log loss'])}, "
            f"{cell(best['accuracy'])}; one `LogisticRegression(C=100)`: "
            f"{cell(once['cpu s'])} s",
            "`benchmarks/text.py`",
        ],
    ]


def battery() -> str:
    """The table of the README."""
    rows = battery_regression() + battery_speed() + battery_classes()
    return table(("what", "skbilevel", "compared with", "measured by"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "battery": battery,
    "regression": regression,
    "regression-sets": regression_sets,
    "noise": noise,
    "classification": partial(
        family, "classification", "BilevelLogisticCV()", CLASSES_ASKED
    ),
    "classification-sets": partial(family_sets, "classification"),
    "counts": partial(family, "counts", "BilevelPoissonCV()", COUNTS_ASKED),
    "counts-sets": partial(family_sets, "counts"),
    "text": text,
    "groups": groups,
    "speed": speed,
    "scaling": scaling,
}


def replaced(page: str) -> str:
    """A page with the tables of today between its markers."""

    def one(match: re.Match[str]) -> str:
        body = TABLES[match["name"]]()
        return f"{match['head']}\n\n{body}\n\n{match['tail']}"

    return MARKED.sub(one, page)


def stale() -> list[Path]:
    """Pages whose tables are not those of the files."""
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    return [path for path, page in texts.items() if replaced(page) != page]


def main() -> None:
    """Write the tables, or say which pages are stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into the pages")
    if parser.parse_args().write:
        for path in PAGES:
            page = path.read_text(encoding="utf-8")
            path.write_text(replaced(page), encoding="utf-8")
    elif pages := stale():
        names = ", ".join(str(path.relative_to(ROOT)) for path in pages)
        raise SystemExit(f"stale tables in {names}; run with --write")


if __name__ == "__main__":
    main()
