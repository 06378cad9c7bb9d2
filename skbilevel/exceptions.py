"""Warnings of the package."""

__all__ = ["BoundaryWarning"]


class BoundaryWarning(UserWarning):
    """The best shared strength is infinite or zero.

    At infinity no feature helps to predict the target and the model is the mean; at
    zero the model is least squares.
    """
