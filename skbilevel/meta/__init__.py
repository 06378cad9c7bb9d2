"""Models of many related tasks: one centre, and one deviation from it per task."""

from skbilevel.meta._logistic import MetaLogistic
from skbilevel.meta._ridge import MetaRidge

__all__ = ["MetaLogistic", "MetaRidge"]
