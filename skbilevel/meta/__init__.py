"""Models of many related tasks: one centre, and one deviation from it per task."""

from skbilevel.meta._ridge import MetaRidge

__all__ = ["MetaRidge"]
