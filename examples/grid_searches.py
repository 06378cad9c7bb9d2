"""Ten programs with GridSearchCV, and what they become with BilevelSearchCV.

Every function fits one search on training data. ``PROGRAMS`` pairs them with their
data; run as a script, this file prints test scores and times of all pairs::

    python examples/grid_searches.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    TimeSeriesSplit,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from skbilevel import BilevelLogisticCV, BilevelRidgeCV, BilevelSearchCV

ALPHAS = np.logspace(-4, 4, 20)

# --- 1. Linear regression on numbers


def diabetes(seed):
    """442 patients, 10 measurements, and the progression of their disease."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return train_test_split(X, y, random_state=seed)


def ridge_before(X, y):
    pipe = make_pipeline(StandardScaler(), Ridge())
    return GridSearchCV(pipe, {"ridge__alpha": ALPHAS}).fit(X, y)


def ridge_after(X, y):
    pipe = make_pipeline(StandardScaler(), BilevelRidgeCV())
    return BilevelSearchCV(pipe).fit(X, y)


# --- 2. Curves instead of lines


def splines_before(X, y):
    pipe = make_pipeline(SplineTransformer(), StandardScaler(), Ridge())
    return GridSearchCV(pipe, {"ridge__alpha": ALPHAS}).fit(X, y)


def splines_after(X, y):
    pipe = make_pipeline(SplineTransformer(), StandardScaler(), BilevelRidgeCV())
    return BilevelSearchCV(pipe).fit(X, y)


# --- 3. A data frame with categories


def houses(seed):
    """Prices of 1,000 made-up houses: two numbers and two categories."""
    rng = np.random.default_rng(seed)
    n = 1000
    area = rng.gamma(9.0, 12.0, n)
    age = rng.uniform(0.0, 100.0, n)
    town = rng.choice([f"town {k}" for k in range(40)], n)
    heating = rng.choice(["gas", "oil", "pump", "wood"], n, p=[0.5, 0.3, 0.19, 0.01])
    level = dict(
        zip(np.unique(town), np.random.default_rng(0).normal(0, 40, 40), strict=True)
    )
    price = 3.0 * area - 0.5 * age + pd.Series(town).map(level)
    price = price + 25.0 * (heating == "pump") + rng.normal(0.0, 60.0, n)
    X = pd.DataFrame({"area": area, "age": age, "town": town, "heating": heating})
    return train_test_split(X, price, random_state=seed)


def encoder():
    """Numbers scaled, categories as columns of zeros and ones."""
    return make_column_transformer(
        (StandardScaler(), ["area", "age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["town", "heating"]),
    )


def frame_before(X, y):
    pipe = make_pipeline(encoder(), Ridge())
    return GridSearchCV(pipe, {"ridge__alpha": ALPHAS}).fit(X, y)


def frame_after(X, y):
    pipe = make_pipeline(encoder(), BilevelRidgeCV())
    return BilevelSearchCV(pipe).fit(X, y)


# --- 4. Spectra: regression on principal components


def spectra(seed):
    """150 made-up spectra of 400 wavelengths; two of six substances matter."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0.0, 1.0, 400)
    centers = np.linspace(0.1, 0.9, 6)
    peaks = np.exp(-((grid - centers[:, None]) ** 2) / 0.005)
    amount = rng.gamma(2.0, 1.0, (150, 6))
    X = amount @ peaks + rng.normal(0.0, 0.3, (150, 400))
    y = amount[:, 1] - 0.7 * amount[:, 4] + rng.normal(0.0, 0.3, 150)
    return train_test_split(X, y, random_state=seed)


def components_before(X, y):
    pipe = make_pipeline(StandardScaler(), PCA(40), Ridge())
    return GridSearchCV(pipe, {"ridge__alpha": ALPHAS}).fit(X, y)


def components_after(X, y):
    pipe = make_pipeline(StandardScaler(), PCA(40), BilevelRidgeCV())
    return BilevelSearchCV(pipe).fit(X, y)


# --- 5. Two classes, scored by the area under the curve


def cancer(seed):
    """569 tumours, 30 measurements, benign or malignant."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return train_test_split(X, y, stratify=y, random_state=seed)


def logistic_before(X, y):
    pipe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    grid = {"logisticregression__C": ALPHAS}
    return GridSearchCV(pipe, grid, scoring="roc_auc").fit(X, y)


def logistic_after(X, y):
    pipe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return BilevelSearchCV(pipe, scoring="roc_auc").fit(X, y)


# --- 6. Ten classes


def digits(seed):
    """1,797 digits of 8 x 8 pixels."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=seed)


def classes_before(X, y):
    pipe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return GridSearchCV(pipe, {"logisticregression__C": ALPHAS}).fit(X, y)


def classes_after(X, y):
    pipe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return BilevelSearchCV(pipe).fit(X, y)


# --- 7. Texts


def texts(seed):
    """1,200 made-up texts of two kinds, which differ in 40 of 4,000 words."""
    rng = np.random.default_rng(seed)
    words = np.array([f"word{k}" for k in range(4000)])
    share = 1.0 / np.arange(3, 4003)
    y = rng.integers(0, 2, 1200)
    told = np.random.default_rng(0).choice(np.arange(20, 800), 40, replace=False)
    kinds = np.stack([share, share])
    kinds[0, told[:20]] *= 4.0
    kinds[1, told[20:]] *= 4.0
    kinds /= kinds.sum(axis=1, keepdims=True)
    docs = [" ".join(rng.choice(words, 60, p=kinds[kind])) for kind in y]
    return train_test_split(docs, y, stratify=y, random_state=seed)


def text_before(X, y):
    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    return GridSearchCV(pipe, {"logisticregression__C": ALPHAS}).fit(X, y)


def text_after(X, y):
    pipe = make_pipeline(TfidfVectorizer(), BilevelLogisticCV())
    return BilevelSearchCV(pipe).fit(X, y)


# --- 8. Classes by ridge regression, weighted by their frequency


def wine(seed):
    """178 wines of three growers, 13 measurements."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    return train_test_split(X, y, stratify=y, random_state=seed)


def balanced_before(X, y):
    pipe = make_pipeline(StandardScaler(), RidgeClassifier(class_weight="balanced"))
    return GridSearchCV(pipe, {"ridgeclassifier__alpha": ALPHAS}).fit(X, y)


def balanced_after(X, y):
    pipe = make_pipeline(StandardScaler(), RidgeClassifier(class_weight="balanced"))
    return BilevelSearchCV(pipe).fit(X, y)


# --- 9. Claims per year, folds that never look into the future


def claims(seed):
    """Claims of 2,000 made-up policies in the order of time."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2000, 12))
    rate = np.exp(0.3 * X[:, 0] - 0.4 * X[:, 1] + 0.2 * X[:, 2] - 1.0)
    y = rng.poisson(rate).astype(float)
    return train_test_split(X, y, shuffle=False)


def counts_before(X, y):
    pipe = make_pipeline(StandardScaler(), PoissonRegressor(max_iter=1000))
    grid = {"poissonregressor__alpha": ALPHAS}
    return GridSearchCV(pipe, grid, cv=TimeSeriesSplit(5)).fit(X, y)


def counts_after(X, y):
    pipe = make_pipeline(StandardScaler(), PoissonRegressor(max_iter=1000))
    return BilevelSearchCV(pipe, cv=TimeSeriesSplit(5)).fit(X, y)


# --- 10. Costs of patients, several visits each; folds of whole patients


def visits(seed):
    """Costs of 900 made-up visits of 150 patients, who are the last column."""
    rng = np.random.default_rng(seed)
    patient = np.arange(900) % 150
    X = rng.normal(size=(900, 8)) + rng.normal(size=(150, 8))[patient]
    level = 0.3 * X[:, 0] + 0.2 * X[:, 3] + rng.normal(0.0, 0.5, 150)[patient]
    y = rng.gamma(3.0, np.exp(level) / 3.0)
    X = np.column_stack([X, patient])
    train, test = next(GroupShuffleSplit(random_state=seed).split(X, y, patient))
    return X[train], X[test], y[train], y[test]


def groups_before(X, y):
    X, patient = X[:, :-1], X[:, -1]
    pipe = make_pipeline(StandardScaler(), GammaRegressor(max_iter=1000))
    search = GridSearchCV(pipe, {"gammaregressor__alpha": ALPHAS}, cv=GroupKFold(5))
    return search.fit(X, y, groups=patient)


def groups_after(X, y):
    X, patient = X[:, :-1], X[:, -1]
    pipe = make_pipeline(StandardScaler(), GammaRegressor(max_iter=1000))
    return BilevelSearchCV(pipe, cv=GroupKFold(5)).fit(X, y, groups=patient)


PROGRAMS = {
    "ridge": (diabetes, ridge_before, ridge_after),
    "splines": (diabetes, splines_before, splines_after),
    "frame": (houses, frame_before, frame_after),
    "components": (spectra, components_before, components_after),
    "logistic": (cancer, logistic_before, logistic_after),
    "classes": (digits, classes_before, classes_after),
    "text": (texts, text_before, text_after),
    "balanced": (wine, balanced_before, balanced_after),
    "counts": (claims, counts_before, counts_after),
    "groups": (visits, groups_before, groups_after),
}


def compare(name, seed=0):
    """Test scores and seconds of both programs on one split."""
    data, *programs = PROGRAMS[name]
    X, X_test, y, y_test = data(seed)
    out = []
    for program in programs:
        start = time.perf_counter()
        search = program(X, y)
        seconds = time.perf_counter() - start
        X_new = X_test[:, :-1] if name == "groups" else X_test
        out.append((search.score(X_new, y_test), seconds))
    return out


def main():
    """Print a line for every program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'':12}{'score before':>14}{'after':>9}{'s before':>10}{'after':>8}")
    for name in args.names:
        (old, slow), (new, fast) = compare(name, args.seed)
        print(f"{name:12}{old:14.4f}{new:9.4f}{slow:10.2f}{fast:8.2f}", flush=True)


if __name__ == "__main__":
    main()
