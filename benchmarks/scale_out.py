"""Rows that outgrow memory or one process: seconds, passes, and the peak of memory.

``python benchmarks/scale_out.py`` writes a file of float32 rows (1.6 GB by default;
``--rows 12500000`` is 10 GB), fits ridge and logistic regression to it by `RowBlocks`
in processes whose address space is limited, and removes the file. Beside them: reading
the file once with numpy, one pass of ``X.T @ X`` over the same blocks, `SGDRegressor`
and `SGDClassifier` with ``partial_fit`` over five strengths, a Dask cluster of one and
of two workers (``--steps one_worker two_workers`` for these alone), and dask-ml where
it is installed. Every step runs in a process of its own, one after the other;
seconds are those of the work without imports, by the clock and of the CPU.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

BLOCK_ROWS, TEST_ROWS = 40_000, 50_000
SIGNALS = 20
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


class Watch:
    """Seconds since it was made: of the clock, and of this process on a CPU.

    Beside them the peak of the memory, beyond what the process had before and two
    blocks of so many bytes. It is known on Linux.
    """

    def __init__(self, block_bytes: int = 0) -> None:
        self.before = resident() + 2 * block_bytes
        self.start = time.perf_counter(), time.process_time()

    def seen(self) -> dict[str, float]:
        """All of it, so far."""
        now = time.perf_counter(), time.process_time()
        seconds, cpu = np.subtract(now, self.start)
        return {
            "seconds": seconds,
            "cpu": cpu,
            "beyond_mib": (peak() - self.before) / 2**20,
        }


def resident() -> int:
    """Bytes of this process in memory."""
    known = Path("/proc/self/statm")
    pages = int(known.read_text().split()[1]) if known.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Most bytes that this process had in memory."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def block_bytes(p: int) -> int:
    """Bytes of a block of X and y."""
    return 4 * BLOCK_ROWS * (p + 1)


def rows(path: Path, n: int, p: int):
    """Blocks of X and y of the file; nothing is mapped into memory."""
    with path.open("rb") as file:
        for start in range(0, n, BLOCK_ROWS):
            size = min(BLOCK_ROWS, n - start)
            block = np.fromfile(file, np.float32, size * (p + 1)).reshape(size, p + 1)
            yield block[:, 1:], block[:, 0]


def simulated(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Target and features, of which a few carry a signal of falling size."""
    out = np.empty((n, p + 1), np.float32)
    out[:, 1:] = rng.standard_normal((n, p), dtype=np.float32)
    effect = np.where(np.arange(p) < SIGNALS, 0.5 ** (np.arange(p) / 4.0), 0.0)
    noise = 3.0 * rng.standard_normal(n, dtype=np.float32)
    out[:, 0] = out[:, 1:] @ effect.astype(np.float32) + noise
    return out


def write(path: Path, n: int, p: int) -> None:
    """The file, block by block."""
    with path.open("wb") as file:
        for number, start in enumerate(range(0, n, BLOCK_ROWS)):
            rng = np.random.default_rng(number)
            simulated(rng, min(BLOCK_ROWS, n - start), p).tofile(file)


def test_rows(p: int, labels: bool) -> tuple[np.ndarray, np.ndarray]:
    made = simulated(np.random.default_rng(10**9), TEST_ROWS, p)
    return made[:, 1:], made[:, 0] > 0 if labels else made[:, 0]


def read(path: Path, n: int, p: int) -> dict:
    total = sum(float(X[0, 0]) for X, _ in rows(path, n, p))
    return {"check": total}


def gram(path: Path, n: int, p: int) -> dict:
    total = np.zeros((p, p))
    for X, _ in rows(path, n, p):
        block = X.astype(np.float64)
        total += block.T @ block
    return {"check": float(total[0, 0])}


def guard(path: Path, n: int, p: int) -> dict:
    """The guard alone: a fit whose rows are few, on as many columns."""
    from skbilevel import BilevelRidgeCV, RowBlocks

    X, y = next(rows(path, n, p))
    watch = Watch()
    BilevelRidgeCV().fit(RowBlocks.from_arrays(X[:10_000], y[:10_000]))
    return watch.seen()


def ridge(path: Path, n: int, p: int) -> dict:
    from skbilevel import BilevelRidgeCV, RowBlocks

    blocks = RowBlocks(lambda: rows(path, n, p))
    watch = Watch(block_bytes(p))
    model = BilevelRidgeCV().fit(blocks)
    seen = watch.seen()
    score = model.score(*test_rows(p, False))
    return {**seen, "passes": blocks.n_passes, "score": score}


def logistic(path: Path, n: int, p: int) -> dict:
    from skbilevel import BilevelLogisticCV, RowBlocks

    blocks = RowBlocks(lambda: ((X, y > 0) for X, y in rows(path, n, p)))
    watch = Watch(block_bytes(p))
    model = BilevelLogisticCV().fit(blocks)
    seen = watch.seen()
    score = model.score(*test_rows(p, True))
    return {**seen, "passes": blocks.n_passes, "score": score}


def sgd(path: Path, n: int, p: int, labels: bool = False) -> dict:
    """One epoch over a grid, by the score of the last block."""
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    if labels:
        models = [SGDClassifier(loss="log_loss", alpha=a) for a in STRENGTHS]
    else:
        models = [SGDRegressor(alpha=a, average=True) for a in STRENGTHS]
    more = {"classes": [False, True]} if labels else {}
    watch = Watch()
    for X, y in rows(path, n, p):
        y = y > 0 if labels else y
        known = hasattr(models[0], "coef_")
        scores = [model.score(X, y) if known else 0.0 for model in models]
        for model in models:
            model.partial_fit(X, y, **more)
    best = models[int(np.argmax(scores))]
    seen = watch.seen()
    score = best.score(*test_rows(p, labels))
    return {**seen, "passes": 1, "score": score}


def sgd_classes(path: Path, n: int, p: int) -> dict:
    return sgd(path, n, p, True)


def warm() -> float:
    """Import what a fit needs, by a small one; CPU seconds of this process so far."""
    from skbilevel import BilevelRidgeCV, RowBlocks

    X = np.random.default_rng(0).standard_normal((500, 3))
    BilevelRidgeCV().fit(RowBlocks.from_arrays(X, X[:, 0] + X[:, 1] ** 2))
    return time.process_time()


@contextmanager
def on_a_cluster(path: Path, n: int, p: int, workers: int):
    """Workers of one thread, and X and y whose chunks they read from the file."""
    import dask.array as da
    from distributed import Client, LocalCluster

    # Sixteen tasks or more, so that none of two workers waits long for the other.
    size = BLOCK_ROWS * min(5, max(1, n // (16 * BLOCK_ROWS)))

    def chunk(block_info=None):
        (start, stop), _ = block_info[None]["array-location"]
        with path.open("rb") as file:
            file.seek(4 * start * (p + 1))
            found = np.fromfile(file, np.float32, (stop - start) * (p + 1))
        return found.reshape(stop - start, p + 1)

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0"
        ) as made,
        Client(made) as client,
    ):
        chunks = (tuple(min(size, n - s) for s in range(0, n, size)), (p + 1,))
        table = da.map_blocks(chunk, chunks=chunks, dtype=np.float32)
        yield client, table[:, 1:], table[:, 0]


def cluster(path: Path, n: int, p: int, workers: int) -> dict:
    """Ridge on workers; imports are over before, on all of them.

    ``pass`` are the seconds of the pass over all rows: what is left is the look at the
    first chunk, and the guard on the client. ``busiest`` are the CPU seconds of the
    worker that had most to do.
    """
    from skbilevel import BilevelRidgeCV, RowBlocks

    with on_a_cluster(path, n, p, workers) as (client, X, y):
        warm()
        before = client.run(warm)
        blocks, passes = RowBlocks.from_dask(X, y), []
        map_reduce = blocks.map_reduce

        def timed(*given):
            start = time.perf_counter()
            total = map_reduce(*given)
            passes.append(time.perf_counter() - start)
            return total

        blocks.map_reduce = timed
        watch = Watch()
        model = BilevelRidgeCV().fit(blocks)
        seen = watch.seen()
        after = client.run(time.process_time)
    busiest = max(after[name] - before[name] for name in before)
    score = model.score(*test_rows(p, False))
    return {**seen, "pass": sum(passes), "busiest": busiest, "score": score}


def one_worker(path: Path, n: int, p: int) -> dict:
    return cluster(path, n, p, 1)


def two_workers(path: Path, n: int, p: int) -> dict:
    return cluster(path, n, p, 2)


def dask_ml(path: Path, n: int, p: int, labels: bool = False) -> dict:
    """One strength, that of its default, by L-BFGS on one worker."""
    from dask_ml.linear_model import LinearRegression, LogisticRegression
    from sklearn.metrics import accuracy_score, r2_score

    model = (LogisticRegression if labels else LinearRegression)(solver="lbfgs")
    with on_a_cluster(path, n, p, 1) as (client, X, y):
        before = client.run(time.process_time)
        watch = Watch()
        model.fit(X, (y > 0).astype(int) if labels else y)
        seen = watch.seen()
        after = client.run(time.process_time)
    busiest = max(after[name] - before[name] for name in before)
    X, y = test_rows(p, labels)
    # Its own score of numbers fails with the Dask of today.
    score = (accuracy_score if labels else r2_score)(y, np.asarray(model.predict(X)))
    return {**seen, "busiest": busiest, "score": score}


def dask_ml_classes(path: Path, n: int, p: int) -> dict:
    return dask_ml(path, n, p, True)


STEPS = {
    "read": read,
    "gram": gram,
    "guard": guard,
    "ridge": ridge,
    "logistic": logistic,
    "sgd": sgd,
    "sgd_classes": sgd_classes,
    "one_worker": one_worker,
    "two_workers": two_workers,
    "dask_ml": dask_ml,
    "dask_ml_classes": dask_ml_classes,
}
# They have processes of their own, which the limit is not for.
CLUSTERS = {"one_worker", "two_workers", "dask_ml", "dask_ml_classes"}


def step_in_process(name: str, path: Path, args: argparse.Namespace) -> dict:
    """Run a step under the limit; what it says of itself."""
    command = [sys.executable, __file__, "--step", name, "--file", str(path)]
    command += ["--rows", str(args.rows), "--columns", str(args.columns)]
    command += ["--limit", "0" if name in CLUSTERS else str(args.limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def run_step(args: argparse.Namespace) -> None:
    if args.limit:
        size = int(args.limit * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    watch = Watch()
    made = STEPS[args.step](args.file, args.rows, args.columns)
    found = {**watch.seen(), **made}
    found["peak_mib"] = peak() / 2**20
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--limit", type=float, default=2.0, help="GiB of addresses")
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--timeout", type=float, default=1800.0, help="of a step")
    parser.add_argument("--folder", type=Path, default=None, help="for the file")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        run_step(args)
        return
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "rows.float32"
        write(path, args.rows, args.columns)
        size = path.stat().st_size / 1e9
        print(f"{args.rows:,} x {args.columns}, {size:.1f} GB, limit {args.limit} GiB")
        for name in args.steps:
            found = step_in_process(name, path, args)
            shown = ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in found.items()
                if key != "check"
            )
            print(f"{name:12} {shown}", flush=True)


if __name__ == "__main__":
    main()
