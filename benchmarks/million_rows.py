"""Which solver for a million rows: seconds, memory and the loss that is reached.

Rows of 200 features in single precision, one strength per feature, tuned on the
validation loss of five folds without the guard. Every solver is a process of its own
with one BLAS thread: seconds of ``fit``, the peak of memory beyond X, and the
cross-validated score. The rule of ``solver="auto"`` has to be within 1.5 times the
fastest of those that reach the best score to ``--gap``,
and must not take more than X and a gigabyte.

    python benchmarks/million_rows.py
    python benchmarks/million_rows.py --rows 100000 --models ridge --solvers auto,saba
"""

import argparse
import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from _report import add_output_options, table, write_json

SOLVERS = {
    "ridge": ("auto", "exact", "amigo", "saba", "soba", "amigo-sgd"),
    "logistic": ("auto", "newton-cholesky", "newton-cg", "hoag", "saba", "soba"),
}
HEADER = ("model", "solver", "seconds", "peak MiB", "X MiB", "score", "status")


def draw(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features on one scale, coefficients that decay, noise of the signal's size."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, p), dtype=np.float32)
    for start in range(0, n, 10_000):
        X[start : start + 10_000] = rng.standard_normal((min(10_000, n - start), p))
    coef = np.zeros(p)
    coef[: p // 4] = rng.standard_normal(p // 4) * 0.9 ** np.arange(p // 4)
    return X, X @ coef.astype(np.float32)


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Fit one model; the peak of memory is sampled while it runs."""
    from skbilevel import BilevelLogisticCV, BilevelRidgeCV

    X, signal = draw(job["rows"], job["features"])
    noise = np.random.default_rng(1)
    params = {"hyperpenalty": None, "solver": job["solver"], "random_state": 0}
    # Removing one useless feature of so many rows gains a share of 1 / n of the loss,
    # and gradients in single strengths are as small: the default of 1e-4 sees none.
    params["tol"] = job["tol"]
    if job["model"] == "ridge":
        model: Any = BilevelRidgeCV(**params)
        y = signal + noise.standard_normal(len(signal)).astype(np.float32)
    else:
        model = BilevelLogisticCV(**params)
        y = signal + noise.logistic(size=len(signal)) > 0
    before, peak, done = current_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], current_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {
        "seconds": seconds,
        "peak": max(peak[0] - before, 0),
        "bytes_of_X": X.nbytes,
        "score": model.best_score_,
        "n_iter": model.n_iter_,
    }


def current_bytes() -> int:
    """Resident memory of this process."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(job: dict[str, Any], timeout: float) -> dict[str, Any]:
    """One job in a process of its own; a failure is reported, not hidden."""
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=True
        )
    except subprocess.TimeoutExpired:
        return job | {"failed": f"not finished after {timeout:.0f} s"}
    except subprocess.CalledProcessError as error:
        return job | {"failed": error.stderr.strip().splitlines()[-1]}
    return job | json.loads(done.stdout.splitlines()[-1])


def as_row(report: dict[str, Any]) -> list[Any]:
    """One line of the table."""
    if "failed" in report:
        return [report["model"], report["solver"], "", "", "", "", report["failed"]]
    sizes = [report[key] / 2.0**20 for key in ("peak", "bytes_of_X")]
    score = f"{report['score']:.7f}"
    return [
        report["model"], report["solver"], report["seconds"], *sizes, score, "done",
    ]  # fmt: skip


def verdict(reports: list[dict[str, Any]], gap: float) -> str:
    """Seconds of the automatic choice over the best of those that are as good."""
    known = [each for each in reports if "failed" not in each]
    auto = [each for each in known if each["solver"] == "auto"]
    if not auto:
        return "the automatic choice was not run"
    best = max(each["score"] for each in known)
    good = [each for each in known if each["score"] >= best - gap * abs(best)]
    fastest = min(good, key=lambda each: each["seconds"])
    ratio = auto[0]["seconds"] / fastest["seconds"]
    beyond = auto[0]["peak"] / 2.0**20
    return (
        f"{auto[0]['model']}: auto takes {ratio:.2f} of {fastest['solver']}, the "
        f"fastest that is as good, and {beyond:.0f} MiB beyond X"
    )


def main() -> None:
    """Run all solvers of all models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--models", default="ridge,logistic")
    parser.add_argument("--solvers", help="names, separated by commas")
    parser.add_argument("--timeout", type=float, default=900, help="seconds per fit")
    parser.add_argument("--tol", type=float, default=1e-7)
    parser.add_argument("--gap", type=float, default=1e-5, help="relative to the score")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    add_output_options(parser)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(json.loads(args.child))))
        return
    everything = []
    for model in args.models.split(","):
        names = args.solvers.split(",") if args.solvers else SOLVERS[model]
        reports = []
        for name in names:
            job = {"model": model, "solver": name}
            job |= {"rows": args.rows, "features": args.features, "tol": args.tol}
            reports.append(run(job, args.timeout))
            print(reports[-1], file=sys.stderr, flush=True)
        print(table(HEADER, [as_row(each) for each in reports]))
        print(verdict(reports, args.gap), flush=True)
        everything += reports
    write_json(args.json, everything)


if __name__ == "__main__":
    main()
