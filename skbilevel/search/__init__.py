"""The drop-in for a grid search: tune the last step of a pipeline."""

from skbilevel.search._original_columns import original_columns
from skbilevel.search._search import BilevelSearchCV

__all__ = ["BilevelSearchCV", "original_columns"]
