"""The established estimators, and a cache of what they reach on each set.

One JSON file per set, written after every fit, so that a run of hours can be
stopped and taken up again. Run this file to fill the cache:

    python benchmarks/_peers.py --splits 0,1
"""

import argparse
import json
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sklearn
from _data import Dataset, load_battery
from _guard_data import load_guard_battery
from _halves import add_half_option
from sklearn.base import RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import (
    ARDRegression,
    ElasticNetCV,
    LassoCV,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

ALPHAS = np.logspace(-3, 5, 41)
RATIOS = (0.1, 0.5, 0.9, 1.0)
# ARD inverts a p x p matrix in every step.
ARD_MAX_COLUMNS = 700
# A set on which one fit of one split takes longer than this, in CPU seconds,
# gets fewer splits; every table says how many it has.
SLOW = 120.0
SLOW_SPLITS = 2
REFERENCE = "RidgeCV"
SLOWEST = "ElasticNetCV"
BASELINE = "Mean"
RIVALS = ("RidgeCV", "LassoCV", "ElasticNetCV", "ARDRegression", "GridSearchCV")
# GridSearchCV(Ridge) searches the same strengths as RidgeCV; the best of the
# four others is what a user could hope to pick with hindsight.
FOUR = RIVALS[:4]


def make_peer(name: str) -> RegressorMixin:
    """Return one peer with the settings all benchmarks share."""
    return {
        "Mean": lambda: DummyRegressor(),
        "RidgeCV": lambda: RidgeCV(ALPHAS),
        "LassoCV": lambda: LassoCV(n_jobs=1),
        "ElasticNetCV": lambda: ElasticNetCV(l1_ratio=list(RATIOS), n_jobs=1),
        "ARDRegression": lambda: ARDRegression(),
        "GridSearchCV": lambda: GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=5),
    }[name]()


def suits(name: str, data: Dataset) -> bool:
    """Say whether a peer is run on a set."""
    return name != "ARDRegression" or data.X.shape[1] <= ARD_MAX_COLUMNS


@contextmanager
def time_limit(seconds: float, cpu: bool = False) -> Iterator[None]:
    """Raise TimeoutError inside the block after so many seconds (POSIX only).

    They are seconds of the clock, or CPU seconds of this process.
    """
    timer = signal.ITIMER_PROF if cpu else signal.ITIMER_REAL
    alarm = signal.SIGPROF if cpu else signal.SIGALRM

    def ring(signum: int, frame: object) -> None:
        raise TimeoutError

    previous = signal.signal(alarm, ring)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(alarm, previous)


def measure(estimator: RegressorMixin, data: Dataset, split: int) -> dict[str, float]:
    """Fit behind a scaler on one split; return test error and fit times.

    ``cpu`` is the time to compare: with one thread it is the wall time of an
    idle machine, whatever else is running.
    """
    X_train, y_train, X_test, y_test = data.parts(split)
    model = make_pipeline(StandardScaler(), estimator)
    with threadpool_limits(1), warnings.catch_warnings():
        # Peers warn about coordinate descent that did not converge.
        warnings.simplefilter("ignore")
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(X_train, y_train)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        error = np.mean((y_test - model.predict(X_test)) ** 2)
    return {"mse": float(error), "seconds": wall, "cpu": cpu}


def default_folder() -> Path:
    """Return the folder of the cache."""
    if "SKBILEVEL_BENCH_CACHE" in os.environ:
        return Path(os.environ["SKBILEVEL_BENCH_CACHE"])
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "skbilevel" / "benchmarks"


class PeerCache:
    """What the peers reached, one JSON file per set."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, data: Dataset) -> dict[str, dict[str, dict[str, float]]]:
        """Return peer -> split -> result; empty for another shape or version."""
        path = self.folder / f"{data.name}.json"
        if not path.exists():
            return {}
        stored = json.loads(path.read_text())
        return stored["peers"] if stored["key"] == self.key(data) else {}

    def write(self, data: Dataset, peers: dict) -> None:
        """Store the results of a set; a crash leaves the old file intact."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{data.name}.json"
        text = json.dumps({"key": self.key(data), "peers": peers}, indent=1)
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(path)

    @staticmethod
    def key(data: Dataset) -> dict[str, object]:
        """Return what has to agree for a result to be used again."""
        train, test = data.splits[0]
        return {
            "shape": list(data.X.shape),
            "kind": data.kind,
            "first": [len(train), len(test), int(train[0]), int(test[0])],
            "sum": f"{data.X.sum() + data.y.sum():.10g}",
            "sklearn": sklearn.__version__,
        }

    def fill(
        self,
        data: Dataset,
        split: int,
        name: str,
        limit: float = 900.0,
        slow_splits: int = SLOW_SPLITS,
    ) -> str:
        """Run one peer on one split unless it is known; return a line to print."""
        peers = self.read(data)
        if str(split) in peers.get(name, {}) or not suits(name, data):
            return ""
        if split >= slow_splits and is_slow(peers):
            return ""
        try:
            with time_limit(limit):
                result = measure(make_peer(name), data, split)
        except TimeoutError:
            result = {"mse": float("nan"), "seconds": limit, "cpu": limit}
        # Another process may have written to this set in the meantime.
        peers = self.read(data)
        peers.setdefault(name, {})[str(split)] = result
        self.write(data, peers)
        return f"{data.name} {split} {name} {result['mse']:.5g} {result['cpu']:.2f} s"


def is_slow(peers: dict) -> bool:
    """Say whether one fit of the slowest peer took too long for five splits."""
    return any(r["cpu"] > SLOW for r in peers.get(SLOWEST, {}).values())


def complete_splits(data: Dataset, peers: dict, rivals: Sequence[str]) -> list[int]:
    """Return the splits on which every peer that suits the set has finished."""
    wanted = [name for name in (BASELINE, *rivals) if suits(name, data)]
    return [
        split
        for split in range(len(data.splits))
        if all(str(split) in peers.get(name, {}) for name in wanted)
    ]


def schedule(
    battery: list[Dataset], splits: list[int], rivals: Sequence[str]
) -> list[tuple]:
    """Order the fits so that an early stop still leaves something to compare.

    The cheap peers come first, then all splits of the cheap sets; the dear
    sets go split by split.
    """
    cheap = {BASELINE: 0, REFERENCE: 1}

    def order(job: tuple[Dataset, int, str]) -> tuple:
        data, split, name = job
        n, p = data.X.shape
        cost = n * p * min(n, p)
        stage = cheap.get(name, 2 if p < 110 else 3)
        turn = split if stage == 3 else 0
        return stage, turn, cost, split, RIVALS.index(name)

    pairs = [(d, s) for d in battery for s in splits if s < len(d.splits)]
    jobs = [(d, s, name) for d, s in pairs for name in rivals]
    jobs.sort(key=order)
    return [(d, s, BASELINE) for d, s in pairs] + jobs


def main() -> None:
    """Fill the cache."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--battery", choices=("main", "guard"), default="main")
    parser.add_argument("--cache", type=Path, default=default_folder())
    parser.add_argument("--sets", help="names, separated by commas (default: all)")
    parser.add_argument("--splits", help="numbers, separated by commas (default: all)")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds per fit")
    parser.add_argument(
        "--slow-splits", type=int, default=SLOW_SPLITS, help="for the slowest sets"
    )
    add_half_option(parser)
    args = parser.parse_args()
    names = args.sets.split(",") if args.sets else None
    guard = args.battery == "guard"
    load = load_guard_battery if guard else load_battery
    battery = list(load(names, args.half))
    cache = PeerCache(args.cache / "guard" if guard else args.cache)
    n_splits = max(len(data.splits) for data in battery)
    splits = (
        [int(s) for s in args.splits.split(",")] if args.splits else range(n_splits)
    )
    for job in schedule(battery, list(splits), FOUR if guard else RIVALS):
        line = cache.fill(*job, args.limit, args.slow_splits)
        if line:
            print(line, flush=True)


if __name__ == "__main__":
    main()
