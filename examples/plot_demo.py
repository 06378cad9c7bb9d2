"""
Does one strength per feature predict better than one strength for all?
=======================================================================

Two data sets that come with scikit-learn are split again and again into a
training and a test part. On each training part the usual grid search over 41
strengths of ridge regression and ``BilevelRidgeCV()`` with its defaults are
fitted behind the same scaler; the table gives their errors on the test parts.

From a shell, ``python examples/plot_demo.py --output FILE`` saves the picture.
"""

# %%
# What is compared
# ----------------

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skbilevel import BilevelRidgeCV

ALPHAS = np.logspace(-3, 5, 41)
GRID, BILEVEL = "GridSearchCV", "BilevelRidgeCV"


def grid_search() -> BaseEstimator:
    """Return what most users write today: one strength, found on a grid."""
    pipeline = make_pipeline(StandardScaler(), Ridge())
    grid = {"ridge__alpha": ALPHAS}
    return GridSearchCV(pipeline, grid, cv=5, scoring="neg_mean_squared_error")


def bilevel() -> BaseEstimator:
    """Return the line that replaces it."""
    return make_pipeline(StandardScaler(), BilevelRidgeCV())


METHODS: dict[str, Callable[[], BaseEstimator]] = {GRID: grid_search, BILEVEL: bilevel}


# %%
# The data
# --------


def diabetes_with_interactions() -> tuple[np.ndarray, np.ndarray]:
    """Return ten patient measurements with squares and products, and progression."""
    X, y = load_diabetes(return_X_y=True)
    return PolynomialFeatures(2, include_bias=False).fit_transform(X), y


def worst_nucleus_from_mean_nucleus() -> tuple[np.ndarray, np.ndarray]:
    """Return mean shapes of cell nuclei with products, and the worst concavity."""
    data = load_breast_cancer()
    names = list(data.feature_names)
    mean = [j for j, name in enumerate(names) if name.startswith("mean ")]
    X = PolynomialFeatures(2, include_bias=False).fit_transform(data.data[:, mean])
    return X, data.data[:, names.index("worst concavity")]


DATA = {
    "diabetes": diabetes_with_interactions,
    "cell nuclei": worst_nucleus_from_mean_nucleus,
}


# %%
# Paired errors
# -------------
# Both methods see the same splits, so that differences are those of the methods.


@dataclass(frozen=True)
class Comparison:
    """Test errors relative to the variance of y, and fit times, per split."""

    error: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    last: dict[str, BaseEstimator]

    def log_ratio(self) -> np.ndarray:
        """Return log(error of BilevelRidgeCV / error of the grid search)."""
        return np.log(self.error[BILEVEL] / self.error[GRID])


def compare(X: np.ndarray, y: np.ndarray, n_splits: int) -> Comparison:
    """Fit and judge both methods on the same splits."""
    error = {name: np.empty(n_splits) for name in METHODS}
    seconds = {name: np.empty(n_splits) for name in METHODS}
    last = {}
    splits = ShuffleSplit(n_splits, test_size=0.3, random_state=0).split(X)
    for k, (train, test) in enumerate(splits):
        for name, make in METHODS.items():
            start = time.perf_counter()
            last[name] = make().fit(X[train], y[train])
            seconds[name][k] = time.perf_counter() - start
            mse = mean_squared_error(y[test], last[name].predict(X[test]))
            error[name][k] = mse / np.var(y[test])
    return Comparison(error, seconds, last)


def print_table(results: dict[str, Comparison]) -> None:
    """Print errors, times and the paired comparison."""
    print(
        f"{'data':<13}{'method':<16}{'test MSE/var(y)':>16}{'test R2':>9}{'fit s':>8}"
    )
    for data, found in results.items():
        for name in METHODS:
            error = found.error[name].mean()
            seconds = np.median(found.seconds[name])
            print(f"{data:<13}{name:<16}{error:>16.4f}{1 - error:>9.4f}{seconds:>8.2f}")
    for data, found in results.items():
        ratio = found.log_ratio()
        spread = ratio.std(ddof=1) / np.sqrt(len(ratio))
        print(
            f"{data}: log(MSE/MSE of the grid search) "
            f"{ratio.mean():+.4f} +- {spread:.4f}, "
            f"smaller error in {np.sum(ratio < 0)} of {len(ratio)} splits"
        )


# %%
# The picture
# -----------


def draw(results: dict[str, Comparison]) -> plt.Figure:
    """Draw the change of the test error in every split, and the last strengths."""
    with plt.rc_context({"font.size": 13}):
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(6.8, 6.4), layout="constrained", height_ratios=(1, 1.2)
        )
        draw_changes(top, results)
        data, found = next(iter(results.items()))
        draw_strengths(bottom, found, data)
    return figure


def draw_changes(ax: plt.Axes, results: dict[str, Comparison]) -> None:
    """Draw a dot per split, and the mean of every data set."""
    means = []
    for row, found in enumerate(results.values()):
        change = 100 * np.expm1(found.log_ratio())
        means.append(100 * np.expm1(found.log_ratio().mean()))
        color = np.where(change < 0, "tab:blue", "tab:red")
        ax.scatter(change, np.full(len(change), row), c=color, alpha=0.6, s=50)
        ax.plot([means[-1]] * 2, [row - 0.3, row + 0.3], "k", linewidth=3)
    ax.axvline(0.0, linestyle="--", color="tab:gray")
    ax.set_yticks(range(len(results)), list(results))
    ax.set(ylim=(len(results) - 0.4, -0.6))
    ax.set(xlabel="change of the test error, % (left is better)")
    ax.set_title(
        "One strength per feature: test error "
        + " and ".join(f"{mean:+.0f} %" for mean in means)
    )


def draw_strengths(ax: plt.Axes, found: Comparison, data: str) -> None:
    """Draw the learned strengths, sorted, beside the shared one."""
    shared = found.last[GRID].best_params_["ridge__alpha"]
    alpha = np.sort(found.last[BILEVEL][-1].alpha_)
    kept = np.isfinite(alpha)
    ax.semilogy(
        np.flatnonzero(kept) + 1, alpha[kept], "o", color="tab:blue", label=BILEVEL
    )
    ax.axhline(shared, linestyle="--", color="tab:gray", label=GRID)
    if not kept.all():
        ax.axvspan(kept.sum() + 0.5, len(alpha) + 0.5, alpha=0.15, label="removed")
    ax.set_title(f"{np.sum(~kept)} of {len(alpha)} features are removed ({data})")
    ax.set(xlabel="features, sorted", ylabel="strength\n(up: shrunk more)")
    ax.legend(loc="best")


def save(figure: plt.Figure, path: Path) -> None:
    """Write the picture to a file, and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    print(f"The picture is in {path}.")


# %%
# Above, each dot is a split (blue: ``BilevelRidgeCV`` is better), and a bar is the
# mean. Below, the strengths of the last split.

parser = argparse.ArgumentParser(
    description="One strength per feature, or one for all?"
)
parser.add_argument("--splits", type=int, default=10, help="per data set")
parser.add_argument("--output", type=Path, help="where to save the picture")
args = parser.parse_args()

results = {name: compare(*make(), n_splits=args.splits) for name, make in DATA.items()}
print_table(results)
picture = draw(results)
if args.output:
    save(picture, args.output)
plt.show()

# %%
# The answer
# ----------

better = [np.sum(found.log_ratio() < 0) for found in results.values()]
change = [np.expm1(found.log_ratio().mean()) for found in results.values()]
won = [name for name, by in zip(results, change, strict=True) if by < 0]
print(
    f"On average it does for {' and '.join(won) or 'neither'}: the test error changes "
    f"by {change[0]:+.1%} for diabetes and by {change[1]:+.1%} for cell nuclei, and is "
    f"smaller in {better[0]} and {better[1]} of {args.splits} splits."
)
