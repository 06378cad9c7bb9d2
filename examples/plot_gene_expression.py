"""Which genes tell tumours apart, and how strongly is each one shrunk?

Breast cancers of three subtypes (The Cancer Genome Atlas), 150 tumours and 526
measurements of three kinds: microRNA, messenger RNA and protein. One strength for
all measurements (``LogisticRegressionCV``) is compared with one for each
(``BilevelLogisticCV()``) and with one for each kind (``feature_groups``).

The data are read from the folder that ``SKBILEVEL_DATA`` names. Without it,
expression is simulated: three blocks, of which one holds most of the signal.
"""

import argparse
import importlib.util
import os
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelLogisticCV

COLORS = {"mirna": "tab:orange", "mrna": "tab:blue", "protein": "tab:green"}


def load_data() -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Return expression, subtypes, names of the measurements and of the subtypes."""
    folder = os.environ.get("SKBILEVEL_DATA")
    if not folder or not (Path(folder) / "tcga_breast.npz").exists():
        return simulate(np.random.default_rng(0))
    spec = importlib.util.spec_from_file_location("data", Path(folder) / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    X, y, info = module.load("tcga_breast")
    names = [str(name) for name in info["feature_names"]]
    return X, y, names, [str(name) for name in info["target_names"]]


def simulate(
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Return three blocks of correlated measurements of three kinds of tumours."""
    n, sizes = 150, {"mirna": 184, "mrna": 200, "protein": 142}
    signal = {"mirna": 0.02, "mrna": 0.10, "protein": 0.05}
    y, blocks, names = rng.integers(0, 3, n), [], []
    for kind, size in sizes.items():
        factors = rng.standard_normal((n, 8)) @ rng.standard_normal((8, size))
        active = rng.random(size) < signal[kind]
        shift = 1.5 * active * rng.standard_normal((3, size))
        blocks.append(0.3 * factors + rng.standard_normal((n, size)) + shift[y])
        names += [f"{kind}:{k}" for k in range(size)]
    return np.hstack(blocks), y, names, ["A", "B", "C"]


def methods(kinds: np.ndarray) -> dict[str, BaseEstimator]:
    """Return one strength for all measurements, for each, and for each kind."""
    peer = LogisticRegressionCV(
        Cs=np.logspace(-4, 4, 17),
        l1_ratios=(0,),
        scoring="neg_log_loss",
        max_iter=1000,
        use_legacy_attributes=False,
    )
    return {
        "one strength (grid)": peer,
        "one per measurement": BilevelLogisticCV(),
        "one per kind": BilevelLogisticCV(feature_groups=kinds),
    }


def compare(
    X: np.ndarray, y: np.ndarray, kinds: np.ndarray, n_splits: int
) -> dict[str, np.ndarray]:
    """Return test log loss, accuracy and seconds of every split."""
    splitter = StratifiedShuffleSplit(n_splits, test_size=0.3, random_state=0)
    out: dict[str, list[tuple[float, float, float]]] = {}
    for train, test in splitter.split(X, y):
        for name, model in methods(kinds).items():
            pipe = make_pipeline(StandardScaler(), model)
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                pipe.fit(X[train], y[train])
            seconds = time.perf_counter() - start
            P = pipe.predict_proba(X[test])
            accuracy = float((pipe.classes_[P.argmax(axis=1)] == y[test]).mean())
            loss = log_loss(y[test], P)
            out.setdefault(name, []).append((loss, accuracy, seconds))
    return {name: np.array(values) for name, values in out.items()}


def draw(
    model: BilevelLogisticCV, names: list[str], classes: list[str], path: Path
) -> None:
    """Draw strengths against weights, and the weights of the foremost genes."""
    kinds = np.array([name.partition(":")[0] for name in names])
    size = abs(model.coef_).max(axis=0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    kept = np.isfinite(model.alpha_)
    for kind in dict.fromkeys(kinds):
        own = kinds == kind
        color = COLORS.get(kind, "grey")
        label = f"{kind}: {np.sum(own & kept)} of {np.sum(own)} kept"
        left.loglog(
            model.alpha_[own & kept],
            size[own & kept],
            "o",
            color=color,
            alpha=0.5,
            markersize=4,
            label=label,
        )
    first = np.argsort(-size)[:18]
    for j in first[:8]:
        left.annotate(
            names[j].partition(":")[2], (model.alpha_[j], size[j]), fontsize=7
        )
    left.set(xlabel="learned strength", ylabel="largest weight over the subtypes")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter("{x:g}")
    left.tick_params(axis="x", which="both", labelsize=8)
    left.legend(fontsize=8)
    right.axvline(0.0, color="lightgrey")
    markers = "os^Dv"
    for c, row in enumerate(model.coef_):
        right.plot(row[first], np.arange(len(first)), markers[c % 5], label=classes[c])
    right.set_yticks(np.arange(len(first)), [names[j] for j in first], fontsize=8)
    for tick, j in zip(right.get_yticklabels(), first, strict=True):
        tick.set_color(COLORS.get(kinds[j], "grey"))
    right.invert_yaxis()
    right.set(xlabel="weight (standardized measurement)")
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Compare on random splits, print, fit all tumours, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    output = Path("examples/output/gene_expression.png")
    parser.add_argument("--output", type=Path, default=output)
    args = parser.parse_args()
    X, y, names, classes = load_data()
    kinds = np.array([name.partition(":")[0] for name in names])
    print(f"{'strengths':<22}{'test log loss':>15}{'accuracy':>10}{'seconds':>9}")
    for name, values in compare(X, y, kinds, args.splits).items():
        loss, accuracy, seconds = values.mean(axis=0)
        print(f"{name:<22}{loss:>15.4f}{accuracy:>10.3f}{seconds:>9.1f}")
    model = make_pipeline(StandardScaler(), BilevelLogisticCV()).fit(X, y)[-1]
    draw(model, names, classes, args.output)
    removed = int(np.isinf(model.alpha_).sum())
    print(
        f"Of {len(names)} measurements, {removed} are removed; "
        f"the picture is in {args.output}."
    )


if __name__ == "__main__":
    main()
