"""Sparse matrices in the form that all later steps may count on."""

from __future__ import annotations

from typing import Any

from scipy import sparse


def canonical(X: Any) -> Any:
    """X with one entry for each place and sorted places; arrays as they are.

    A CSR or CSC matrix may hold several entries of one place, which count as their sum.
    Squares and comparisons of single entries would be wrong for them, and some of
    SciPy's operations sum them in place, which changes the matrix of the user and every
    matrix that shares its buffers. So such a matrix is copied and summed once, where
    it comes in.

    Parameters
    ----------
    X : ndarray or sparse matrix or array

    Returns
    -------
    ndarray or sparse matrix or array
        X itself, where nothing is to be done.
    """
    if not sparse.issparse(X) or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X
