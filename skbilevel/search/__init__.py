"""Estimators around estimators: searches over pipelines, learned weights of rows."""

from skbilevel.search._original_columns import original_columns
from skbilevel.search._sample_weights import SampleWeightsCV
from skbilevel.search._search import BilevelSearchCV

__all__ = ["BilevelSearchCV", "SampleWeightsCV", "original_columns"]
