"""DP-CD: private coordinate descent beside private gradient descent.

    python benchmarks/papers/dp_cd.py
    python benchmarks/papers/dp_cd.py --quick

Protocol. Epsilon 1, delta 1 / n^2, seeds 0 to {LAST}, medians. Relative error of the
training objective to its minimum without noise: logistic regression on electricity
(45,312 x 8) and the lasso with strength 0.01 of a target of unit bounds on California
housing (20,640 x 8). "raw" are columns in units of bounds that somebody would write
down, "standardized" have unit variance and bounds of five. First nothing is tuned:
clips, steps and smoothness constants come from the package's rules, smoothness
constants of coordinate descent from 15 % of the budget. Then, as in the paper, clips
and passes are chosen with hindsight for both methods, at no cost of privacy: ``clip``
among {CLIPS} times the package's level and ``n_passes`` among those of the first
table, by the errors of seeds 0 to {HALF}; the errors of the other seeds are shown.

What agrees with the paper. On raw columns coordinate descent ends far below gradient
descent at equal privacy, {GAIN} times on electricity: every coefficient has its own
step and its own noise. More passes help until their noise outweighs them.

What does not. The figures of the paper were not at hand in numbers, so none of them is
claimed here. With clips and passes of hindsight coordinate descent has {TUNED} of its
untuned error on raw electricity, and gradient descent {TUNED_GD}; between the two
remain {TUNED_GAIN} times. Gradient descent is behind on standardized columns as well,
where the paper has both level: the paper tunes its step, too, and here that is one over
a bound on the smoothness, which is far too short for such columns. Clips do not mend
that. Private scales of the columns, the default of the package, do in part ("dp-gd,
scaled"): tuned with hindsight it is ahead of coordinate descent on raw California. A
private preconditioner with ten noisy gradients, which is the default of the package, is
level with coordinate descent on raw columns ({PRE} on electricity).

Reference: P. Mangold, A. Bellet, J. Salmon, M. Tommasi (2022). Differentially private
coordinate descent for composite empirical risk minimization. ICML.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _common import (
    markdown,
    median,
    options,
    write_figure,
    write_page,
)
from _private_sets import private_set
from _report import new_figure
from privacy import electricity, mean_loss

from skbilevel import DPLasso, DPLogistic

ALPHA = 0.01
PASSES = (10, 50, 200)
STEPS = (50, 200)
SEEDS = 10
CLIPS = (0.125, 0.25, 0.5, 1.0, 2.0)
# Gradient descent as published, and with private scales of the columns.
GRADIENTS = {"dp-gd": False, "dp-gd, scaled": True}


def logistic_errors(Z: Any, y: Any, bounds: Any, seeds: range, **how: Any) -> Any:
    """Median relative error of the training loss."""
    best = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(Z, y)
    least = mean_loss(Z, y, best)
    delta = 1.0 / len(y) ** 2
    return median(
        [
            mean_loss(Z, y, model.fit(Z, y)) / least - 1.0
            for model in (
                DPLogistic(1.0, delta, feature_bounds=bounds, random_state=s, **how)
                for s in seeds
            )
        ]
    )


def lasso_errors(Z: Any, y: Any, bounds: Any, seeds: range, **how: Any) -> Any:
    """The same of the lasso."""

    def objective(coef: Any, intercept: float) -> float:
        residual = y - Z @ coef - intercept
        return float(0.5 * (residual**2).mean() + ALPHA * abs(coef).sum())

    best = Lasso(ALPHA, tol=1e-8, max_iter=100_000).fit(Z, y)
    least = objective(best.coef_, best.intercept_)
    models = (
        DPLasso(
            1.0,
            1.0 / len(y) ** 2,
            feature_bounds=bounds,
            alpha=ALPHA,
            random_state=seed,
            **how,
        ).fit(Z, y)
        for seed in seeds
    )
    return median([objective(m.coef_, m.intercept_) / least - 1.0 for m in models])


def cases(quick: bool) -> Any:
    """Name, rows, targets, bounds and the function of errors."""
    for kind, Z, y, bounds in electricity():
        rows = slice(None, None, 20 if quick else 1)
        yield f"electricity, {kind}", Z[rows], y[rows], bounds, logistic_errors
    data = private_set("california")
    y = (data.y - 250_000.0) / 250_000.0
    one = (-1.0, 1.0)
    Z = data.units()
    rows = slice(None, None, 20 if quick else 1)
    yield "California, raw", Z[rows], y[rows], one, lasso_errors
    scaled = np.clip(StandardScaler().fit_transform(Z), -5.0, 5.0)
    yield "California, standardized", scaled[rows], y[rows], (-5.0, 5.0), lasso_errors


def hindsight(errors: Any, quick: bool, **how: Any) -> tuple[float, int, float]:
    """Clip and passes of the least error on half of the seeds, and that of the others.

    ``errors(seeds, **how)`` is a median error.
    """
    half = range(1) if quick else range(SEEDS // 2)
    passes = how.pop("passes")
    grid = [(clip, n) for clip in CLIPS for n in passes][: 2 if quick else None]
    clip, n = min(grid, key=lambda g: errors(half, clip=g[0], n_passes=g[1], **how))
    others = range(1, 2) if quick else range(SEEDS // 2, SEEDS)
    return clip, n, errors(others, clip=clip, n_passes=n, **how)


def main() -> None:
    """Print the tables and, without --quick, write the page."""
    args = options(__doc__)
    seeds = range(2 if args.quick else SEEDS)
    rows, tuned, curves, found = [], [], {}, {}
    for name, Z, y, bounds, errors in cases(args.quick):

        def of(chosen: range, errors: Any = errors, data: Any = (Z, y, bounds), **how):
            return errors(*data, chosen, **how)

        curve = []
        for passes in PASSES[:1] if args.quick else PASSES:
            value = of(seeds, solver="dp-cd", n_passes=passes)
            curve.append(value)
            rows.append([name, "dp-cd", passes, value])
        curves[name] = curve
        for label, scale in GRADIENTS.items():
            how = {"solver": "dp-gd", "scale": scale}
            for steps in STEPS[:1] if args.quick else STEPS:
                value = of(seeds, n_passes=steps, **how)
                found[name, label] = min(value, found.get((name, label), np.inf))
                rows.append([name, label, steps, value])
        best = "preconditioned" if errors is logistic_errors else "moments"
        found[name, best] = of(seeds, solver=best)
        rows.append([name, best, "", found[name, best]])
        found[name, "dp-cd"] = min(curve)
        ways = {"dp-cd": {"solver": "dp-cd", "passes": PASSES}}
        for label, scale in GRADIENTS.items():
            ways[label] = {"solver": "dp-gd", "scale": scale, "passes": STEPS}
        for label, how in ways.items():
            clip, n, value = hindsight(of, args.quick, **how)
            found[name, label, "tuned"] = value
            tuned.append([name, label, clip, n, value, found[name, label]])
    header = ["data", "solver", "passes or steps", "relative error"]
    late = [
        "data",
        "solver",
        "clip",
        "passes or steps",
        "relative error",
        "with clip 1",
    ]
    parts = markdown(header, rows), "## Tuned with hindsight", markdown(late, tuned)
    tables = "\n\n".join(parts)
    print(tables)
    if args.quick:
        return
    figure, ax = new_figure()
    for name, curve in curves.items():
        ax.loglog(PASSES, curve, "o-", label=name)
    ax.set_xlabel("passes of dp-cd")
    ax.set_ylabel("relative error (down is better)")
    ax.set_title("Passes help until their noise outweighs them")
    ax.legend(frameon=False)
    write_figure(args.out, "dp_cd", figure)
    raw = "electricity, raw"
    best_gd = found[raw, "dp-gd", "tuned"]
    facts = {
        "{LAST}": SEEDS - 1,
        "{GAIN}": f"{found[raw, 'dp-gd'] / min(curves[raw]):.0f}",
        "{HALF}": SEEDS // 2 - 1,
        "{CLIPS}": ", ".join(f"{clip:g}" for clip in CLIPS),
        "{TUNED}": f"{found[raw, 'dp-cd', 'tuned'] / found[raw, 'dp-cd']:.2f}",
        "{TUNED_GD}": f"{best_gd / found[raw, 'dp-gd']:.2f}",
        "{TUNED_GAIN}": f"{best_gd / found[raw, 'dp-cd', 'tuned']:.0f}",
        "{PRE}": f"{found[raw, 'preconditioned']:.4f} beside {min(curves[raw]):.4f}",
    }
    text = (__doc__ or "").split("--quick\n", 1)[1]
    for key, value in facts.items():
        text = text.replace(key, str(value))
    picture = "![Error against passes](../_static/papers/dp_cd.png)"
    write_page(args.out, "dp_cd", f"# DP-CD\n{text}\n{picture}\n\n{tables}\n")


if __name__ == "__main__":
    main()
