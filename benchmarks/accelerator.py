"""How much faster is a fit where X lies on an accelerator, transfers included?

The same float32 rows are fitted on the host by NumPy and on a device of torch (or
another library of the array API). Seconds of a fit on the device are those from X
on the host to coefficients on the host; what lies between is printed, too: the
transfer of X, and what came back during the fit. The first fit of a small problem on
each side loads libraries and is not timed.

    python benchmarks/accelerator.py --device cuda
    python benchmarks/accelerator.py --device cpu --rows 20000 --features 100

On ``--device cpu`` the script shows that it works and what the detour through another
library costs, and nothing about accelerators.
"""

import argparse
import os
import sys
import time
from typing import Any

# Before SciPy and scikit-learn are loaded.
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
from _report import add_output_options, table, write_json
from sklearn import config_context

from skbilevel import BilevelLogisticCV, BilevelRidgeCV, _array_api

HEADER = (
    "model",
    "host s",
    "device s",
    "host / device",
    "transfer s",
    "back MB",
    "difference",
)


def draw(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of single precision, a tenth of which matter."""
    rng = np.random.default_rng(0)
    X = np.empty((n, p), dtype=np.float32)
    for start in range(0, n, 10_000):
        X[start : start + 10_000] = rng.standard_normal((min(10_000, n - start), p))
    coef = np.zeros(p, dtype=np.float32)
    coef[: p // 10] = rng.standard_normal(p // 10)
    return X, X @ coef


def models(names: str, cv: int) -> dict[str, Any]:
    """The estimators that are asked for."""
    known = {
        "ridge": BilevelRidgeCV(cv=cv),
        "logistic": BilevelLogisticCV(cv=cv, feature_groups="shared"),
    }
    return {name: known[name] for name in names.split(",")}


def targets(name: str, signal: np.ndarray) -> np.ndarray:
    """Targets or classes with as much noise as signal."""
    rng = np.random.default_rng(1)
    if name == "ridge":
        return signal + signal.std() * rng.standard_normal(len(signal))
    return (signal + rng.logistic(size=len(signal)) > 0).astype(np.int64)


class Back:
    """Counts the bytes that come back from the device."""

    def __init__(self) -> None:
        self.n_bytes, self._fetch = 0, _array_api._fetched
        _array_api._fetched = self

    def __call__(self, array: Any) -> np.ndarray:
        """Fetch, and count."""
        found = self._fetch(array)
        self.n_bytes += found.nbytes
        return found


def waited(library: Any, device: str) -> None:
    """Wait for what the device has been asked to do."""
    if device.startswith("cuda"):
        library.cuda.synchronize()


def compared(
    name: str, model: Any, X: np.ndarray, y: np.ndarray, place: tuple[Any, str]
) -> dict[str, Any]:
    """Seconds of the host and of the device on the same rows."""
    library, device = place
    model.fit(X[:2000], y[:2000])
    start = time.perf_counter()
    here = model.fit(X, y).coef_
    host = time.perf_counter() - start
    with config_context(array_api_dispatch=True):
        small = library.asarray(X[:2000]).to(device)
        model.fit(small, y[:2000])
        back = Back()
        start = time.perf_counter()
        there = library.asarray(X).to(device)
        waited(library, device)
        transfer = time.perf_counter() - start
        model.fit(there, y)
        coef = np.asarray(model.coef_.cpu())
        seconds = time.perf_counter() - start
        _array_api._fetched = back._fetch
    return {
        "model": name,
        "host": host,
        "device": seconds,
        "transfer": transfer,
        "back": back.n_bytes / 1e6,
        "difference": float(abs(coef - here).max() / abs(here).max()),
    }


def main() -> None:
    """Fit all models on both sides."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--models", default="ridge,logistic")
    parser.add_argument("--device", default="cuda", help="of torch: cuda, mps, cpu")
    parser.add_argument("--folds", type=int, default=5)
    add_output_options(parser)
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("torch is not installed: pip install torch")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("torch sees no accelerator: give --device cpu for a trial")
    X, signal = draw(args.rows, args.features)
    reports = []
    for name, model in models(args.models, args.folds).items():
        y = targets(name, signal)
        reports.append(compared(name, model, X, y, (torch, args.device)))
        print(reports[-1], file=sys.stderr, flush=True)
    rows = [
        [
            each["model"],
            each["host"],
            each["device"],
            each["host"] / each["device"],
            each["transfer"],
            each["back"],
            each["difference"],
        ]
        for each in reports
    ]
    print(f"{args.rows} x {args.features} float32, X is {X.nbytes / 1e6:.0f} MB")
    print(table(HEADER, rows))
    write_json(args.json, {"device": args.device, "reports": reports})


if __name__ == "__main__":
    main()
