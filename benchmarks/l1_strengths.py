"""Strengths of an l1 part beside sparho, LassoCV, ElasticNetCV and the adaptive lasso.

    python benchmarks/l1_strengths.py criterion     # needs sparho 0.2
    python benchmarks/l1_strengths.py predict
    python benchmarks/l1_strengths.py target quality.json
    python benchmarks/l1_strengths.py speed

``criterion``: the mean squared error of five folds over one l1 strength per feature, no
intercept, from the same start (a tenth of the strength that removes all columns), as
``hyperpenalty=None`` and sparho's ``hoag_search`` with its ``WeightedLasso`` tune it.
Both results are evaluated by sparho's own criterion. Times are CPU seconds of one
thread, medians of interleaved rounds. sparse-ho, its predecessor, is on no index.

``predict``: test errors on data with few useful columns of many, and on data sets that
scikit-learn has, medians over seeds.

``speed``: CPU seconds of a fit of the two estimators and of LassoCV, on correlated
dense columns, sparse columns, and many columns of few rows.

``target`` reads what ``quality.py --json`` has written for BilevelLassoCV, and prints
the sets on which LassoCV beats RidgeCV by 2 %: there BilevelLassoCV should not be more
than 1 % behind it.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _report import table
from _timing import cpu_time
from scipy import sparse
from sklearn.datasets import load_diabetes, make_regression
from sklearn.linear_model import ElasticNetCV, LassoCV, RidgeCV
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelElasticNetCV, BilevelLassoCV, BilevelRidgeCV

CASES = ((100, 20, 0), (200, 100, 0), (400, 200, 0), (150, 300, 0), (100, 1000, 0))
ROUNDS, N_ITER = 3, (50, 200)
TRUTHS = {
    "100 x 40, 6 useful": (100, 40, 6, 40.0),
    "200 x 100, 10 useful": (200, 100, 10, 60.0),
    "100 x 400, 10 useful": (100, 400, 10, 30.0),
    "100 x 40, all useful": (100, 40, 40, 150.0),
}
SEEDS = range(5)


def scaled(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scaled columns, eight of them useful, and a scaled target."""
    X, y = make_regression(n, p, n_informative=8, noise=20.0, random_state=seed)
    X = StandardScaler().fit_transform(X)
    return X, (y - y.mean()) / y.std()


def criterion() -> None:
    """Tune one strength per feature on the same folds, and print what was reached."""
    from sparho import CrossVal, Problem, SquaredLoss, WeightedL1, hoag_search
    from sparho.adapters import SklearnWeightedLasso

    rows, judge = [], SklearnWeightedLasso(tol=1e-10, max_iter=10**5)
    for n, p, seed in CASES:
        X, y = scaled(n, p, seed)
        folds = list(KFold(5, shuffle=True, random_state=0).split(X))
        start = 0.1 * float(abs(X.T @ y).max()) / n
        problem = Problem(SquaredLoss(), WeightedL1(), X, y)

        def theirs(
            n_iter: int, problem=problem, folds=folds, start=start
        ) -> np.ndarray:
            found = hoag_search(
                problem,
                np.full(problem.design.shape[1], start),
                solver=SklearnWeightedLasso(),
                criterion=CrossVal(folds=tuple(folds)),
                n_iter=n_iter,
            )
            return found.best_hyperparam

        def ours(tol: float, X=X, y=y, folds=folds, start=start) -> np.ndarray:
            model = BilevelLassoCV(
                hyperpenalty=None,
                cv=folds,
                fit_intercept=False,
                alpha_init=start,
                tol=tol,
                max_iter=200,
            ).fit(X, y)
            return np.minimum(model.alpha_, 1e6)

        runs: dict[str, tuple[Callable, Any]] = {
            **{f"sparho, {n_iter} steps": (theirs, n_iter) for n_iter in N_ITER},
            **{f"BilevelLassoCV, tol={tol:g}": (ours, tol) for tol in (1e-4, 1e-6)},
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        alphas = {}
        for _ in range(ROUNDS):
            for name, (fit, option) in runs.items():
                alphas[name], seconds = cpu_time(fit, option)
                times[name].append(seconds)
        for name, alpha in alphas.items():
            value = CrossVal(folds=tuple(folds)).value(problem, alpha, judge)
            rows.append([f"{n} x {p}", name, f"{value:.7f}", np.median(times[name])])
            print(*rows[-1], flush=True)
    print(table(("n x p", "who", "mean squared error of the folds", "cpu s"), rows))


class AdaptiveLassoCV:
    """Lasso of columns divided by the sizes that ridge gives them (Zou, 2006)."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "AdaptiveLassoCV":
        """Fit both stages."""
        self.size_ = abs(RidgeCV(np.logspace(-3, 5, 41)).fit(X, y).coef_)
        self.lasso_ = LassoCV().fit(X * self.size_, y)
        self.coef_ = self.lasso_.coef_ * self.size_
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict by the second stage."""
        return self.lasso_.predict(X * self.size_)


def contenders() -> dict[str, Any]:
    """Return unfitted models by name."""
    return {
        "LassoCV": LassoCV(),
        "ElasticNetCV": ElasticNetCV(l1_ratio=[0.1, 0.5, 0.9, 1.0]),
        "adaptive lasso": AdaptiveLassoCV(),
        "BilevelRidgeCV": BilevelRidgeCV(),
        "BilevelLassoCV": BilevelLassoCV(),
        "BilevelElasticNetCV": BilevelElasticNetCV(),
    }


def predict() -> None:
    """Print test errors relative to LassoCV, features kept and seconds."""
    rows = []
    for name in (*TRUTHS, "diabetes"):
        found: dict[str, list[list[float]]] = {}
        for seed in SEEDS:
            if name == "diabetes":
                X, y = load_diabetes(return_X_y=True)
            else:
                n, p, useful, noise = TRUTHS[name]
                X, y = make_regression(
                    2 * n, p, n_informative=useful, noise=noise, random_state=seed
                )
            X, X_test, y, y_test = train_test_split(
                X, y, test_size=0.5, random_state=seed
            )
            scaler = StandardScaler().fit(X)
            X, X_test = scaler.transform(X), scaler.transform(X_test)
            for who, model in contenders().items():
                before = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X, y)
                seconds = time.process_time() - before
                error = float(np.mean((y_test - model.predict(X_test)) ** 2))
                kept = float((model.coef_ != 0).sum())
                found.setdefault(who, []).append([error, kept, seconds])
        base = np.array(found["LassoCV"])[:, 0]
        for who, runs in found.items():
            error, kept, seconds = np.array(runs).T
            ratio = float(np.mean(np.log(error / base)))
            rows.append([name, who, ratio, np.median(kept), np.median(seconds)])
            print(*rows[-1], flush=True)
    print(table(("data", "who", "log(MSE / LassoCV)", "features", "cpu s"), rows))


def target(path: Path) -> None:
    """Print the sets on which LassoCV beats RidgeCV by 2 %."""
    fits = json.loads(path.read_text())["fits"]
    rows, missed = [], 0
    for name, methods in fits.items():
        known = [methods[who] for who in ("this estimator", "LassoCV", "RidgeCV")]
        splits = [key for key in known[0] if all(key in each for each in known)]
        ours, lasso, ridge = (
            np.log([each[key]["mse"] for key in splits]) for each in known
        )
        gain, behind = float((lasso - ridge).mean()), float((ours - lasso).mean())
        spread = float((ours - lasso).std(ddof=1) / np.sqrt(len(splits)))
        asked = gain < np.log(0.98)
        missed += asked and behind > np.log(1.01)
        rows.append([name, len(splits), gain, behind, spread, "asked" * bool(asked)])
    header = ("set", "splits", "log(Lasso / Ridge)", "log(ours / Lasso)", "se", "")
    print(table(header, rows))
    ratios = np.array([row[3] for row in rows])
    print(f"mean {ratios.mean():.4f}, worst {ratios.max():.4f}, missed {missed}")


def correlated(n: int, p: int, useful: int) -> tuple[Any, np.ndarray]:
    """Return columns whose neighbours have a correlation of a half, and a target."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    signal = X[:, rng.permutation(p)[:useful]] @ rng.standard_normal(useful)
    return X, signal + signal.std() * rng.standard_normal(n)


def sparse_columns(n: int, p: int, density: float) -> tuple[Any, np.ndarray]:
    """Return sparse normal columns, a twentieth of them useful, and a target."""
    rng = np.random.default_rng(0)
    X = sparse.random_array(
        (n, p), density=density, rng=rng, data_sampler=rng.standard_normal
    ).tocsr()
    useful = rng.permutation(p)[: p // 20]
    signal = X[:, useful] @ rng.standard_normal(len(useful))
    return X, signal + signal.std() * rng.standard_normal(n)


def speed() -> None:
    """Print the time of a fit."""
    rows = []
    for name, (X, y) in {
        "dense 667 x 314": correlated(667, 314, 30),
        "sparse 1000 x 1000": sparse_columns(1000, 1000, 0.02),
        "dense 60 x 2000": correlated(60, 2000, 10),
    }.items():
        models = BilevelLassoCV(), BilevelElasticNetCV(), LassoCV(cv=5)
        seconds = [cpu_time(model.fit, X, y)[1] for model in models]
        rows.append([name, *(f"{each:.2f}" for each in seconds)])
    print(table(["rows x columns", "lasso", "elastic net", "LassoCV"], rows))


def main() -> None:
    """Run one of the comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("criterion", "predict", "speed", "target"))
    parser.add_argument("json", nargs="?", type=Path, help="of target")
    args = parser.parse_args()
    if args.what == "target":
        target(args.json)
    else:
        {"criterion": criterion, "predict": predict, "speed": speed}[args.what]()


if __name__ == "__main__":
    main()
