"""Warnings of the package."""

__all__ = ["BoundaryWarning", "DataWarning"]


class BoundaryWarning(UserWarning):
    """The best shared strength is infinite or zero.

    At infinity no feature helps to predict the target and the model is the mean; at
    zero the model is least squares.
    """


class DataWarning(UserWarning):
    """The data can be fitted, but are probably not what was meant.

    The target is the same in all rows, labels look like measurements, a class has a
    single row, or there are fewer rows than one strength per feature can be told from.
    """
