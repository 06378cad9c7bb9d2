"""Values and derivatives: designs, data fits, parametrizations, bilevel problems."""

from skbilevel._lazily import attach

__getattr__, __dir__, __all__ = attach(__name__)
