"""What do labels of features buy?

Features often come in blocks: one per sensor, per questionnaire, per lag. Here
two of six blocks carry the signal. One strength for all, one per block
(``feature_groups``) and one per feature are compared with the truth known.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

BLOCKS = np.repeat(["sensor", "camera", "survey", "weather", "calendar", "noise"], 10)
# Spread of the true coefficients in each block.
SPREAD = {"sensor": 1.0, "camera": 0.3}
NOISE = 2.0


def make_data(n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return X, y and the coefficients behind them."""
    spread = np.array([SPREAD.get(block, 0.0) for block in BLOCKS])
    w = spread * rng.standard_normal(len(BLOCKS))
    X = rng.standard_normal((n, len(BLOCKS)))
    return X, X @ w + NOISE * rng.standard_normal(n), w


def methods() -> dict[str, BaseEstimator]:
    """Return the three ways to spread strengths over features."""
    estimators = {
        "one for all (RidgeCV)": RidgeCV(np.logspace(-3, 5, 41)),
        "one per block": BilevelRidgeCV(feature_groups=BLOCKS, hyperpenalty=None),
        "one per feature": BilevelRidgeCV(),
    }
    return {
        name: make_pipeline(StandardScaler(), estimator)
        for name, estimator in estimators.items()
    }


def excess_error(model: BaseEstimator, w: np.ndarray) -> float:
    """Return the error beyond the noise: the squared distance to the truth."""
    # The test rows are standard normal, so the expectation is known exactly.
    coef = model[-1].coef_ / model[0].scale_
    bias = model.predict(np.zeros((1, len(w))))[0]
    return float(np.sum((coef - w) ** 2) + bias**2)


def draw(errors: dict[str, list[float]], strengths: list[dict], path: Path) -> None:
    """Draw errors per method, and the strengths per block."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.boxplot(list(errors.values()))
    left.set_xticks([1, 2, 3], [name.replace(" (", "\n(") for name in errors])
    left.set(ylabel="error beyond the noise", ylim=(0, None))
    blocks = list(dict.fromkeys(BLOCKS))
    for found in strengths:
        height = [found[block] for block in blocks]
        right.semilogy(blocks, height, "o", color="tab:blue", alpha=0.4)
    right.set(ylabel="learned strength of the block")
    right.tick_params(axis="x", rotation=30)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Repeat the experiment, print the mean errors, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", type=Path, default="examples/output/groups.png")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {name: [] for name in methods()}
    strengths = []
    for _ in range(args.repeats):
        X, y, w = make_data(300, rng)
        for name, model in methods().items():
            errors[name].append(excess_error(model.fit(X, y), w))
            if name == "one per block":
                fitted = model[-1]
                labels, alpha = fitted.group_labels_, fitted.group_alpha_
                strengths.append(dict(zip(labels, alpha, strict=True)))
    print(f"{'strengths':<24}{'error beyond the noise':>24}")
    for name, values in errors.items():
        print(f"{name:<24}{np.mean(values):>24.4f}")
    draw(errors, strengths, args.output)
    shared, block, _ = (np.mean(values) for values in errors.values())
    print(
        f"Labels change the error beyond the noise by {block / shared - 1:+.0%} "
        f"against one strength for all; the picture is in {args.output}."
    )


if __name__ == "__main__":
    main()
