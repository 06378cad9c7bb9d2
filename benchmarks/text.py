"""What do strengths that depend on the words gain on text, and what do they cost?

`BilevelLogisticCV()` without options against scikit-learn's
``LogisticRegression(C=100, max_iter=1000)``, whose time is the unit, and against
single strengths that are solved to the end: an optimizer that stops early
regularizes, so that a gain over it need not be one of many strengths. Every
method runs in a process of its own, which tells its peak memory with all of X, y
and the imports; times are CPU seconds of one thread. Test rows are seen once, by
the scores.

    python benchmarks/text.py                         # 20 Newsgroups by date
    python benchmarks/text.py --data sector
    python benchmarks/text.py --data news20_libsvm --weakest 1
    python benchmarks/text.py --curves --plot text.png

``--curves`` tunes one training set by exact, amortized and not warm-started
evaluations, and draws the hold-out loss against seconds. Needs SKBILEVEL_DATA.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from _data import loader
from _report import add_output_options, new_figure, save_figure, table, write_json
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split
from threadpoolctl import threadpool_limits

from skbilevel import BilevelLogisticCV
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import MetadataMaker
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._large_tuning import LargeTuning
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems import Headed, LogisticLoss, RowsDataFit, SoftmaxLoss, as_design
from skbilevel.problems._moments import AugmentedRows
from skbilevel.solvers import NewtonCG

SETS = ("news20", "sector", "news20_libsvm", "rcv1_small")
REFERENCE = "LogisticRegression(C=100)"
CONVERGED = {f"one strength, C={C}": float(C) for C in (1, 10, 100, 1000)}
OURS = "BilevelLogisticCV()"
PER_CLASS = "BilevelLogisticCV(alpha_per_class=True)"
METHODS = (REFERENCE, *CONVERGED, OURS, PER_CLASS)
HEADER = ("method", "log loss", "accuracy", "cpu s", "in units", "peak MB")
VARIANTS: dict[str, dict[str, Any]] = {
    "amortized": {},
    "exact": {"tuning": NewtonCG(max_newton=8), "accuracy": (1e-3, 1e-2)},
    "exact, no warm starts": {
        "tuning": NewtonCG(),
        "accuracy": (1e-3, 1e-2),
        "warm": False,
    },
}


@dataclass(frozen=True)
class Split:
    """Training and test rows."""

    X: sp.csr_array
    y: np.ndarray
    X_test: sp.csr_array
    y_test: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """Return class indicators of the training rows, one column for two classes."""
        classes, code = np.unique(self.y, return_inverse=True)
        Y = np.eye(len(classes))[code]
        return Y[:, 1:] if len(classes) == 2 else Y


def read(name: str) -> Split:
    """Return a set with its official split, or a stratified 70/30 one."""
    news = name == "news20"
    X, y, info = loader().load("news20_bydate_counts" if news else name)
    X = sp.csr_array(X)
    if "is_test" in info:
        train, test = np.flatnonzero(~info["is_test"]), np.flatnonzero(info["is_test"])
    else:
        rows = np.arange(len(y))
        train, test = train_test_split(rows, test_size=0.3, random_state=0, stratify=y)
    parts = X[train], X[test]
    if news:
        weights = TfidfTransformer().fit(parts[0])
        parts = tuple(sp.csr_array(weights.transform(part)) for part in parts)
    return Split(parts[0], y[train], parts[1], y[test])


def solved(split: Split, C: float) -> np.ndarray:
    """Return test probabilities of one strength, solved to the end."""
    Y = split.targets
    loss = SoftmaxLoss() if Y.shape[1] > 1 else LogisticLoss()
    design = Headed(as_design(split.X), np.ones((len(Y), 1)))
    fit = RowsDataFit(design, Y, np.ones(len(Y)), None, loss)
    v = np.r_[np.inf, np.full(split.X.shape[1], C)]
    found = NewtonCG().solve(fit, v, tol=1e-3)
    if not found.solution.converged:
        raise RuntimeError(f"C={C} did not converge")
    mean = loss.mean(split.X_test @ found.W[1:] + found.W[0])
    return np.hstack([1 - mean, mean]) if mean.shape[1] == 1 else mean


def probabilities(method: str, split: Split) -> np.ndarray:
    """Fit a method and return its test probabilities."""
    if method in CONVERGED:
        return solved(split, CONVERGED[method])
    model = BilevelLogisticCV(alpha_per_class=method == PER_CLASS)
    if method == REFERENCE:
        model = LogisticRegression(C=100, max_iter=1000)
    return model.fit(split.X, split.y).predict_proba(split.X_test)


def probe(name: str, method: str) -> dict[str, Any]:
    """Return loss, accuracy, seconds and memory of one method, in this process."""
    split = read(name)
    with threadpool_limits(1), warnings.catch_warnings():
        # The reference is stopped by its own tolerance, as users would.
        warnings.simplefilter("ignore")
        start = time.process_time()
        P = probabilities(method, split)
        seconds = time.process_time() - start
    classes = np.unique(split.y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "method": method,
        "log loss": float(log_loss(split.y_test, P, labels=classes)),
        "accuracy": float((classes[P.argmax(axis=1)] == split.y_test).mean()),
        "cpu s": seconds,
        "peak MB": peak,
    }


def run(name: str, methods: Sequence[str]) -> list[dict[str, Any]]:
    """Probe every method in a process of its own."""
    reports: list[dict[str, Any]] = []
    for method in methods:
        command = [sys.executable, __file__, "--data", name, "--probe", method]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        report = json.loads(done.stdout.splitlines()[-1])
        report["in units"] = report["cpu s"] / (reports or [report])[0]["cpu s"]
        reports.append(report)
        print(report, file=sys.stderr, flush=True)
    return reports


def curves(name: str, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Return (seconds, hold-out loss) of every evaluation of each variant."""
    split = read(name)
    Y, n, p = split.targets, *split.X.shape
    loss = SoftmaxLoss() if Y.shape[1] > 1 else LogisticLoss()
    none, zero = np.empty(0, dtype=int), np.zeros(p)
    everything = (none, np.arange(p), True, zero, np.zeros(Y.shape[1]))
    rows = AugmentedRows(split.X, Y, np.ones(n), *everything)
    problem = LargeProblem.of(rows, loss, loss, None)
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    pair = next(folds.split(Y, split.y))
    training = TrainingSet(np.arange(n), [pair], None)
    columns, found = MetadataMaker(problem, None, None), {}
    for variant, options in VARIANTS.items():
        seen: list[tuple[float, float]] = []
        start = time.process_time()

        def note(point: Any, seen: list = seen, start: float = start) -> None:
            seen.append((time.process_time() - start, point.loss))

        budget = LargeBudget(trace=note, steps=(steps, 0), gain=0.0, **options)
        with threadpool_limits(1):
            LargeTuning(problem, columns, budget).fold(training)
        found[variant] = seen
        print(f"{variant}: {seen[-1]}", file=sys.stderr, flush=True)
    return found


def draw(path: Path, found: dict[str, list[tuple[float, float]]], name: str) -> None:
    """Draw the best hold-out loss so far against seconds."""
    figure, axes = new_figure(1)
    axis = np.ravel(axes)[0]
    for variant, points in found.items():
        seconds, losses = np.array(points).T
        best = np.minimum.accumulate(losses)
        axis.step(seconds, best, where="post", label=variant)
    axis.set(xlabel="CPU seconds, shared path included", ylabel="hold-out log loss")
    axis.set_title(name)
    axis.legend()
    save_figure(figure, path)


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=SETS, default="news20")
    parser.add_argument("--curves", action="store_true", help="loss against seconds")
    parser.add_argument("--steps", type=int, default=16, help="evaluations of a curve")
    parser.add_argument(
        "--weakest", type=float, default=1000.0, help="largest C solved to the end"
    )
    parser.add_argument("--probe", choices=METHODS, help=argparse.SUPPRESS)
    add_output_options(parser)
    args = parser.parse_args()
    if args.probe:
        print(json.dumps(probe(args.data, args.probe)))
        return
    if args.curves:
        found = curves(args.data, args.steps)
        for variant, points in found.items():
            rows = [(f"{s:.1f}", f"{loss:.4f}") for s, loss in points]
            print(f"\n{variant}\n{table(('cpu s', 'hold-out loss'), rows)}")
        if args.plot:
            draw(args.plot, found, args.data)
        write_json(args.json, found)
        return
    skipped = [name for name, C in CONVERGED.items() if C > args.weakest]
    reports = run(args.data, [name for name in METHODS if name not in skipped])
    print(f"\n{args.data}")
    print(table(HEADER, [[report[key] for key in HEADER] for report in reports]))
    write_json(args.json, {args.data: reports})


if __name__ == "__main__":
    main()
