"""How much of what tuning can gain do single loops reach on small tables?

Seven tables, standardized, five folds, one strength per feature, no guard. The share
of the decrease of the validation loss from the best shared strength to the minimum that
the exact solver finds with ``tol=1e-6``: 1 is all of it, 0 that the algorithm ended
above its start, which the estimators then keep.

    python benchmarks/single_loops.py
    python benchmarks/single_loops.py --solvers saba,soba,amigo-cg,hoag
"""

import argparse
import warnings
from typing import Any

import numpy as np
from _data import loader
from _report import add_output_options, table, write_json
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelLogisticCV, BilevelRidgeCV

TABLES = {
    "australian": BilevelLogisticCV,
    "german_credit": BilevelLogisticCV,
    "concrete": BilevelRidgeCV,
    "abalone": BilevelRidgeCV,
    "cpu_act": BilevelRidgeCV,
}


def tables() -> dict[str, tuple[Any, np.ndarray, np.ndarray]]:
    """Return estimator, X and y by name."""
    found = {
        "breast_cancer": (BilevelLogisticCV, *load_breast_cancer(return_X_y=True)),
        "diabetes": (BilevelRidgeCV, *load_diabetes(return_X_y=True)),
    }
    for name, estimator in TABLES.items():
        mixed = name in ("abalone", "german_credit")
        X, y, _ = loader().load(name, **({"onehot": True} if mixed else {}))
        found[name] = estimator, np.asarray(X, dtype=float), y
    return {
        name: (estimator, StandardScaler().fit_transform(X), y)
        for name, (estimator, X, y) in found.items()
    }


def score(estimator: Any, X: np.ndarray, y: np.ndarray, **params: Any) -> float:
    """Return the score that tuning has reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = estimator(hyperpenalty=None, random_state=0, **params).fit(X, y)
    return float(model.best_score_)


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--solvers", default="saba,soba,amigo-sgd")
    add_output_options(parser)
    args = parser.parse_args()
    names = args.solvers.split(",")
    rows = []
    for name, (estimator, X, y) in tables().items():
        start = score(estimator, X, y, solver="exact", feature_groups="shared")
        best = score(estimator, X, y, solver="exact", tol=1e-6)
        reached = [score(estimator, X, y, solver=solver) for solver in names]
        shares = [(each - start) / (best - start) for each in reached]
        rows.append([name, *X.shape, *shares])
        print(rows[-1], flush=True)
    print(table(["table", "n", "p", *names], rows))
    write_json(args.json, rows)


if __name__ == "__main__":
    main()
