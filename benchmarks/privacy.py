"""What private models cost in accuracy, beside targets, peers and each other.

    python benchmarks/privacy.py                  # five sets, three epsilons
    python benchmarks/privacy.py --cases electricity
    python benchmarks/privacy.py --cases audit
    python benchmarks/privacy.py --peer peer.json # of private_peer.py

Cases: sets (R2 or accuracy on a quarter of the rows, median over seeds, delta 1e-6,
bounds of ``_private_sets.py``, "asked" beside what was reached), electricity (relative
error of the training loss of coordinate and gradient descent, untuned, raw and
standardized), audit (lower limit of epsilon of tight mechanisms and of planted bugs).
Needs SKBILEVEL_DATA for the first two.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from _data import loader
from _private_sets import SETS, PrivateSet, private_set
from _report import table
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skbilevel import DPLasso, DPLogistic, DPRidge
from skbilevel.privacy import audit_mechanism, noise_multiplier

EPSILONS = (0.1, 1.0, 10.0)
DELTA = 1e-6
REGRESSORS = {
    "auto": lambda **kw: DPRidge(**kw),
    "moments": lambda **kw: DPRidge(solver="moments", **kw),
    "moments, tuned": lambda **kw: DPRidge(
        alpha="tuned", feature_groups="shared", **kw
    ),
    "lasso": lambda **kw: DPLasso(**kw),
    "dp-gd": lambda **kw: DPRidge(solver="dp-gd", **kw),
    "dp-cd": lambda **kw: DPRidge(solver="dp-cd", **kw),
    "dp-sgd": lambda **kw: DPRidge(solver="dp-sgd", **kw),
}
CLASSIFIERS = {
    "auto": lambda **kw: DPLogistic(**kw),
    "dp-gd": lambda **kw: DPLogistic(solver="dp-gd", **kw),
    "dp-sgd": lambda **kw: DPLogistic(solver="dp-sgd", **kw),
}


def private_scores(data: PrivateSet, make: Any, epsilon: float, seeds: int) -> Any:
    """Median score on other rows, and median seconds of a fit."""
    known = {"feature_bounds": (data.low, data.high), "row_norm": data.row_norm}
    if data.regression:
        known["target_bounds"] = data.targets
    scores, seconds = [], []
    for seed in range(seeds):
        train, test = data.split(seed)
        model = make(epsilon=epsilon, delta=DELTA, random_state=seed, **known)
        start = time.process_time()
        model.fit(data.X[train], data.y[train])
        seconds.append(time.process_time() - start)
        scores.append(model.score(data.X[test], data.y[test]))
    return float(np.median(scores)), float(np.median(seconds))


def without_privacy(data: PrivateSet) -> float:
    """Score of the plain estimator on the clipped rows, first seed."""
    train, test = data.split(0)
    X = data.units()
    model: Any = Ridge(1e-3)
    if not data.regression:
        model = LogisticRegression(C=100.0, solver="newton-cholesky", max_iter=200)
    model.fit(X[train], data.y[train])
    if not data.regression:
        return float(model.score(X[test], data.y[test]))
    out, y = np.clip(model.predict(X[test]), *data.targets), data.y[test]
    return float(1.0 - np.mean((y - out) ** 2) / np.var(y))


def run_sets(args: argparse.Namespace) -> None:
    """R2 or accuracy of every solver on every set."""
    peers = {}
    if args.peer:
        for row in json.loads(args.peer.read_text()):
            peers[row["set"], row["epsilon"]] = (row["score"], row["seconds"])
    rows = []
    for name in args.sets:
        data = private_set(name)
        plain = without_privacy(data)
        every = REGRESSORS if data.regression else CLASSIFIERS
        for k, epsilon in enumerate(EPSILONS):
            asked = data.asked[k] if data.asked else math.nan
            for label, make in every.items():
                score, seconds = private_scores(data, make, epsilon, args.seeds)
                target = "" if label != "auto" or not data.asked else f"{asked:g}"
                missed = "missed" if target and score < asked else ""
                row = [name, f"{epsilon:g}", label, f"{score:.4f}", f"{seconds:.2f}"]
                rows.append([*row, f"{plain:.4f}", target, missed])
            if (name, epsilon) in peers:
                score, seconds = peers[name, epsilon]
                row = [name, f"{epsilon:g}", "diffprivlib", f"{score:.4f}"]
                rows.append([*row, f"{seconds:.2f}", f"{plain:.4f}", "", ""])
    head = ["set", "epsilon", "solver", "score", "seconds", "not private", "asked", ""]
    print(table(head, rows))


def mean_loss(X: np.ndarray, y: np.ndarray, model: Any) -> float:
    """Mean logistic loss on rows inside of their bounds."""
    eta = X @ model.coef_[0] + model.intercept_[0]
    return float(-log_expit(np.where(y == 1, eta, -eta)).mean())


def electricity() -> Any:
    """Name, rows inside of their bounds, labels and bounds: as they are, and scaled."""
    X, y, _ = loader().load("electricity")
    low, high = np.zeros(X.shape[1]), np.ones(X.shape[1])
    low[1], high[1] = 1.0, 7.0  # the day of the week; all else is a share
    yield "raw", X, y, (low, high)
    yield "standardized", np.clip(StandardScaler().fit_transform(X), -5, 5), y, (-5, 5)


def run_electricity(args: argparse.Namespace) -> None:
    """Relative error of the training loss at epsilon 1, nothing tuned."""
    solvers = {
        "dp-cd": {"solver": "dp-cd"},
        "dp-gd": {"solver": "dp-gd", "scale": False},
        "dp-gd, private scales": {"solver": "dp-gd"},
        "preconditioned": {"solver": "preconditioned"},
    }
    rows = []
    for case, Z, y, bounds in electricity():
        best = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
        least = mean_loss(Z, y, best.fit(Z, y))
        squares = (Z**2).mean(axis=0)
        for label, options in solvers.items():
            errors = [
                mean_loss(Z, y, model) / least - 1.0
                for model in (
                    DPLogistic(
                        1.0,
                        1.0 / len(y) ** 2,
                        feature_bounds=bounds,
                        random_state=seed,
                        **options,
                    ).fit(Z, y)
                    for seed in range(args.seeds)
                )
            ]
            ratio = f"{squares.max() / squares.min():.2g}"
            rows.append([case, ratio, label, f"{np.median(errors):.4f}"])
    print(table(["features", "max M / min M", "solver", "relative error"], rows))


def run_audit(args: argparse.Namespace) -> None:
    """Lower limits of epsilon of tight mechanisms and of planted bugs."""
    steps, rows = 20, []
    for epsilon in (0.5, 1.0, 4.0):
        honest = 2.0 * noise_multiplier(epsilon, DELTA, steps)
        bugs = {
            "none": (honest, False),
            "C for 2C": (honest / 2.0, False),
            "steps not composed": (2.0 * noise_multiplier(epsilon, DELTA), False),
            "noise used again": (honest, True),
        }
        for label, (noise, again) in bugs.items():
            limits = []
            for n_runs in (2000, 50_000):
                result = audit_mechanism(
                    _game(steps, noise, again),
                    n_runs,
                    epsilon=epsilon,
                    delta=DELTA,
                    gaussian=True,
                    random_state=0,
                )
                limits.append(result.epsilon)
            rows.append([f"{epsilon:g}", label, *(f"{each:.3f}" for each in limits)])
    print(table(["claimed", "planted bug", "2,000 runs", "50,000 runs"], rows))


def _game(steps: int, noise: float, again: bool) -> Any:
    def mechanism(world: int, n_runs: int, rng: np.random.Generator) -> np.ndarray:
        draws = noise * rng.standard_normal((n_runs, steps))
        if again:
            draws[:, 1::2] = -draws[:, ::2]
        return (-1.0) ** world + draws

    return mechanism


CASES = {"sets": run_sets, "electricity": run_electricity, "audit": run_audit}


def main() -> None:
    """Print the tables of the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default="sets,electricity,audit")
    parser.add_argument("--sets", type=lambda text: text.split(","), default=[*SETS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer", type=Path, default=None)
    args = parser.parse_args()
    with threadpool_limits(1):
        for case in args.cases.split(","):
            print(f"\n{case}\n", flush=True)
            CASES[case](args)


if __name__ == "__main__":
    main()
