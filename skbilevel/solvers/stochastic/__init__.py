"""Solvers that read a few rows at a time."""

from skbilevel.solvers.stochastic._soba import SABA, SOBA, AmigoSGD

__all__ = ["SABA", "SOBA", "AmigoSGD"]
