"""Estimators around estimators: searches over pipelines, learned weights of rows."""

from skbilevel.preprocessing import original_columns
from skbilevel.search._sample_weights import SampleWeightsCV
from skbilevel.search._search import BilevelSearchCV

__all__ = ["BilevelSearchCV", "SampleWeightsCV", "original_columns"]
