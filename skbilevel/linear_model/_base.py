"""The door of all estimators: validate, prepare, tune, publish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import (
    beside_x,
    converted,
    copied,
    device_of,
    float_kinds,
    given_on_host,
    labels_beside,
    need_rows_in_memory,
    worked_on,
)
from skbilevel._sklearn_compat import (
    HAS_ARRAY_API,
    CallbackSupportMixin,
    HasMethods,
    StrOptions,
    _check_sample_weight,
    _num_samples,
    check_same_namespace,
    with_callbacks,
)
from skbilevel._sparse import canonical
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.blocks import RowBlocks
from skbilevel.linear_model._columns import (
    Groups,
    strength_groups,
    unpenalized_mask,
)
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._draft import Draft
from skbilevel.linear_model._first_look import warn_of_edge, warn_of_few_rows
from skbilevel.linear_model._following import Attributes, FollowedFit, FollowedPart
from skbilevel.linear_model._lazily import rows_in_blocks
from skbilevel.linear_model._options import TuningOptions
from skbilevel.linear_model._parameters import Parameters
from skbilevel.linear_model._publish import Published, publish_attributes
from skbilevel.linear_model._routing import RoutingMixin
from skbilevel.linear_model._tuning import tune
from skbilevel.linear_model._uncertainty import StandardErrorsMixin
from skbilevel.model_selection._named_criteria import OF_LIKELIHOODS
from skbilevel.solvers._registry import FOR_LIKELIHOODS

if TYPE_CHECKING:
    from skbilevel.linear_model._block_glm_fit import GLMReader
    from skbilevel.model_selection._block_glm import RowPart


class BilevelLinearModel(
    StandardErrorsMixin, RoutingMixin, CallbackSupportMixin, Versioned, Parameters
):
    """Common door of the estimators; see the subclasses.

    What their ``fit`` takes:

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features; float32 and float64 are kept, other numbers become float64. A
        `RowBlocks`, or Dask collections for X and what is beside it, are read in
        blocks.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights; an integer weight counts as that many rows, a weight
        of zero as none. Of weights whose mean is below one only ratios matter.
    **params : dict
        ``groups`` for the splitter; where ``cv`` is None or a number, they make
        folds of whole groups, once. Anything else needs metadata routing.

    Raises
    ------
    ValueError
        If the data or a parameter cannot be used; the message names it.
    KeyboardInterrupt
        If the user interrupts the fit; the best strengths so far are published.
    """

    _doc_link_module = "skbilevel"
    # Names of columns of row blocks, of which fits of a part get arrays.
    _block_names: Array | None = None
    # Who reads them: a fit to a part tells it where it is.
    _reader: GLMReader | None = None
    # Attribute that holds the dispersion, where the family has one.
    _dispersion_name: ClassVar[str] = ""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = HAS_ARRAY_API
        return tags

    def __sklearn_array_api_convert__(self, converter: Callable[[Any], Any]) -> Any:
        """A copy whose fitted arrays lie elsewhere, for ``move_estimator_to``."""
        return converted(self, converter)

    def _validate(self, X: Any, y: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Checked X and y; an X of another library than NumPy as a `DeviceArray`."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            dtype=float_kinds(X),
            ensure_min_samples=2,
            **kwargs,
        )
        return worked_on(canonical(X)), y

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        params: Any,
        resample: Any,
        **offset: Any,
    ) -> list[Published]:
        """Fit a copy, and take from it what it has learned."""
        draft = Draft(self, "_uncertainty")
        beside = {"sample_weight": sample_weight, "groups": params.get("groups")}
        blocks = rows_in_blocks(X, y, beside | offset)
        # Callbacks of the copy end with its fit.
        fit = with_callbacks(type(self)._fit_copy)
        given: tuple[Any, ...] = (blocks,)
        if blocks is not None:
            fit = with_callbacks(type(self)._fit_blocks)
        else:
            more = (y, sample_weight, params, resample, *offset.values())
            given = (X, *(given_on_host(each) for each in more))
        try:
            parts: list[Published] = fit(draft.model, *given)
        except KeyboardInterrupt:
            if hasattr(draft.model, "coef_"):
                _publish(draft, y)
            raise
        _publish(draft, y)
        return parts

    def _fit_copy(self, *given: Any, **more: Any) -> list[Published]:
        """``fit`` of an estimator that nobody else sees yet."""
        raise NotImplementedError

    def _fit_blocks(self, blocks: RowBlocks) -> list[Published]:
        """``fit`` of a copy to rows that come in blocks; refused by default."""
        need_rows_in_memory(self, blocks)
        raise NotImplementedError

    def _conclude(
        self, fit: FollowedFit, parts: list[Published], score: Callable[[], float]
    ) -> list[Published]:
        """All fitted attributes at once, and then what ``scoring`` says of them."""
        asked = {} if self.scoring is None else {"best_score_": np.nan}
        self.__dict__.update(fit.attributes(parts) | asked)
        if self.scoring is not None:
            self.best_score_ = score()
        self._keep_uncertainty(parts)
        if self._reader is not None and fit.interrupt is None:
            self._reader.finish(fit)
        fit.close()
        return parts

    def _keep_uncertainty(self, parts: list[Published]) -> None:
        """The covariance of the coefficients, where it is small enough to be kept."""
        with one_blas_thread():
            times = 1.0 if self._reader is None else self._reader.times
            made = (part.uncertainty for part in parts)
            self._uncertainty = [
                None if each is None else each(times=times) for each in made
            ]
        known = [each.dispersion for each in self._uncertainty if each is not None]
        if self._dispersion_name and len(known) == len(parts):
            found = np.concatenate(known)
            flat = np.ndim(self.coef_) == 1
            value = float(found[0]) if flat else found
            setattr(self, self._dispersion_name, value)

    def _strength_columns(
        self, X: Any, resampling: Resampling
    ) -> tuple[Array, Groups | None]:
        """Mask of the unpenalized columns, and labels of those that share strengths."""
        if self.scoring is not None:
            check_scoring(self, scoring=self.scoring)
        names = getattr(self, "feature_names_in_", self._block_names)
        features = resampling.features
        if names is None and features is not None:
            names = features.names
        free = unpenalized_mask(self.unpenalized, X.shape[1], names)
        made = () if features is None else (features.transformer, features.added)
        return free, strength_groups(self.feature_groups, free, names, *made)

    def _fit_part(
        self,
        data: Prepared,
        groups: Groups | None,
        resampling: Resampling,
        part: FollowedPart,
    ) -> Published:
        """From prepared rows to fitted attributes of one set of strengths."""
        rows = data.rows
        if self._many_strengths(groups, rows.n_penalized):
            warn_of_few_rows(round(float(rows.weight.sum())))
        options = self._tuning_options(groups)
        with one_blas_thread():
            published = part.run(
                lambda who: tune(data, resampling, replace(options, listener=who)),
                partial(publish_attributes, data, groups=groups),
            )
        if published.edge and resampling.told_of_edges and not part.interrupted:
            warn_of_edge(published.edge, rows)
        return published

    def _many_strengths(self, groups: Groups | None, n_penalized: int) -> bool:
        """Whether the guard is asked for more than one strength."""
        n_strengths = n_penalized if groups is None else len(groups.labels)
        return isinstance(self.hyperpenalty, str) and n_strengths > 1

    def _followed(
        self,
        X: Any,
        y: Any,
        metadata: dict[str, Any],
        attributes: Attributes,
        n_parts: int = 1,
    ) -> FollowedFit:
        """This fit as callbacks see it; metadata that are None were not given."""
        given = {name: each for name, each in metadata.items() if each is not None}
        data = {"X": X, "y": y, "metadata": given or None}
        fit = FollowedFit(
            self, data, lambda parts: beside_x(X, attributes(parts)), n_parts
        )
        if self._reader is not None:
            self._reader.begin(fit)
        return fit

    def _tuning_options(self, groups: Groups | None) -> TuningOptions:
        return TuningOptions(
            hyperpenalty=self.hyperpenalty,
            solver=self.solver,
            alpha_init=self.alpha_init,
            alpha_bounds=self.alpha_bounds,
            tol=self.tol,
            max_iter=self.max_iter,
            metadata=self.feature_metadata,
            groups=groups,
            seed=seed_of(self.random_state),
            n_jobs=self.n_jobs,
        )

    def _response(self, eta: Array) -> Array:
        """Predictions from linear predictions."""
        return eta

    def _search_attributes(self, parts: list[Published]) -> dict[str, Any]:
        """Attributes that do not depend on the shape of the targets."""
        first, several = parts[0], len(parts) > 1
        found = {
            "alpha_": np.stack([p.alpha for p in parts]) if several else first.alpha,
            "n_iter_": max(part.n_iter for part in parts),
            "history_": [p.history for p in parts] if several else first.history,
            "hyperpenalty_": (
                [p.hyperpenalty for p in parts] if several else first.hyperpenalty
            ),
            "best_score_": float(np.mean([part.score for part in parts])),
        }
        if first.group_labels is not None:
            found["group_labels_"] = first.group_labels
            groups: list[Any] = [p.group_alpha for p in parts]
            found["group_alpha_"] = np.stack(groups) if several else first.group_alpha
        return found

    def to_sklearn(self) -> Any:
        """Return a plain fitted scikit-learn model with the same predictions.

        Nothing is fitted again. It is the model whose place this one takes: `Ridge`,
        `RidgeClassifier`, `LogisticRegression`, `PoissonRegressor`, `GammaRegressor`
        or `TweedieRegressor`. Its coefficients are those at the many strengths, which
        it cannot hold; its own strength (``alpha`` or ``C``) is their geometric mean.
        A clone that is fitted again has this one strength, and is another model. The
        strengths of this one are in the attribute ``alpha_``. It takes no ``offset``,
        its ``score`` is scikit-learn's whatever ``scoring`` says, and where means with
        a log link overflow it returns infinity. `skbilevel.to_sklearn` does it for a
        Pipeline.

        Returns
        -------
        plain : estimator
            With copies of the coefficients, and the names of features and classes.

        Raises
        ------
        NotFittedError
            If this estimator is not fitted.
        """
        check_is_fitted(self)
        plain = self._plain_model()
        plain.alpha_ = copied(self.alpha_)
        return plain

    def _plain_model(self) -> Any:
        """What ``to_sklearn`` returns."""
        name = type(self).__name__
        raise NotImplementedError(f"scikit-learn has no counterpart of {name}.")


class BilevelGeneralizedLinearModel(BilevelLinearModel):
    """The door for losses that are not quadratic.

    Parameters
    ----------
    solver : str or solver value, default="auto"
        "auto" chooses by the rule of the user guide, "newton-cholesky" and
        "newton-dual" force factorizations, "newton-cg" conjugate gradients. A value
        is used as it is. The guard has a rule of its own and takes "auto" only.
        Algorithms of the literature ("saba", "hoag", ...; see :doc:`/solvers`)
        minimize the validation loss itself and need ``hyperpenalty=None``.

    References
    ----------
    M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic
    bilevel optimization", ICLR 2022 (warm-started inner and adjoint solves).

    D. J. C. MacKay, "The evidence framework applied to classification networks",
    Neural Computation 4, 1992 (one of the criteria that candidates come from).
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLinearModel._parameter_constraints,
        "cv": ["cv_object", StrOptions(set(OF_LIKELIHOODS))],
        "solver": [
            StrOptions(FOR_LIKELIHOODS),
            HasMethods(["solve"]),
            HasMethods(["solve_oracles"]),
        ],
    }

    def _fit_blocks(self, blocks: RowBlocks) -> list[Published]:
        from skbilevel.linear_model._block_glm_fit import GLMReader

        if not hasattr(self, "_all_rows"):
            return super()._fit_blocks(blocks)
        if blocks.feature_names is not None:
            self._block_names = np.asarray(blocks.feature_names, dtype=object)
        seed, count = seed_of(self.random_state), self._count_of_blocks()
        self._reader = reader = GLMReader.read(self, blocks, seed, count)
        self._check_part(reader.part)
        parts = reader.tune()
        if self._block_names is not None:
            self.feature_names_in_ = self._block_names
        return parts

    def _count_of_blocks(self) -> Callable[[Array, Array], Any] | None:
        """What is counted of labels."""
        return None

    def _check_part(self, part: RowPart) -> None:
        """Raise where targets are impossible; by default none are."""


def _publish(draft: Draft, y: Any) -> None:
    """The fitted copy takes the place of the estimator, labels beside those of y."""
    if hasattr(draft.model, "classes_"):
        draft.model.classes_ = labels_beside(y, draft.model.classes_)
    draft.publish()


def check_weight(sample_weight: Any, X: Any) -> Array:
    """Row weights as double precision; ones where none are given."""
    rows = np.broadcast_to(0.0, (_num_samples(X), 1))
    weight = _check_sample_weight(
        given_on_host(sample_weight), rows, dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():  # scikit-learn's own check came with 1.9
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return np.asarray(weight, dtype=np.float64)


def seed_of(random_state: Any) -> int:
    """A seed for all that a fit draws; None is a fixed one."""
    given = 0 if random_state is None else random_state
    return int(check_random_state(given).randint(np.iinfo(np.int32).max))


def linear_predictor(model: Any, X: Any, method: str = "predict") -> Array:
    """``X @ coef_.T + intercept_`` of a fitted estimator, X dense or sparse.

    ``method`` is what the user called, for an error that names it.
    """
    check_is_fitted(model, "coef_")
    check_same_namespace(X, model, attribute="coef_", method=method)
    device = device_of(X)
    X = validate_data(
        model, X, accept_sparse=("csr", "csc"), dtype=float_kinds(X), reset=False
    )
    coef, intercept = model.coef_, model.intercept_
    if device is not None:
        xp = device.xp
        kind = xp.result_type(X, coef)
        coef = xp.astype(coef, kind)
        out = xp.astype(X, kind) @ (coef.T if coef.ndim == 2 else coef)
        return out + intercept
    out = X @ coef.T
    out = out.toarray() if sparse.issparse(out) else out
    return np.asarray(out + intercept)
