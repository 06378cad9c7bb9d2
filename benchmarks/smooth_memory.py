"""Time and memory of an additive model of many rows.

``python benchmarks/smooth_memory.py`` fits eight curves to a million rows of float32
and prints seconds, those of the processor, and the peak of memory beyond X.
"""

import argparse
import resource
import time

import numpy as np

from skbilevel import BilevelPoissonCV, BilevelRidgeCV, make_additive


def peak() -> float:
    """Largest memory of the process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--counts", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.uniform(0.0, 1.0, (options.rows, 8)).astype(np.float32)
    mean = np.sin(2.0 * np.pi * X[:, 0]) + X[:, 1]
    if options.counts:
        estimator, y = BilevelPoissonCV(), rng.poisson(np.exp(mean))
    else:
        estimator = BilevelRidgeCV()
        y = mean + rng.standard_normal(options.rows).astype(np.float32)
    before, start, busy = peak(), time.perf_counter(), time.process_time()
    model = make_additive(estimator).fit(X, y)
    seconds, more = time.perf_counter() - start, peak() - before
    busy = time.process_time() - busy
    score = model.score(X[:100_000], y[:100_000])
    print(f"{seconds:.1f} s, {busy:.1f} s of CPU, {more:.2f} GB beside X", end="")
    print(f", score {score:.4f}")


if __name__ == "__main__":
    main()
