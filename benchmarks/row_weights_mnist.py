"""Hyper-cleaning of MNIST with a mean over the weights in place of one over the rows.

    python benchmarks/row_weights_mnist.py

The data of part (3) of ``papers/soba_saba.py``. Its penalty 0.2 |w|^2 is held fixed, or
learned with the weights; the loss is divided by the sum of the weights. Weights are a
function of the agreement of a row with the others (two rounds, one factor of the
hyperpenalty, no guard), learned on the trusted rows. Figures are errors of test rows of
the model at the learned weights, of all rows and of those with right labels at the
fixed penalty. ``SKBILEVEL_DATA`` names the folder of the data sets.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent / "papers"))

from _hyper_cleaning import PENALTY, HyperCleaning

from skbilevel.model_selection._row_weights import (
    TrustedTasks,
    agreement,
    cross_fitted,
)
from skbilevel.problems import SoftmaxLoss, as_design
from skbilevel.problems._weighted_rows import EqualWeights, row_weights_problem
from skbilevel.solvers import LBFGSB, DoubleLoop, ImplicitGradient, Newton

FACTOR, N_FOLDS, ROUNDS = 0.01, 3, 2


def tasks_of(case: HyperCleaning) -> TrustedTasks:
    """Return training rows, then trusted ones, as a search sees them."""
    n, m = len(case.X), len(case.Xv)
    rows, trusted = np.arange(n), n + np.arange(m)
    parts = np.array_split(np.random.default_rng(0).permutation(n), N_FOLDS)
    folds = [(np.setdiff1d(rows, part), part) for part in parts]
    return TrustedTasks(
        as_design(np.vstack([case.X, case.Xv])),
        np.vstack([case.Y, case.Yv]),
        np.ones(n + m),
        SoftmaxLoss(),
        [(rows, trusted)],
        folds,
        [],
        0,
    )


def learned(case: HyperCleaning, free: bool) -> tuple[float, float, float]:
    """Return the test error, and mean weights of wrong and of right labels.

    ``free`` says whether the strength is learned, too.
    """
    tasks = tasks_of(case)
    rho, n = float(np.log(2.0 * PENALTY)), len(case.X)
    factors, rho_now = np.ones(len(tasks.weight)), rho
    for _ in range(ROUNDS):
        losses, _ = cross_fitted(tasks, factors, rho_now)
        basis = agreement(tasks, losses)
        share = basis[:n].sum(axis=0) / n
        problem = row_weights_problem(
            tasks.train,
            [tasks.fit_of(tasks.splits[0][1])],
            basis,
            EqualWeights(FACTOR, share, rho, 0.1 if free else 0.0),
            spread=30.0,
            drift=1e3 if free else 1.0,
            n_free=0,
        )
        solver = DoubleLoop(Newton(), ImplicitGradient(), LBFGSB())
        result = solver.solve_oracles(problem, problem.theta0, tol=1e-3, max_iter=20)
        factors, rho_now = np.exp(basis @ result.theta[1:]), float(result.theta[0])
    weight = factors[:n] / factors[:n].max()
    wrong, right = weight[~case.clean].mean(), weight[case.clean].mean()
    assert result.w is not None
    return case.error(result.w), float(wrong), float(right)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000, help="training rows")
    args = parser.parse_args()
    print("| random labels | strength | all | right | weights | wrong, right weight |")
    print("|---|---|---|---|---|---|")
    for share in (0.5, 0.9):
        began = time.perf_counter()
        case = HyperCleaning(share, (args.rows, args.rows // 4, 10_000))
        known = [
            case.trained(case.X, case.Y),
            case.trained(case.X[case.clean], case.Y[case.clean]),
        ]
        for free in (False, True):
            error, wrong, right = learned(case, free)
            row = " | ".join(f"{each:.3f}" for each in (*known, error))
            name = "learned" if free else "fixed"
            print(
                f"| {share} | {name} | {row} | {wrong:.2f}, {right:.2f} |", flush=True
            )
        print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
