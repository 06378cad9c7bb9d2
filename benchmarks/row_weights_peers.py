"""Wrong rows that are found: ``SampleWeightsCV`` beside cleanlab's ``CleanLearning``.

    python benchmarks/row_weights_peers.py

needs cleanlab 2.9, in an environment of its own. Ten per cent of the rows are made
wrong at random: labels of breast cancer flipped, targets of diabetes moved up or down
by three standard deviations. cleanlab flags rows (five folds, a logistic or linear
regression behind a scaler). ``SampleWeightsCV`` knows that 5 % of the rows, none of
them wrong, can be trusted, and ranks the others; as many of them count as cleanlab
flags.
"""

import argparse
import warnings
from typing import Any

import numpy as np
from cleanlab.classification import CleanLearning
from cleanlab.regression.learn import CleanLearning as RegressionLearning
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import SampleWeightsCV

WRONG, TRUSTED = 0.1, 0.05


def corrupted(name: str, seed: int) -> tuple[Any, ...]:
    """Return X, targets as given, and masks of wrong and of trusted rows."""
    classes = name == "breast cancer"
    X, y = (load_breast_cancer if classes else load_diabetes)(return_X_y=True)
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(y)) < WRONG * len(y)
    if classes:
        y = np.where(wrong, 1 - y, y)
    else:
        y = y + np.where(wrong, 3.0 * y.std() * rng.choice([-1.0, 1.0], len(y)), 0.0)
    trusted = np.zeros(len(y), dtype=bool)
    right = rng.permutation(np.flatnonzero(~wrong))
    trusted[right[: int(TRUSTED * len(y))]] = True
    return X, y, wrong, trusted


def compared(name: str, seed: int) -> list[int]:
    """Return wrong rows, flagged rows, and those found by both among as many."""
    X, y, wrong, trusted = corrupted(name, seed)
    classes = name == "breast cancer"
    model = LogisticRegression(max_iter=2000) if classes else LinearRegression()
    peer: Any = (CleanLearning if classes else RegressionLearning)(
        make_pipeline(StandardScaler(), model), cv_n_folds=5, seed=seed
    )
    issues = peer.find_label_issues(X, y)
    flagged = np.flatnonzero(issues["is_label_issue"].to_numpy())
    last = LogisticRegression(max_iter=2000) if classes else Ridge()
    ours = SampleWeightsCV(make_pipeline(StandardScaler(), last))
    ranking = ours.fit(X, y, trusted=trusted).ranking_
    found = wrong[ranking[: len(flagged)]].sum()
    return [wrong.sum(), len(flagged), wrong[flagged].sum(), found]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| data | seed | wrong | flagged | found by cleanlab | by SampleWeightsCV |")
    print("|---|---|---|---|---|---|")
    for name in ("diabetes", "breast cancer"):
        for seed in range(args.seeds):
            row = " | ".join(str(each) for each in compared(name, seed))
            print(f"| {name} | {seed} | {row} |", flush=True)


if __name__ == "__main__":
    main()
