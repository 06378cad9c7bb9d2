"""diffprivlib on the sets of privacy.py, in an environment of its own.

diffprivlib 0.6.6 cannot be imported beside today's scikit-learn. In an environment with
``scikit-learn==1.6.1``, ``diffprivlib==0.6.6`` and pandas:

    python benchmarks/private_peer.py --output peer.json
    python benchmarks/privacy.py --peer peer.json

It is private for delta = 0, which is stronger than what it is compared with. Features
and targets have the same bounds, columns are in units of them. Predictions of numbers
are clipped to the bounds of the targets, as ours are.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _private_sets import SETS, PrivateSet, private_set

EPSILONS = (0.1, 1.0, 10.0)


def fitted_score(data: PrivateSet, epsilon: float, seed: int) -> float:
    """Score of one fit on rows that it has not seen."""
    from diffprivlib.models import LinearRegression, LogisticRegression

    train, test = data.split(seed)
    X, y = data.units(), data.y
    model: Any
    if data.regression:
        bounds = (-1.0, 1.0)
        model = LinearRegression(
            epsilon=epsilon, bounds_X=bounds, bounds_y=data.targets, random_state=seed
        )
        out = np.clip(model.fit(X[train], y[train]).predict(X[test]), *data.targets)
        return float(1.0 - np.mean((y[test] - out) ** 2) / np.var(y[test]))
    model = LogisticRegression(
        epsilon=epsilon, data_norm=data.row_norm, max_iter=1000, random_state=seed
    )
    return float(model.fit(X[train], y[train]).score(X[test], y[test]))


def main() -> None:
    """Write scores and seconds of every set and epsilon."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in SETS:
        for epsilon in EPSILONS:
            scores, seconds = [], []
            for seed in range(args.seeds):
                start = time.process_time()
                scores.append(fitted_score(private_set(name), epsilon, seed))
                seconds.append(time.process_time() - start)
            row = {"set": name, "epsilon": epsilon, "score": float(np.median(scores))}
            rows.append({**row, "seconds": float(np.median(seconds))})
            print(rows[-1], flush=True)
            args.output.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
