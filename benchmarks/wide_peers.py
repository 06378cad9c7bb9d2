"""Far more columns than rows: one method beside others, each in its environment.

adelie (a group elastic net in C++) asks for NumPy below 2, so that a run takes one
method and prints CPU seconds and errors relative to the mean of the training rows:

    python benchmarks/wide_peers.py ridge
    python benchmarks/wide_peers.py lasso
    python benchmarks/wide_peers.py adelie      (where adelie is installed)
"""

import argparse
import time

import numpy as np
from _data import load_set
from sklearn.linear_model import LassoCV
from sklearn.preprocessing import StandardScaler

SETS, SPLITS = ("riboflavin", "aquatic_tox_blocks"), 6


def adelie(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Return predictions of its lasso path, chosen by five folds."""
    import adelie as ad

    X, glm = np.asfortranarray(X), ad.glm.gaussian(y=y)
    options = {"n_threads": 1, "progress_bar": False}
    folds = ad.cv_grpnet(X, glm, n_folds=5, seed=0, **options)
    state = folds.fit(X, glm, **options)
    coef = np.asarray(state.betas[-1].todense()).ravel()
    return X_test @ coef + float(state.intercepts[-1])


def ridge(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Return predictions of the default."""
    from skbilevel import BilevelRidgeCV

    return BilevelRidgeCV().fit(X, y).predict(X_test)


def lasso(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Return predictions of scikit-learn's lasso."""
    return LassoCV().fit(X, y).predict(X_test)


def main() -> None:
    """Run one method on both sets."""
    methods = {each.__name__: each for each in (adelie, ridge, lasso)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=methods)
    method = methods[parser.parse_args().method]
    for name in SETS:
        data, seconds, errors = load_set(name), [], []
        for split in range(SPLITS):
            X, y, X_test, y_test = data.parts(split)
            scaler = StandardScaler().fit(X)
            began = time.process_time()
            found = method(scaler.transform(X), y, scaler.transform(X_test))
            seconds.append(time.process_time() - began)
            base = np.mean((y_test - y.mean()) ** 2)
            errors.append(np.mean((y_test - found) ** 2) / base)
        print(f"{name:20} {np.median(seconds):.2f} s, error {np.mean(errors):.3f}")


if __name__ == "__main__":
    main()
