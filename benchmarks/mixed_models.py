"""``MetaRidge`` beside mixed models and pretrained lassos of others, in one run.

``python benchmarks/mixed_models.py`` measures statsmodels, gpboost and ptlasso where
they are installed; none belongs to the environment of this package. 30 % of the rows of
every task are held out. Columns that statsmodels could not tell from others are left
out for all, since it raises on them. Figures are mean squared errors of the
standardized target and CPU seconds of a fit, means over splits; "no" counts fits that
statsmodels called not converged. A fit that takes more than ``--cap`` CPU seconds is
"not done", and other splits of its set are not tried. ``SKBILEVEL_DATA`` names the
folder of the data sets.
"""

import argparse
import signal
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from related_tasks import Rows, load_tasks
from sklearn.preprocessing import StandardScaler

from skbilevel import MetaRidge

SETS = ("ames_housing", "exam_schools", "hsb82_maths")
# A column that others explain up to this share of its variance is left out.
_ALIASED = 1e-6
# ptlasso has as many folds in every task, and raises where a task has fewer rows.
_FOLDS = 10


def independent(X: np.ndarray) -> np.ndarray:
    """Places of columns that do not follow from those before them."""
    kept: list[int] = []
    Z = np.ones((len(X), 1))
    for j in range(X.shape[1]):
        rest = X[:, j] - Z @ np.linalg.lstsq(Z, X[:, j])[0]
        if rest @ rest > _ALIASED * len(X):
            kept.append(j)
            Z = np.c_[Z, X[:, j]]
    return np.array(kept)


def split(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Standardized rows to learn from, and held-out rows of the same tasks."""
    rng = np.random.default_rng(seed)
    held_out = rng.random(len(rows.y)) < 0.3
    train = ~held_out
    X = StandardScaler().fit(rows.X[train]).transform(rows.X)
    X = X[:, independent(X[train])]
    y = (rows.y - rows.y[train].mean()) / rows.y[train].std()
    rows = Rows(X, y, rows.task)
    known = held_out & np.isin(rows.task, rows.task[train])
    return rows.take(train), rows.take(known)


def meta(strengths: str) -> Callable[[Rows, Rows], tuple[np.ndarray, bool]]:
    """One of our models."""

    def predict(train: Rows, test: Rows) -> tuple[np.ndarray, bool]:
        model = MetaRidge(strengths=strengths).fit(train.X, train.y, tasks=train.task)
        return model.predict(test.X, tasks=test.task), True

    return predict


def mixed(slopes: bool) -> Callable[[Rows, Rows], tuple[np.ndarray, bool]]:
    """MixedLM of statsmodels with random intercepts, or random slopes as well.

    Slopes are of columns that vary within tasks, with a full covariance.
    """

    def predict(train: Rows, test: Rows) -> tuple[np.ndarray, bool]:
        from statsmodels.regression.mixed_linear_model import MixedLM

        own = np.zeros(0, int)
        if slopes:
            tasks = np.unique(train.task)
            flat = [train.X[train.task == t].std(axis=0) > 1e-9 for t in tasks]
            own = np.flatnonzero(np.any(flat, axis=0))

        def designs(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
            Z = np.c_[np.ones(len(rows.y)), rows.X]
            return Z, Z[:, np.r_[0, 1 + own]]

        Z, U = designs(train)
        found = MixedLM(train.y, Z, groups=train.task, exog_re=U).fit()
        Z, U = designs(test)
        effects = {t: np.asarray(e) for t, e in found.random_effects.items()}
        own_part = [u @ effects[t] for u, t in zip(U, test.task, strict=True)]
        return Z @ found.fe_params + np.array(own_part), bool(found.converged)

    return predict


def boosted(train: Rows, test: Rows) -> tuple[np.ndarray, bool]:
    """GPModel of gpboost with random intercepts and slopes, one variance each."""
    import gpboost

    def designs(rows: Rows) -> np.ndarray:
        return np.c_[np.ones(len(rows.y)), rows.X]

    q = train.X.shape[1]
    model = gpboost.GPModel(
        group_data=train.task,
        group_rand_coef_data=train.X,
        ind_effect_group_rand_coef=[1] * q,
        likelihood="gaussian",
    )
    model.fit(y=train.y, X=designs(train))
    found = model.predict(
        group_data_pred=test.task,
        group_rand_coef_data_pred=test.X,
        X_pred=designs(test),
    )
    return np.asarray(found["mu"]), True


def gathered(train: np.ndarray) -> np.ndarray:
    """A group per task, where tasks of fewer rows than folds are one group together.

    The next smallest tasks join them until that group has as many rows as folds.
    """
    counts = np.bincount(train)
    order = np.argsort(counts, kind="stable")
    small = np.sum(counts < _FOLDS)
    while counts[order[:small]].sum() < _FOLDS * (small > 0):
        small += 1
    group = np.arange(len(counts))
    group[order[:small]] = len(counts)
    return group


def pretrained(**options: float) -> Callable[[Rows, Rows], tuple[np.ndarray, bool]]:
    """A lasso of all tasks, then one of each, of ptlasso with its defaults.

    `alpha` says how much of the first the second forgets; without it, one of five is
    chosen by cross-validation.
    """

    def predict(train: Rows, test: Rows) -> tuple[np.ndarray, bool]:
        from ptlasso import PretrainedLasso, PretrainedLassoCV

        # It shuffles rows by the state of numpy.
        np.random.seed(0)  # noqa: NPY002
        kind = PretrainedLasso if options else PretrainedLassoCV
        model = kind(n_folds=_FOLDS, verbose=False, n_threads=1, **options)
        group = gathered(train.task)
        model.fit(train.X, train.y, group[train.task])
        return model.predict(test.X, group[test.task]), True

    return predict


METHODS = {
    "MetaRidge()": meta("auto"),
    'MetaRidge("intercept")': meta("intercept"),
    'MetaRidge("feature")': meta("feature"),
    "MixedLM, intercept": mixed(False),
    "MixedLM, slopes": mixed(True),
    "GPModel, slopes": boosted,
    "PretrainedLasso(alpha=0)": pretrained(alpha=0.0),
    "PretrainedLasso(alpha=.5)": pretrained(alpha=0.5),
    "PretrainedLassoCV()": pretrained(),
}
PACKAGES = {"MixedLM": "statsmodels", "GPModel": "gpboost", "Pretrained": "ptlasso"}


def installed() -> list[str]:
    """The methods whose packages are here."""
    absent = tuple(name for name, of in PACKAGES.items() if find_spec(of) is None)
    return [method for method in METHODS if not method.startswith(absent)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--methods", nargs="*", default=installed())
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--cap", type=float, default=120.0)
    options = parser.parse_args()
    signal.signal(signal.SIGPROF, stop)
    print("| set (rows x columns, tasks) | method | error | seconds | no |")
    print("|---|---|---|---|---|")
    for name in options.sets:
        rows = load_tasks(name)
        parts = [split(rows, seed) for seed in range(options.splits)]
        shape = f"{len(rows.y):,} x {parts[0][0].X.shape[1]}, {rows.task.max() + 1}"
        for method in options.methods:
            cells = row(METHODS[method], parts, options.cap)
            print(f"| {name} ({shape}) | {method} | {cells}", flush=True)


def row(
    method: Callable[[Rows, Rows], tuple[np.ndarray, bool]],
    parts: list[tuple[Rows, Rows]],
    cap: float,
) -> str:
    """Cells of a method: means over splits."""
    try:
        runs = [measured(method, train, test, cap) for train, test in parts]
    except TimeoutError:
        return f"not done | > {cap:.0f} |  |"
    error, seconds, done = np.mean(runs, axis=0)
    failed = round((1.0 - done) * len(runs))
    return f"{error:.4f} | {seconds:.2f} | {failed or ''} |"


def stop(*_: object) -> None:
    """End a fit that takes too long."""
    raise TimeoutError


def measured(
    method: Callable[[Rows, Rows], tuple[np.ndarray, bool]],
    train: Rows,
    test: Rows,
    cap: float,
) -> tuple[float, float, bool]:
    """Error and CPU seconds of a fit and its predictions, and whether it converged."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, cap)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted, done = method(train, test)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    spent = time.process_time() - start
    return float(np.mean((test.y - predicted) ** 2)), spent, done


if __name__ == "__main__":
    main()
