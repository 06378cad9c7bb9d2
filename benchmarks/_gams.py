"""Additive models of others, behind one interface: tables in, means out.

Every class has ``fit(X, y, exposure)`` and ``predict(X, exposure)``, where ``exposure``
is None but for claims, and ``seconds`` where the time of a fit is not that of ``fit``.
What is not installed is None in ``PEERS``.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

try:
    import pygam
except ImportError:
    pygam = None
try:
    import superglm
except ImportError:
    superglm = None
try:
    from statsmodels import api as statsmodels
    from statsmodels.gam.api import BSplines, GLMGam
except ImportError:
    statsmodels = None
try:
    from interpret.glassbox import (
        ExplainableBoostingClassifier,
        ExplainableBoostingRegressor,
    )
except ImportError:
    ExplainableBoostingRegressor = None

# Numbers with fewer values stay lines where a basis needs more.
_CURVED_FROM = 12
FAMILIES = ("normal", "counts", "classes")


def texts(X: pd.DataFrame) -> list[str]:
    """Names of the columns that are categories."""
    return [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]


class Peer:
    """A model of one of the families."""

    seconds: float | None = None

    def __init__(self, family: str) -> None:
        self.family = family

    def known(self, X: pd.DataFrame, fitting: bool) -> pd.DataFrame:
        """Categories that the fit has not seen become the most frequent one."""
        X = X.copy()
        if fitting:
            self.levels = {name: X[name].value_counts().index for name in texts(X)}
        for name, levels in self.levels.items():
            X[name] = X[name].where(X[name].isin(levels), levels[0]).astype(str)
        return X


class PyGAM(Peer):
    """pyGAM's default: 20 splines a column, one strength by a grid of 11."""

    def codes(self, X: pd.DataFrame, fitting: bool) -> np.ndarray:
        """Categories as whole numbers in front."""
        X = self.known(X, fitting)
        names = list(self.levels)
        codes = [
            pd.Categorical(X[name], categories=self.levels[name].astype(str)).codes
            for name in names
        ]
        return np.column_stack([*codes, X.drop(columns=names).to_numpy(float)])

    def fit(self, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None) -> None:
        """Search."""
        Z = self.codes(X, fitting=True)
        terms = [
            pygam.f(j) if j < len(self.levels) else pygam.s(j)
            for j in range(Z.shape[1])
        ]
        kind = dict(zip(FAMILIES, ("Linear", "Poisson", "Logistic"), strict=True))
        model = getattr(pygam, f"{kind[self.family]}GAM")(sum(terms[1:], terms[0]))
        more = {} if exposure is None else {"exposure": exposure}
        self.model = model.gridsearch(Z, y, progress=False, **more)

    def predict(self, X: pd.DataFrame, exposure: np.ndarray | None) -> np.ndarray:
        """Means."""
        Z = self.codes(X, fitting=False)
        if self.family == "classes":
            return self.model.predict_proba(Z)
        if exposure is not None:
            return self.model.predict(Z, exposure=exposure)
        return self.model.predict(Z)


class SuperGLM(Peer):
    """superglm: REML, a strength for each term; categories are random effects."""

    def fit(self, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None) -> None:
        """Restricted likelihood."""
        X = self.known(X, fitting=True)
        features = {}
        for name in X:
            n_values = X[name].nunique()
            if name in self.levels:
                features[name] = superglm.RandomEffect()
            elif n_values >= _CURVED_FROM:
                knots = min(10, n_values - 2)
                features[name] = superglm.PSpline(n_knots=knots)
            elif n_values > 1:
                features[name] = superglm.Numeric()
        kind = dict(zip(FAMILIES, ("gaussian", "poisson", "binomial"), strict=True))
        self.names = list(features)
        self.model = superglm.SuperGLM(kind[self.family], features=features)
        offset = None if exposure is None else np.log(exposure)
        self.model.fit_reml(X[self.names], y, offset=offset)

    def predict(self, X: pd.DataFrame, exposure: np.ndarray | None) -> np.ndarray:
        """Means."""
        X = self.known(X, fitting=False)[self.names]
        if exposure is None:
            return np.asarray(self.model.predict(X))
        return np.asarray(self.model.predict(X, offset=np.log(exposure)))


class StatsmodelsGAM(Peer):
    """GLMGam: 12 splines a column, and one-hot codes, at penalties of 1.

    ``select_penweight`` takes minutes for eight terms, so that its own choice is not
    measured.
    """

    def parts(self, X: pd.DataFrame, fitting: bool) -> tuple[np.ndarray, np.ndarray]:
        """Curved columns, within the range of the fit, and all others."""
        X = self.known(X, fitting)
        if fitting:
            numbers = X.drop(columns=list(self.levels))
            n_values = numbers.nunique()
            self.curved = [name for name in numbers if n_values[name] >= _CURVED_FROM]
            self.low, self.high = X[self.curved].min(), X[self.curved].max()
        rest = X.drop(columns=self.curved)
        if self.levels:
            rest = pd.get_dummies(rest, columns=list(self.levels), dtype=float)
        rest.insert(0, "constant", 1.0)
        if fitting:
            varies = rest.nunique() > 1
            self.rest = ["constant", *rest.columns[varies]]
        rest = rest.reindex(columns=self.rest, fill_value=0.0)
        curved = X[self.curved].clip(self.low, self.high, axis=1)
        return curved.to_numpy(float), rest.to_numpy(float)

    def fit(self, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None) -> None:
        """Penalized likelihood."""
        curved, rest = self.parts(X, fitting=True)
        k = curved.shape[1]
        splines = BSplines(curved, df=[12] * k, degree=[3] * k)
        kinds = statsmodels.families
        kind = (kinds.Gaussian(), kinds.Poisson(), kinds.Binomial())
        offset = None if exposure is None else np.log(exposure)
        model = GLMGam(
            y,
            exog=rest,
            smoother=splines,
            alpha=np.ones(k),
            family=dict(zip(FAMILIES, kind, strict=True))[self.family],
            offset=offset,
        )
        self.model = model.fit()

    def predict(self, X: pd.DataFrame, exposure: np.ndarray | None) -> np.ndarray:
        """Means."""
        curved, rest = self.parts(X, fitting=False)
        mean = np.asarray(self.model.predict(exog=rest, exog_smooth=curved))
        return mean if exposure is None else mean * exposure


class EBM(Peer):
    """interpret's explainable boosting machine with its defaults, pairs included."""

    def fit(self, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None) -> None:
        """Boosting."""
        X = self.known(X, fitting=True)
        if self.family == "classes":
            self.model = ExplainableBoostingClassifier(n_jobs=1).fit(X, y)
            return
        objective = "rmse" if self.family == "normal" else "poisson_deviance"
        self.model = ExplainableBoostingRegressor(objective=objective, n_jobs=1)
        if exposure is None:
            self.model.fit(X, y)
        else:
            self.model.fit(X, y / exposure, sample_weight=exposure)

    def predict(self, X: pd.DataFrame, exposure: np.ndarray | None) -> np.ndarray:
        """Means."""
        X = self.known(X, fitting=False)
        if self.family == "classes":
            return self.model.predict_proba(X)[:, 1]
        mean = self.model.predict(X)
        return mean if exposure is None else mean * exposure


_SCRIPT = """
suppressMessages(library(mgcv))
folder <- commandArgs(TRUE)[1]
read <- function(name) read.csv(file.path(folder, name), stringsAsFactors = TRUE)
train <- read("train.csv")
start <- proc.time()
fit <- gam({formula}, family = {family}, data = train, method = "REML", select = TRUE)
seconds <- sum((proc.time() - start)[c("user.self", "sys.self")])
mean <- predict(fit, read("test.csv"), type = "response")
write.csv(data.frame(mean = mean, seconds = seconds), file.path(folder, "out.csv"))
"""


class Mgcv(Peer):
    """R's mgcv: ``gam(select = TRUE, method = "REML")``, factors as random effects.

    It is asked for predictions when it is fitted, so `fit` waits for `predict`.
    """

    def fit(self, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None) -> None:
        """Keep the rows."""
        self.train = self.table(self.known(X, fitting=True), exposure)
        self.train["y"] = y

    @staticmethod
    def table(X: pd.DataFrame, exposure: np.ndarray | None) -> pd.DataFrame:
        """Columns with names that R takes."""
        out = X.set_axis([f"x{j}" for j in range(X.shape[1])], axis=1)
        return out if exposure is None else out.assign(exposure=exposure)

    def formula(self) -> str:
        """Curves of numbers with many values, and random effects of categories."""
        terms = []
        for name in self.train.columns.drop("y"):
            n_values = self.train[name].nunique()
            if name == "exposure":
                terms.append("offset(log(exposure))")
            elif name in texts(self.train):
                terms.append(f's({name}, bs = "re")')
            elif n_values >= _CURVED_FROM:
                terms.append(f"s({name})")
            elif n_values > 3:
                terms.append(f"s({name}, k = {n_values - 1})")
            elif n_values > 1:
                terms.append(name)
        return f"y ~ {' + '.join(terms)}"

    def predict(self, X: pd.DataFrame, exposure: np.ndarray | None) -> np.ndarray:
        """Means; R is started here."""
        kind = dict(zip(FAMILIES, ("gaussian", "poisson", "binomial"), strict=True))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.train.to_csv(folder / "train.csv", index=False)
            self.table(self.known(X, fitting=False), exposure).to_csv(
                folder / "test.csv", index=False
            )
            text = _SCRIPT.format(formula=self.formula(), family=kind[self.family])
            (folder / "fit.R").write_text(text)
            command = ["Rscript", str(folder / "fit.R"), name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(done.stderr[-200:])
            found = pd.read_csv(folder / "out.csv")
        self.seconds = float(found["seconds"].iloc[0])
        return found["mean"].to_numpy()


PEERS = {
    "pygam": PyGAM if pygam is not None else None,
    "superglm": SuperGLM if superglm is not None else None,
    "statsmodels": StatsmodelsGAM if statsmodels is not None else None,
    "mgcv": Mgcv if shutil.which("Rscript") else None,
    "ebm": EBM if ExplainableBoostingRegressor is not None else None,
}
