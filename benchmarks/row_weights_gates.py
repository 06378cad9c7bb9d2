"""When flipped labels are believed: rules for it on the half *choose*.

    python benchmarks/row_weights_gates.py
    python benchmarks/row_weights_gates.py --rows 400 --draws 2

Sets, splits and figures of ``row_weights.py``, with more splits, with 30 % of the
labels flipped and with none. A rate of flips is taken where its gain on trusted rows
is positive by *gate* standard errors and folds of all rows agree:

- *none*: they are not asked;
- *each*: the likelihood of the rate's own model is that of a rate of zero at least;
- *any*: so it is for some rate.

Of the rates that pass the best one is taken, its gain less one standard error. *Gap* is
that of ``row_weights.py``. *Moved* is the share of clean splits in which a rate was
taken, *harm* the mean log ratio of their log loss to that of a rate of zero, *worst*
the largest of a split. ``--rows`` draws as many training rows of every split, some
twenty of 400 trusted, so that rules err more often.
"""

import argparse
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from _data import loader
from _halves import CHOOSE, half_of
from _report import cell
from row_weights import SETS, corrupted, loss_of, plain
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from skbilevel import SampleWeightsCV
from skbilevel.model_selection import _flipped_labels
from skbilevel.model_selection._row_weights import Point

Evidence = tuple[Sequence[Point], Sequence[float]]
GATES, FOLDS = (1.0, 1.5, 2.0, 3.0), ("none", "each", "any")


def taken(evidence: Evidence, gate: float, folds: str) -> int:
    """Return the place of the rate that a rule takes."""
    path, values = evidence
    agree = np.array(values) <= values[0]
    if folds != "each":
        agree[:] = folds == "none" or agree[1:].any()
    passed = agree & np.array([point.less(gate) > 0.0 for point in path])
    passed[0] = True
    gains = np.where(passed, [point.less(1.0) for point in path], -np.inf)
    gains[0] = -np.inf if passed[1:].any() else 0.0
    return int(np.argmax(gains))


def losses(
    data: dict[str, Any], rules: list[tuple[float, str]]
) -> tuple[list, list[float]]:
    """Return the places that rules take, and losses of test rows at every rate."""
    look, choice = _flipped_labels._look, _flipped_labels._choice
    seen: dict[float, tuple] = {}
    evidence: list[Evidence] = []
    rates = _flipped_labels.RATES
    wanted, found = [0], [np.nan] * len(rates)

    def remembered(rows: _flipped_labels.FlippedRows) -> tuple:
        rate = float(rows.right[rows.tasks.weighted].min())
        if rate not in seen:
            seen[rate] = look(rows)
        return seen[rate]

    def forced(place: int, *each: Any) -> int:
        evidence.append(each)
        return place

    _flipped_labels._look = remembered
    try:
        for place in range(len(rates)):
            if place in wanted:
                _flipped_labels._choice = partial(forced, place)
                model = SampleWeightsCV(LogisticRegression(max_iter=2000), by="flips")
                model.fit(data["X"], data["y"], trusted=data["trusted"])
                found[place] = loss_of(model, data)
                wanted = [0, *(taken(evidence[0], *rule) for rule in rules)]
    finally:
        _flipped_labels._look, _flipped_labels._choice = look, choice
    return wanted[1:], found


def drawn(name: str, split: int, flips: float, rows: int, draw: int) -> dict[str, Any]:
    """Return rows of one split, fewer of them to train, or all for zero."""
    data = corrupted(name, split, flips)
    if rows:
        rng, known = np.random.default_rng([split, draw]), 0
        while known < 2:
            some = rng.permutation(len(data["y"]))[:rows]
            known = len(np.unique(data["y"][some][data["trusted"][some]]))
        data |= {key: data[key][some] for key in ("X", "y", "trusted", "wrong")}
    return data


def measure(
    name: str, split: int, rules: list[tuple[float, str]], rows: int, draw: int
) -> np.ndarray:
    """Return log losses of flipped and moves and log ratios of clean rows by rule."""
    data = drawn(name, split, 0.3, rows, draw)
    right = ~data["wrong"]
    ends = [
        loss_of(plain().fit(data["X"][known], data["y"][known]), data)
        for known in (right | True, right)
    ]
    places, found = losses(data, rules)
    clean_places, clean = losses(drawn(name, split, 0.0, rows, draw), rules)
    print(name, split, np.round(ends, 3), places, clean_places, flush=True)
    return np.array(
        [
            [*ends, found[place], moved > 0, np.log(clean[moved] / clean[0])]
            for place, moved in zip(places, clean_places, strict=True)
        ]
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rows", type=int, default=0, help="default: all")
    parser.add_argument("--draws", type=int, default=1)
    args = parser.parse_args()
    places = list(product(range(args.splits), range(args.draws)))
    loader()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rules = list(product(GATES, FOLDS))
    names = [name for name in SETS if half_of(name) == CHOOSE]
    # Sets, splits, rules, figures.
    runs = np.array(
        [[measure(n, k, rules, args.rows, draw) for k, draw in places] for n in names]
    )
    ways = runs.mean(axis=1)
    gap = (ways[..., 0] - ways[..., 2]) / (ways[..., 0] - ways[..., 1])
    moved, ratio = runs[..., 3], runs[..., 4]
    print(f"| gate | folds | gap | moved | harm | worst | {' | '.join(names)} |")
    print("|---" * (6 + len(names)) + "|")
    for j, (gate, folds) in enumerate(rules):
        figures = [gap[:, j].mean(), moved[..., j].mean(), ratio[..., j].mean()]
        figures += [ratio[..., j].max(), *gap[:, j]]
        cells = " | ".join(cell(float(each)) for each in figures)
        print(f"| {gate:g} | {folds} | {cells} |")


if __name__ == "__main__":
    main()
