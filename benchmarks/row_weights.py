"""Learned weights of rows beside all rows, trusted rows and clean rows.

    python benchmarks/row_weights.py --half choose
    python benchmarks/row_weights.py --half confirm --rule "what is frozen"
    python benchmarks/row_weights.py --flips 0 --half choose

Binary classification sets of at least 600 rows, cut to 2,000, two 70/30 splits. Of
the training rows 5 % at random are trusted; of the others a share, 30 %, has its label
flipped. Test rows are clean. Figures are log losses of test rows:

- *all*: `LogisticRegressionCV` (log loss) on all training rows, the trusted among them;
- *trusted*: on the trusted rows alone;
- *clean*: on the rows whose labels are right, which nobody knows;
- *weights*: ``SampleWeightsCV(LogisticRegression())``.

*Gap* is the share of the way from *all* to *clean*. *Area* is that under the curve of
the ranking of flipped rows by ``row_loss_``; *best area* ranks them by the losses of
the *clean* model. Rules were chosen on the half *choose* of the sets (see
``_halves.py``); the half *confirm* was looked at once, with a line in
``confirm_log.md``.
``SKBILEVEL_DATA`` names the folder of the data sets.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _data import loader
from _glm_data import load_classification
from _halves import CONFIRM, add_half_option, check_half, half_of, write_log
from _report import cell
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss, roc_auc_score

from skbilevel import SampleWeightsCV

SETS = (
    *("adult", "australian", "bank_marketing", "mlc_churn", "mushrooms", "pima"),
    *("electricity", "german_credit", "hr_attrition", "kr_vs_kp", "spambase"),
)
TRUSTED = 0.05
TINY = 1e-12


def corrupted(name: str, split: int, flips: float) -> dict[str, Any]:
    """Return rows of one split, some labels flipped and some rows trusted."""
    X, y, _, X_test, y_test, _ = load_classification(name).scaled(split)
    rng = np.random.default_rng(split)
    trusted = np.zeros(len(y), dtype=bool)
    trusted[rng.permutation(len(y))[: int(np.ceil(TRUSTED * len(y)))]] = True
    wrong = ~trusted & (rng.random(len(y)) < flips)
    given = np.where(wrong, 1 - y, y)
    data = {"X": X, "y": given, "trusted": trusted, "wrong": wrong}
    return data | {"X_test": X_test, "y_test": y_test}


def plain() -> LogisticRegressionCV:
    """Return the model of all peers; its strength is chosen by folds."""
    return LogisticRegressionCV(
        Cs=np.logspace(-5, 4, 10),
        cv=5,
        scoring="neg_log_loss",
        max_iter=2000,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )


def loss_of(model: Any, data: dict[str, Any]) -> float:
    """Return the log loss of test rows."""
    p = model.predict_proba(data["X_test"])[:, 1]
    return float(log_loss(data["y_test"], np.clip(p, TINY, 1 - TINY), labels=[0, 1]))


def measure(name: str, split: int, flips: float) -> dict[str, float]:
    """Return the figures of one split."""
    data = corrupted(name, split, flips)
    X, y, trusted, wrong = (data[key] for key in ("X", "y", "trusted", "wrong"))
    began = time.perf_counter()
    ours = SampleWeightsCV(LogisticRegression(max_iter=2000))
    ours.fit(X, y, trusted=trusted)
    seconds = time.perf_counter() - began
    clean = plain().fit(X[~wrong], y[~wrong])
    found = {
        "all": loss_of(plain().fit(X, y), data),
        "trusted": loss_of(plain().fit(X[trusted], y[trusted]), data),
        "clean": loss_of(clean, data),
        "weights": loss_of(ours, data),
        "chosen": ours.best_index_,
        "seconds": seconds,
    }
    if wrong.any():
        rest = ~trusted
        eta = (2 * y - 1) * clean.decision_function(X)
        found["area"] = roc_auc_score(wrong[rest], ours.row_loss_[rest])
        found["best area"] = roc_auc_score(wrong[rest], -eta[rest])
    return found


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return means over the splits of every set, and the gap of these means."""
    out = {}
    for name, each in runs.items():
        row = {key: float(np.mean([run[key] for run in each])) for key in each[0]}
        row["gap"] = (row["all"] - row["weights"]) / (row["all"] - row["clean"] or 1.0)
        row["log ratio"] = float(
            np.mean([np.log(run["weights"] / run["all"]) for run in each])
        )
        out[name] = row
    return out


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return Markdown."""
    columns = list(next(iter(rows.values())))
    lines = ["| set | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(cell(row[c]) for c in columns) + " |")
    means = [cell(float(np.mean([row[c] for row in rows.values()]))) for c in columns]
    return "\n".join([*lines, "| mean | " + " | ".join(means) + " |"])


def main() -> None:
    """Measure, print a table, and keep what *confirm* said."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--splits", type=int, default=0, help="default: 2")
    parser.add_argument("--flips", type=float, default=0.3)
    parser.add_argument("--rule", default="", help="what is frozen, for confirm")
    parser.add_argument("--store", type=Path, help="JSON file for the figures")
    add_half_option(parser)
    args = parser.parse_args()
    args.peers_only = False
    check_half(args)
    loader()
    warnings.simplefilter("ignore", ConvergenceWarning)
    names = args.sets or [s for s in SETS if args.half in (None, half_of(s))]
    runs: dict[str, list[dict[str, float]]] = {}
    for name in names:
        runs[name] = [
            measure(name, split, args.flips) for split in range(args.splits or 2)
        ]
        print(name, summary({name: runs[name]})[name], flush=True)
    rows = summary(runs)
    print(table(rows))
    if args.store:
        args.store.write_text(json.dumps(runs))
    if args.half == CONFIRM:
        keys = ("gap", "log ratio", "area", "best area")
        figures = {
            f"{name}, {key}": row[key]
            for name, row in rows.items()
            for key in keys
            if key in row
        }
        write_log(f"row weights, {args.flips:.0%} flipped", args.rule, figures)


if __name__ == "__main__":
    main()
